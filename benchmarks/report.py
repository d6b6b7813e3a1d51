"""Results as JSON and as a table: Ray, Whipray, the limit of the machine, and their ratios."""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import Any

from benchmarks import limits
from benchmarks.rows import ROWS, Figure, Row

SCHEMA = 1
COLUMNS = ("row", "unit", "Ray", "Whipray", "limit", "vs Ray", "from limit")


class Results:
    """What one run has measured, in the shape of the JSON file."""

    def __init__(self, machine: dict[str, Any], plan: dict[str, Any]) -> None:
        self.data: dict[str, Any] = {
            "schema": SCHEMA,
            "machine": machine,
            "plan": plan,
            "sides": {},
            "limits": {},
            "problems": [],
            "rows": {},
        }

    @classmethod
    def load(cls, path: Path) -> Results:
        """Read a file that :meth:`save` wrote."""
        results = cls({}, {})
        results.data = json.loads(path.read_text())
        if results.data.get("schema") != SCHEMA:
            raise ValueError(f"{path} is not a result of this version of the benchmark")
        return results

    def save(self, path: Path) -> None:
        path.write_text(json.dumps(self.data, indent=1) + "\n")

    def add(self, row: Row, side: str, result: dict[str, Any]) -> None:
        """Keep a result; values of a further pass join those of the passes before."""
        sides = self.data["rows"].setdefault(
            row.key, {"title": row.title, "section": row.section, "does": row.does, "sides": {}}
        )["sides"]
        before = sides.get(side)
        if before and before["status"] == "ok":
            if result["status"] == "ok":
                for name, values in result["values"].items():
                    before["values"][name] += values
            return
        sides[side] = result

    def median(self, row: Row, side: str, figure: Figure) -> float | None:
        """The median over all windows, or None where there is no value."""
        values = self._side(row, side).get("values", {}).get(figure.name)
        return statistics.median(values) if values else None

    def absence(self, row: Row, side: str) -> str:
        """Why there is no value: "" when the side did not take part."""
        return str(self._side(row, side).get("status", ""))

    def reason(self, row: Row, side: str) -> str:
        return str(self._side(row, side).get("reason", ""))

    def limit(self, figure: Figure) -> float | None:
        return limits.limit_of(figure.limit, self.data["limits"])

    def rows(self) -> list[Row]:
        """The rows of this result, in the order of the table."""
        return [row for row in ROWS if row.key in self.data["rows"]]

    def _side(self, row: Row, side: str) -> dict[str, Any]:
        found: dict[str, Any] = self.data["rows"].get(row.key, {}).get("sides", {}).get(side, {})
        return found


def number(value: float | None) -> str:
    """About three significant digits, with k and M."""
    if value is None:
        return ""
    for size, suffix in ((1e6, " M"), (1e3, " k")):
        if abs(value) >= size * 0.9995:
            return f"{digits(value / size)}{suffix}"
    return digits(value)


def digits(value: float) -> str:
    if value == 0:
        return "0"
    places = 2 if abs(value) < 10 else 1 if abs(value) < 100 else 0
    return f"{value:.{places}f}" if abs(value) >= 0.1 else f"{value:.2g}"


def one_line(row: Row, side: str, result: dict[str, Any]) -> str:
    """A result as progress shows it."""
    if result["status"] != "ok":
        return f"{row.title:48} {side:8} {result['status']}: {result['reason']}"
    parts = [
        f"{number(statistics.median(values))} {figure.unit}"
        + (f" ({figure.name})" if len(row.figures) > 1 else "")
        for figure in row.figures
        if (values := result["values"].get(figure.name))
    ]
    return f"{row.title:48} {side:8} {', '.join(parts)}"


def times_better(figure: Figure, ours: float | None, other: float | None) -> float | None:
    """How many times better ``ours`` is than ``other``."""
    if not ours or not other:
        return None
    return ours / other if figure.better == "higher" else other / ours


def line_of(results: Results, row: Row, figure: Figure) -> list[str]:
    """One line of the table."""
    ray = results.median(row, "ray", figure)
    ours = results.median(row, "whipray", figure)
    limit = results.limit(figure)
    title: str = f"{row.number}. {row.title}" if row.number else row.title
    if len(row.figures) > 1:
        title += f", {figure.name}"
    faster = times_better(figure, ours, ray)
    distance = times_better(figure, limit, ours)
    return [
        title,
        figure.unit,
        number(ray) or results.absence(row, "ray"),
        number(ours) or results.absence(row, "whipray"),
        number(limit),
        f"{number(faster)}x" if faster else "",
        f"{number(distance)}x" if distance else "",
    ]


def sections(results: Results) -> list[tuple[str, list[list[str]]]]:
    """The lines of the table by section."""
    grouped: dict[str, list[list[str]]] = {}
    for row in results.rows():
        lines = grouped.setdefault(row.section, [])
        lines += [line_of(results, row, figure) for figure in row.figures]
    return list(grouped.items())


def reasons(results: Results) -> list[str]:
    """A line for every row that has no value on a side, saying why."""
    return [
        f"{row.title} on {side}: {results.absence(row, side)}: {results.reason(row, side)}"
        for row in results.rows()
        for side in ("ray", "whipray")
        if results.absence(row, side) not in ("", "ok")
    ]


def machine_lines(results: Results) -> list[str]:
    """The machine and the revision, one fact per line."""
    machine = results.data["machine"]
    return [
        f"{machine['cpu']}, {machine['usable_cores']} cores, {machine['memory_gib']} GiB, "
        f"Linux {machine['kernel']}, {machine['time']}",
        f"revision {machine['revision'][:12]}{' (modified)' if machine['modified'] else ''}"
        + (", quick run" if results.data["plan"].get("quick") else ""),
    ]


def header(results: Results) -> list[str]:
    """The machine and the versions, one fact per line."""
    lines = machine_lines(results)
    for side, facts in results.data["sides"].items():
        known = facts.get("versions", {})
        version = known.get(facts["module"], "")
        lines.append(
            f"{side}: not run: {facts['unavailable']}"
            if facts["unavailable"]
            else f"{side}: {facts['module']} {version}, Python {known.get('python')}"
        )
    return [*lines, *results.data["problems"]]


def as_text(results: Results) -> str:
    """The table for a terminal."""
    parts = list(header(results))
    grouped = sections(results)
    widths = [
        max([len(title)] + [len(line[at]) for _, lines in grouped for line in lines])
        for at, title in enumerate(COLUMNS)
    ]
    for title, lines in grouped:
        parts += ["", title, _padded(list(COLUMNS), widths), "-" * (sum(widths) + 12)]
        parts += [_padded(line, widths) for line in lines]
    why = reasons(results)
    return "\n".join([*parts, *(["", *why] if why else [])]) + "\n"


def _padded(cells: list[str], widths: list[int]) -> str:
    return "  ".join(
        cell.ljust(width) if at < 2 else cell.rjust(width)
        for at, (cell, width) in enumerate(zip(cells, widths, strict=True))
    ).rstrip()


def as_markdown(results: Results) -> str:
    """The same table for a page."""
    parts = ["  \n".join(header(results))]
    for title, lines in sections(results):
        table = [COLUMNS, ("---", "---", *["---:"] * 5), *lines]
        parts += [f"## {title}", "\n".join(f"| {' | '.join(cells)} |" for cells in table)]
    why = reasons(results)
    if why:
        parts += ["## Rows without a value", "\n".join(f"- {line}" for line in why)]
    return "\n\n".join(parts) + "\n"
