"""Classes and functions that go by value, as those of a script or a notebook do.

cloudpickle writes such a class out, with the code of its methods, beside each of its instances, and
whoever reads one makes all methods anew.  For a class that is as it was when it went the last time
that is not needed: the same bytes go once more, under a name that both sides remember, and a reader
who has made the class from them takes that.  Likewise functions, from the second time on: many go
once only.

It must not be seen: what is remembered counts only as long as `watch.Watch` can tell that nothing
has changed that the pickle depends on, on the side of the writer and on that of the reader, who may
have changed the class meanwhile, and then gets it as it was sent.

Classes that a class depends on have their own bytes within its bytes: reading one does not make the
others anew.  Only where two depend on each other do both make both.
"""

from __future__ import annotations

import hashlib
import io
import types
import weakref
from typing import Any

from whipray import cloudpickle
from whipray._private.watch import METACLASSES, CannotWatch, Watch, goes_by_name, is_script

MOST = 256
"""How many classes a process remembers."""
MOST_CHANGES = 8
"""How often a class may have changed: one that counts its instances goes anew each time."""
MOST_BYTES = 128 << 10
"""Pickles that are kept: larger ones take their time in any case."""

KINDS = METACLASSES | {types.FunctionType}
"""Types of what may be remembered."""


class Known:
    """A class or function, its pickle, and what that depends on."""

    def __init__(
        self, thing: Any, digest: bytes, pickled: bytes, changes: int, watch: Watch
    ) -> None:
        self.thing = thing
        self.digest = digest
        self.pickled = pickled
        self.changes = changes
        self.watch = watch


_known: dict[Any, Known] = {}
"""By class or function."""
_by_digest: dict[bytes, Known] = {}
_unwatched: weakref.WeakSet[Any] = weakref.WeakSet()
"""What goes anew each time; it lives no longer for it, as it may refer to actors, say."""
_gone_once: weakref.WeakSet[types.FunctionType] = weakref.WeakSet()


def reduced(thing: Any) -> tuple[Any, ...] | None:
    """What stands for the class or function in a pickle; None: cloudpickle knows better."""
    known = _known.get(thing)
    if known is None:
        known = _learn(thing, 0) if _is_worth_it(thing) else None
    elif not known.watch.holds():
        known = _learn(thing, known.changes + 1)
    return None if known is None else (revived, (known.digest, known.pickled))


def revived(digest: bytes, pickled: bytes) -> Any:
    """The class or function that `pickled` makes, as it makes it."""
    known = _by_digest.get(digest)
    if known is not None and known.watch.holds():
        return known.thing
    thing = cloudpickle.loads(pickled)
    before = _known.get(thing)
    try:
        watch = Watch(thing)
    except CannotWatch:
        _by_digest.pop(digest, None)
        _forget(thing)
    else:
        changes = before.changes if before is not None else 0
        _remember(Known(thing, digest, pickled, changes, watch))
    return thing


def _is_worth_it(thing: Any) -> bool:
    if not _may_go_by_value(thing) or thing in _unwatched:
        return False
    if type(thing) is not types.FunctionType or thing in _gone_once:
        return True
    _gone_once.add(thing)
    return False


def _may_go_by_value(thing: Any) -> bool:
    return is_script(thing.__module__) or "<locals>" in thing.__qualname__


def _learn(thing: Any, changes: int) -> Known | None:
    if goes_by_name(thing):
        return None
    try:
        if changes > MOST_CHANGES:
            raise CannotWatch(thing)
        watch = Watch(thing)  # before it is written: what changes meanwhile is seen the next time
        pickled = _pickled(thing)
    except Exception:  # of too many that lie in each other, say: what is wrong will be said of all
        pickled = b""
    if not 0 < len(pickled) <= MOST_BYTES:
        _forget(thing)
        return None
    digest = hashlib.blake2b(pickled, digest_size=16).digest()
    return _remember(Known(thing, digest, pickled, changes, watch))


def _forget(thing: Any) -> None:
    _known.pop(thing, None)
    _unwatched.add(thing)


def _remember(known: Known) -> Known:
    if known.thing not in _unwatched:
        _keep(_known, known.thing, known)
    _keep(_by_digest, known.digest, known)
    return known


def _keep(table: dict[Any, Any], key: Any, value: Any) -> None:
    table.pop(key, None)
    for old in list(table)[: max(0, len(table) + 1 - MOST)]:
        table.pop(old, None)
    table[key] = value


class _Definition(cloudpickle.Pickler):
    """Writes one class or function, by value; classes that it depends on as in any pickle."""

    def __init__(self, file: io.BytesIO, thing: Any) -> None:
        super().__init__(file, protocol=5)
        self._thing = thing

    def reducer_override(self, obj: Any) -> Any:
        if type(obj) in METACLASSES and _may_go_by_value(obj) and not _depends(obj, self._thing):
            made = reduced(obj)
            if made is not None:
                return made
        return NotImplemented if obj is revived else super().reducer_override(obj)


def _pickled(thing: Any) -> bytes:
    file = io.BytesIO()
    _Definition(file, thing).dump(thing)
    return file.getvalue()


def _depends(cls: type, on: Any) -> bool:
    known = _known.get(cls)
    try:
        watch = known.watch if known is not None and known.watch.holds() else Watch(cls)
    except CannotWatch:
        return True
    return on in watch.classes
