"""Arrays of NumPy that are put into the object store without a copy."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from whipray import _core


@contextmanager
def shared_arrays() -> Iterator[None]:
    """Let `put` take large arrays that are made in this block as they lie, without a copy.

    ::

        with whipray.util.shared_arrays():
            a = np.empty((20_000, 10_000))
        a[:] = ...              # here or in the block
        ref = whipray.put(a)    # microseconds, whatever the size
        a[0] = 7                # the stored value keeps the old content

    NumPy then takes the memory of arrays of 1 MiB and more from the store.  The first `put` of one
    stores it as it lies, alone or as the greatest part of a value that holds it; so do a call that
    gets it as an argument, and a task that returns it.  A stored value is a snapshot, as always:
    who goes on writing to the array gets a copy of each page (4 KiB) that is written, and sees no
    difference.  A second `put` of the same array copies it.  While the array lives, the value stays
    in memory, even when nobody refers to it any more.

    Arrays that are not put yet take at most half of the store for each process, and leave at least
    a quarter of it free; others have ordinary memory, as outside of the block, and `put` copies
    them.  The block is for its thread or coroutine alone.  As a decorator it holds for each call.

    A `fork` and `shutdown` give the arrays ordinary memory, for which they copy them where somebody
    else could write to the store.

    Starts a session if there is none, as `put` does.  ImportError: there is no NumPy.
    """
    from whipray._private import worker

    try:
        import numpy  # noqa: F401
    except ModuleNotFoundError as error:
        raise ImportError("shared_arrays() is about arrays of NumPy, which is missing") from error
    worker.ensure_attached()
    before = _core.shared_begin()
    try:
        yield
    finally:
        _core.shared_end(before)
