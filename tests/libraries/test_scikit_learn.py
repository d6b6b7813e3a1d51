"""joblib's backend and scikit-learn on top of it."""

from __future__ import annotations

from typing import Any

import joblib
import numpy as np
import pytest
from sklearn.datasets import load_iris
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.svm import SVC


@pytest.fixture(scope="module", autouse=True)
def backend(ray: Any) -> None:
    from ray.util.joblib import register_ray

    register_ray()


def process() -> int:
    import os

    return os.getpid()


def test_work_leaves_the_process() -> None:
    import os

    with joblib.parallel_config(backend="ray"):
        found = set(joblib.Parallel(n_jobs=2)(joblib.delayed(process)() for _ in range(8)))
    assert found and os.getpid() not in found


def test_grid_search_finds_what_it_finds_alone() -> None:
    data, target = load_iris(return_X_y=True)
    grid = {"C": [0.1, 1, 10], "gamma": [0.01, 0.1]}
    alone = GridSearchCV(SVC(), grid, cv=3).fit(data, target)
    with joblib.parallel_config(backend="ray", n_jobs=2):
        search = GridSearchCV(SVC(), grid, cv=3).fit(data, target)
    assert search.best_params_ == alone.best_params_
    scores = search.cv_results_["mean_test_score"], alone.cv_results_["mean_test_score"]
    np.testing.assert_allclose(*scores)


def test_forests_and_cross_validation() -> None:
    data, target = load_iris(return_X_y=True)
    forest = RandomForestClassifier(n_estimators=10, random_state=0)
    with joblib.parallel_config(backend="ray", n_jobs=2):
        scores = cross_val_score(forest, data, target, cv=3)
    np.testing.assert_allclose(scores, cross_val_score(forest, data, target, cv=3))
