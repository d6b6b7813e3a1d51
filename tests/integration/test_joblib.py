"""joblib and scikit-learn on actors."""

from __future__ import annotations

import os

import joblib
import numpy as np
import pytest
from joblib import Parallel, delayed

import whipray as ray
from whipray.util.joblib import register_ray


@pytest.fixture(scope="module", autouse=True)
def session():
    ray.init(num_cpus=2, log_to_driver=False)
    register_ray()
    yield
    ray.shutdown()


def pid():
    return os.getpid()


def test_calls_run_in_other_processes_in_order():
    with joblib.parallel_config(backend="ray", n_jobs=2):
        assert Parallel()(delayed(pow)(i, 2) for i in range(100)) == [i * i for i in range(100)]
        pids = set(Parallel(batch_size=1)(delayed(pid)() for _ in range(20)))
    assert len(pids) == 2 and os.getpid() not in pids


def test_all_cpus():
    with joblib.parallel_config(backend="ray"):
        with Parallel(n_jobs=-1) as parallel:
            assert parallel._effective_n_jobs() == 2
            assert parallel(delayed(abs)(-i) for i in range(5)) == [0, 1, 2, 3, 4]


def test_one_job_runs_here():
    with joblib.parallel_config(backend="ray", n_jobs=1):
        assert Parallel()(delayed(pid)() for _ in range(2)) == [os.getpid()] * 2


def test_errors():
    def fail(i):
        raise ValueError(f"no {i}")

    with joblib.parallel_config(backend="ray", n_jobs=2):
        with pytest.raises(ValueError, match="no"):
            Parallel()(delayed(fail)(i) for i in range(10))
        assert Parallel()(delayed(abs)(-i) for i in range(3)) == [0, 1, 2]


def test_options_of_the_actors():
    env = {"env_vars": {"JOBLIB_COLOUR": "blue"}}
    options = {"runtime_env": env}
    with joblib.parallel_config(backend="ray", n_jobs=2, ray_remote_args=options):
        assert set(Parallel()(delayed(os.getenv)("JOBLIB_COLOUR") for _ in range(4))) == {"blue"}


def test_a_large_argument_is_stored_once_for_each_call_of_parallel():
    array = np.zeros(1_000_000)

    def look(a, i):
        return a[0] + i, a.flags.writeable

    with joblib.parallel_config(backend="ray", n_jobs=2), Parallel(batch_size=1) as parallel:
        first = parallel(delayed(look)(array, i) for i in range(6))
        array[0] = 10
        second = parallel(delayed(look)(array, i) for i in range(6))
    assert first == [(i, False) for i in range(6)]
    assert second == [(10 + i, False) for i in range(6)]


def test_nested_parallel():
    def inner(i):
        return sum(Parallel(n_jobs=2)(delayed(abs)(-j) for j in range(i)))

    with joblib.parallel_config(backend="ray", n_jobs=2):
        assert Parallel()(delayed(inner)(i) for i in range(5)) == [0, 0, 1, 3, 6]


def test_scikit_learn():
    from sklearn.datasets import load_iris
    from sklearn.model_selection import GridSearchCV, cross_val_score
    from sklearn.svm import SVC

    data, target = load_iris(return_X_y=True)
    alone = cross_val_score(SVC(), data, target, cv=5)
    with joblib.parallel_config(backend="ray", n_jobs=2):
        search = GridSearchCV(SVC(), {"C": [0.1, 1, 10]}, cv=3).fit(data, target)
        assert np.array_equal(cross_val_score(SVC(), data, target, cv=5), alone)
    assert search.best_score_ > 0.9
