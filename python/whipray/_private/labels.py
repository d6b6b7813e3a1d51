"""Labels of the node, and what options ask of them."""

from __future__ import annotations

from typing import Any

from whipray import _core
from whipray._private import session_kv

NODE_ID = "ray.io/node-id"
_NAME = r"[a-zA-Z0-9](?:[a-zA-Z0-9_.-]{0,61}[a-zA-Z0-9])?"
_SPACE, _KEY = "whipray.node", b"labels"
"""Where the labels given to init are kept for all processes of the session."""

_known: dict[int, dict[str, str]] = {}


def publish(labels: dict[str, str]) -> None:
    """Make labels known to the whole session, just after its start."""
    if labels:
        session_kv.publish(_SPACE, _KEY, labels)


def of_node() -> dict[str, str]:
    """The labels of the session's only node."""
    epoch = _core.epoch()
    if epoch not in _known:
        from whipray._private.ids import node_id_of

        found = session_kv.published(_SPACE, _KEY)
        _known.clear()
        _known[epoch] = {
            **(found or {}),
            NODE_ID: node_id_of(str(_core.info()["session"])).hex(),
        }
    return _known[epoch]


# ---- checks --------------------------------------------------------------------------------------


def _fits(pattern: str, text: str) -> bool:
    import re

    return re.fullmatch(pattern, text) is not None


def wrong_key(key: Any) -> str | None:
    """What is wrong with the name of a label; None: nothing."""
    if not isinstance(key, str):
        return f"Invalid label key `{key}`: labels are named by strings."
    prefix, slash, name = key.rpartition("/")
    if slash and (len(prefix) > 253 or not _fits(rf"{_NAME}(?:\.{_NAME})*", prefix)):
        return (
            f"Invalid label key prefix `{prefix}`. Prefix must be a series of DNS labels separated "
            "by dots (.), not longer than 253 characters in total."
        )
    if not _fits(_NAME, name):
        return (
            f"Invalid label key name `{name}`. Name must be 63 chars or less beginning and ending "
            "with an alphanumeric character."
        )
    return None


def wrong_selector(selector: dict[str, Any] | None) -> str | None:
    """What is wrong with a label selector; None: nothing."""
    for key, value in (selector or {}).items():
        wrong = wrong_key(key)
        if not isinstance(value, str):
            return f"Label selector value must be string, but got {type(value)}"
        if wrong is None and value:
            listed = rf"!?in\({_NAME}(?:, ?{_NAME})*\)"
            if not _fits(rf"{listed}|!?{_NAME}", value):
                wrong = (
                    f"Invalid label selector value `{value}`. It is a value, or in(value, ...), "
                    "either with ! before it; values are 63 chars or less beginning and ending "
                    "with an alphanumeric character."
                )
        if wrong is not None:
            return wrong
    return None


def check_selector(name: str, value: Any) -> None:
    """For the option `label_selector`."""
    if value is None:
        return
    if not isinstance(value, dict):
        raise TypeError(f"The type of keyword '{name}' must be dict, but received {type(value)}")
    wrong = wrong_selector(value)
    if wrong:
        raise ValueError(wrong)


def check_fallback(name: str, value: Any) -> None:
    """For the option `fallback_strategy`."""
    if value is None:
        return
    if not isinstance(value, list):
        raise TypeError(f"The type of keyword '{name}' must be list, but received {type(value)}")
    for strategy in value:
        if not isinstance(strategy, dict):
            raise ValueError("Each element in fallback_strategy must be a dictionary.")
        if not strategy:
            raise ValueError("Empty dictionary found in `fallback_strategy`.")
        for option in strategy:
            if option != "label_selector":
                raise ValueError(
                    f"Unsupported option found: '{option}'. Only ['label_selector'] is currently "
                    "supported."
                )
        if not isinstance(strategy["label_selector"], dict):
            raise ValueError('The value of "label_selector" must be a dictionary.')
        check_selector(name, strategy["label_selector"])


def checked(given: Any) -> dict[str, str]:
    """The labels given to init."""
    if given is None:
        return {}
    if not isinstance(given, dict):
        raise TypeError(f"labels must be a dict of strings, not {type(given)}")
    for key, value in given.items():
        wrong = wrong_key(key)
        if wrong:
            raise ValueError(wrong)
        if not isinstance(value, str) or (value and not _fits(_NAME, value)):
            raise ValueError(
                f"Invalid label key value `{value}`. Value must be 63 chars or less beginning and "
                "ending with an alphanumeric character."
            )
    return dict(given)


# ---- matching ------------------------------------------------------------------------------------


def matches(selector: dict[str, str] | None) -> bool:
    """Is the node as the selector asks: `value`, `in(a, b)`, either after `!`?"""
    return not selector or fit(of_node(), selector)


def fit(labels: dict[str, str], selector: dict[str, str]) -> bool:
    """Are these labels as the selector asks?"""
    return all(_holds(labels.get(key), want) for key, want in selector.items())


def _holds(value: str | None, want: str) -> bool:
    return (value in values_of(want)) != want.startswith("!")


def values_of(want: str) -> list[str]:
    """The values that a selector names: one, or those of `in(a, b)`, with or without `!`."""
    text = want.removeprefix("!")
    if text.startswith("in(") and text.endswith(")"):
        return [part.strip() for part in text[3:-1].split(",")]
    return [text]


def fulfils(expressions: Any) -> bool:
    """Is the node as the expressions of a NodeLabelSchedulingStrategy ask?"""
    labels = of_node()
    return all(_true(expression.operator, labels.get(expression.key)) for expression in expressions)


def _true(operator: Any, value: str | None) -> bool:
    kind = type(operator).__name__
    if kind == "Exists":
        return value is not None
    if kind == "DoesNotExist":
        return value is None
    return (value in operator.values) == (kind == "In")
