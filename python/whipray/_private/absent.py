"""Names that Ray has and Whipray has not, so that their users are told so."""

from __future__ import annotations

_OF_RAY = {
    "whipray": "air data llm rllib serve train tune",
    "whipray.util": "client spark tpu tracing",
    "whipray.experimental": "channel collective rdt register_nixl_memory register_tensor_transport",
}


def no_attribute(module: str, name: str) -> AttributeError:
    """The error for `module.name`, which does not exist."""
    text = f"module {module!r} has no attribute {name!r}"
    if name in _OF_RAY[module].split():
        text += ": Ray has it, Whipray does not support it yet (see docs/moving-from-ray.md)"
    return AttributeError(text, name=name)
