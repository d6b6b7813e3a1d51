"""Random graphs of tasks, actors, failures and retries."""

from __future__ import annotations

from typing import Any

from ..catalogue import Ray, program
from ..graphs import SEEDS, draw, run


@program(each={f"seed {seed}": seed for seed in range(SEEDS)})
def graph(ray: Ray, seed: int) -> Any:
    return run(ray, draw(seed))
