"""Runs rows on both sides alternately, each side in processes of its own, and gathers results.

The two sides never live at the same time: a side is started for a few rows, ends, and every
process that it left behind is counted and killed before the other side starts. So neither
disturbs the other's measurement, and slow drift of the machine hits both alike.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks import procs
from benchmarks.rows import Row
from benchmarks.timing import Plan

REPOSITORY = Path(__file__).resolve().parent.parent
START_TIMEOUT = 90.0
SHUTDOWN_TIMEOUT = 30.0
LINGER_SECONDS = 5.0

Say = Callable[[str], None]
Result = dict[str, Any]
Done = Callable[[str, str, Result], None]


@dataclass
class Side:
    """One of the two things compared, and what is known about its installation."""

    name: str
    module: str
    python: str
    program: str = "benchmarks.side"
    versions: dict[str, str] = field(default_factory=dict)
    unavailable: str = ""

    def environment(self, mark: str) -> dict[str, str]:
        """The environment of the side's processes: marked, and with this tree's packages."""
        paths = [*filter(None, [os.environ.get("PYTHONPATH")]), str(REPOSITORY)]
        if self.module == "whipray":
            paths.append(str(REPOSITORY / "python"))
        return {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(paths),
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_ADDRESS": "local",  # a session of its own, whatever runs here or was killed here
            procs.MARK: mark,
        }


class SideProcess:
    """A running side: events from it with a deadline, and an end that leaves nothing behind."""

    def __init__(self, side: Side, rows: list[Row], plan: Plan, log: Path) -> None:
        self.mark = uuid.uuid4().hex
        reading, writing = os.pipe()
        command = [
            side.python,
            "-m",
            side.program,
            "--module",
            side.module,
            "--side",
            side.name,
            "--report",
            str(writing),
            "--plan",
            json.dumps(plan.to_json()),
            *(row.key for row in rows),
        ]
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                command,
                cwd=REPOSITORY,
                env=side.environment(self.mark),
                pass_fds=[writing],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        os.close(writing)
        self._reading = reading
        self._handle = os.pidfd_open(self._process.pid)
        self._pending = b""

    def next_event(self, deadline: float) -> dict[str, Any] | None:
        """The next event, or None when the process has ended or its pipe is closed.

        Raises TimeoutError at the deadline (of ``time.monotonic``).
        """
        while b"\n" not in self._pending:
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError
            ready, _, _ = select.select([self._reading, self._handle], [], [], left)
            if self._reading in ready:
                more = os.read(self._reading, 65536)
                if not more:
                    return None
                self._pending += more
            elif ready:
                return None
        line, _, self._pending = self._pending.partition(b"\n")
        event: dict[str, Any] = json.loads(line)
        return event

    def exit_text(self) -> str:
        """How the process ended."""
        try:
            code = self._process.wait(SHUTDOWN_TIMEOUT)
        except subprocess.TimeoutExpired:
            return "still running"
        return f"signal {-code}" if code < 0 else f"exit code {code}"

    def close(self, patient: bool) -> int:
        """End the session; returns how many processes did not end by themselves."""
        if patient:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(SHUTDOWN_TIMEOUT)
        left = procs.wait_until_gone(self.mark, LINGER_SECONDS if patient else 0)
        for _ in range(50):
            if not procs.pids_of(self.mark):
                break
            procs.end(self.mark)
            time.sleep(0.05)
        self._process.wait()
        os.close(self._reading)
        os.close(self._handle)
        return len(left) if patient else 0


class Session:
    """Runs lists of rows on one side, starting again after a row that failed or hung."""

    def __init__(self, side: Side, plan: Plan, log: Path, say: Say, done: Done) -> None:
        self.side = side
        self._done = done
        self._plan = plan
        self._log = log
        self._say = say
        self._finished: set[str] = set()

    def run(self, rows: list[Row]) -> None:
        """Tell one result per row: its status with values or a reason."""
        self._finished = set()
        while waiting := [row for row in rows if row.key not in self._finished]:
            self._run_until_trouble(waiting)

    def _keep(self, key: str, result: Result) -> None:
        self._finished.add(key)
        self._done(self.side.name, key, result)

    def _run_until_trouble(self, rows: list[Row]) -> None:
        process = SideProcess(self.side, rows, self._plan, self._log)
        row, orderly = rows[0], False
        deadline = time.monotonic() + START_TIMEOUT + self._allowed(row)
        try:
            while (event := process.next_event(deadline)) is not None:
                kind = event.pop("event")
                if kind == "start":
                    row = next(one for one in rows if one.key == event["row"])
                elif kind == "result":
                    self._keep(event.pop("row"), event)
                deadline = time.monotonic() + START_TIMEOUT + self._allowed(row)
                orderly = kind == "shutdown"
                if orderly:
                    deadline = time.monotonic() + SHUTDOWN_TIMEOUT
            self._note_absence(row, "failed", f"the process ended: {process.exit_text()}")
        except TimeoutError:
            self._note_absence(row, "timeout", f"no result within {self._allowed(row):.0f} s")
            if orderly:
                self._say(f"{self.side.name} did not shut down in time after {row.key}")
        finally:
            left = process.close(patient=orderly)
            if left:
                self._say(f"{self.side.name} left {left} processes behind after {row.key}")

    def _note_absence(self, row: Row, status: str, reason: str) -> None:
        """Say why the row has no result, unless it has one."""
        if row.key not in self._finished:
            self._keep(row.key, {"status": status, "reason": f"{reason}; see {self._log.name}"})

    def _allowed(self, row: Row) -> float:
        return row.timeout / 2 if self._plan.quick else row.timeout


def probe(side: Side, log: Path) -> None:
    """Find out whether the side can be imported, and its versions."""
    process = SideProcess(side, [], Plan(), log)
    try:
        event = process.next_event(time.monotonic() + START_TIMEOUT)
        if event is None:
            text = log.read_text(errors="replace").strip().splitlines()
            side.unavailable = text[-1] if text else process.exit_text()
        else:
            side.versions = event["versions"]
    except TimeoutError:
        side.unavailable = f"import took more than {START_TIMEOUT:.0f} s"
    finally:
        process.close(patient=not side.unavailable)


def batches(rows: list[Row], size: int) -> list[list[Row]]:
    """The rows in order, those of shared sessions up to ``size`` together, others alone."""
    groups: list[list[Row]] = []
    for row in rows:
        joins = (
            groups
            and row.session == "shared"
            and groups[-1][0].session == "shared"
            and len(groups[-1]) < size
        )
        if joins:
            groups[-1].append(row)
        else:
            groups.append([row])
    return groups


def run_alternately(
    sides: list[Side],
    rows: list[Row],
    plan: Plan,
    size: int,
    passes: int,
    out: Path,
    say: Say,
    all_on_ray: bool,
    done: Done,
) -> None:
    """Run every row on every side; ``done(side, key, result)`` is told each result.

    The side that goes first changes from batch to batch.
    """
    sessions = {
        side.name: Session(side, plan, out / f"{side.name}.log", say, done) for side in sides
    }
    for _ in range(passes):
        for turn, batch in enumerate(batches(rows, size)):
            for side in sides if turn % 2 == 0 else sides[::-1]:
                chosen = [
                    row for row in batch if side.name != "ray" or row.ray_default or all_on_ray
                ]
                for row in batch:
                    if row not in chosen:
                        done(
                            side.name,
                            row.key,
                            {"status": "skipped", "reason": "takes long on Ray: --all-on-ray"},
                        )
                sessions[side.name].run(chosen)
