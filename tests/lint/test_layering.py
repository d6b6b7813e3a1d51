"""The C sources include only what stands below them."""

from __future__ import annotations

import pytest

from tests.lint import layering, sources


@pytest.mark.parametrize("path", sources.c_files(), ids=sources.relative)
def test_includes_only_from_below(path):
    assert layering.violations(sources.relative(path), path.read_text()) == []


@pytest.mark.parametrize(
    ("name", "include"),
    [
        ("csrc/base/status.c", '"os/os.h"'),
        ("csrc/shm/ring.h", '"store/object.h"'),
        ("csrc/store/refs.c", '"wire/frame.h"'),
        ("csrc/wire/frame.c", '"store/refs.h"'),
        ("csrc/sched/task.c", '"client/client.h"'),
        ("csrc/client/get.c", '"node/loop.h"'),
        ("csrc/node/loop.c", '"client/client.h"'),
        ("csrc/pyext/module.c", '"node/loop.h"'),
        ("csrc/store/refs.c", '"../shm/ring.h"'),
        ("csrc/store/refs.c", '"elsewhere/ring.h"'),
        ("csrc/client/get.c", "<unistd.h>"),
        ("csrc/shm/ring.c", "<sys/mman.h>"),
        ("csrc/shm/ring.c", "<linux/futex.h>"),
        ("csrc/store/refs.c", "<pthread.h>"),
        ("csrc/sched/task.c", "<uv.h>"),
        ("csrc/node/loop.c", "<msgpack.h>"),
        ("csrc/client/get.c", "<Python.h>"),
        ("csrc/extra/new.c", "<stdint.h>"),
    ],
)
def test_rule_refuses(name, include):
    assert len(layering.violations(name, f"/* text */\n#  include {include}\n")) == 1


@pytest.mark.parametrize(
    ("name", "include"),
    [
        ("csrc/base/status.c", '"base/status.h"'),
        ("csrc/store/refs.c", '"refs.h"'),
        ("csrc/store/refs.c", '"shm/layout.h"'),
        ("csrc/sched/task.c", '"wire/frame.h"'),
        ("csrc/pyext/module.c", '"client/client.h"'),
        ("csrc/pyext/module.c", "<Python.h>"),
        ("csrc/node/loop.c", "<uv.h>"),
        ("csrc/wire/frame.c", "<msgpack.h>"),
        ("csrc/os/map.c", "<sys/mman.h>"),
        ("csrc/client/lock.c", "<pthread.h>"),
        ("csrc/shm/ring.h", "<stdatomic.h>"),
    ],
)
def test_rule_allows(name, include):
    assert layering.violations(name, f"#include {include}\n") == []


def test_violation_names_file_line_and_reason():
    text = "#include <stdint.h>\n\n#include <uv.h>\n"
    assert layering.violations("csrc/store/refs.c", text) == [
        "csrc/store/refs.c:3: uv.h: only node/ may include it"
    ]
