"""Every error that the public API raises, with the names, bases and attributes that Ray gives them.

Errors travel as values: the worker stores a picklable exception object, and `get` raises it in
the caller.  What the engine itself reports (a dead worker, a lost object) arrives as a code and is
turned into an exception by `system_error`.
"""

from __future__ import annotations

from typing import Any

from whipray._private import task_error as _task_error

__all__ = [
    "ActorAlreadyExistsError",
    "ActorDiedError",
    "ActorHandleNotFoundError",
    "ActorPlacementGroupRemoved",
    "ActorUnavailableError",
    "ActorUnschedulableError",
    "AsyncioActorExit",
    "AuthenticationError",
    "CrossLanguageError",
    "GetTimeoutError",
    "LocalRayletDiedError",
    "NodeDiedError",
    "ObjectFetchTimedOutError",
    "ObjectFreedError",
    "ObjectLostError",
    "ObjectReconstructionFailedError",
    "ObjectRefStreamEndOfStreamError",
    "ObjectStoreFullError",
    "OufOfBandObjectRefSerializationException",
    "OutOfDiskError",
    "OutOfMemoryError",
    "OwnerDiedError",
    "PendingCallsLimitExceeded",
    "PlasmaObjectNotAvailable",
    "RayActorError",
    "RayCgraphCapacityExceeded",
    "RayChannelError",
    "RayChannelTimeoutError",
    "RayDirectTransportError",
    "RayError",
    "RaySystemError",
    "RayTaskError",
    "ReferenceCountingAssertionError",
    "RpcError",
    "RuntimeEnvSetupError",
    "StreamingGeneratorReplayInconsistentError",
    "TaskCancelledError",
    "TaskPlacementGroupRemoved",
    "TaskUnschedulableError",
    "UnserializableException",
    "UserCodeException",
    "WorkerCrashedError",
]


class RayError(Exception):
    """Base of all errors that come from Whipray itself."""


class RayTaskError(RayError):
    """A task or an actor's method raised.

    `cause` is the original exception, `traceback_str` its traceback in the worker, cut to the
    user's frames.  `get` does not raise this object but `as_instanceof_cause()`, which is also
    an instance of the cause's class.
    """

    def __init__(
        self,
        function_name: str,
        traceback_str: str,
        cause: BaseException,
        proctitle: str | None = None,
        pid: int | None = None,
        ip: str | None = None,
        actor_repr: str | None = None,
        actor_id: str | None = None,
    ) -> None:
        self.function_name = function_name
        self.traceback_str = traceback_str
        self.cause = cause
        self.proctitle = proctitle or f"ray::{function_name}"
        self.pid = pid
        self.ip = ip
        self.actor_repr = actor_repr
        self._actor_id = actor_id
        self.args = (function_name, traceback_str, cause, proctitle, pid, ip)

    def __reduce__(self) -> tuple[Any, ...]:
        return _task_error.reduce(self)

    def __str__(self) -> str:
        return _task_error.text(self)

    def make_dual_exception_instance(self) -> RayTaskError:
        """An instance of RayTaskError and of the class of the cause; TypeError if none can be."""
        return _task_error.dual_instance(self)

    def as_instanceof_cause(self) -> RayTaskError:
        """What `get` raises: the dual object, or this one where the cause's class forbids it."""
        if issubclass(RayTaskError, type(self.cause)):
            return self
        return _task_error.dual_or_self(self)


class TaskCancelledError(RayError):
    """The task was cancelled, or the worker was interrupted while it ran."""

    def __init__(self, task_id: Any = None, error_message: str | None = None) -> None:
        super().__init__(task_id, error_message)
        self.task_id = task_id
        self.error_message = error_message

    def __str__(self) -> str:
        head = f"Task: {self.task_id} was cancelled. " if self.task_id else ""
        default = "" if head else "This task or its actor call was cancelled."
        return head + (self.error_message or default)


class UserCodeException(RayError):
    """Wraps an error of user code inside a library; retries look at its cause."""


class UnserializableException(RayError):
    """The original exception could not be rebuilt here; the text is its traceback."""

    def __init__(self, original_stack_trace: str) -> None:
        super().__init__(original_stack_trace)
        self._original_stack_trace = original_stack_trace

    def __str__(self) -> str:
        return (
            "Failed to deserialize the original exception; its class may not be importable here, "
            "or its constructor may not accept its own `args`. The original error was:\n"
            + self._original_stack_trace
        )


class CrossLanguageError(RayError):
    """An error of code in another language."""


class LocalRayletDiedError(RayError):
    """The node's daemon died."""

    def __str__(self) -> str:
        return super().__str__() or "The daemon of this node died while the task was running."


class WorkerCrashedError(RayError):
    """The process that ran the task died."""

    def __init__(self, details: str = "") -> None:
        super().__init__(*([details] if details else []))
        self.details = details

    def __str__(self) -> str:
        head = "The worker died unexpectedly while executing this task."
        return f"{head} {self.details}" if self.details else head


class RayActorError(RayError):
    """A call failed because its actor is dead or can not be reached now."""

    BASE_ERROR_MSG = "The actor experienced an error before finishing this task."

    def __init__(
        self,
        actor_id: str | None = None,
        error_msg: str = BASE_ERROR_MSG,
        actor_init_failed: bool = False,
        preempted: bool = False,
    ) -> None:
        super().__init__(actor_id, error_msg, actor_init_failed, preempted)
        self.actor_id = actor_id
        self.error_msg = error_msg
        self._actor_init_failed = actor_init_failed
        self._preempted = preempted

    def __str__(self) -> str:
        return self.error_msg

    @property
    def preempted(self) -> bool:
        """The actor's node was taken away."""
        return self._preempted

    @property
    def actor_init_failed(self) -> bool:
        """The constructor raised."""
        return self._actor_init_failed


class ActorDiedError(RayActorError):
    """The actor is dead for good."""

    BASE_ERROR_MSG = "The actor died unexpectedly before finishing this task."

    def __init__(self, cause: RayTaskError | dict[str, Any] | str | None = None) -> None:
        actor_id: str | None = None
        text = self.BASE_ERROR_MSG
        if isinstance(cause, RayTaskError):
            actor_id = cause._actor_id
            text = f"The actor died because of an error raised in its creation task, {cause}"
        elif isinstance(cause, dict):
            actor_id = cause.get("actor_id")
            text = _describe_death(text, cause)
        elif cause:
            text = f"{text}\n{cause}"
        super().__init__(actor_id, text, isinstance(cause, RayTaskError))
        self.cause = cause
        self.args = (cause,)

    @staticmethod
    def from_task_error(task_error: RayTaskError) -> ActorDiedError:
        """For an actor whose constructor failed with `task_error`."""
        return ActorDiedError(task_error)


def _describe_death(head: str, facts: dict[str, Any]) -> str:
    lines = [head]
    for key in ("class_name", "actor_id", "pid", "name", "namespace", "ip", "last_call"):
        if facts.get(key):
            lines.append(f"\t{key}: {facts[key]}")
    if facts.get("message"):
        lines.append(str(facts["message"]))
    return "\n".join(lines)


class ActorUnavailableError(RayActorError):
    """The actor restarts or can not be reached; a later call may work."""

    def __init__(self, error_message: str, actor_id: bytes | str | None = None) -> None:
        shown = actor_id.hex() if isinstance(actor_id, bytes) else actor_id
        super().__init__(
            shown,
            f"The actor {shown} is unavailable: {error_message}. The task may or may not have "
            "been executed on the actor.",
        )
        self.args = (error_message, actor_id)


class RaySystemError(RayError):
    """The session itself failed or has ended."""

    def __init__(self, client_exc: object, traceback_str: str | None = None) -> None:
        super().__init__(client_exc, traceback_str)
        self.client_exc = client_exc
        self.traceback_str = traceback_str

    def __str__(self) -> str:
        text = f"System error: {self.client_exc}"
        return f"{text}\ntraceback: {self.traceback_str}" if self.traceback_str else text


class AuthenticationError(RayError):
    """The token was missing or wrong."""

    def __init__(self, message: str = "") -> None:
        super().__init__(message)
        self.message = message


class ObjectStoreFullError(RayError):
    """A value does not fit beside the values that are still referenced."""

    def __str__(self) -> str:
        text = super().__str__()
        if "can never fit" in text:
            return text
        return (
            f"{text}\nThe object store is full of objects that are still referenced. "
            "Drop references that are no longer needed, or give init() a larger "
            "object_store_memory."
        )


class OutOfDiskError(RayError):
    """Neither the store nor the disk behind it has room."""


class _MessageError(RayError):
    """An error that is nothing but its text."""

    def __init__(self, message: str = "") -> None:
        super().__init__(message)
        self.message = message

    def __str__(self) -> str:
        return self.message


class OutOfMemoryError(_MessageError):
    """The task's process was ended because the machine ran out of memory."""


class NodeDiedError(_MessageError):
    """The node died or can not be reached."""


class RpcError(RayError):
    """A request to another process failed."""

    def __init__(self, message: str, rpc_code: int | None = None) -> None:
        super().__init__(message, rpc_code)
        self.message = message
        self.rpc_code = rpc_code

    def __str__(self) -> str:
        return self.message


class ObjectLostError(RayError):
    """The value behind a reference is gone."""

    reason = "The object is no longer in the object store."

    def __init__(
        self, object_ref_hex: str, owner_address: bytes | None = None, call_site: str = ""
    ) -> None:
        super().__init__(object_ref_hex, owner_address, call_site)
        self.object_ref_hex = object_ref_hex
        self.owner_address = owner_address
        self.call_site = call_site

    def _base_str(self) -> str:
        text = f"Failed to retrieve object {self.object_ref_hex}."
        return f"{text} The ObjectRef was created at: {self.call_site}" if self.call_site else text

    def __str__(self) -> str:
        return f"{self._base_str()}\n\n{self.reason}"


class UnknownObjectError(ObjectLostError, ValueError):
    """The reference names nothing in the open session; with Ray it is a ValueError."""


class ObjectFetchTimedOutError(ObjectLostError):
    """The value could not be fetched from another node in time."""

    reason = "No node that holds the object answered in time."


class ReferenceCountingAssertionError(ObjectLostError, AssertionError):
    """The value was released although somebody still refers to it."""

    reason = "The object has already been deleted although a reference to it exists."


class ObjectFreedError(ObjectLostError):
    """The value was freed by hand."""

    reason = "The object was freed by an explicit call."


class OwnerDiedError(ObjectLostError):
    """Kept for programs that catch it; here the node owns objects, not the process."""

    reason = "The process that owned the object has exited."


class ObjectReconstructionFailedError(ObjectLostError):
    """The value was lost and could not be computed again."""

    def __init__(
        self,
        object_ref_hex: str,
        reason: Any = None,
        reason_message: str | None = None,
        owner_address: bytes | None = None,
        call_site: str = "",
    ) -> None:
        super().__init__(object_ref_hex, owner_address, call_site)
        self.reason = reason
        self.reason_message = reason_message or "The object cannot be reconstructed."
        self.args = (object_ref_hex, reason, reason_message, owner_address, call_site)

    def __str__(self) -> str:
        named = f"[{self.reason}] " if self.reason else ""
        return f"{self._base_str()}\n\n{named}{self.reason_message}"


class GetTimeoutError(RayError, TimeoutError):
    """`get` did not have its values in time."""


class PlasmaObjectNotAvailable(RayError):
    """The value was not there within the given time."""


class AsyncioActorExit(RayError):
    """Raised by exit_actor() inside an async actor."""


class RuntimeEnvSetupError(RayError):
    """The environment of a task or actor could not be set up."""

    def __init__(self, error_message: str | None = None) -> None:
        super().__init__(error_message)
        self.error_message = error_message

    def __str__(self) -> str:
        head = "Failed to set up runtime environment."
        return f"{head}\n{self.error_message}" if self.error_message else head


class TaskPlacementGroupRemoved(RayError):
    """The placement group of the task is gone."""

    def __str__(self) -> str:
        return "The placement group corresponding to this task has been removed."


class ActorPlacementGroupRemoved(RayError):
    """The placement group of the actor is gone."""

    def __str__(self) -> str:
        return "The placement group corresponding to this Actor has been removed."


class PendingCallsLimitExceeded(RayError):
    """More calls wait for the actor than its max_pending_calls allows."""


class _UnschedulableError(RayError):
    what = "task"

    def __init__(self, error_message: str) -> None:
        super().__init__(error_message)
        self.error_message = error_message

    def __str__(self) -> str:
        return f"The {self.what} is not schedulable: {self.error_message}"


class TaskUnschedulableError(_UnschedulableError):
    """No node can ever run the task."""


class ActorUnschedulableError(_UnschedulableError):
    """No node can ever run the actor."""

    what = "actor"


class ObjectRefStreamEndOfStreamError(RayError):
    """The stream of a generator is used up."""


class StreamingGeneratorReplayInconsistentError(RaySystemError):
    """A generator that ran again gave another number of items."""


class OufOfBandObjectRefSerializationException(RayError):
    """A reference was pickled outside Whipray although that is switched off."""


class RayChannelError(RaySystemError):
    """A channel of a compiled graph failed."""


class RayChannelTimeoutError(RayChannelError, TimeoutError):
    """A channel of a compiled graph was not ready in time."""


class RayCgraphCapacityExceeded(RaySystemError):
    """A compiled graph has too many executions in flight."""


class RayDirectTransportError(RaySystemError):
    """A direct transfer between two actors failed."""


class ActorAlreadyExistsError(ValueError, RayError):
    """An actor of that name exists in the namespace."""


class ActorHandleNotFoundError(ValueError, RayError):
    """The handle belongs to another session."""


class DependencyFailed(Exception):
    """An argument of the task is an error; `value` is the stored exception."""

    def __init__(self, value: BaseException) -> None:
        super().__init__(value)
        self.value = value


def exception_from_value(value: object) -> BaseException:
    """The exception that `get` raises for a stored error value; called by the extension."""
    if isinstance(value, RayTaskError):
        return value.as_instanceof_cause()
    if isinstance(value, BaseException):
        return value
    return RaySystemError(f"an error value of type {type(value).__name__} was stored: {value!r}")


def system_error(code: str, text: str, extra: dict[str, Any] | None = None) -> BaseException:
    """The exception for an error that the engine reports by code."""
    return _task_error.from_code(code, text, extra or {})


RAY_EXCEPTION_TYPES = [globals()[name] for name in __all__]
"""All of them."""
