"""`Cluster` of one node, the older ways to connect, and names that only say what is not there."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest

import whipray
from tests.compat.helpers import wait_until
from whipray._private import discovery
from whipray.cluster_utils import AutoscalingCluster, Cluster


def test_a_cluster_is_a_session_to_join() -> None:
    cluster = Cluster(
        initialize_head=True,
        head_node_args={"num_cpus": 3, "resources": {"x": 2}, "labels": {"zone": "a"}},
    )
    try:
        assert cluster.list_all_nodes() == [cluster.head_node]
        cluster.wait_for_nodes()
        whipray.init(address=cluster.address)
        total = whipray.cluster_resources()
        assert total["CPU"] == 3 and total["x"] == 2
        assert whipray.nodes()[0]["Labels"]["zone"] == "a"
        assert whipray.get(whipray.remote(lambda: 5).remote()) == 5
        with pytest.raises(NotImplementedError, match="one node"):
            cluster.add_node(num_cpus=1)
        assert cluster.remaining_processes_alive()
    finally:
        whipray.shutdown()
        cluster.shutdown()
    assert cluster.address is None


def test_a_cluster_connects_by_itself() -> None:
    cluster = Cluster(initialize_head=True, connect=True, head_node_args={"num_cpus": 1})
    try:
        assert whipray.is_initialized()
        assert whipray.cluster_resources()["CPU"] == 1
    finally:
        whipray.shutdown()
        cluster.shutdown()


def test_two_clusters_live_at_once() -> None:
    clusters = [Cluster(initialize_head=True) for _ in range(2)]
    try:
        for cluster in clusters:
            whipray.init(address=cluster.address)
            assert whipray.get(whipray.put(1)) == 1
            whipray.shutdown()
    finally:
        for cluster in clusters:
            cluster.shutdown()


def test_a_cluster_ends_with_the_process_that_made_it() -> None:
    body = """
        import os, signal
        from whipray.cluster_utils import Cluster
        print(Cluster(initialize_head=True).head_node.session_dir, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(body)], stdout=subprocess.PIPE, text=True
    )
    session = done.stdout.strip()
    assert session
    wait_until(lambda: discovery.daemon_of(session) is None)


def test_what_makes_no_sense_is_refused() -> None:
    with pytest.raises(RuntimeError, match="uninitialized"):
        Cluster(connect=True)
    with pytest.raises(ValueError):
        Cluster(initialize_head=True, head_node_args={"num_cpus": -1})
    with pytest.raises(NotImplementedError):
        AutoscalingCluster({}, {})


def test_client_builders_call_init() -> None:
    with pytest.warns(DeprecationWarning), whipray.client("local").namespace("n").connect():
        assert whipray.get_runtime_context().namespace == "n"
    assert not whipray.is_initialized()
    with pytest.raises(ValueError, match="Invalid Ray address"):
        whipray.client("http://127.0.0.1:8265")


def test_other_languages_are_refused() -> None:
    assert [language.name for language in whipray.Language] == ["PYTHON", "JAVA", "CPP"]
    for make in (
        lambda: whipray.java_function("a.B", "c"),
        lambda: whipray.java_actor_class("a.B"),
        lambda: whipray.cpp_function("f"),
    ):
        with pytest.raises(NotImplementedError, match="Python only"):
            make()


def test_the_objects_of_a_session_as_text() -> None:
    from whipray import internal

    whipray.init(num_cpus=1, log_to_driver=False)
    try:
        refs = [whipray.put(b"x" * 300_000), whipray.put(1)]
        text = internal.memory_summary(units="KB").splitlines()
        assert text[1].startswith(refs[0].hex()) and text[2].startswith(refs[1].hex())
        assert len(internal.memory_summary(num_entries=1).splitlines()) == len(text) - 1
        assert internal.memory_summary(stats_only=True).startswith("Objects use ")
        internal.free(refs)
        assert whipray.get(refs[1]) == 1
        with pytest.raises(TypeError):
            internal.free("x")
        with pytest.raises(ValueError, match="units"):
            internal.memory_summary(units="XB")
    finally:
        whipray.shutdown()


def test_modules_do_not_hide_builtins() -> None:
    """`whipray.util.iter` is a module, and `iter` is used beside it."""
    import whipray.util.iter

    whipray.init(num_cpus=1, log_to_driver=False)
    try:
        double = whipray.remote(lambda x: 2 * x)
        assert sorted(whipray.util.map_unordered(double, [1, 2])) == [2, 4]
    finally:
        whipray.shutdown()
