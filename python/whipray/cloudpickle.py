"""cloudpickle under the name that Ray gives it: `whipray.cloudpickle`."""

from __future__ import annotations

from typing import Any

import cloudpickle as _cloudpickle
from cloudpickle import *  # noqa: F403
from cloudpickle import CloudPickler as CloudPickler
from cloudpickle import Pickler as Pickler
from cloudpickle import dump as dump
from cloudpickle import dumps as dumps
from cloudpickle import load as load
from cloudpickle import loads as loads


def __getattr__(name: str) -> Any:
    return getattr(_cloudpickle, name)
