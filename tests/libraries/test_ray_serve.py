"""Ray's serving library: its controller, replicas and HTTP proxy are Whipray's actors."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest


@pytest.fixture(scope="module")
def serve(ray: Any) -> Iterator[Any]:
    pytest.importorskip("fastapi", reason="ray[serve] is not installed")
    from ray import serve
    from ray._common.network_utils import find_free_port

    serve.start(http_options={"port": find_free_port()})
    yield serve
    serve.shutdown()


def url(serve: Any) -> str:
    from ray.serve.context import _get_global_client

    return f"http://127.0.0.1:{_get_global_client().http_config.port}"


def read(address: str, body: bytes | None = None) -> bytes:
    with urllib.request.urlopen(address, data=body, timeout=60) as answer:
        return bytes(answer.read())


def test_handle_and_http(serve: Any) -> None:
    @serve.deployment(ray_actor_options={"num_cpus": 0.1})
    class Greets:
        def __init__(self, word: str) -> None:
            self.word = word

        def __call__(self, request: Any) -> str:
            return f"{self.word} {request.query_params['name']}"

        def add(self, a: int, b: int) -> int:
            return a + b

        def fails(self) -> None:
            raise ValueError("on purpose")

    handle = serve.run(Greets.bind("hello"), name="greets", route_prefix="/greets")
    assert [handle.add.remote(i, 1).result() for i in range(5)] == [1, 2, 3, 4, 5]
    assert read(url(serve) + "/greets?name=you") == b"hello you"
    with pytest.raises(ValueError, match="on purpose"):
        handle.fails.remote().result()
    assert serve.status().applications["greets"].status == "RUNNING"
    serve.delete("greets")


def test_composition_replicas_and_streams(serve: Any) -> None:
    @serve.deployment(num_replicas=2, ray_actor_options={"num_cpus": 0.1})
    class Doubles:
        async def __call__(self, x: int) -> int:
            return 2 * x

    @serve.deployment(ray_actor_options={"num_cpus": 0.1})
    class Sums:
        def __init__(self, doubles: Any) -> None:
            self.doubles = doubles

        async def __call__(self, request: Any) -> int:
            numbers = await request.json()
            return sum([await self.doubles.remote(n) for n in numbers])

        def count(self, n: int) -> Iterator[int]:
            yield from range(n)

    handle = serve.run(Sums.bind(Doubles.bind()), name="sums", route_prefix="/sums")
    assert json.loads(read(url(serve) + "/sums", json.dumps([1, 2, 3]).encode())) == 12
    assert list(handle.options(stream=True).count.remote(4)) == [0, 1, 2, 3]
    serve.delete("sums")
