"""A fixed set of actors that work through a stream of values."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NoReturn

from whipray import _core
from whipray._private import api
from whipray.exceptions import ActorDiedError


class ActorPool:
    """Spreads calls over a list of actors.

    The functions given to `map` and `submit` take an actor and a value and return a reference:
    `pool.map(lambda actor, value: actor.double.remote(value), values)`.
    """

    def __init__(self, actors: list[Any]) -> None:
        self._idle_actors = list(actors)
        self._future_to_actor: dict[Any, tuple[int, Any]] = {}
        self._index_to_future: dict[int, Any] = {}
        self._next_task_index = 0
        self._next_return_index = 0
        self._pending_submits: list[tuple[Callable[[Any, Any], Any], Any]] = []

    def map(self, fn: Callable[[Any, Any], Any], values: Iterable[Any]) -> Iterator[Any]:
        """Results in the order of the values; all calls are submitted now, results come lazily."""
        self._begin(fn, values)

        def results() -> Iterator[Any]:
            while self.has_next():
                yield self.get_next()
            self._refuse_rest()

        return results()

    def map_unordered(self, fn: Callable[[Any, Any], Any], values: Iterable[Any]) -> Iterator[Any]:
        """Results in the order in which they become ready."""
        self._begin(fn, values)

        def results() -> Iterator[Any]:
            while self.has_next():
                yield self.get_next_unordered()
            self._refuse_rest()

        return results()

    def _begin(self, fn: Callable[[Any, Any], Any], values: Iterable[Any]) -> None:
        """Drop results of earlier work that nobody fetched, then submit."""
        while self.has_next():
            try:
                self.get_next(timeout=0, ignore_if_timedout=True)
            except TimeoutError:
                pass
        for value in values:
            self.submit(fn, value)

    def _refuse_rest(self) -> None:
        """ValueError for values that no actor is left for: they would be missing silently."""
        if self._pending_submits:
            count = len(self._pending_submits)
            self._pending_submits.clear()
            raise ValueError(
                f"This ActorPool has no actors{' left' if self._next_task_index else ''}: "
                f"{count} of the values were given to none. Make it with a list of actors, or "
                "push() some before map()."
            )

    def submit(self, fn: Callable[[Any, Any], Any], value: Any) -> None:
        """Call on the next idle actor; later, if none is idle."""
        if not self._idle_actors:
            self._pending_submits.append((fn, value))
            return
        actor = self._idle_actors.pop()
        future = fn(actor, value)
        key = tuple(future) if isinstance(future, list) else future
        self._future_to_actor[key] = (self._next_task_index, actor)
        self._index_to_future[self._next_task_index] = future
        self._next_task_index += 1

    def has_next(self) -> bool:
        """True while results are to be fetched."""
        return bool(self._future_to_actor)

    def get_next(self, timeout: float | None = None, ignore_if_timedout: bool = False) -> Any:
        """The next result in the order of submission; TimeoutError if it is not there in time."""
        if not self.has_next():
            raise StopIteration("No more results to get")
        if self._next_return_index >= self._next_task_index:
            raise ValueError("It is not allowed to call get_next() after get_next_unordered().")
        future = self._index_to_future[self._next_return_index]
        timed_out = timeout is not None and not _ready(future, timeout)
        if timed_out and not ignore_if_timedout:
            raise TimeoutError("Timed out waiting for result")
        del self._index_to_future[self._next_return_index]
        self._next_return_index += 1
        key = tuple(future) if isinstance(future, list) else future
        _, actor = self._future_to_actor.pop(key)
        return self._drop(actor) if timed_out else self._get_result(future, actor)

    def get_next_unordered(
        self, timeout: float | None = None, ignore_if_timedout: bool = False
    ) -> Any:
        """Any result that is ready; TimeoutError if none is in time."""
        if not self.has_next():
            raise StopIteration("No more results to get")
        ready, _ = api.wait(list(self._future_to_actor), num_returns=1, timeout=timeout)
        if not ready and not ignore_if_timedout:
            raise TimeoutError("Timed out waiting for result")
        future = ready[0] if ready else next(iter(self._future_to_actor))
        index, actor = self._future_to_actor.pop(future)
        self._index_to_future.pop(index, None)
        self._next_return_index = max(self._next_return_index, index + 1)
        return self._get_result(future, actor) if ready else self._drop(actor)

    def _get_result(self, future: Any, actor: Any) -> Any:
        """The result; its actor may be used again unless it has died."""
        alive = True
        try:
            return _core.get(list(future) if isinstance(future, tuple) else future)
        except ActorDiedError:
            alive = False
            raise
        finally:
            self._return_actor(actor, is_alive=alive)

    def _drop(self, actor: Any) -> NoReturn:
        self._return_actor(actor)
        raise TimeoutError("Timed out waiting for result. The task has been ignored.")

    def _return_actor(self, actor: Any, is_alive: bool = True) -> None:
        if is_alive:
            self._idle_actors.append(actor)
        if self._pending_submits and self._idle_actors:
            self.submit(*self._pending_submits.pop(0))

    def has_free(self) -> bool:
        """True if an actor is idle and nothing waits for one."""
        return bool(self._idle_actors) and not self._pending_submits

    def pop_idle(self) -> Any:
        """Take an idle actor out of the pool; None if there is none."""
        return self._idle_actors.pop() if self.has_free() else None

    def push(self, actor: Any) -> None:
        """Add an idle actor; ValueError if it belongs to the pool already."""
        busy = [actor for _, actor in self._future_to_actor.values()]
        if actor in self._idle_actors or actor in busy:
            raise ValueError("Actor already belongs to current ActorPool")
        self._return_actor(actor)


def _ready(future: Any, timeout: float) -> bool:
    refs = future if isinstance(future, list) else [future]
    return len(api.wait(refs, num_returns=len(refs), timeout=timeout)[0]) == len(refs)
