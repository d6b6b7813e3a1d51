"""The key-value store, locations of objects, progress bars of workers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from .helpers import Ray, wait_until


@pytest.fixture
def kv(part: Callable[[str], Any]) -> Iterator[Any]:
    module = part("experimental.internal_kv")
    yield module
    module._internal_kv_del("compat", del_by_prefix=True)
    module._internal_kv_del("compat", del_by_prefix=True, namespace="other")


def test_put_and_get(kv: Any) -> None:
    assert kv._internal_kv_initialized()
    assert kv._internal_kv_get("compat-a") is None
    assert not kv._internal_kv_exists("compat-a")
    assert kv._internal_kv_put("compat-a", "text") is False
    assert kv._internal_kv_get(b"compat-a") == b"text"
    assert kv._internal_kv_exists("compat-a")
    assert kv._internal_kv_put("compat-a", b"\x00bytes") is True
    assert kv._internal_kv_get("compat-a") == b"\x00bytes"
    assert kv._internal_kv_put("compat-a", "kept", overwrite=False) is True
    assert kv._internal_kv_get("compat-a") == b"\x00bytes"


def test_a_store_that_is_open_may_be_opened_again(kv: Any) -> None:
    kv._internal_kv_put("compat-a", "1")
    kv._initialize_internal_kv(kv.internal_kv_get_gcs_client())
    assert kv._internal_kv_get("compat-a") == b"1"
    with pytest.raises(AssertionError):
        kv._initialize_internal_kv(None)


def test_namespaces(kv: Any) -> None:
    kv._internal_kv_put("compat-a", "1", namespace="other")
    assert kv._internal_kv_get("compat-a") is None
    assert kv._internal_kv_get("compat-a", namespace=b"other") == b"1"


def test_list_and_delete(kv: Any) -> None:
    for key in ("compat-b1", "compat-b2", "compat-c"):
        kv._internal_kv_put(key, "x")
    assert sorted(kv._internal_kv_list("compat-b")) == [b"compat-b1", b"compat-b2"]
    assert kv._internal_kv_del("compat-c") == 1
    assert kv._internal_kv_del("compat-c") == 0
    assert kv._internal_kv_del("compat-b", del_by_prefix=True) == 2
    assert kv._internal_kv_list("compat-b") == []


def test_workers_share_the_store(ray: Ray, kv: Any) -> None:
    name = kv.__name__

    @ray.remote
    def put() -> None:
        import importlib

        importlib.import_module(name)._internal_kv_put("compat-w", "from a worker")

    ray.get(put.remote())
    assert kv._internal_kv_get("compat-w") == b"from a worker"


def test_locations(ray: Ray, part: Callable[[str], Any], gate: Any) -> None:
    experimental = part("experimental")
    door = gate()
    large = ray.put(bytes(1 << 20))

    @ray.remote(num_cpus=0)
    def wait() -> bytes:
        door.wait()
        return bytes(1 << 20)

    later = wait.remote()
    found = experimental.get_object_locations([large, later])
    assert found[large]["node_ids"] == [ray.get_runtime_context().get_node_id()]
    assert found[large]["object_size"] >= 1 << 20
    assert found.get(later, {"node_ids": []})["node_ids"] == []
    door.open()
    ray.wait([later])
    wait_until(lambda: experimental.get_object_locations([later])[later]["node_ids"])


def test_locations_need_a_session(ray_fresh: Ray) -> None:
    module = __import__(f"{ray_fresh.__name__}.experimental", fromlist=["x"])
    with pytest.raises(RuntimeError):
        module.get_object_locations([])


def test_progress_bars(ray: Ray, part: Callable[[str], Any]) -> None:
    name = part("experimental.tqdm_ray").__name__

    @ray.remote
    def work() -> list[int]:
        import importlib

        tqdm = importlib.import_module(name)
        bar = tqdm.tqdm(total=3, desc="compat")
        for _ in range(3):
            bar.update(1)
        assert (bar.n, bar.total) == (3, 3)
        bar.total = 4
        bar.set_description("done")
        bar.close()
        tqdm.safe_print("a line")
        return list(tqdm.tqdm(range(3)))

    assert ray.get(work.remote()) == [0, 1, 2]


@pytest.mark.parametrize(
    "outputs",
    [pytest.param(1, marks=pytest.mark.ray_differs("it can not write one partition")), 3, 7],
)
@pytest.mark.parametrize("streaming", [True, False])
def test_a_shuffle_brings_every_item_to_its_partition(
    ray: Ray, part: Any, outputs: int, streaming: bool
) -> None:
    known = part("experimental.shuffle")

    def by_remainder(items: Any, n: int) -> Any:
        for item in items:
            yield int(item[0]) % n, item

    def write(number: int, items: list[Any]) -> tuple[int, list[int]]:
        values = ray.get(items) if streaming else items
        return number, sorted(int(value[0]) for value in values)

    writer = known.ObjectStoreWriter if streaming else known.ObjectStoreWriterNonStreaming
    written = known.simple_shuffle(
        input_reader=lambda i: [np.full(20_000, 10 * i + k) for k in range(10)],
        input_num_partitions=4,
        output_num_partitions=outputs,
        output_writer=write,
        partitioner=by_remainder,
        object_store_writer=writer,
    )
    expected = [(n, [k for k in range(40) if k % outputs == n]) for n in range(outputs)]
    assert written == expected


def test_a_shuffle_goes_round_the_partitions_by_itself(ray: Ray, part: Any) -> None:
    written = part("experimental.shuffle").simple_shuffle(
        input_reader=lambda i: range(6),
        input_num_partitions=2,
        output_num_partitions=3,
        output_writer=lambda i, items: ray.get(items),
    )
    assert written == [[0, 3, 0, 3], [1, 4, 1, 4], [2, 5, 2, 5]]
