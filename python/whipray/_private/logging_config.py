"""`LoggingConfig`: records of Python's `logging` with the ids of what wrote them, as text or JSON.

Given to init, it is applied to the root logger of the driver and of all its workers.
"""

from __future__ import annotations

import json
import logging
import time
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from whipray import _core

ENCODINGS = ("TEXT", "JSON")
STANDARD = frozenset(
    "args asctime created exc_info exc_text filename funcName levelname levelno lineno message "
    "module msecs msg name pathname process processName relativeCreated stack_info thread "
    "threadName taskName".split()
)
"""What every record has; whatever else stands in one is context, Ray's or the user's."""
TEXT_FORMAT = "%(asctime)s\t%(levelname)s %(filename)s:%(lineno)s -- %(message)s"


@dataclass
class LoggingConfig:
    """How records are written: encoding "TEXT" or "JSON", from `log_level` on.

    `additional_log_standard_attrs` names attributes of `logging.LogRecord` to write as well.
    ValueError for encodings, levels and attributes that do not exist.
    """

    encoding: str = "TEXT"
    log_level: str = "INFO"
    additional_log_standard_attrs: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.encoding not in ENCODINGS:
            raise ValueError(
                f"Invalid encoding type: {self.encoding}. Valid encoding types are: "
                f"{list(ENCODINGS)}"
            )
        for name in self.additional_log_standard_attrs:
            if name not in STANDARD:
                raise ValueError(
                    f"Unknown python logging standard attribute: {name}. The valid attributes are: "
                    f"{sorted(STANDARD)}"
                )
        logging.Handler().setLevel(self.log_level)  # ValueError, TypeError

    def to_dict(self) -> dict[str, Any]:
        """A plain dict that can be written as JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, d: dict[str, Any]) -> LoggingConfig:
        """Back from a dict; keys that are not known are ignored."""
        known = {each.name for each in fields(cls)}
        return cls(**{key: value for key, value in d.items() if key in known})

    def _apply(self) -> None:
        """Let the root logger of this process write so, instead of what was applied before."""
        handler = _Handler()
        handler.setLevel(self.log_level)
        handler.setFormatter(_FORMATTERS[self.encoding](self.additional_log_standard_attrs))
        root = logging.getLogger()
        for old in [each for each in root.handlers if isinstance(each, _Handler)]:
            root.removeHandler(old)
        root.setLevel(self.log_level)
        root.addHandler(handler)


def checked(config: Any) -> LoggingConfig | None:
    """The `logging_config` of init; TypeError for what is none."""
    if config is None or isinstance(config, LoggingConfig):
        return config
    raise TypeError(f"logging_config must be a LoggingConfig, not {type(config)}")


class _Handler(logging.StreamHandler[Any]):
    """Writes to what sys.stderr was when it was made; adds the ids of what runs."""

    def filter(self, record: logging.LogRecord) -> Any:
        for name, value in _context().items():
            if value:
                setattr(record, name, value)
        record.timestamp_ns = time.time_ns()
        return super().filter(record)


def _context() -> dict[str, str | None]:
    """Ids and names of the process, the task and the actor that write."""
    if not _core.attached():
        return {}
    from whipray._private import worker
    from whipray.runtime_context import get_runtime_context

    here = get_runtime_context()
    found: dict[str, str | None] = {
        "job_id": here.get_job_id(),
        "worker_id": here.get_worker_id(),
        "node_id": here.get_node_id(),
    }
    if worker.state.is_worker:
        found.update(
            actor_id=here.get_actor_id(),
            task_id=here.get_task_id(),
            task_name=here.get_task_name(),
            task_func_name=here.get_task_function_name(),
            actor_name=here.get_actor_name(),
        )
    return found


class _Formatter(logging.Formatter):
    """What the two encodings have in common."""

    def __init__(self, more: list[str]) -> None:
        super().__init__(TEXT_FORMAT)
        self._more = more

    def _context_of(self, record: logging.LogRecord) -> dict[str, Any]:
        found = {name: getattr(record, name, None) for name in self._more}
        found.update((k, v) for k, v in vars(record).items() if k not in STANDARD)
        return found


class _Text(_Formatter):
    def format(self, record: logging.LogRecord) -> str:
        context = " ".join(f"{name}={value}" for name, value in self._context_of(record).items())
        return f"{super().format(record)} {context}"


class _Json(_Formatter):
    def format(self, record: logging.LogRecord) -> str:
        found: dict[str, Any] = {
            "asctime": self.formatTime(record),
            "levelname": record.levelname,
            "message": record.getMessage(),
            "filename": record.filename,
            "lineno": record.lineno,
            "process": record.process,
        }
        if record.exc_info:
            found["exc_text"] = record.exc_text or self.formatException(record.exc_info)
        return json.dumps({**found, **self._context_of(record)}, default=str)


_FORMATTERS: dict[str, type[_Formatter]] = {"TEXT": _Text, "JSON": _Json}
