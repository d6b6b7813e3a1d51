"""The name `ray`: every way to switch it on, what it serves then, and when it refuses."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import textwrap
import zipapp
from importlib.metadata import entry_points
from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

HERE = Path(__file__).resolve().parent
HOOK = HERE.parents[1] / "python" / "whipray" / "compat" / "whipray-as-ray.pth"
PLUGIN = "whipray.testing.plugin"
NAMES = HERE / "ray_names.txt"

SCRIPT = """
    import ray

    @ray.remote
    def where():
        import ray
        return ray.__file__

    ray.init(num_cpus=1)
    assert ray.__version__ == "2.60.0"
    assert ray.get(where.remote()) == ray.__file__
    print("ran", *sys.argv[1:])
"""


def python(*arguments: str, code: int = 0, **environment: str) -> str:
    """Run an interpreter in which nothing is switched on; what it printed."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("WHIPRAY_")}
    done = subprocess.run(
        [sys.executable, *arguments],
        env={**inherited, "WHIPRAY_RAY_LIBS": "0", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == code, done.stdout
    return done.stdout


def on(body: str, *arguments: str, code: int = 0, **environment: str) -> str:
    """Run a program with the name switched on by install()."""
    start = "import sys\nimport whipray.compat\nwhipray.compat.install()\n"
    return python("-c", start + textwrap.dedent(body), *arguments, code=code, **environment)


@pytest.fixture
def program(tmp_path: Path) -> Path:
    path = tmp_path / "program.py"
    path.write_text("import sys\n" + textwrap.dedent(SCRIPT))
    return path


# ---- switches ------------------------------------------------------------------------------------


def test_run_gives_a_script_its_arguments(program: Path) -> None:
    assert python("-m", "whipray", "run", str(program), "-x", "1") == "ran -x 1\n"


def test_run_is_like_python_itself(tmp_path: Path) -> None:
    (tmp_path / "beside.py").write_text("VALUE = 5\n")
    path = tmp_path / "main.py"
    path.write_text(
        "import sys, pickle, beside\n"
        "class Mine: pass\n"
        "assert __name__ == '__main__' and sys.modules['__main__'].Mine is Mine\n"
        "assert isinstance(pickle.loads(pickle.dumps(Mine())), Mine)\n"
        "print(sys.argv, __file__, beside.VALUE)\n"
    )
    plain = python(str(path), "a")
    assert python("-m", "whipray", "run", str(path), "a") == plain


def test_run_starts_modules(program: Path) -> None:
    out = python("-m", "whipray", "run", "-m", "program", "y", PYTHONPATH=_path(program.parent))
    assert out == "ran y\n"


@pytest.mark.parametrize("packed", [False, True])
def test_run_starts_what_a_folder_or_zip_file_has_as_main(
    program: Path, tmp_path: Path, packed: bool
) -> None:
    folder = tmp_path / "application"
    folder.mkdir()
    (folder / "beside.py").write_text("VALUE = 5\n")
    main = program.read_text() + "import beside\nprint(__file__, __spec__.name, beside.VALUE)\n"
    (folder / "__main__.py").write_text(main)
    path = folder
    if packed:
        path = tmp_path / "application.pyz"
        zipapp.create_archive(folder, path)
    shown = python("-m", "whipray", "run", str(path), "-x")
    assert shown == f"ran -x\n{path / '__main__.py'} __main__ 5\n"


def test_run_says_what_is_wrong(tmp_path: Path) -> None:
    assert "usage:" in python("-m", "whipray", "run", code=2)
    assert "No such file" in python("-m", "whipray", "run", str(tmp_path / "none.py"), code=2)
    assert "can't find '__main__'" in python("-m", "whipray", "run", str(tmp_path), code=1)


def test_exit_codes_and_errors_pass_through(tmp_path: Path) -> None:
    path = tmp_path / "ends.py"
    path.write_text("import ray, sys\nsys.exit(7)\n")
    python("-m", "whipray", "run", str(path), code=7)
    path.write_text("raise KeyError('gone')\n")
    shown = python("-m", "whipray", "run", str(path), code=1)
    assert shown == python(str(path), code=1)  # without frames above the program's first
    assert "KeyError: 'gone'" in shown


def test_variable_works_through_the_hook_of_the_installation(program: Path, tmp_path: Path) -> None:
    """A folder with the .pth file stands for site-packages."""
    shutil.copy(HOOK, tmp_path)
    body = f"import sys, site, runpy; site.addsitedir({str(tmp_path)!r}); sys.argv[1:] = []\n"
    body += f"runpy.run_path({str(program)!r}, run_name='__main__')"
    assert python("-c", body, WHIPRAY_AS_RAY="1") == "ran\n"
    assert "No module named 'ray'" in python("-c", body, code=1)
    assert "No module named 'ray'" in python("-c", body, code=1, WHIPRAY_AS_RAY="0")


def test_notebooks_load_it_as_an_extension() -> None:
    body = "from whipray import compat; compat.load_ipython_extension(None); import ray; print(ray)"
    assert "compat/ray/__init__.py" in python("-c", body)


@pytest.mark.parametrize("way", ["option", "ini"])
def test_pytest_takes_it_before_conftest(pytester: pytest.Pytester, way: str) -> None:
    pytester.makeconftest("import ray")
    pytester.makepyfile("import ray\ndef test_it(): assert ray.get(ray.put(3)) == 3")
    if way == "ini":
        pytester.makeini("[pytest]\nwhipray_as_ray = true")
    flags = ("--whipray-as-ray",) if way == "option" else ()
    known = any(entry.value == PLUGIN for entry in entry_points(group="pytest11"))
    done = pytester.runpytest_subprocess(*(() if known else ("-p", PLUGIN)), *flags)
    done.assert_outcomes(passed=1)


def test_children_of_the_interpreter_inherit_run(tmp_path: Path) -> None:
    path = tmp_path / "parent.py"
    path.write_text(
        "import subprocess, sys\n"
        "sys.exit(subprocess.run([sys.executable, '-c', 'import whipray, ray']).returncode)\n"
    )
    python("-m", "whipray", "run", str(path))


def test_drivers_that_join_bring_it_to_their_workers() -> None:
    body = """
        import subprocess
        import whipray
        from whipray import compat
        address = whipray.init(num_cpus=2)["address"]
        joined = '''
        import sys
        from whipray import compat
        compat.install()
        import ray
        ray.init(address=sys.argv[1])
        @ray.remote
        def version():
            import ray
            return ray.__version__
        print(ray.get(version.remote()))
        '''
        import textwrap
        subprocess.run([sys.executable, "-c", textwrap.dedent(joined), address], check=True)
    """
    assert python("-c", "import sys\n" + textwrap.dedent(body)) == "2.60.0\n"


def _path(folder: Path) -> str:
    return os.pathsep.join(part for part in (str(folder), os.environ.get("PYTHONPATH")) if part)


# ---- never silently ------------------------------------------------------------------------------


@pytest.fixture
def other_ray(tmp_path: Path) -> Path:
    """A folder of packages in which something looks like the original."""
    (tmp_path / "ray" / "_private").mkdir(parents=True)
    (tmp_path / "ray" / "__init__.py").write_text("original = True\n")
    (tmp_path / "ray" / "_version.py").write_text("version = '2.60.0'\n")
    return tmp_path


def test_an_installed_ray_stays_what_it_is(other_ray: Path) -> None:
    body = "import whipray, ray; print(ray.original)"
    assert python("-c", body, PYTHONPATH=_path(other_ray)) == "True\n"


def test_hiding_an_installed_ray_is_said(other_ray: Path) -> None:
    said = on("import ray; print(ray.__version__)", PYTHONPATH=_path(other_ray))
    assert "2.60.0\n" in said and str(other_ray) in said and "is Whipray in this process" in said


def test_install_after_import_of_another_ray_is_refused(other_ray: Path) -> None:
    body = "import ray, whipray.compat\nwhipray.compat.install()"
    said = python("-c", body, code=1, PYTHONPATH=_path(other_ray))
    assert "RuntimeError: ray is imported already" in said and "before the first" in said


def test_a_distribution_of_that_name_hands_over() -> None:
    source = HERE.parents[1] / "packaging" / "ray" / "src"
    body = "import ray, whipray; print(ray.__version__, ray.get is whipray.get)"
    assert python("-c", body, PYTHONPATH=_path(source)) == "2.60.0 True\n"


# ---- what is served ------------------------------------------------------------------------------


def test_metadata_and_specs() -> None:
    on(
        """
        import importlib.metadata, importlib.util
        assert importlib.metadata.version("ray") == "2.60.0"
        assert "ray" in {each.metadata["Name"] for each in importlib.metadata.distributions()}
        assert [each.version for each in importlib.metadata.distributions(name="ray")] == ["2.60.0"]
        assert importlib.util.find_spec("ray") and importlib.util.find_spec("ray.util.queue")
        assert importlib.util.find_spec("ray.nothing") is None
        assert "ray" not in sys.modules or importlib.util.find_spec("ray.util.nothing") is None
        """
    )


def test_one_class_behind_all_names() -> None:
    on(
        """
        import pickle
        import ray, whipray, ray._raylet, ray.types, ray.util.queue, ray.exceptions, ray.actor
        kinds = {whipray.ObjectRef, ray.ObjectRef, ray.ObjectID, ray._raylet.ObjectRef}
        assert kinds | {ray.types.ObjectRef} == {ray.ObjectRef}
        assert ray.ObjectRef.__module__ == "ray" and str(ray.ObjectRef) == "<class 'ray.ObjectRef'>"
        from whipray.util.queue import Queue
        assert ray.util.queue.Queue is Queue and Queue.__module__ == "ray.util.queue"
        assert ray.actor.ActorHandle.__module__ == ray.actor.ActorMethod.__module__ == "ray.actor"
        assert ray.TaskID.__module__ == "ray._raylet"
        from whipray import exceptions
        assert ray.exceptions.RayTaskError is exceptions.RayTaskError
        assert exceptions.RayTaskError.__module__ == "ray.exceptions"
        for value in (ray.exceptions.GetTimeoutError("x"), ray.TaskID.from_random(), ray.ActorID):
            assert type(pickle.loads(pickle.dumps(value))) is type(value)
        """
    )


def test_import_is_light() -> None:
    on(
        """
        import ray, ray.data, ray.train._internal.session, ray._private.worker, ray.util.client
        heavy = {"numpy", "pandas", "pyarrow", "cloudpickle", "asyncio"} & set(sys.modules)
        assert not heavy, heavy
        assert ray.train._internal.session.get_session() is None
        assert not ray.util.client.ray.is_connected()
        """
    )


def test_values_of_these_types_travel() -> None:
    on(
        """
        import ray
        from ray.util.queue import Queue

        ray.init(num_cpus=2)

        @ray.remote
        class Keeper:
            def keep(self, queue, error):
                queue.put(type(self).__name__)
                return queue, error, ray.get_runtime_context().current_actor

        queue, keeper = Queue(), Keeper.remote()
        back, error, handle = ray.get(keeper.keep.remote(queue, ray.exceptions.RayError("e")))
        assert back.get(timeout=120) == "Keeper"
        assert type(error) is ray.exceptions.RayError and handle == keeper
        assert isinstance(handle, ray.actor.ActorHandle)
        """
    )


def test_what_is_missing_is_said() -> None:
    said = on(
        """
        import ray
        for look in (lambda: ray.rllib, lambda: ray._raylet.CoreWorker):
            try:
                look()
            except AttributeError as error:
                print(error)
        try:
            from ray._raylet import CoreWorker
        except ImportError as error:
            print(error)
        try:
            ray.data.range(3)
        except NotImplementedError as error:
            print(error)
        """
    )
    lines = said.splitlines()
    assert "Ray has it, Whipray does not support it yet" in lines[0]
    assert "'ray._raylet' has no attribute 'CoreWorker'" in lines[1]
    assert "cannot import name 'CoreWorker' from 'ray._raylet'" in lines[2]
    assert "WHIPRAY_RAY_LIBS" in lines[3]


def test_the_libraries_find_the_packages_that_the_wheel_brings(tmp_path: Path) -> None:
    wheel = tmp_path / "ray"
    for folder in ("_private", "thirdparty_files", "data"):
        (wheel / folder).mkdir(parents=True)
    (wheel / "_version.py").touch()
    (wheel / "thirdparty_files" / "brought_along.py").write_text("number = 7\n")
    (wheel / "data" / "__init__.py").write_text("from brought_along import number\n")
    said = on(
        """
        import ray
        import ray.data

        @ray.remote
        def in_a_worker():
            import ray.data
            return ray.data.number

        ray.init(num_cpus=1)
        print(ray.data.number, ray.get(in_a_worker.remote()))
        """,
        WHIPRAY_RAY_LIBS=str(wheel),
    )
    assert said.splitlines()[-1] == "7 7"


def test_the_private_connection() -> None:
    on(
        """
        import os
        import ray
        from ray._private import worker

        assert worker._global_node is None and worker.global_worker.mode is None
        try:
            worker.global_worker.check_connected()
        except ray.exceptions.RaySystemError:
            pass
        else:
            raise AssertionError("there is no session")
        ray.init(num_cpus=1)
        assert worker.global_worker.mode == worker.SCRIPT_MODE == 0
        assert os.path.isdir(worker._global_node.get_logs_dir_path())
        assert worker.global_worker.node.address == ray.get_runtime_context().gcs_address
        assert worker.global_worker.core_worker.get_current_task_id().is_nil()

        @ray.remote
        def inside():
            found = worker.global_worker
            task = found.core_worker.get_current_task_id()
            return found.mode, task == ray.get_runtime_context().task_id

        assert ray.get(inside.remote()) == (ray.WORKER_MODE, True)
        """
    )


def test_generators_are_told_how_long_storing_took() -> None:
    on(
        """
        import ray

        ray.init(num_cpus=1)

        @ray.remote
        def items():
            import ray._raylet

            first = yield 1
            yield first.object_creation_dur_s, type(first) is ray._raylet.StreamingGeneratorStats

        one, two = [ray.get(ref) for ref in items.remote()]
        assert one == 1 and two[0] > 0 and two[1] is True
        """
    )


def test_key_value_store() -> None:
    on(
        """
        import ray
        from ray.experimental.internal_kv import (
            _internal_kv_del, _internal_kv_exists, _internal_kv_get, _internal_kv_initialized,
            _internal_kv_list, _internal_kv_put,
        )

        assert not _internal_kv_initialized()
        ray.init(num_cpus=1)
        assert _internal_kv_initialized() and _internal_kv_get("a") is None
        assert _internal_kv_put("a", b"1") is False and _internal_kv_put(b"a", "2") is True
        assert _internal_kv_put("a", b"3", overwrite=False) is True
        assert _internal_kv_get("a") == b"2" and _internal_kv_get("a", namespace="n") is None
        _internal_kv_put("ab", "4")

        @ray.remote
        def look():
            return sorted(_internal_kv_list("a")), _internal_kv_exists("ab")

        assert ray.get(look.remote()) == ([b"a", b"ab"], True)
        assert _internal_kv_del("a", del_by_prefix=True) == 2 and not _internal_kv_exists("a")
        assert ray.util.list_named_actors() == []
        """
    )


# ---- the names that libraries use ----------------------------------------------------------------

RESOLVE = """
    import importlib
    from types import ModuleType

    import ray

    ray.init(num_cpus=1)
    CALLS = {
        "get_runtime_context": ray.get_runtime_context,
        "remote": lambda: ray.remote(abs),
        "init": lambda: ray.init(ignore_reinit_error=True),
    }

    def resolve(name):
        value, path = ray, "ray"
        for part in name.split(".")[1:]:
            plain = part.removesuffix("()")
            path += "." + plain
            try:
                value = getattr(value, plain)
            except AttributeError:
                if isinstance(value, ModuleType):
                    value = importlib.import_module(path)
                else:  # a function that bears the name of its module
                    value = getattr(importlib.import_module(path.rpartition(".")[0]), plain)
            if plain != part:
                value = CALLS[plain]()

    for name in sys.stdin.read().split():
        try:
            resolve(name)
        except (ImportError, AttributeError):
            print(name)
"""


def listed() -> tuple[list[str], dict[str, str]]:
    """(names that must be there, name -> why it is missing)."""
    present: list[str] = []
    missing: dict[str, str] = {}
    reason = ""
    for line in NAMES.read_text().splitlines():
        if line.startswith("["):
            reason = line.strip("[]")
        elif line and not line.startswith("#"):
            if reason:
                missing[line] = reason
            else:
                present.append(line)
    return present, missing


def test_what_a_module_lists_is_there() -> None:
    on("""
        import ray, ray.actor, ray.dag, ray.exceptions, ray.util, ray.util.queue
        for module in (ray, ray.actor, ray.dag, ray.exceptions, ray.util, ray.util.queue):
            assert [name for name in dir(module) if not hasattr(module, name)] == []
        assert "RayTaskError" in dir(ray.exceptions) and "remote" in dir(ray)
    """)


def test_names_that_libraries_use() -> None:
    present, missing = listed()
    start = "import sys\nimport whipray.compat\nwhipray.compat.install()\n"
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("WHIPRAY_")}
    done = subprocess.run(
        [sys.executable, "-c", start + textwrap.dedent(RESOLVE)],
        env={**inherited, "WHIPRAY_RAY_LIBS": "0"},
        input="\n".join([*present, *missing]),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    unresolved = set(done.stdout.split())
    assert sorted(unresolved - set(missing)) == []
    there = {name for name in missing if name not in unresolved and missing[name] != "not yet"}
    assert sorted(there) == [], "these are there now: move them in ray_names.txt"


@pytest.mark.parametrize("name", ["whipray", "ray"])
def test_a_submodule_that_lacks_its_package_is_no_attribute(name: str) -> None:
    body = f"""
        import sys
        sys.modules["dask"] = None  # as if it were not installed
        import whipray.compat
        whipray.compat.install()
        import {name}
        print(hasattr({name}.util, "dask"), "dask" in dir({name}.util))
        try:
            {name}.util.dask
        except AttributeError as error:
            print(error)
    """
    first, second = python("-c", textwrap.dedent(body)).splitlines()
    assert first == "False True"
    assert "dask" in second
