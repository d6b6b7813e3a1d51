"""The notebook of the experiment runs from its first cell to its last, and shows right answers."""

from __future__ import annotations

import base64
import os
from pathlib import Path
from typing import Any

import nbclient
import nbformat
import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
NOTEBOOK = EXAMPLES / "experiment.ipynb"
CELL_TIMEOUT_SECONDS = 300
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


@pytest.fixture(scope="module")
def executed() -> Any:
    """The notebook after a kernel of this interpreter has run all of its cells."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    client = nbclient.NotebookClient(
        notebook,
        timeout=CELL_TIMEOUT_SECONDS,
        kernel_name="python3",
        resources={"metadata": {"path": str(EXAMPLES)}},
    )
    client.execute(env=dict(os.environ))
    return notebook


def printed(notebook: Any) -> str:
    """Everything that the cells wrote to standard output."""
    return "".join(
        output["text"]
        for cell in notebook.cells
        for output in cell.get("outputs", [])
        if output["output_type"] == "stream" and output["name"] == "stdout"
    )


def pictures(notebook: Any) -> list[bytes]:
    """The PNG files among the outputs."""
    return [
        base64.b64decode(output["data"]["image/png"])
        for cell in notebook.cells
        for output in cell.get("outputs", [])
        if "image/png" in output.get("data", {})
    ]


def test_the_repository_holds_no_outputs() -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert len(code) >= 6
    assert all(cell.outputs == [] and cell.execution_count is None for cell in code)


def test_every_cell_ran(executed: Any) -> None:
    counts = [cell.execution_count for cell in executed.cells if cell.cell_type == "code"]
    assert counts == list(range(1, len(counts) + 1))


def test_answers_equal_the_plain_loops(executed: Any) -> None:
    text = printed(executed)
    assert "CPUs: 2.0" in text
    assert "search equals the plain loop: True" in text
    assert "weights equal the plain loop's: True" in text
    assert "images equal the plain loop's: True" in text
    assert "18 images, at most 6 in flight" in text
    assert "initialised: False" in text


def test_scores_are_those_of_a_working_classifier(executed: Any) -> None:
    text = printed(executed)
    best = next(line for line in text.splitlines() if line.rstrip().endswith(")") and "(" in line)
    assert float(best.split()[0]) > 0.98
    accuracy = next(line for line in text.splitlines() if line.startswith("accuracy on 397"))
    assert float(accuracy.rpartition(":")[2]) > 0.9


def test_both_pictures_are_shown(executed: Any) -> None:
    shown = pictures(executed)
    assert len(shown) == 2
    for picture in shown:
        assert picture.startswith(PNG_SIGNATURE)
        assert len(picture) > 20_000
