"""A subinterpreter may be the driver; none but the main one can say what a signal does."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import _xxsubinterpreters as interpreters

made = interpreters.create(isolated=False)
interpreters.run_string(made, '''
import whipray

whipray.init(num_cpus=1, log_to_driver=False)
print(whipray.get(whipray.put(3)))
whipray.shutdown()
''')
"""


@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="the module changes with the version")
def test_a_subinterpreter_is_a_driver() -> None:
    assert subprocess.check_output([sys.executable, "-c", PROGRAM], text=True) == "3\n"
