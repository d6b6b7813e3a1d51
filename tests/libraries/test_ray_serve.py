"""Ray's serving library: its controller, replicas and HTTP proxy are Whipray's actors."""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Iterator
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


def test_as_many_replicas_as_a_node_may_have(serve: Any) -> None:
    @serve.deployment(num_replicas=2, max_replicas_per_node=2, ray_actor_options={"num_cpus": 0.1})
    class NamesItsProcessAtSomeLength:
        def __call__(self) -> int:
            return os.getpid()

    handle = serve.run(NamesItsProcessAtSomeLength.bind(), name="limited", route_prefix=None)
    calls = [handle.remote() for _ in range(20)]
    assert 1 <= len({call.result() for call in calls}) <= 2
    serve.delete("limited")


def test_fastapi_with_streams(serve: Any) -> None:
    from fastapi import FastAPI
    from fastapi.responses import StreamingResponse

    app = FastAPI()

    @serve.deployment(ray_actor_options={"num_cpus": 0.1})
    @serve.ingress(app)
    class Shop:
        def __init__(self) -> None:
            self.sold: dict[str, int] = {}

        @app.post("/items/{name}")
        def buy(self, name: str, number: int = 1) -> dict[str, int]:
            self.sold[name] = self.sold.get(name, 0) + number
            return self.sold

        @app.get("/numbers")
        async def numbers(self, most: int) -> StreamingResponse:
            async def lines() -> AsyncIterator[str]:
                for number in range(most):
                    yield f"{number}\n"

            return StreamingResponse(lines(), media_type="text/plain")

    serve.run(Shop.bind(), name="shop", route_prefix="/shop")
    assert json.loads(read(url(serve) + "/shop/items/tea?number=2", b"")) == {"tea": 2}
    assert json.loads(read(url(serve) + "/shop/items/tea", b"")) == {"tea": 3}
    assert read(url(serve) + "/shop/numbers?most=3") == b"0\n1\n2\n"
    with pytest.raises(urllib.error.HTTPError, match="422"):
        read(url(serve) + "/shop/numbers?most=many")
    serve.delete("shop")


def test_batches_models_and_new_settings(serve: Any) -> None:
    @serve.deployment(
        user_config={"factor": 2}, max_ongoing_requests=20, ray_actor_options={"num_cpus": 0.1}
    )
    class Scales:
        def reconfigure(self, config: dict[str, int]) -> None:
            self.factor = config["factor"]

        @serve.batch(max_batch_size=4, batch_wait_timeout_s=0.5)
        async def scale(self, numbers: list[int]) -> list[tuple[int, int]]:
            return [(len(numbers), number * self.factor) for number in numbers]

        @serve.multiplexed(max_num_models_per_replica=2)
        async def model(self, name: str) -> str:
            return name.upper()

        async def ask(self) -> str:
            return str(await self.model(serve.get_multiplexed_model_id()))

    handle = serve.run(Scales.bind(), name="scales", route_prefix=None)
    answers = [call.result() for call in [handle.scale.remote(n) for n in range(8)]]
    assert [number for _, number in answers] == [2 * n for n in range(8)]
    assert 1 < max(size for size, _ in answers) <= 4
    assert handle.options(multiplexed_model_id="m").ask.remote().result() == "M"
    changed = Scales.options(user_config={"factor": 3})
    handle = serve.run(changed.bind(), name="scales", route_prefix=None)
    assert handle.scale.remote(5).result()[1] == 15
    serve.delete("scales")


def test_a_replica_that_dies_is_replaced(serve: Any) -> None:
    @serve.deployment(ray_actor_options={"num_cpus": 0.1}, health_check_period_s=0.5)
    class Dies:
        def __call__(self) -> int:
            return os.getpid()

        def die(self) -> None:
            os._exit(1)

    handle = serve.run(Dies.bind(), name="dies", route_prefix=None)
    before = handle.remote().result()
    with pytest.raises(Exception, match=r"died|unavailable"):
        handle.die.remote().result()
    assert handle.remote().result(timeout_s=300) != before
    serve.delete("dies")
