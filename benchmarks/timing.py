# mypy: disable-error-code="untyped-decorator"
"""The clock of the benchmark: what a row function gets to measure with."""

from __future__ import annotations

import inspect
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from benchmarks.rows.registry import Values


@dataclass(frozen=True)
class Plan:
    """How long to measure: seconds of warm-up, seconds of a window, number of windows."""

    warmup: float = 1.0
    window: float = 2.0
    windows: int = 4
    quick: bool = False
    num_cpus: int = 2

    @classmethod
    def short(cls, num_cpus: int) -> Plan:
        """For a look rather than a record: noise of 10 to 30 % is to be expected."""
        return cls(warmup=0.3, window=0.5, windows=2, quick=True, num_cpus=num_cpus)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def percentile(ordered: list[int], share: float) -> float:
    """The value below which ``share`` (0 to 1) of the ordered values lie."""
    return float(ordered[min(len(ordered) - 1, int(len(ordered) * share))])


class Bench:
    """Handed to every row: the module under test, the plan, and the timing loops."""

    def __init__(self, ray: Any, side: str, plan: Plan) -> None:
        self.ray = ray
        self.side = side
        self.plan = plan
        self.notes: dict[str, Any] = {}

    def note(self, **facts: Any) -> None:
        """Keep facts beside the values in the result file, for example a count."""
        self.notes.update(facts)

    def count(self, whipray: int, ray: int) -> int:
        """A number of items: what each side can do in reasonable time; a tenth when quick."""
        wanted = whipray if self.side == "whipray" else ray
        chosen = max(1, wanted // 10) if self.plan.quick else wanted
        self.note(count=chosen)
        return chosen

    def repeats(self, full: int, quick: int) -> int:
        """How often to repeat something too slow or too costly for the timing loop."""
        return quick if self.plan.quick else full

    def rate(self, call: Callable[[], Any], per_call: float = 1.0) -> Values:
        """Calls per second times ``per_call``, as ``ray microbenchmark`` counts.

        A warm-up finds how many calls fit between two looks at the clock (about ten looks per
        warm-up); then each window runs at least its length.
        """
        clock = time.perf_counter
        calls, start = 0, clock()
        while clock() - start < self.plan.warmup:
            call()
            calls += 1
        stride = calls // 10 + 1
        rates = []
        for _ in range(self.plan.windows):
            calls, start = 0, clock()
            while clock() - start < self.plan.window:
                for _ in range(stride):
                    call()
                calls += stride
            rates.append(per_call * calls / (clock() - start))
        return {"rate": rates}

    def latency(
        self,
        call: Callable[[], Any],
        max_calls: int = 20_000,
        min_calls: int = 3,
        pause: float = 0.0,
        shares: tuple[float, ...] = (50, 99),
    ) -> Values:
        """Microseconds of each call: the percentiles ``shares`` ("p50", "p99") per window.

        A window lasts the length of the plan or ``max_calls`` calls, whichever is first, and has
        at least ``min_calls``. ``pause`` seconds are slept before each call, outside the clock.
        """
        self._warm(call)
        values: Values = {f"p{share:g}": [] for share in shares}
        for _ in range(self.plan.windows):
            taken = sorted(self._one_window(call, max_calls, min_calls, pause))
            for share in shares:
                values[f"p{share:g}"].append(percentile(taken, share / 100) / 1e3)
        return values

    def _warm(self, call: Callable[[], Any]) -> None:
        start = time.perf_counter()
        call()
        while time.perf_counter() - start < self.plan.warmup:
            call()

    def _one_window(
        self, call: Callable[[], Any], max_calls: int, min_calls: int, pause: float
    ) -> list[int]:
        clock = time.perf_counter_ns
        taken: list[int] = []
        end = clock() + int(self.plan.window * 1e9)
        while len(taken) < max_calls and (clock() < end or len(taken) < min_calls):
            if pause:
                time.sleep(pause)
            start = clock()
            call()
            taken.append(clock() - start)
        return taken

    def worker_pids(self) -> set[int]:
        """The processes that run tasks when every CPU is asked at once."""
        ray = self.ray

        @ray.remote
        def who() -> int:
            time.sleep(0.1)
            return os.getpid()

        found: set[int] = set()
        for _ in range(10):
            found |= set(ray.get([who.remote() for _ in range(self.plan.num_cpus)]))
            if len(found) >= self.plan.num_cpus:
                break
        return found

    def start_session(self) -> None:
        """init(), then wait until a worker per CPU has run a task and start-up has settled."""
        self.ray.init(**self.init_options())
        self.worker_pids()
        time.sleep(self.plan.warmup)

    def init_options(self, **more: Any) -> dict[str, Any]:
        """Arguments of init() for a session of the plan; the web page is off where there is one."""
        options: dict[str, Any] = {"num_cpus": self.plan.num_cpus, **more}
        if "include_dashboard" in inspect.signature(self.ray.init).parameters:
            options["include_dashboard"] = False
        return options
