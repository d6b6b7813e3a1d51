"""The table of peers: a column for each, Whipray's first."""

from __future__ import annotations

from benchmarks.peers.rows import ROWS
from benchmarks.report import Results, machine_lines, number, times_better
from benchmarks.rows import Figure, Row

WHIPRAY = "whipray"
NOTE = "In brackets: how many times better Whipray was right before or after the peer."


def beside(peer: str) -> str:
    """The name under which Whipray's values next to a peer are kept, for the ratio."""
    return f"{WHIPRAY} beside {peer}"


def peers_of(results: Results) -> list[str]:
    """The names of the peers, installed or not, in the order in which they were run."""
    return [name for name in results.data["sides"] if name != WHIPRAY]


def cell(results: Results, row: Row, figure: Figure, peer: str) -> str:
    """The figure of a peer and how many times better Whipray's is."""
    value = results.median(row, peer, figure)
    if value is None:
        unavailable = results.data["sides"][peer]["unavailable"]
        return "not installed" if unavailable else results.absence(row, peer)
    times = times_better(figure, results.median(row, beside(peer), figure), value)
    return f"{number(value)} ({number(times)}x)" if times else number(value)


def lines(results: Results) -> list[list[str]]:
    """The cells of the table, its heading first."""
    found = [["row", "unit", WHIPRAY, *peers_of(results)]]
    for row in ROWS:
        if row.key not in results.data["rows"]:
            continue
        for figure in row.figures:
            title = f"{row.title}, {figure.name}" if len(row.figures) > 1 else row.title
            ours = number(results.median(row, WHIPRAY, figure)) or results.absence(row, WHIPRAY)
            others = [cell(results, row, figure, peer) for peer in peers_of(results)]
            found.append([title, figure.unit, ours, *others])
    return found


def header(results: Results) -> list[str]:
    """The machine, then what each column is."""
    workers = results.data["plan"]["num_cpus"]
    found = [*machine_lines(results), f"{workers} worker processes. {NOTE}"]
    for name, facts in results.data["sides"].items():
        if facts["unavailable"]:
            found.append(f"{name}: {facts['unavailable']}")
            continue
        versions = {**facts["versions"]}
        python = versions.pop("python", "")
        for place in ("path", "executable"):
            versions.pop(place, None)
        known = [f"Python {python}", *(f"{package} {text}" for package, text in versions.items())]
        found.append(f"{name}: {', '.join(known)}")
    return found


def reasons(results: Results) -> list[str]:
    """Why a row has no value, where the peer was run."""
    return [
        f"{row.title} on {side}: {results.absence(row, side)}: {results.reason(row, side)}"
        for row in ROWS
        for side in results.data["sides"]
        if results.absence(row, side) not in ("", "ok")
    ]


def as_markdown(results: Results) -> str:
    heading, *rest = lines(results)
    rule = ["---", "---", *["---:"] * (len(heading) - 2)]
    table = "\n".join(f"| {' | '.join(cells)} |" for cells in (heading, rule, *rest))
    forms = [f"- {row.title}: {row.does}" for row in ROWS if row.key in results.data["rows"]]
    parts = ["  \n".join(header(results)), table, "\n".join(forms)]
    if why := reasons(results):
        parts.append("\n".join(f"- {line}" for line in why))
    return "\n\n".join(parts) + "\n"


def as_text(results: Results) -> str:
    table = lines(results)
    widths = [max(len(cells[at]) for cells in table) for at in range(len(table[0]))]
    padded = [
        "  ".join(
            text.ljust(width) if at < 2 else text.rjust(width)
            for at, (text, width) in enumerate(zip(cells, widths, strict=True))
        ).rstrip()
        for cells in table
    ]
    return "\n".join([*header(results), "", *padded, "", *reasons(results)]).rstrip() + "\n"
