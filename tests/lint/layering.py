"""The layers of csrc/ and what each may include, as a function of a file's name and text."""

from __future__ import annotations

import re

# Each layer, and the layers it may include besides itself.
BELOW: dict[str, tuple[str, ...]] = {
    "base": (),
    "os": ("base",),
    "shm": ("base", "os"),
    "store": ("base", "os", "shm"),
    "wire": ("base", "os", "shm"),
    "sched": ("base", "os", "shm", "store", "wire"),
    "client": ("base", "os", "shm", "store", "wire", "sched"),
    "node": ("base", "os", "shm", "store", "wire", "sched"),
    "pyext": ("base", "os", "shm", "store", "wire", "sched", "client"),
}

# Headers of the kernel and of system calls, and who may include them.  The headers of C itself
# (stdint.h, string.h, errno.h, time.h, ...) are for everyone.
SYSTEM: dict[str, tuple[str, ...]] = {
    r"(sys|linux|asm|arpa|net|netinet)/.*": ("os",),
    r"signal\.h": ("os", "base"),  # raise() of C, for failpoints
    r"(unistd|fcntl|poll|sched|dlfcn|dirent|spawn|pwd|grp|netdb|termios)\.h": ("os",),
    r"pthread\.h": ("os", "client"),
    r"uv(/.*)?\.h|uv/.*": ("node",),
    r"msgpack(/.*)?\.h|msgpack/.*": ("wire",),
    r"Python\.h|structmember\.h|frameobject\.h|numpy/.*": ("pyext",),
}

INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', re.MULTILINE)


def violations(name: str, text: str) -> list[str]:
    """What file `name` (such as `csrc/store/refs.c`) includes and may not, one sentence each."""
    layer = name.split("/")[1]
    if layer not in BELOW:
        return [f"{name}: {layer}/ is no layer of csrc/; the layers are {', '.join(BELOW)}"]
    found = []
    for match in INCLUDE.finditer(text):
        line = text.count("\n", 0, match.start(2)) + 1
        reason = _refuse(layer, quoted=match.group(1) == '"', header=match.group(2))
        if reason:
            found.append(f"{name}:{line}: {match.group(2)}: {reason}")
    return found


def _refuse(layer: str, *, quoted: bool, header: str) -> str | None:
    if quoted:
        return _refuse_own(layer, header)
    for pattern, allowed in SYSTEM.items():
        if re.fullmatch(pattern, header) and layer not in allowed:
            return f"only {' and '.join(f'{name}/' for name in allowed)} may include it"
    return None


def _refuse_own(layer: str, header: str) -> str | None:
    other, slash, _ = header.partition("/")
    if not slash:
        return None  # beside the file itself
    if other not in BELOW:
        return "name it as <layer>/<file>, from csrc/"
    if other == layer or other in BELOW[layer]:
        return None
    return f"{layer}/ may include {', '.join(BELOW[layer]) or 'nothing'} only"
