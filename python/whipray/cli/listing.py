"""What the state API and files say: `list`, `get`, `summary`, `memory`, `timeline` and `logs`."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from typing import Any

from whipray.cli import joining

KINDS = ("actors", "tasks", "objects", "workers", "nodes", "jobs", "placement-groups")
_WIDEST = 64


def add_commands(commands: Any) -> None:
    """Add the commands to the parser."""
    listing = commands.add_parser("list", help=f"rows: {', '.join(KINDS)}")
    listing.add_argument("kind", choices=KINDS)
    listing.add_argument(
        "-f", "--filter", action="append", default=[], help="COLUMN=VALUE or COLUMN!=VALUE"
    )
    listing.add_argument("--limit", type=_rows, default=100, help="rows at most (100)")
    listing.add_argument("--detail", action="store_true", help="more columns")
    listing.add_argument("--format", choices=("table", "json"), default="table")
    joining.add_address(listing)
    listing.set_defaults(run=_list)
    getting = commands.add_parser("get", help="all that is known of one of what `list` lists")
    getting.add_argument("kind", choices=KINDS)
    getting.add_argument("id", help="its id, as `list` shows it")
    getting.add_argument("--format", choices=("lines", "json"), default="lines")
    joining.add_address(getting)
    getting.set_defaults(run=_get)
    summary = commands.add_parser("summary", help="counts of tasks, actors or objects")
    summary.add_argument("kind", choices=("tasks", "actors", "objects"))
    joining.add_address(summary)
    summary.set_defaults(run=_summary)
    memory = commands.add_parser("memory", help="objects by size, and who holds them")
    memory.add_argument("--limit", type=_rows, default=50, help="rows at most (50)")
    joining.add_address(memory)
    memory.set_defaults(run=_memory)
    line = commands.add_parser(
        "timeline", help="a trace of tasks and calls for Chrome or Perfetto, with RAY_PROFILING=1"
    )
    line.add_argument("file", nargs="?", default="whipray-timeline.json", help="name (%(default)s)")
    joining.add_address(line)
    line.set_defaults(run=_timeline)
    logs = commands.add_parser("logs", help="log files of a session; their names if none is given")
    logs.add_argument("name", nargs="?", help="name of the file")
    logs.add_argument("--tail", type=int, default=1000, help="lines from the end (1000)")
    logs.add_argument("-f", "--follow", action="store_true", help="go on as the file grows")
    joining.add_address(logs)
    logs.set_defaults(run=_logs)


def _list(options: argparse.Namespace) -> int:
    filters = [_filter(text) for text in options.filter]
    with joining.joined(options.address):
        from whipray.util import state

        ask = getattr(state, f"list_{options.kind.replace('-', '_')}")
        filters += _all_but_own(options.kind)
        rows = ask(filters=filters or None, limit=options.limit + 1, detail=options.detail)
        names = rows[0].list_columns(options.detail) if rows else []
        found = [{name: row.asdict()[name] for name in names} for row in rows[: options.limit]]
    if options.format == "json":
        print(json.dumps(found, indent=2, default=str))
    else:
        table(names, [[row[name] for name in names] for row in found])
    if len(rows) > options.limit:
        print(f"whipray: there are more rows than {options.limit}; see --limit", file=sys.stderr)
    return 0


def _get(options: argparse.Namespace) -> int:
    kind = options.kind.replace("-", "_")
    with joining.joined(options.address):
        from whipray.util import state

        if kind == "objects":
            found = state.get_objects(options.id) or []
        else:
            row = getattr(state, f"get_{kind.removesuffix('s')}")(options.id)
            found = [] if row is None else [row]
        known = [row.asdict() for row in found]
    if not known:
        raise ValueError(f"there is nothing among the {options.kind} with the id {options.id!r}")
    if options.format == "json":
        print(json.dumps(known if kind == "objects" else known[0], indent=2, default=str))
        return 0
    for at, facts in enumerate(known):
        print("\n" * (at > 0) + "\n".join(f"{name}: {value}" for name, value in facts.items()))
    return 0


def _rows(text: str) -> int:
    """What --limit takes."""
    if text.isdecimal() and int(text) > 0:
        return int(text)
    raise argparse.ArgumentTypeError(f"a number of rows is at least 1, not {text}")


def _all_but_own(kind: str) -> list[tuple[str, str, str]]:
    """A filter that leaves out this command, which is a driver while it looks."""
    from whipray import get_runtime_context

    own = get_runtime_context()
    if kind == "workers":
        return [("worker_id", "!=", own.get_worker_id())]
    return [("job_id", "!=", own.get_job_id())] if kind == "jobs" else []


def _filter(text: str) -> tuple[str, str, str]:
    for predicate in ("!=", "="):
        column, found, value = text.partition(predicate)
        if found:
            return column.strip(), predicate, value.strip()
    raise ValueError(f"--filter {text!r} is not of the form COLUMN=VALUE or COLUMN!=VALUE")


def table(names: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Print rows below their names, in columns; without any their number alone."""
    if not rows:
        print("0 rows")
        return
    cells = [[name.upper() for name in names], *([_cell(item) for item in row] for row in rows)]
    widths = [max(len(row[at]) for row in cells) for at in range(len(names))]
    for row in cells:
        print(
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        )
    print(f"\n{len(rows)} row{'' if len(rows) == 1 else 's'}")


def _cell(value: Any) -> str:
    text = "" if value is None else str(value)
    return text if len(text) <= _WIDEST else text[: _WIDEST - 3] + "..."


def _summary(options: argparse.Namespace) -> int:
    with joining.joined(options.address):
        from whipray.util import state

        found = getattr(state, f"summarize_{options.kind}")()["cluster"]
    summary = found.pop("summary")
    for name, value in found.items():
        print(f"{name}: {value}")
    for name, group in summary.items():
        print(f"\n{name}")
        for key, value in group.items():
            if value != name:
                print(f"  {key}: {value}")
    return 0


def _memory(options: argparse.Namespace) -> int:
    with joining.joined(options.address):
        import whipray
        from whipray.util import state

        rows = state.list_objects(limit=10_000, detail=True)
        total = whipray.cluster_resources()["object_store_memory"]
    rows.sort(key=lambda row: -(row.object_size or 0))
    used = sum(max(0, row.object_size or 0) for row in rows)
    print(f"{len(rows)} objects, {used / (1 << 20):.1f} MiB of {total / (1 << 20):.1f} MiB\n")
    names = ["object_id", "object_size", "task_status", "reference_type", "type", "pid"]
    table(names, [[row.get(name) for name in names] for row in rows[: options.limit]])
    return 0


def _timeline(options: argparse.Namespace) -> int:
    with joining.joined(options.address):
        from whipray._private import timeline

        events = timeline.events()
    if all(event["ph"] == "M" for event in events):  # names of processes alone
        raise ValueError("nothing was recorded: set RAY_PROFILING=1 where the session is started")
    with open(options.file, "w", encoding="utf-8") as file:
        json.dump(events, file)
    print(f"Wrote {options.file}, for chrome://tracing or ui.perfetto.dev.")
    return 0


# ---- logs ----------------------------------------------------------------------------------------


def _logs(options: argparse.Namespace) -> int:
    from whipray.util.state.logs import read_tail

    folder = os.path.join(joining.session_dir(options.address), "logs")
    if options.name is None:
        for name in sorted(os.listdir(folder)):
            print(f"{os.path.getsize(os.path.join(folder, name)):>10}  {name}")
        return 0
    path = os.path.join(folder, os.path.basename(options.name))
    if not os.path.isfile(path):
        raise ValueError(f"there is no log file {options.name!r}; `whipray logs` lists them")
    for text in read_tail(path, options.tail, options.follow):
        sys.stdout.buffer.write(text)
        sys.stdout.flush()
    return 0
