"""The pytest plugin, used the way a project that depends on Whipray uses it."""

from __future__ import annotations

from importlib.metadata import entry_points

import pytest

import whipray

pytest_plugins = ["pytester"]

PLUGIN = "whipray.testing.plugin"


def run(pytester: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    """Run the tests of the pytester directory in a process of their own."""
    installed = any(entry.value == PLUGIN for entry in entry_points(group="pytest11"))
    load = () if installed else ("-p", PLUGIN)
    return pytester.runpytest_subprocess("-p", "no:cacheprovider", *load, *arguments)


def test_fixture_runs_tasks_and_parametrized_trials(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.parametrize("number", [2, 3, 4])
        def test_square(whipray, number):
            square = whipray.remote(lambda value: value * value)
            assert whipray.get(square.remote(number)) == number * number

        def test_wrong(whipray):
            assert whipray.get(whipray.put(1)) == 2
        """
    )
    result = run(pytester)
    result.assert_outcomes(passed=3, failed=1)
    result.stdout.fnmatch_lines(["*assert 1 == 2*"])


def test_a_test_that_calls_init_is_told_of_the_fixture(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import whipray as ray

        def test_fixture(whipray):
            assert whipray.get(whipray.put(1)) == 1

        def test_own():
            ray.init(num_cpus=1)
        """
    )
    result = run(pytester)
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*was started by the pytest fixture `whipray`*"])


def test_options_come_from_marker_then_command_line_then_ini(pytester: pytest.Pytester) -> None:
    pytester.makeini(
        """
        [pytest]
        whipray_init =
            num_cpus = 1
            resources = {"disk": 5}
            namespace = lab
        """
    )
    pytester.makepyfile(
        """
        import pytest

        def amounts(whipray):
            total = whipray.cluster_resources()
            return total["CPU"], total["disk"]

        def test_configured(whipray, request):
            expected = request.config.getoption("--whipray-num-cpus") or 1
            assert amounts(whipray) == (expected, 5)
            assert whipray.get_runtime_context().namespace == "lab"

        @pytest.mark.whipray(num_cpus=3)
        def test_marked(whipray):
            assert amounts(whipray) == (3, 5)
        """
    )
    run(pytester).assert_outcomes(passed=2)
    run(pytester, "--whipray-num-cpus=2").assert_outcomes(passed=2)


def test_engine_is_kept_between_tests_and_fresh_ones_are_new(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import pytest

        seen = []

        def node(whipray):
            return whipray.get_runtime_context().get_node_id()

        def test_first(whipray):
            seen.append(node(whipray))

        def test_second_shares_the_engine(whipray):
            assert node(whipray) == seen[0]

        @pytest.mark.whipray(fresh=True)
        def test_fresh(whipray):
            assert node(whipray) != seen[0]
            seen.append(node(whipray))

        def test_after_fresh(whipray):
            assert node(whipray) not in seen

        def test_shut_down_by_the_test(whipray):
            whipray.shutdown()
            assert not whipray.is_initialized()

        def test_runs_again(whipray):
            assert whipray.is_initialized()
        """
    )
    run(pytester).assert_outcomes(passed=6)


def test_wider_fixtures_find_their_engine_after_other_options(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import pytest

        pytestmark = pytest.mark.whipray(num_cpus=2)

        @pytest.fixture(scope="module")
        def shared(whipray_module):
            return whipray_module.put([1, 2, 3])

        def test_shared(whipray, shared):
            assert whipray.get(shared) == [1, 2, 3]

        def test_shared_again(whipray_module, shared):
            assert whipray_module.get(shared) == [1, 2, 3]

        @pytest.mark.whipray(num_cpus=1)
        def test_other_options(whipray):
            assert whipray.cluster_resources()["CPU"] == 1

        def test_module_engine_is_back(whipray_module):
            assert whipray_module.cluster_resources()["CPU"] == 2
        """
    )
    pytester.makepyfile(
        test_session="""
        def test_session(whipray_session):
            assert whipray_session.cluster_resources()["CPU"] == 3
        """
    )
    run(pytester, "--whipray-num-cpus=3").assert_outcomes(passed=5)


def test_nothing_is_left_after_the_session(pytester: pytest.Pytester) -> None:
    pytester.makeconftest(
        """
        from whipray.testing import assert_no_leaks

        def pytest_sessionstart(session):
            session.check = assert_no_leaks()
            session.check.__enter__()

        def pytest_sessionfinish(session):
            session.check.__exit__(None, None, None)
            print("nothing is left")
        """
    )
    pytester.makepyfile("def test_put(whipray): assert whipray.get(whipray.put(1)) == 1")
    result = run(pytester, "-s")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["*nothing is left*"])


def test_nothing_heavy_is_loaded_without_a_fixture(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import sys

        def test_plain():
            heavy = {"whipray._private.worker", "cloudpickle", "numpy"}
            assert heavy.isdisjoint(sys.modules)
        """
    )
    run(pytester).assert_outcomes(passed=1)


@pytest.mark.parametrize("line", ["num_cpus", "= 3", "num cpus = 3"])
def test_bad_ini_lines_are_named(pytester: pytest.Pytester, line: str) -> None:
    pytester.makeini(f"[pytest]\nwhipray_init =\n    {line}\n")
    pytester.makepyfile("def test_plain(): pass")
    result = run(pytester)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"*expected 'keyword = value', got '{line}'*"])


def test_positional_marker_arguments_are_refused(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.whipray(4)
        def test_marked(whipray):
            pass
        """
    )
    result = run(pytester)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*the whipray marker takes keywords only*"])


def test_pytest_does_not_warn_that_the_package_is_there_already() -> None:
    """With WHIPRAY_AS_RAY=1 it is, and where warnings are errors no test would run."""
    from _pytest.assertion.rewrite import AssertionRewriter

    assert AssertionRewriter.is_rewrite_disabled(whipray.__doc__ or "")
