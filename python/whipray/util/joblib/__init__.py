"""A backend for joblib, and so for scikit-learn: `with joblib.parallel_config(backend="ray")`."""

from __future__ import annotations

__all__ = ["register_ray"]


def register_ray() -> None:
    """Make the backend known to joblib under the name "ray"."""
    try:
        from joblib.parallel import register_parallel_backend
    except ImportError as error:
        raise ImportError("register_ray() needs joblib: pip install joblib") from error
    from whipray.util.joblib.ray_backend import RayBackend

    register_parallel_backend("ray", RayBackend)
