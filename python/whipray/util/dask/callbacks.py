"""What a program may do at each step of a graph's computation."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from typing import Any, ClassVar, NamedTuple

from dask.callbacks import Callback

STEPS = (
    "ray_presubmit",
    "ray_postsubmit",
    "ray_pretask",
    "ray_posttask",
    "ray_postsubmit_all",
    "ray_finish",
)


class RayCallback(NamedTuple):
    """The functions of one callback, None where it has none."""

    ray_presubmit: Any
    ray_postsubmit: Any
    ray_pretask: Any
    ray_posttask: Any
    ray_postsubmit_all: Any
    ray_finish: Any


class RayDaskCallback(Callback):  # type: ignore[misc, unused-ignore]
    """Functions to call, given as arguments or as methods with an underscore in front.

    ray_presubmit(task, key, deps): before a task is submitted; what it returns, if not None, is the
    result, and the task is not run.  ray_postsubmit(task, key, deps, object_ref): after that.
    ray_pretask(key, object_refs) and ray_posttask(key, result, pre_state): around the task, in its
    worker; pre_state is what the former returned.  ray_postsubmit_all(object_refs, dsk): when all
    are submitted.  ray_finish(result): at the end.
    """

    ray_active: ClassVar[set[RayCallback]] = set()

    def __init__(self, **kwargs: Any) -> None:
        for step in STEPS:
            function = kwargs.pop(step, None)
            if function is not None:
                setattr(self, f"_{step}", function)
        super().__init__(**kwargs)

    @property
    def _ray_callback(self) -> RayCallback:
        return RayCallback(*(getattr(self, f"_{step}", None) for step in STEPS))

    def __enter__(self) -> RayDaskCallback:
        RayDaskCallback.ray_active.add(self._ray_callback)
        super().__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        RayDaskCallback.ray_active.discard(self._ray_callback)

    def register(self) -> None:
        """Be active from now on."""
        RayDaskCallback.ray_active.add(self._ray_callback)
        super().register()

    def unregister(self) -> None:
        """Be active no longer."""
        RayDaskCallback.ray_active.discard(self._ray_callback)
        super().unregister()


def unpack_ray_callbacks(callbacks: Iterable[Any]) -> RayCallback:
    """The functions of several callbacks: a list for each step.

    The two lists around a task have None for callbacks that lack one of them, so that they match.
    """
    plain = [c._ray_callback if isinstance(c, RayDaskCallback) else c for c in callbacks]
    for callback in plain:
        if not isinstance(callback, RayCallback):
            raise TypeError(f"a callback is a RayDaskCallback, not {callback!r}")
    steps = {step: [f for c in plain if (f := getattr(c, step))] for step in STEPS}
    around = [c for c in plain if c.ray_pretask or c.ray_posttask]
    steps["ray_pretask"] = [c.ray_pretask for c in around]
    steps["ray_posttask"] = [c.ray_posttask for c in around]
    return RayCallback(**steps)


@contextlib.contextmanager
def local_ray_callbacks(callbacks: Iterable[Any] | None = None) -> Iterator[Iterable[Any]]:
    """The callbacks given, or else the active ones, which graphs inside of graphs do not see."""
    if callbacks is not None:
        yield callbacks
        return
    active, RayDaskCallback.ray_active = RayDaskCallback.ray_active, set()
    try:
        yield list(active)
    finally:
        RayDaskCallback.ray_active = active


class ProgressBarCallback(RayDaskCallback):
    """Shows a bar of finished tasks; needs tqdm."""

    def __init__(self) -> None:
        super().__init__()
        self._refs: list[Any] = []

    def _ray_postsubmit(self, task: Any, key: Any, deps: Any, object_ref: Any) -> None:
        self._refs.append(object_ref)

    def _ray_postsubmit_all(self, object_refs: Any, dsk: Any) -> None:
        from tqdm import tqdm

        from whipray.util import as_completed

        refs, self._refs = self._refs, []
        for _ in tqdm(as_completed(refs, chunk_size=1, yield_obj_refs=True), total=len(refs)):
            pass
