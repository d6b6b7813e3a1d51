# Every target sets up what it needs: system packages (where apt-get may be used), a virtual
# environment in .venv, the compiled parts.  Flags and sources of the C code are in tools/native.mk.

SHELL := /bin/sh
BASE_PYTHON ?= python3
VENV := .venv
# The interpreter to build for: the one of .venv, unless PYTHON names another.
PYTHON ?= $(if $(wildcard $(VENV)/bin/python),$(abspath $(VENV)/bin/python),$(BASE_PYTHON))
JOBS ?= $(shell nproc 2>/dev/null || echo 2)
NATIVE = $(MAKE) --no-print-directory -f tools/native.mk -j$(JOBS)

IN_VENV := $(VENV)/bin
SUITES := $(wildcard tests/unit tests/integration tests/differential tests/compat tests/crash \
  tests/faults examples)
# A warning is an error where Whipray itself is developed.
export WHIPRAY_WERROR ?= 1

.PHONY: help demo test setup-demo setup-test build c-test c-asan c-tsan c-one c-fuzz fuzz \
  fuzz-long sim c-step models soak lint test-fast test-libraries test-libraries-small \
  test-engine test-sessions test-python test-hostile failpoints faults test-asan-python build-asan \
  record-answers build-hostile instructions bench wheel clean distclean
.NOTPARALLEL:

help:
	@echo "make demo        the experiment on real data, after all set-up"
	@echo "make test        every test, after all set-up: test-engine and test-sessions, together"
	@echo "make build       compile the extension module and the daemon in place"
	@echo "make c-test      the C tests; c-asan, c-tsan: under sanitizers"
	@echo "make c-one T=test_refs SAN=asan   one program of them"
	@echo "make c-fuzz      the fuzz targets on their corpus and on inputs made from it"
	@echo "make fuzz        the fuzz targets with libFuzzer (clang); fuzz-long runs them"
	@echo "make sim         SIM_SEEDS seeded schedules of processes that die anywhere"
	@echo "make c-step      a kill after every instruction of every operation"
	@echo "make models      the Promela models of the protocols, checked with spin"
	@echo "make soak KILLS=10000   workers killed at random under a mixed load"
	@echo "make lint        ruff, mypy, include order and other rules about the sources"
	@echo "make test-fast   the Python unit tests only"
	@echo "make test-libraries  published libraries that import ray, on Whipray, and moving to a Ray"
	@echo "make test-libraries-small  those of them that make test runs"
	@echo "make faults      every system call and allocation of a session fails, in every way"
	@echo "make test-asan-python  some of the tests, all of Whipray's processes under ASan and UBSan"
	@echo "make test-hostile  the tests with tiny buffers and failpoints compiled in"
	@echo "make failpoints  every role ends or stops in every way at every failpoint"
	@echo "make record-answers RAY_PYTHON=python-with-ray  what Ray gives for tests/differential"
	@echo "make instructions  instructions per call, compared with those recorded"
	@echo "make bench       the benchmarks, side by side with Ray where it is installed"
	@echo "make wheel       a source archive and a wheel in dist/"
	@echo "make clean       remove what was built; distclean: .venv too"
	@echo "A build is selected with WHIPRAY_BUILD=release|debug|hostile and"
	@echo "WHIPRAY_SANITIZE=address,undefined|thread."

# ---- set-up -------------------------------------------------------------------------------------

$(VENV)/bin/python:
	sh tools/prepare.sh --install $(BASE_PYTHON)
	$(BASE_PYTHON) -m venv $(VENV)

# An editable install: `make build` renews the compiled parts in place.
define install_extras
	sh tools/prepare.sh --install $(BASE_PYTHON)
	$(VENV)/bin/python -m pip install -q --disable-pip-version-check -e '.[$(1)]'
	@touch $@
endef

$(VENV)/.demo: pyproject.toml setup.py | $(VENV)/bin/python
	$(call install_extras,demo)
$(VENV)/.test: pyproject.toml setup.py | $(VENV)/bin/python
	$(call install_extras,demo$(comma)bench$(comma)test)
	@touch $(VENV)/.demo
comma := ,

setup-demo: $(VENV)/.demo
setup-test: $(VENV)/.test

# ---- build --------------------------------------------------------------------------------------

EXT_SUFFIX = $(shell $(PYTHON) -c 'import sysconfig; print(sysconfig.get_config_var("EXT_SUFFIX"))')

# Bytecode is compiled too, as pip does on installing: PYTHONDONTWRITEBYTECODE may forbid it later.
build:
	@sh tools/prepare.sh $(PYTHON)
	@$(NATIVE) ext daemon PYTHON=$(PYTHON) EXT=python/whipray/_core$(EXT_SUFFIX) \
	  DAEMON=python/whipray/bin/whiprayd
	@$(PYTHON) -m compileall -q python/whipray

# $(call build_apart,name,flags): the package with another build of the compiled parts, for
# PYTHONPATH=build/name.
define build_apart
	@sh tools/prepare.sh $(PYTHON)
	@rm -rf build/$(1) && mkdir -p build/$(1)/whipray/bin
	@for entry in python/whipray/*; do case $$entry in */_core*.so | */bin | */__pycache__) ;; \
	  *) ln -s ../../../$$entry build/$(1)/whipray/ ;; esac; done
	@$(NATIVE) ext daemon PYTHON=$(PYTHON) $(2) \
	  EXT=build/$(1)/whipray/_core$(EXT_SUFFIX) DAEMON=build/$(1)/whipray/bin/whiprayd
endef

build-hostile:
	$(call build_apart,hostile,WHIPRAY_BUILD=hostile)
build-asan:
	$(call build_apart,asan-python,WHIPRAY_BUILD=debug WHIPRAY_SANITIZE=address$(comma)undefined)

wheel: setup-test
	env -u WHIPRAY_WERROR $(IN_VENV)/python -m build --no-isolation

# ---- tests --------------------------------------------------------------------------------------

C_PLAIN = OBJ=build/c/plain WHIPRAY_BUILD=release WHIPRAY_SANITIZE=
C_ASAN = OBJ=build/c/asan WHIPRAY_BUILD=hostile WHIPRAY_SANITIZE=address,undefined
C_TSAN = OBJ=build/c/tsan WHIPRAY_BUILD=debug WHIPRAY_SANITIZE=thread

define run_c_tests
	@sh tools/prepare.sh $(PYTHON)
	@$(NATIVE) $(2) c-programs
	@$(PYTHON) tools/run_c_tests.py $(1) $$($(NATIVE) -s $(2) print-programs)
endef

c-test:
	$(call run_c_tests,plain,$(C_PLAIN))
c-asan:
	$(call run_c_tests,asan,$(C_ASAN))
c-tsan:
	$(call run_c_tests,tsan,$(C_TSAN))

# make c-one T=test_refs [SAN=plain|asan|tsan]
SAN ?= plain
C_OF_plain = $(C_PLAIN)
C_OF_asan = $(C_ASAN)
C_OF_tsan = $(C_TSAN)
c-one:
	@$(NATIVE) $(C_OF_$(SAN)) build/c/$(SAN)/tests/c/$(T)
	@$(PYTHON) tools/run_c_tests.py $(SAN) build/c/$(SAN)/tests/c/$(T)

# Without clang: every target on its corpus, and on FUZZ_INPUTS inputs made from it.
FUZZ_INPUTS ?= 3000
FUZZ_SECONDS ?= 600
FUZZ_FLAGS = WHIPRAY_BUILD=hostile WHIPRAY_SANITIZE=address,undefined WHIPRAY_GUARD=1
C_FUZZ = OBJ=build/c/fuzz $(FUZZ_FLAGS)
C_ENGINE = OBJ=build/fuzz CC=clang WHIPRAY_WERROR= FUZZ_ENGINE=1 $(FUZZ_FLAGS)
c-fuzz:
	@sh tools/prepare.sh $(PYTHON)
	@$(NATIVE) $(C_FUZZ) fuzz-programs
	@$(PYTHON) tools/run_fuzz.py replay $(FUZZ_INPUTS) $$($(NATIVE) -s $(C_FUZZ) print-fuzz-programs)

fuzz:
	@sh tools/prepare.sh --install --fuzz $(PYTHON)
	@$(NATIVE) $(C_ENGINE) fuzz-programs

# FUZZ_SECONDS for each target; T=fuzz_segment: for that one.
fuzz-long: fuzz
	@$(PYTHON) tools/run_fuzz.py engine $(FUZZ_SECONDS) \
	  $(if $(T),build/fuzz/tests/fuzz/$(T),$$($(NATIVE) -s $(C_ENGINE) print-fuzz-programs))

# Seeded schedules of processes that die anywhere; a seed that fails prints how to see it again.
# SIM_STATE=file: what was interrupted goes on behind the last seed that the file says is done.
SIM_SEEDS ?= 100000
SIM_STATE ?=
C_SIM = OBJ=build/c/sim WHIPRAY_BUILD=hostile
sim:
	@sh tools/prepare.sh $(PYTHON)
	@$(NATIVE) $(C_SIM) sim-program
	@build/c/sim/tests/sim/sim --seeds $(SIM_SEEDS) $(if $(SIM_STATE),--state $(SIM_STATE))

# c-test tries a sample of the images of memory; this tries each of them.
c-step:
	@sh tools/prepare.sh $(PYTHON)
	@$(NATIVE) $(C_PLAIN) build/c/plain/tests/c/test_step
	STEP_EVERY=1 STEP_SCENES=1 STEP_KILLS=20 build/c/plain/tests/c/test_step

models:
	@sh tools/prepare.sh --install --spin $(PYTHON)
	@$(PYTHON) tools/run_models.py

# SOAK_SECONDS=7200: the mixed load for so long, one kill in about SOAK_PAUSE / 2 seconds; what it
# costs is recorded and shown.
KILLS ?= 10000
SOAK_SECONDS ?=
SOAK_PAUSE ?= 0.3
SOAK_RECORD = build/soak.jsonl
soak: setup-test build
	rm -f $(SOAK_RECORD)
	$(if $(SOAK_SECONDS),WHIPRAY_KILLS=1000000000 WHIPRAY_SOAK_SECONDS=$(SOAK_SECONDS) \
	  WHIPRAY_KILL_PAUSE=$(SOAK_PAUSE),WHIPRAY_KILLS=$(KILLS)) WHIPRAY_CRASH_SECONDS=86400 \
	  WHIPRAY_SOAK_RECORD=$(SOAK_RECORD) $(IN_VENV)/python -m pytest \
	  tests/crash/test_random_kills.py $(if $(SOAK_SECONDS),-k mixed_load)
	$(IN_VENV)/python -m tests.crash.record $(SOAK_RECORD)

lint: setup-test
	$(IN_VENV)/ruff check .
	$(IN_VENV)/mypy python/whipray
	$(IN_VENV)/python -m pytest -q tests/lint

test-fast: setup-test build
	$(IN_VENV)/python -m pytest -q tests/unit

test-python: setup-test build
	$(IN_VENV)/python -m pytest $(SUITES)

# Each system call and each allocation of a session fails, in every way: hours.  First below the
# entry points of the C code, under ASan: minutes.
faults: setup-test build
	FAULTS_STEP=1 $(MAKE) --no-print-directory c-one T=test_node_faults SAN=asan
	WHIPRAY_FAULTS=all $(IN_VENV)/python -m pytest -q tests/faults

# The tests that start processes, against the hostile build.
test-hostile: setup-test build-hostile
	PYTHONPATH=build/hostile $(IN_VENV)/python -m pytest \
	  $(wildcard tests/integration tests/crash)

# Each failpoint of each role in each way: hours.
failpoints: setup-test build-hostile
	WHIPRAY_FAILPOINTS=all PYTHONPATH=build/hostile $(IN_VENV)/python -m pytest -q \
	  tests/crash/test_failpoint_matrix.py

# The extension, in drivers and workers, and the daemon under ASan and UBSan.  ASAN_PYTHON_TESTS
# names the tests.  Leaks are not looked for: CPython frees what it has interned and cached, and what
# its modules hold, at no time.  A report of any process is a file, and any file is a failure.
ASAN_SUBSET := $(addprefix tests/compat/test_,put.py args.py cancel.py cancel_calls.py cancel_families.py \
  generators.py zero_copy.py actors_basic.py actors_async.py actors_async_groups.py \
  actors_async_ends.py actor_death.py values_numpy.py wait.py spilling.py errors_tasks.py)
ASAN_PYTHON_TESTS ?= $(ASAN_SUBSET)
ASAN_REPORTS := $(CURDIR)/build/asan-python/reports
runtime_of = $(shell gcc -print-file-name=lib$(1).so)
test-asan-python: setup-test build-asan
	@mkdir -p $(ASAN_REPORTS)
	LD_PRELOAD="$(call runtime_of,asan) $(call runtime_of,ubsan)" PYTHONMALLOC=malloc \
	  ASAN_OPTIONS=detect_leaks=0:abort_on_error=1:log_path=$(ASAN_REPORTS)/asan \
	  UBSAN_OPTIONS=print_stacktrace=1:log_path=$(ASAN_REPORTS)/ubsan \
	  PYTHONPATH=build/asan-python $(IN_VENV)/python -m pytest -q $(ASAN_PYTHON_TESTS)
	@cat /dev/null $(ASAN_REPORTS)/* 2>/dev/null; test -z "$$(ls $(ASAN_REPORTS))"

# Published libraries that import ray, and a real Ray, in an environment of their own.  `make test`
# runs those that are installed in a minute.
LIBRARIES := .venv-libraries
SMALL := $(addprefix tests/libraries/test_,modin.py dask.py scikit_learn.py microbenchmark.py \
  real_ray.py pydantic.py private_modules.py)
# $(call with_libraries,tests)
with_libraries = PYTHONPATH=$(CURDIR)/python $(LIBRARIES)/bin/python -m pytest $(1)
define install_libraries
	$(LIBRARIES)/bin/python -m pip install -q --disable-pip-version-check -r $<
	@touch $@
endef

$(LIBRARIES)/bin/python: | $(VENV)/bin/python
	$(VENV)/bin/python -m venv $(LIBRARIES)
$(LIBRARIES)/.small: tests/libraries/requirements-small.txt | $(LIBRARIES)/bin/python
	$(install_libraries)
$(LIBRARIES)/.whole: tests/libraries/requirements.txt $(LIBRARIES)/.small
	$(install_libraries)

test-libraries-small: $(LIBRARIES)/.small build
	$(call with_libraries,$(SMALL))
test-libraries: $(LIBRARIES)/.whole build
	$(call with_libraries,tests/libraries)

# What Ray gives for the programs of tests/differential: all of them, or those named by ONLY.
record-answers:
	$(RAY_PYTHON) -m tests.differential.record ray $(addprefix --only ,$(ONLY))

# Instructions per call of the hot paths, under valgrind, against benchmarks/recorded.
instructions: setup-test build
	@sh tools/prepare.sh --install --valgrind $(PYTHON)
	$(IN_VENV)/python -m benchmarks instructions --check

test: setup-test
	@$(MAKE) --no-print-directory build
	@$(MAKE) --no-print-directory -f tools/lanes.mk -j2 both

test-engine: setup-test
	@$(MAKE) --no-print-directory c-test
	@$(MAKE) --no-print-directory c-asan
	@$(MAKE) --no-print-directory c-tsan
	@$(MAKE) --no-print-directory c-fuzz
	@$(MAKE) --no-print-directory sim SIM_SEEDS=2000
	@$(MAKE) --no-print-directory models
	@$(MAKE) --no-print-directory lint
	@$(MAKE) --no-print-directory test-libraries-small
	@$(MAKE) --no-print-directory instructions

test-sessions: setup-test
	@$(MAKE) --no-print-directory test-python
	@$(MAKE) --no-print-directory test-asan-python \
	  ASAN_PYTHON_TESTS="$(addprefix tests/compat/test_,put.py args.py generators.py zero_copy.py)"

# A user's compiler may know warnings that ours does not.
demo bench: WHIPRAY_WERROR :=
demo: setup-demo
	@$(MAKE) --no-print-directory build
	$(IN_VENV)/python -m examples.experiment

bench: setup-test build
	$(IN_VENV)/python -m benchmarks

# ---- cleaning -----------------------------------------------------------------------------------

clean:
	rm -rf build dist python/*.egg-info python/whipray/_core*.so python/whipray/bin/whiprayd
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +
	rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis

distclean: clean
	rm -rf $(VENV) $(LIBRARIES)
