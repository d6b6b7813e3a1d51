# mypy: disable-error-code="import-not-found, import-untyped, untyped-decorator"
"""One class per peer: how its users start it, call a function, and call it very often.

Every form is the peer's own way with its defaults, except for the number of workers.
"""

from __future__ import annotations

import logging
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable
from importlib import metadata
from typing import Any, ClassVar

from benchmarks.peers import work

Function = Callable[..., Any]
CHUNKS_PER_WORKER = 4  # what multiprocessing.Pool.map makes of a list


class Pool(ABC):
    """A pool of worker processes; importing what it needs is the constructor's, not start()'s."""

    name: ClassVar[str]
    packages: ClassVar[tuple[str, ...]] = ()
    batch_form: ClassVar[str]

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self.started = False

    def is_initialized(self) -> bool:
        """What benchmarks.side asks of the module that it measures; shutdown() likewise."""
        return self.started

    def shutdown(self) -> None:
        self.started = False
        self.stop()

    @abstractmethod
    def start(self) -> None:
        """Start the pool; it may put off what it likes to the first call."""

    @abstractmethod
    def call(self, function: Function, *arguments: Any) -> Any:
        """One call and its result."""

    def call_with_array(self, function: Function, array: Any) -> Any:
        """The same with a large array, where the peer has a form of its own for one."""
        return self.call(function, array)

    @abstractmethod
    def calls(self, function: Function, count: int) -> list[Any]:
        """Submit the calls one by one, then take every result."""

    @abstractmethod
    def batch(self, function: Function, count: int) -> list[Any]:
        """function(i) for ``count`` numbers, in the peer's form for many small calls."""

    @abstractmethod
    def stop(self) -> None:
        """End the pool and its processes."""

    def chunk(self, count: int) -> int:
        """Items of a chunk, where the peer leaves that to the caller."""
        return -(-count // (self.workers * CHUNKS_PER_WORKER))

    def versions(self) -> dict[str, str]:
        return {package: metadata.version(package) for package in self.packages}


class Whipray(Pool):
    name = "whipray"
    batch_form = "a task per chunk, written by hand"

    def __init__(self, workers: int) -> None:
        super().__init__(workers)
        import whipray

        self._ray: Any = whipray
        self._remote: dict[Function, Any] = {}

    def start(self) -> None:
        self._ray.init(num_cpus=self.workers)

    def _task(self, function: Function) -> Any:
        if function not in self._remote:
            self._remote[function] = self._ray.remote(function)
        return self._remote[function]

    def call(self, function: Function, *arguments: Any) -> Any:
        return self._ray.get(self._task(function).remote(*arguments))

    def calls(self, function: Function, count: int) -> list[Any]:
        task = self._task(function)
        results: list[Any] = self._ray.get([task.remote() for _ in range(count)])
        return results

    def batch(self, function: Function, count: int) -> list[Any]:
        task, size = self._task(work.noop_chunk), self.chunk(count)
        parts = [task.remote(range(at, min(at + size, count))) for at in range(0, count, size)]
        return [result for part in self._ray.get(parts) for result in part]

    def stop(self) -> None:
        self._ray.shutdown()

    def versions(self) -> dict[str, str]:
        return {"whipray": str(self._ray.__version__), "path": str(self._ray.__path__[0])}


class Futures(Pool):
    """An executor with the interface of concurrent.futures."""

    _pool: Any

    def call(self, function: Function, *arguments: Any) -> Any:
        return self._pool.submit(function, *arguments).result()

    def calls(self, function: Function, count: int) -> list[Any]:
        submit = self._pool.submit
        return [future.result() for future in [submit(function) for _ in range(count)]]

    def batch(self, function: Function, count: int) -> list[Any]:
        return list(self._pool.map(function, range(count), chunksize=self.chunk(count)))

    def stop(self) -> None:
        self._pool.shutdown()


class ProcessPoolExecutor(Futures):
    name = "ProcessPoolExecutor"
    batch_form = "map(chunksize=...)"

    def __init__(self, workers: int) -> None:
        super().__init__(workers)
        from concurrent.futures import ProcessPoolExecutor

        self._make = ProcessPoolExecutor

    def start(self) -> None:
        self._pool = self._make(self.workers)


class Loky(Futures):
    name = "loky"
    packages = ("loky", "cloudpickle")
    batch_form = "map(chunksize=...)"

    def __init__(self, workers: int) -> None:
        super().__init__(workers)
        import loky

        self._make = loky.get_reusable_executor

    def start(self) -> None:
        self._pool = self._make(max_workers=self.workers)


class Multiprocessing(Pool):
    name = "multiprocessing.Pool"
    batch_form = "map"

    def __init__(self, workers: int) -> None:
        super().__init__(workers)
        import multiprocessing

        self._make: Any = multiprocessing.Pool
        self._pool: Any = None

    def start(self) -> None:
        self._pool = self._make(self.workers)

    def call(self, function: Function, *arguments: Any) -> Any:
        return self._pool.apply(function, arguments)

    def calls(self, function: Function, count: int) -> list[Any]:
        submit = self._pool.apply_async
        return [pending.get() for pending in [submit(function) for _ in range(count)]]

    def batch(self, function: Function, count: int) -> list[Any]:
        return list(self._pool.map(function, range(count)))

    def stop(self) -> None:
        self._pool.terminate()
        self._pool.join()


class Mpire(Multiprocessing):
    name = "mpire"
    packages = ("mpire",)
    batch_form = "map"

    def __init__(self, workers: int) -> None:
        super().__init__(workers)
        import mpire

        self._make = mpire.WorkerPool

    def start(self) -> None:
        self._pool = self._make(n_jobs=self.workers, keep_alive=True)


class Joblib(Pool):
    name = "joblib"
    packages = ("joblib",)
    batch_form = "Parallel(batch_size='auto')"

    def __init__(self, workers: int) -> None:
        super().__init__(workers)
        import joblib

        self._make, self._delayed = joblib.Parallel, joblib.delayed
        self._single: Any = None
        self._auto: Any = None

    def start(self) -> None:
        self._single = self._make(n_jobs=self.workers, batch_size=1).__enter__()

    def call(self, function: Function, *arguments: Any) -> Any:
        return self._single([self._delayed(function)(*arguments)])[0]

    def call_with_array(self, function: Function, array: Any) -> Any:
        """A Parallel of its own, which removes the file of the array at its end: one that lives on
        keeps a file of every array, and would not copy the same one again."""
        parallel = self._make(n_jobs=self.workers, batch_size=1)
        return parallel([self._delayed(function)(array)])[0]

    def calls(self, function: Function, count: int) -> list[Any]:
        return list(self._single(self._delayed(function)() for _ in range(count)))

    def batch(self, function: Function, count: int) -> list[Any]:
        if self._auto is None:
            self._auto = self._make(n_jobs=self.workers).__enter__()
        return list(self._auto(self._delayed(function)(item) for item in range(count)))

    def stop(self) -> None:
        for parallel in filter(None, (self._single, self._auto)):
            parallel.__exit__(None, None, None)


class Dask(Pool):
    name = "dask.distributed"
    packages = ("distributed", "dask")
    batch_form = "Client.map, without chunks"

    def __init__(self, workers: int) -> None:
        super().__init__(workers)
        import distributed

        self._make = distributed.Client
        self._client: Any = None

    def start(self) -> None:
        warnings.simplefilter("ignore")  # about ports of the dashboard
        self._client = self._make(
            n_workers=self.workers,
            threads_per_worker=1,
            dashboard_address=None,
            silence_logs=logging.ERROR,
        )

    def call(self, function: Function, *arguments: Any) -> Any:
        return self._client.submit(function, *arguments, pure=False).result()

    def call_with_array(self, function: Function, array: Any) -> Any:
        """A large argument is to be scattered, as a warning of dask's says."""
        return self.call(function, self._client.scatter(array, hash=False))

    def calls(self, function: Function, count: int) -> list[Any]:
        submit = self._client.submit
        futures = [submit(function, pure=False) for _ in range(count)]
        return list(self._client.gather(futures))

    def batch(self, function: Function, count: int) -> list[Any]:
        return list(self._client.gather(self._client.map(function, range(count), pure=False)))

    def stop(self) -> None:
        self._client.close()


POOLS: dict[str, type[Pool]] = {
    kind.name: kind
    for kind in (Whipray, ProcessPoolExecutor, Multiprocessing, Loky, Joblib, Mpire, Dask)
}
