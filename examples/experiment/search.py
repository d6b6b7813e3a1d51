"""Hyper-parameter search over model families of scikit-learn; all trials share one array.

The pixels are put into the object store once.  Every trial receives them as a read-only view of the
store's memory, not as a copy.
"""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from sklearn.ensemble import ExtraTreesClassifier, RandomForestClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_score
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.svm import SVC
from tqdm import tqdm

import whipray

from .digits import Digits, Floats, Labels
from .flow import as_finished

FOLDS = 3
SEED = 0

FAMILIES: dict[str, Callable[..., Any]] = {
    "MLP": lambda **params: MLPClassifier(
        max_iter=60, learning_rate_init=3e-3, random_state=SEED, **params
    ),
    "random forest": lambda **params: RandomForestClassifier(random_state=SEED, **params),
    "extra trees": lambda **params: ExtraTreesClassifier(random_state=SEED, **params),
    "logistic": lambda **params: LogisticRegression(max_iter=300, **params),
    "SVM": SVC,
    "nearest": KNeighborsClassifier,
    "naive Bayes": GaussianNB,
}

GRIDS: dict[str, dict[str, tuple[Any, ...]]] = {
    "MLP": {"hidden_layer_sizes": ((32,), (64,), (48, 24)), "alpha": (1e-4, 1e-2)},
    "random forest": {"n_estimators": (40, 80, 120), "max_features": ("sqrt", 0.25)},
    "extra trees": {"n_estimators": (40, 80, 120), "min_samples_leaf": (1, 3)},
    "logistic": {"C": (0.01, 0.1, 1.0, 10.0)},
    "SVM": {"C": (0.3, 1.0, 10.0), "gamma": (0.01, 0.05, 0.2, 1.0)},
    "nearest": {"n_neighbors": (1, 3, 7, 15), "weights": ("uniform", "distance")},
    "naive Bayes": {"var_smoothing": (1e-9, 1e-4, 1e-2, 1e-1)},
}


@dataclass(frozen=True)
class Trial:
    """One point of the search: a model family and its hyper-parameters."""

    family: str
    params: tuple[tuple[str, Any], ...]

    def __str__(self) -> str:
        settings = ", ".join(f"{name}={value}" for name, value in self.params)
        return f"{self.family}({settings})"


@dataclass(frozen=True)
class TrialResult:
    """Accuracy of each fold, and where and when the trial ran (seconds since the epoch)."""

    trial: Trial
    fold_scores: tuple[float, ...]
    started: float
    ended: float
    pid: int
    shared_view: bool

    @property
    def score(self) -> float:
        return float(np.mean(self.fold_scores))

    @property
    def seconds(self) -> float:
        return self.ended - self.started


def all_trials() -> list[Trial]:
    """The full grid; families whose trials take long come first, which leaves a short tail."""
    return [
        Trial(family, tuple(zip(grid, values, strict=True)))
        for family, grid in GRIDS.items()
        for values in product(*grid.values())
    ]


def first_trials() -> list[Trial]:
    """One trial of each family, for a quick run."""
    seen: dict[str, Trial] = {}
    for trial in all_trials():
        seen.setdefault(trial.family, trial)
    return list(seen.values())


def run_trial(trial: Trial, pixels: Floats, labels: Labels) -> TrialResult:
    """Cross-validate one model.  `pixels` is (n, 64), `labels` is (n,); neither is written to."""
    started = time.time()
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=SEED)
    model = FAMILIES[trial.family](**dict(trial.params))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        scores = cross_val_score(model, pixels, labels, cv=folds)
    return TrialResult(
        trial=trial,
        fold_scores=tuple(float(score) for score in scores),
        started=started,
        ended=time.time(),
        pid=os.getpid(),
        shared_view=not pixels.flags.owndata and not pixels.flags.writeable,
    )


remote_trial = whipray.remote(run_trial)


def search(trials: Sequence[Trial], digits: Digits) -> list[TrialResult]:
    """Run all trials as tasks, show progress, and return results in the order of `trials`."""
    pixels, labels = whipray.put(digits.pixels), whipray.put(digits.labels)
    refs = [remote_trial.remote(trial, pixels, labels) for trial in trials]
    best = 0.0
    with tqdm(total=len(refs), desc="search", unit="trial", ncols=88) as bar:
        for result in as_finished(refs):
            best = max(best, result.score)
            bar.set_postfix_str(f"best {best:.4f}", refresh=False)
            bar.update()
    return list(whipray.get(refs))


def search_in_loop(trials: Iterable[Trial], digits: Digits) -> list[TrialResult]:
    """The same trials, one after the other, in this process."""
    return [run_trial(trial, digits.pixels, digits.labels) for trial in trials]


def best_by_family(results: Iterable[TrialResult]) -> list[TrialResult]:
    """The best trial of each family, best family first."""
    best: dict[str, TrialResult] = {}
    for result in results:
        family = result.trial.family
        if family not in best or result.score > best[family].score:
            best[family] = result
    return sorted(best.values(), key=lambda result: -result.score)
