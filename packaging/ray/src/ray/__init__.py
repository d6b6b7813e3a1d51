"""Hands the name over to Whipray: what is imported as `ray` from here on is whipray.compat's."""

import importlib
import sys

from whipray import compat

del sys.modules["ray"]
compat.install()
importlib.import_module("ray")
