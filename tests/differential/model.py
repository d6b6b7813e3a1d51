"""What a graph must give, worked out step by step in one process.

The recorded answers of Ray hold the model to the truth; with it graphs can be compared that nobody
has run on Ray.
"""

from __future__ import annotations

from typing import Any

from .graphs import ACTORS, RETRIED_ABOVE, Step
from .observe import describe


class Failed(Exception):
    """The outcome of a step that raised `error`, or that depends on one."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def plain(self) -> Any:
        kind = type(self.error)
        classes = [base.__name__ for base in kind.__mro__ if issubclass(base, BaseException)]
        return {
            "raises": {
                "classes": [f"RayTaskError({kind.__name__})", "RayTaskError", "RayError", *classes],
                "says": f"{kind.__name__}: {self.error}",
            }
        }


class Model:
    def __init__(self) -> None:
        self.totals = [0] * ACTORS
        self.results: list[int | Failed] = []

    def step(self, step: Step) -> None:
        try:
            self.results.append(getattr(self, f"_{step.kind}")(step, self._arguments(step)))
        except Failed as failure:
            self.results.append(failure)

    def _arguments(self, step: Step) -> list[int]:
        """The values of earlier steps; the first of them that failed fails this one, unrun."""
        if step.kind == "wait":
            return []
        values: list[int] = []
        for use in step.uses:
            result = self.results[use]
            if isinstance(result, Failed):
                raise result
            values.append(result)
        return values

    def _put(self, step: Step, values: list[int]) -> int:
        return step.number

    def _add(self, step: Step, values: list[int]) -> int:
        return step.number + sum(values)

    _inside = _crashes = _add

    def _nested(self, step: Step, values: list[int]) -> int:
        return 2 * (step.number + sum(values))

    def _pair(self, step: Step, values: list[int]) -> int:
        return -(1 + len(values)) if step.number % 2 else step.number + sum(values)

    def _call(self, step: Step, values: list[int]) -> int:
        self.totals[step.actor] += step.number + sum(values)
        return self.totals[step.actor]

    def _call_fails(self, step: Step, values: list[int]) -> int:
        self.totals[step.actor] += step.number
        raise Failed(LookupError(self.totals[step.actor]))

    def _fail(self, step: Step, values: list[int]) -> int:
        raise Failed(ArithmeticError(step.number + sum(values)))

    def _flaky(self, step: Step, values: list[int]) -> int:
        failures = step.number % 3
        if failures and step.number <= RETRIED_ABOVE:
            raise Failed(OSError(1))
        return (step.number + sum(values)) * (failures + 1)

    def _wait(self, step: Step, values: list[int]) -> int:
        return 10 * len(set(step.uses))


def outcomes(steps: list[Step]) -> list[Any]:
    """How each step ends, in the form of `observe.describe`."""
    model = Model()
    for step in steps:
        model.step(step)
    return [
        result.plain() if isinstance(result, Failed) else {"gives": describe(result)}
        for result in model.results
    ]
