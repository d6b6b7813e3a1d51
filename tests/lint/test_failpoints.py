"""Every failpoint in the sources stands in the kill matrix of the C tests."""

from __future__ import annotations

import re

from tests.lint import sources

PLACE = re.compile(r'WR_FAILPOINT\("([^"]+)"\)')
LISTED = re.compile(r"kill_places\[\] = \{(.*?)\};", re.DOTALL)


def test_every_failpoint_is_in_the_kill_matrix() -> None:
    passed = {name for path in sources.c_files() for name in PLACE.findall(path.read_text())}
    table = LISTED.search((sources.ROOT / "tests/c/kill.c").read_text())
    assert table, "tests/c/kill.c has no kill_places[]"
    listed = re.findall(r'"([^"]+)"', table.group(1))
    assert passed, "csrc/ has no failpoints"
    assert sorted(passed - set(listed)) == [], "add them to kill_places[]"
    assert sorted(set(listed) - passed) == [], "they are gone from csrc/"
    assert len(listed) == len(set(listed))
