"""What is given to options as text."""

from __future__ import annotations

import json
from typing import Any


def json_object(option: str, text: str, of: str = "") -> dict[str, Any]:
    """The object that the text is as JSON; ValueError, with the option's name and what the object
    is to be made `of`, when it is none."""
    try:
        found = json.loads(text)
    except ValueError as error:
        raise ValueError(f"{option} is not JSON: {error}") from None
    if not isinstance(found, dict):
        raise ValueError(f"{option} must be a JSON object{of}")
    return found
