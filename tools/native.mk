# Compiles the C sources: the one place where flags and link lines are written down.  The Makefile
# and setup.py both call it, from the top directory:
#
#   make -f tools/native.mk ext daemon PYTHON=python3 EXT=<file to write> DAEMON=<file to write>
#   make -f tools/native.mk c-programs OBJ=build/c/asan WHIPRAY_SANITIZE=address,undefined
#
# WHIPRAY_BUILD     release (default) | debug: -O1 and every assertion | hostile: debug, failpoints
#                   compiled in, buffers and tables cut to tiny sizes
# WHIPRAY_SANITIZE  empty (default) | address,undefined | thread
# WHIPRAY_GUARD     1: everything is compiled as whiprayd is, with shm/guard.h at work
# WHIPRAY_WERROR    1: a warning is an error
# V                 1: print whole commands

PYTHON ?= python3
CC := $(if $(filter default undefined,$(origin CC)),gcc,$(CC))
WHIPRAY_BUILD ?= release
WHIPRAY_SANITIZE ?=
WHIPRAY_WERROR ?=
WHIPRAY_GUARD ?=
PREFIX_DIRS ?= /usr

comma := ,
empty :=
space := $(empty) $(empty)

ifeq ($(filter $(WHIPRAY_BUILD),release debug hostile),)
  $(error WHIPRAY_BUILD is "$(WHIPRAY_BUILD)"; it must be release, debug or hostile)
endif
ifneq ($(filter-out address undefined thread,$(subst $(comma),$(space),$(WHIPRAY_SANITIZE))),)
  $(error WHIPRAY_SANITIZE is "$(WHIPRAY_SANITIZE)"; allowed are address, undefined, thread)
endif

# A directory of objects per configuration, so that switching back and forth compiles nothing twice.
CONFIG := $(WHIPRAY_BUILD)$(if $(WHIPRAY_SANITIZE),-$(subst $(comma),+,$(WHIPRAY_SANITIZE)))
CONFIG := $(CONFIG)$(if $(WHIPRAY_WERROR),-strict)
OBJ ?= build/native/$(CONFIG)
EXT ?= $(OBJ)/_core.so
DAEMON ?= $(OBJ)/whiprayd

# ---- flags --------------------------------------------------------------------------------------

WARNINGS := -Wall -Wextra -Wshadow -Wconversion -Wstrict-prototypes $(if $(WHIPRAY_WERROR),-Werror)
OPTIMIZE_release := -O2
OPTIMIZE_debug := -O1 -fno-omit-frame-pointer -DWR_DEBUG=1
OPTIMIZE_hostile := -O1 -fno-omit-frame-pointer -DWR_DEBUG=1 -DWR_HOSTILE=1
SANITIZER := $(if $(WHIPRAY_SANITIZE),-fsanitize=$(WHIPRAY_SANITIZE) -fno-sanitize-recover=all \
  -fno-omit-frame-pointer)
# ThreadSanitizer does not model fences: they take effect, and it reports what only they order.
SANITIZER += $(if $(FUZZ_ENGINE),-fsanitize=fuzzer-no-link)
SANITIZER += $(if $(findstring thread,$(WHIPRAY_SANITIZE)),-Wno-tsan)

BASE_FLAGS := -std=c17 -D_GNU_SOURCE -Icsrc -g1 -fPIC -fvisibility=hidden -ffunction-sections \
  -fdata-sections $(OPTIMIZE_$(WHIPRAY_BUILD)) $(SANITIZER) $(WARNINGS)
LINK_FLAGS := -Wl,--gc-sections -Wl,--as-needed $(SANITIZER)
GUARD := -DWR_GUARD=1
ALL_CFLAGS = $(BASE_FLAGS) $(if $(WHIPRAY_GUARD),$(GUARD)) $(CFLAGS)

# The static libraries of the distribution; MSGPACK_A and UV_A override them.
find_static = $(firstword $(wildcard $(foreach d,$(shell $(CC) -print-multiarch) .,\
  $(foreach p,$(PREFIX_DIRS),$(p)/lib/$(d)/$(1) $(p)/lib64/$(1)))) $(1))
MSGPACK_A ?= $(call find_static,libmsgpackc.a)
UV_A ?= $(call find_static,libuv_a.a)

# ---- sources ------------------------------------------------------------------------------------

CORE_LAYERS := base os shm store wire sched client
sources_of = $(sort $(wildcard $(1:%=csrc/%/*.c)))
objects_of = $(patsubst %.c,$(OBJ)/%.o,$(call sources_of,$(1)))

CORE_OBJ := $(call objects_of,$(CORE_LAYERS))
DAEMON_OBJ := $(patsubst $(OBJ)/%,$(OBJ)/guard/%,\
  $(call objects_of,$(filter-out client,$(CORE_LAYERS)) node))
NODE_OBJ := $(filter-out %/main.o,$(call objects_of,node))
PYEXT_SRC := $(call sources_of,pyext)
TEST_SRC := $(sort $(wildcard tests/c/test_*.c))
HARNESS_OBJ := $(patsubst %.c,$(OBJ)/%.o,$(filter-out $(TEST_SRC),$(sort $(wildcard tests/c/*.c))))
PROGRAMS := $(patsubst %.c,$(OBJ)/%,$(TEST_SRC))

# $(call say,CC,file) prints what a recipe does; its command line follows where V=1.
Q := $(if $(V),,@)
say = @printf '  %-5s %s\n' $(1) $(2)

.DELETE_ON_ERROR:
.SECONDARY:
.PHONY: ext daemon c-programs print-programs fuzz-programs print-fuzz-programs sim-program FORCE
FORCE:

# Changes when a flag or the set of sources changes, and with it everything that depends on it.
define when_changed
	@mkdir -p $(@D)
	@echo '$(subst ','\'',$(1))' | cmp -s - $@ || echo '$(subst ','\'',$(1))' > $@
endef
$(OBJ)/flags: FORCE
	$(call when_changed,$(CC) $(ALL_CFLAGS))
$(OBJ)/link: FORCE
	$(call when_changed,$(LINK_FLAGS) $(LDFLAGS) $(CORE_OBJ) $(DAEMON_OBJ) $(PYEXT_SRC) $(HARNESS_OBJ))

$(OBJ)/%.o: %.c $(OBJ)/flags
	@mkdir -p $(@D)
	$(call say,CC,$<)
	$(Q)$(CC) $(ALL_CFLAGS) -MMD -MP -c $< -o $@

$(OBJ)/guard/%.o: %.c $(OBJ)/flags
	@mkdir -p $(@D)
	$(call say,CC,$<)
	$(Q)$(CC) $(ALL_CFLAGS) $(GUARD) -MMD -MP -c $< -o $@

# ---- extension module: one set of objects per Python ---------------------------------------------

ifneq ($(filter ext,$(MAKECMDGOALS)),)
PY_FACTS := $(shell $(PYTHON) tools/python_facts.py)
ifeq ($(PY_FACTS),)
  $(error cannot run $(PYTHON))
endif
PY_TAG := $(word 1,$(PY_FACTS))
PY_INCLUDES := $(addprefix -isystem ,$(wordlist 2,99,$(PY_FACTS)))
PYEXT_OBJ := $(patsubst csrc/%.c,$(OBJ)/$(PY_TAG)/%.o,$(PYEXT_SRC))

$(OBJ)/$(PY_TAG)/flags: FORCE
	$(call when_changed,$(CC) $(ALL_CFLAGS) $(PY_INCLUDES))
$(OBJ)/$(PY_TAG)/pyext/%.o: csrc/pyext/%.c $(OBJ)/$(PY_TAG)/flags
	@mkdir -p $(@D)
	$(call say,CC,$<)
	$(Q)$(CC) $(ALL_CFLAGS) $(PY_INCLUDES) -MMD -MP -c $< -o $@
$(OBJ)/$(PY_TAG)/_core.so: $(CORE_OBJ) $(PYEXT_OBJ) $(OBJ)/link
	$(call say,LINK,$@)
	$(Q)$(CC) -shared $(LINK_FLAGS) -Wl,--exclude-libs,ALL $(LDFLAGS) $(CORE_OBJ) $(PYEXT_OBJ) \
	  $(MSGPACK_A) -lpthread -o $@

# Replaced by rename: a process that has the old file mapped keeps it.
ext: $(OBJ)/$(PY_TAG)/_core.so
	@mkdir -p $(dir $(EXT))
	@cmp -s $< $(EXT) || { cp $< $(EXT).new && mv -f $(EXT).new $(EXT); }
endif

# ---- daemon -------------------------------------------------------------------------------------

$(OBJ)/bin/whiprayd: $(DAEMON_OBJ) $(OBJ)/link
	@mkdir -p $(@D)
	$(call say,LINK,$@)
	$(Q)$(CC) $(LINK_FLAGS) $(LDFLAGS) $(DAEMON_OBJ) $(UV_A) $(MSGPACK_A) -lpthread -ldl -lrt -o $@
daemon: $(OBJ)/bin/whiprayd
	@mkdir -p $(dir $(DAEMON))
	@cmp -s $< $(DAEMON) || { cp $< $(DAEMON).new && mv -f $(DAEMON).new $(DAEMON); }

# ---- C tests: a program per tests/c/test_*.c ----------------------------------------------------

$(OBJ)/core.a: $(CORE_OBJ) $(OBJ)/link
	@rm -f $@
	$(call say,AR,$@)
	$(Q)ar rcs $@ $(CORE_OBJ)
$(OBJ)/node.a: $(NODE_OBJ) $(OBJ)/link
	@rm -f $@
	$(call say,AR,$@)
	$(Q)ar rcs $@ $(NODE_OBJ)

$(OBJ)/tests/c/test_node_%: $(OBJ)/tests/c/test_node_%.o $(HARNESS_OBJ) $(OBJ)/node.a $(OBJ)/core.a
	$(call say,LINK,$@)
	$(Q)$(CC) $(LINK_FLAGS) -rdynamic $(LDFLAGS) $(filter %.o,$^) $(OBJ)/node.a $(OBJ)/core.a \
	  $(UV_A) $(MSGPACK_A) -lpthread -ldl -lrt -o $@
# Their own calls fail: tests/faults/interpose.h.  ThreadSanitizer stands there itself.
FAULTS_PROGRAMS := $(filter %_faults,$(PROGRAMS))
$(FAULTS_PROGRAMS): $(OBJ)/tests/faults/sweep.o
ifeq ($(findstring thread,$(WHIPRAY_SANITIZE)),)
$(FAULTS_PROGRAMS): $(OBJ)/tests/faults/linked.o
$(FAULTS_PROGRAMS): private LDFLAGS += $(addprefix -Wl$(comma)--wrap=,malloc calloc realloc)
endif
$(OBJ)/tests/faults/linked.o: tests/faults/interpose.c $(OBJ)/flags
	@mkdir -p $(@D)
	$(call say,CC,$< linked)
	$(Q)$(CC) $(ALL_CFLAGS) -DFAULTS_LINKED -MMD -MP -c $< -o $@
$(OBJ)/tests/c/test_%: $(OBJ)/tests/c/test_%.o $(HARNESS_OBJ) $(OBJ)/core.a
	$(call say,LINK,$@)
	$(Q)$(CC) $(LINK_FLAGS) -rdynamic $(LDFLAGS) $(filter %.o,$^) $(OBJ)/core.a \
	  $(MSGPACK_A) -lpthread -o $@
c-programs: $(PROGRAMS)

# ---- system calls that fail: preloaded into the processes of tests/faults

$(OBJ)/tests/faults/interpose.so: $(OBJ)/tests/faults/interpose.o
	$(call say,LINK,$@)
	$(Q)$(CC) -shared $(SANITIZER) $(LDFLAGS) $< -lpthread -ldl -o $@

# ---- fuzz targets: a program per tests/fuzz/fuzz_*.c; FUZZ_ENGINE=1: with libFuzzer, by clang

FUZZ_ENGINE ?=
FUZZ_SRC := $(sort $(wildcard tests/fuzz/fuzz_*.c))
FUZZ_PROGRAMS := $(patsubst %.c,$(OBJ)/%,$(FUZZ_SRC))
FUZZ_DRIVER := $(if $(FUZZ_ENGINE),,$(OBJ)/tests/fuzz/replay.o)
FUZZ_SHARED := $(patsubst %.c,$(OBJ)/%.o,tests/fuzz/scribble.c tests/fuzz/stub_check.c \
  tests/c/session.c)
$(OBJ)/tests/fuzz/fuzz_%: $(OBJ)/tests/fuzz/fuzz_%.o $(FUZZ_DRIVER) $(FUZZ_SHARED) \
  $(OBJ)/node.a $(OBJ)/core.a
	$(call say,LINK,$@)
	$(Q)$(CC) $(LINK_FLAGS) $(if $(FUZZ_ENGINE),-fsanitize=fuzzer) $(LDFLAGS) $(filter %.o,$^) \
	  $(OBJ)/node.a $(OBJ)/core.a $(UV_A) $(MSGPACK_A) -lpthread -ldl -lrt -o $@
fuzz-programs: $(FUZZ_PROGRAMS)
print-fuzz-programs:
	@echo $(FUZZ_PROGRAMS)

# ---- simulation: many processes of a session in one ----------------------------------------------

SIM_OBJ := $(patsubst %.c,$(OBJ)/%.o,$(sort $(wildcard tests/sim/*.c)))
SIM_KEEPS := memfd_create map unmap close
$(OBJ)/tests/sim/sim: $(SIM_OBJ) $(OBJ)/tests/fuzz/stub_check.o \
  $(OBJ)/tests/c/session.o $(OBJ)/core.a
	$(call say,LINK,$@)
	$(Q)$(CC) $(LINK_FLAGS) $(addprefix -Wl$(comma)--wrap=wr_os_,$(SIM_KEEPS)) $(LDFLAGS) \
	  $(filter %.o,$^) $(OBJ)/core.a $(MSGPACK_A) -lpthread -o $@
sim-program: $(OBJ)/tests/sim/sim
print-programs:
	@echo $(PROGRAMS)

-include $(wildcard $(OBJ)/csrc/*/*.d $(OBJ)/guard/csrc/*/*.d $(OBJ)/tests/*/*.d $(OBJ)/*/pyext/*.d)
