"""Names that Ray has and Whipray has not, so that their users are told so."""

from __future__ import annotations

_OF_RAY = {
    "whipray": "Language LOCAL_MODE air autoscaler client cpp_actor_class cpp_function "
    "cross_language data get_dashboard_url internal java_actor_class "
    "java_function job_submission llm rllib serve show_in_dashboard train "
    "tune workflow",
    "whipray.util": "client connect connect_to_client debugpy disconnect lightgbm pdb rpdb spark "
    "tracing",
}


def no_attribute(module: str, name: str) -> AttributeError:
    """The error for `module.name`, which does not exist."""
    text = f"module {module!r} has no attribute {name!r}"
    if name in _OF_RAY[module].split():
        text += ": Ray has it, Whipray does not support it yet (see docs/moving-from-ray.md)"
    return AttributeError(text, name=name)
