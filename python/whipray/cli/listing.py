"""What the state API says: `list`, `get`, `summary` and `timeline`."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from typing import Any

from whipray.cli import accepted, joining

KINDS = ("actors", "tasks", "objects", "workers", "nodes", "jobs", "placement-groups")
UNKNOWN = ("runtime-envs", "cluster-events")
"""Kinds that Ray lists, and that are not recorded here."""
_WIDEST = 64
_MISTAKE = 2
"""Exit code of a question that makes no sense."""


def add_commands(commands: Any) -> None:
    """Add the commands to the parser."""
    listing = commands.add_parser("list", help=f"rows: {', '.join(KINDS)}")
    _add_kind(listing)
    listing.add_argument(
        "-f", "--filter", action="append", default=[], help="COLUMN=VALUE or COLUMN!=VALUE"
    )
    listing.add_argument("--limit", type=rows_at_most, default=100, help="rows at most (100)")
    listing.add_argument("--detail", action="store_true", help="more columns")
    listing.add_argument(
        "--format", choices=("default", "table", "json", "yaml"), default="default"
    )
    _finish(listing, _list)
    getting = commands.add_parser("get", help="all that is known of one of what `list` lists")
    _add_kind(getting)
    getting.add_argument("id", help="its id, as `list` shows it")
    getting.add_argument("--format", choices=("lines", "json"), default="lines")
    _finish(getting, _get)
    summary = commands.add_parser("summary", help="counts of tasks, actors or objects")
    summary.add_argument("kind", choices=("tasks", "actors", "objects"))
    _finish(summary, _summary)
    line = commands.add_parser(
        "timeline", help="a trace of tasks and calls for Chrome or Perfetto, with RAY_PROFILING=1"
    )
    line.add_argument("file", nargs="?", default="whipray-timeline.json", help="name (%(default)s)")
    joining.add_address(line)
    line.set_defaults(run=_timeline)


def _add_kind(parser: argparse.ArgumentParser) -> None:
    kinds = (*KINDS, *UNKNOWN)
    parser.add_argument("kind", choices=kinds, type=lambda text: text.replace("_", "-"))


def _finish(parser: argparse.ArgumentParser, run: Any) -> None:
    accepted.add_timeout(parser)
    joining.add_address(parser)
    parser.set_defaults(run=run)


def _list(options: argparse.Namespace) -> int:
    from whipray.util.state import filters as checks
    from whipray.util.state.exception import RayStateApiException

    try:
        limit = checks.checked_limit(options.limit)
        with joining.joined(options.address):
            from whipray.util.state import queries

            kind = queries.kind_of(options.kind)
            filters = [_filter(text) for text in options.filter] + _all_but_own(options.kind)
            rows = queries.found(kind, filters, limit + 1, options.detail)
            found = [row.asdict() for row in rows[:limit]]
    except (RayStateApiException, NotImplementedError) as error:
        print(f"whipray: {error}", file=sys.stderr)
        return _MISTAKE
    if options.format == "json":
        print(json.dumps(found, indent=2, default=str))
    elif options.format == "yaml" or (options.detail and options.format == "default"):
        _print_yaml(found)
    else:
        names = kind.list_columns(options.detail)
        table(names, [[row[name] for name in names] for row in found])
    if len(rows) > limit:
        print(f"whipray: there are more rows than {limit}; see --limit", file=sys.stderr)
    return 0


def _print_yaml(rows: list[dict[str, Any]]) -> None:
    """Each row as a list's item; what is not a plain text or number is JSON, which YAML holds."""
    print("---" if rows else "--- []")
    for row in rows:
        for at, (name, value) in enumerate(row.items()):
            print(f"{'  ' if at else '- '}{name}: {json.dumps(value, default=str)}")


def _get(options: argparse.Namespace) -> int:
    from whipray.util.state.exception import RayStateApiException

    try:
        with joining.joined(options.address):
            known = _rows_of(options.kind, options.id)
    except (RayStateApiException, NotImplementedError) as error:
        print(f"whipray: {error}", file=sys.stderr)
        return _MISTAKE
    if not known:
        raise ValueError(f"there is nothing among the {options.kind} with the id {options.id!r}")
    if options.format == "json":
        many = options.kind == "objects"
        print(json.dumps(known if many else known[0], indent=2, default=str))
        return 0
    for at, facts in enumerate(known):
        print("\n" * (at > 0) + "\n".join(f"{name}: {value}" for name, value in facts.items()))
    return 0


def _rows_of(kind: str, id: str) -> list[dict[str, Any]]:
    """Of an object one for each process that refers to it."""
    from whipray.util import state

    if kind in UNKNOWN:
        raise NotImplementedError(f"{kind} are not recorded by this engine")
    if kind == "objects":
        return [row.asdict() for row in state.get_objects(id) or ()]
    row = getattr(state, f"get_{kind.replace('-', '_').removesuffix('s')}")(id)
    return [] if row is None else [row.asdict()]


def rows_at_most(text: str) -> int:
    """What --limit takes."""
    if text.isdecimal():
        return int(text)
    raise argparse.ArgumentTypeError(f"a number of rows is at least 0, not {text}")


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
