"""Names of functions out of pickles of which nothing is brought to life."""

from __future__ import annotations

import pytest

from whipray import cloudpickle
from whipray._private import exporting, pickled_names


def explodes() -> None:
    raise AssertionError("a name is read without a call")


class Explodes:
    def __reduce__(self) -> tuple[object, ...]:
        return explodes, ()


@pytest.mark.parametrize("definition", [len, explodes, lambda: 3, Explodes()])
@pytest.mark.parametrize("from_cells", [False, True])
def test_name_of_a_function(definition: object, from_cells: bool) -> None:
    value: object = (definition, "module.name")
    if from_cells:
        value = exporting.FromCells(value, {"cell": (1, None, ["text"], "cell")})
    assert pickled_names.full(cloudpickle.dumps(value)) == "module.name"


@pytest.mark.parametrize("value", [(Explodes, ["method"]), "text", 3])
def test_what_is_no_function_has_no_name(value: object) -> None:
    assert pickled_names.full(cloudpickle.dumps(value)) == ""
    assert pickled_names.full(b"no pickle") == ""
