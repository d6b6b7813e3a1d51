"""The process's connection to its session: init, shutdown, and what both ends need to know."""

from __future__ import annotations

import os
import sys
from _thread import RLock
from typing import Any

from whipray import _core
from whipray._private import labels as labels_of_node
from whipray._private import machine, options

TYPE_CHECKING = False
if TYPE_CHECKING:
    from whipray._private.context import RayContext

ENV_KEY = "WHIPRAY_TASK_ENV"
"""In a worker: the resolved environment of its pool as JSON, see whipray._private.envs.enter."""
JOB_ENV_KEY = "WHIPRAY_JOB_ENV"
"""In a worker: the runtime_env given to init as JSON."""
NAMESPACE_KEY = "WHIPRAY_JOB_NAMESPACE"
"""In a worker: the namespace of its job."""
JOB_CONFIG_KEY = "WHIPRAY_JOB_CONFIG"
"""In a worker: what it has to know of the job_config given to init; "" when there was none."""
THREADS = "OMP_NUM_THREADS"
OWN_THREADS = "WHIPRAY_SETS_THREADS"
"""In a worker: the number of threads of libraries is ours to set, not the user's choice."""
UNKNOWN_INIT = "Unknown keyword argument(s): {}"
TWICE = (
    "Maybe you called ray.init twice by accident? This error can be suppressed by passing in "
    "'ignore_reinit_error=True' or by calling 'ray.shutdown()' prior to 'ray.init()'."
)
_POOL_REG = 6
LONGEST_NAMESPACE = 4095
"""Bytes of that of a job, in UTF-8."""
PRIVATE = frozenset(
    "_temp_dir _system_config _node_ip_address _metrics_export_port _memory _redis_username "
    "_redis_password _redis_max_memory _tracing_startup_hook _node_name "
    "_driver_object_store_memory _enable_object_reconstruction _plasma_directory "
    "object_spilling_directory _object_spilling_directory _cgroup_path storage "
    "_no_workers".split()
)
"""Accepted; of these mean something here: _temp_dir, object_spilling_directory, what _system_config
says about spilling, and _no_workers, which keeps none ready."""


class State:
    """What this process knows about its session; one object, `state`."""

    def __init__(self) -> None:
        self.is_worker = False
        self.namespace = ""
        self.detached = False
        """Whether actors live on without their job unless they say otherwise."""
        self.context: RayContext | None = None
        self.opened = ""
        """Where or by whom: what stands behind "The open session was started"."""
        self.job_env: dict[str, str] = {}
        self.inherited: dict[str, Any] = {}
        self.runtime_env: dict[str, Any] = {}
        self.shapes: dict[Any, int] = {}
        self.shapes_epoch = self.shapes_limit = 0
        self.hooked = False
        self.other: Any = None
        """The module of the real Ray that has taken over, see `handover`."""
        self.resources_of_task: dict[int, dict[str, float]] = {}
        self.group: tuple[bytes | None, bool] = (None, False)
        """Id of the placement group that the running task or actor is in; whether its children
        go there too."""

    @property
    def mode(self) -> int | None:
        """SCRIPT_MODE in a driver, WORKER_MODE in a worker, None without a session."""
        import whipray

        if not _core.attached():
            return None
        return whipray.WORKER_MODE if self.is_worker else whipray.SCRIPT_MODE

    def clear(self) -> None:
        """Forget the session that has ended."""
        hooked = self.hooked
        self.__init__()  # type: ignore[misc]
        self.hooked = hooked


state = State()

_opening = RLock()
"""Held by the thread that opens a session: others that need one wait for it."""
os.register_at_fork(after_in_child=_opening._at_fork_reinit)  # type: ignore[attr-defined]


# ---- init ----------------------------------------------------------------------------------------


def init(
    address: str | None = None,
    *,
    num_cpus: float | None = None,
    num_gpus: float | None = None,
    resources: dict[str, float] | None = None,
    labels: dict[str, str] | None = None,
    object_store_memory: int | None = None,
    local_mode: bool = False,
    ignore_reinit_error: bool = False,
    include_dashboard: bool | None = None,
    dashboard_host: str = "127.0.0.1",
    dashboard_port: int | None = None,
    job_config: Any = None,
    configure_logging: bool = True,
    logging_level: int | str = "info",
    logging_format: str | None = None,
    logging_config: Any = None,
    log_to_driver: bool | None = None,
    namespace: str | None = None,
    runtime_env: dict[str, Any] | None = None,
    enable_resource_isolation: bool = False,
    preload: list[str] | None = None,
    **kwargs: Any,
) -> RayContext:
    """Start a session on this machine, or join one, and return its context.

    Args:
        address: "local" starts a session; "auto" or the path of a session's socket joins one;
            "ray://host:port" hands over to a real Ray.  None: what RAY_ADDRESS says, or the session
            of `whipray start`, or else a new one.
        num_cpus: CPUs that tasks may claim together; all that this process may use by default.
        num_gpus: GPUs likewise; those that are found by default.
        resources: what else tasks may claim, as name -> amount.
        labels: labels of this node, for `label_selector`.
        object_store_memory: bytes for objects, at least 16 MiB; 30 % of the memory by default.
        ignore_reinit_error: return the context of the open session, if there is one.
        job_config: a `job_config.JobConfig`.
        logging_level: of the loggers "whipray" and "ray".
        logging_config: a `LoggingConfig` for this process and the workers.
        log_to_driver: show here what workers print; True by default.
        namespace: where names of actors are looked up; one of its own by default.
        runtime_env: variables, directory, modules and packages of all tasks and actors.
        preload: names of modules that workers have imported from the start.

    The other arguments are Ray's and change nothing.

    Raises:
        RuntimeError: a session is open already, or an argument is unknown.
        ConnectionError: there is no such session, or none can be started.
        ValueError, TypeError: an argument makes no sense.
    """
    given = locals()
    if _other_ray(address) and not _core.attached():
        from whipray._private import handover

        there: RayContext = handover.start(given)
        return there
    _refuse_unknown(kwargs)
    if local_mode:
        raise RuntimeError("`local_mode` is no longer supported: tasks run in processes.")
    if _core.attached():
        return _again(ignore_reinit_error)
    if _core.epoch() and not state.is_worker:
        shutdown()  # what is left of a session that has died
    refuse_forked()
    if sys.is_finalizing():  # no thread would ever begin to run: start() waits for that
        raise RuntimeError("the interpreter is ending: no session can be started any more")
    _set_level(logging_level)
    job = _job_config(job_config, logging_config)
    if job is not None:
        namespace = job.ray_namespace if namespace is None else namespace
        runtime_env = runtime_env or job.runtime_env
    space = _checked_namespace(namespace)
    wanted_env = _job_runtime_env(runtime_env)
    more_env = set(wanted_env) - {"env_vars", "config", "excludes"}
    node_labels = labels_of_node.checked(labels)
    target = machine.find_address(address)
    amounts = num_cpus, num_gpus, resources, object_store_memory
    if target is not None:
        config = _join_config(kwargs, target, *amounts)
    else:
        config = _start_config(kwargs, *amounts)
    env = _worker_env(wanted_env, space)
    if job is not None:
        _hand_on(job, env, config)
    config.update(
        env=env,
        eager=not more_env and not kwargs.get("_no_workers"),
        preload=_module_names(preload),
        log_to_driver=_logs(log_to_driver),
        namespace=space,
    )
    plain = job is not None and job.py_logging_config is not None
    with _opening:
        if _core.attached():  # by another thread
            return _again(ignore_reinit_error)
        try:
            if target is not None:
                info = _core.join(target, _core.pack(config))
            else:
                info = _core.start(machine.daemon_path(), _core.pack(config))
                labels_of_node.publish(node_labels)
            context = _opened(info, space, wanted_env, _logs(log_to_driver), plain)
            if job is not None:
                state.detached = job._default_actor_lifetime == "detached"
            if more_env:
                _enter_job_env(wanted_env)
        except BaseException:  # an interrupt too
            shutdown()
            raise
    return context


def _set_level(level: int | str) -> None:
    """How much this package and libraries of Ray log here; ValueError for no such level."""
    if level in ("info", 20):
        return
    import logging

    wanted = level.upper() if isinstance(level, str) else level
    for name in ("whipray", "ray"):
        logging.getLogger(name).setLevel(wanted)


def _opened(
    info: dict[str, Any],
    namespace: str,
    runtime_env: dict[str, Any],
    logs: bool,
    plain: bool,
) -> RayContext:
    """Remember what was asked for, start the driver's thread, build the context."""
    from whipray._private import hints, monitor, termination
    from whipray._private.context import RayContext

    _hook_once()
    termination.begin()
    state.clear()
    state.opened = f"at {hints.place()}, by init() or the first use of the API"
    state.namespace = namespace
    state.job_env = _job_variables(runtime_env)
    state.runtime_env = runtime_env
    state.context = RayContext({**_core.info(), **info})
    try:
        monitor.start(print_logs=logs, plain=plain)
    except RuntimeError as error:
        raise RuntimeError(_no_thread(error)) from None
    return state.context


def _job_config(config: Any, logging_config: Any) -> Any:
    """The JobConfig of init, with the logging of this process set up; None when none was given."""
    if config is None and logging_config is None:
        return None
    from whipray import job_config

    found = job_config.of_init(config, logging_config)
    if found.py_logging_config is not None:
        found.py_logging_config._apply()
    return found


def _hand_on(job: Any, env: dict[str, str], config: dict[str, Any]) -> None:
    """What workers get of a JobConfig."""
    from whipray import job_config

    env[JOB_CONFIG_KEY] = job_config.text_for_workers(job)
    front = [
        path if os.path.isdir(path) else os.path.dirname(path) for path in job.code_search_path
    ]
    config["sys_path"] = [*front, *config["sys_path"], *job._py_driver_sys_path]


def _job_runtime_env(runtime_env: Any) -> dict[str, Any]:
    """The checked runtime_env of the job: what a submitted job was given, with init's over it."""
    hook = os.environ.get("RAY_RUNTIME_ENV_HOOK")
    if hook:
        from whipray._private.envs import named

        runtime_env = named.function(hook)(runtime_env)
    text = os.environ.get("RAY_JOB_CONFIG_JSON_ENV_VAR")
    if not runtime_env and not text:
        if runtime_env is None or isinstance(runtime_env, dict):
            return {}
    from whipray._private.envs import fields

    found = fields.checked(runtime_env)
    if text:
        import json

        found = fields.merge(fields.checked(json.loads(text).get("runtime_env")), found)
    return found


def _enter_job_env(runtime_env: dict[str, Any]) -> None:
    """Everything of this job runs in a pool of its own, which keeps workers ready."""
    from whipray._private.envs import resolve

    state.inherited = resolve.resolved(runtime_env, os.environ)
    if runtime_env.get("config", {}).get("eager_install", True):
        from whipray._private import shapes

        _core.rpc(_POOL_REG, _core.pack([shapes.pool_env(None), True]))


def _no_thread(error: RuntimeError) -> str:
    import resource

    most = resource.getrlimit(resource.RLIMIT_NPROC)[0]
    shown = "unlimited" if most == resource.RLIM_INFINITY else most
    return (
        f"cannot start a session: {error}, which init() needs to hear of the daemon; limits: "
        f"RLIMIT_NPROC (ulimit -u) {shown}, and the pids limit of the cgroup"
    )


def _anonymous() -> str:
    """A namespace that no other job has."""
    text = os.urandom(16).hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def _other_ray(address: Any) -> bool:
    """Whether the address is that of a real Ray: ray://host:port, ray:auto and so on."""
    if address is None:
        address = machine.address_from_environment()
    return isinstance(address, str) and address.startswith("ray:")


def _again(ignore: bool) -> RayContext:
    if not ignore:
        raise _opened_twice()
    import logging

    logging.getLogger("whipray").info("init() was called again; the open session is kept.")
    return state.context or _worker_context()


def _opened_twice() -> RuntimeError:
    error = RuntimeError(TWICE)
    if state.is_worker:
        error.add_note("A worker is in the session of its job from the start, and needs no init().")
    elif state.opened:
        error.add_note(f"The open session was started {state.opened}.")
    return error


def _worker_context() -> RayContext:
    from whipray._private.context import RayContext

    state.context = RayContext(_core.info())
    return state.context


def _refuse_unknown(kwargs: dict[str, Any]) -> None:
    unknown = sorted(set(kwargs) - PRIVATE)
    if unknown:
        from whipray._private import hints

        hint = "".join(hints.meant(name, init.__kwdefaults__ or ()) for name in unknown)
        raise RuntimeError(UNKNOWN_INIT.format(", ".join(unknown)) + (hint and f".{hint}"))


def refuse_forked() -> None:
    """A process that was forked from one with a session can have none."""
    if _core.forked():
        raise RuntimeError(
            "This process was forked from one that uses Whipray; a session can not be shared or "
            "started across fork. Start the process with the 'spawn' method, or call init() only "
            "after the fork."
        )


def _checked_namespace(given: Any) -> str:
    """The namespace of this driver; one of its own when none was given."""
    if given is not None and not isinstance(given, str):
        raise TypeError(f"namespace must be None or a string, not {given!r}")
    if given == "":
        raise ValueError('"" is not a valid namespace. Pass None to not specify a namespace.')
    space = given or os.environ.get("RAY_NAMESPACE") or _anonymous()
    if len(space.encode("utf-8", "replace")) > LONGEST_NAMESPACE:
        raise ValueError(f"a namespace may have {LONGEST_NAMESPACE} bytes at most")
    return options.without_null("a namespace", space)


def _start_config(
    private: dict[str, Any],
    num_cpus: float | None,
    num_gpus: float | None,
    resources: dict[str, float] | None,
    object_store_memory: int | None,
) -> dict[str, Any]:
    """What the daemon of a new session is told of this machine and this driver."""
    memory = private.get("_memory") or None
    config = machine.config(num_cpus, num_gpus, resources, object_store_memory, memory)
    config.update(machine.spilling(private))
    temp_dir = private.get("_temp_dir") or os.environ.get("RAY_TMPDIR")
    if temp_dir:
        config["temp_dir"] = options.without_null("_temp_dir", os.fspath(temp_dir))
    return config


def _join_config(private: dict[str, Any], target: str, *amounts: Any) -> dict[str, Any]:
    """What a daemon that runs is told of this driver, which can not say what the session has."""
    names = ("num_cpus", "num_gpus", "resources", "object_store_memory", "_system_config")
    values = *amounts, private.get("_system_config")
    wrong = [name for name, value in zip(names, values, strict=True) if value is not None]
    if wrong:
        raise ValueError(
            f"When connecting to an existing cluster, {', '.join(wrong)} must not be provided. "
            f"The one that runs is unix:{target}; init('local', ...) starts one of your own."
        )
    return machine.job_config()


def _logs(log_to_driver: bool | None) -> bool:
    if os.environ.get("RAY_LOG_TO_DRIVER") == "0":
        return False
    return True if log_to_driver is None else bool(log_to_driver)


def _module_names(preload: list[str] | None) -> list[str]:
    if preload is None:
        return []
    from importlib.util import find_spec

    names: Any = preload
    if isinstance(names, str) or not all(isinstance(name, str) for name in names):
        raise TypeError(f"preload must be a list of module names, not {preload!r}")
    for name in names:
        if find_spec(name.partition(".")[0]) is None:
            raise ModuleNotFoundError(f"preload: there is no module {name!r}", name=name)
    return list(names)


def _job_variables(runtime_env: dict[str, Any]) -> dict[str, str]:
    """Those of the job's environment, with `${NAME}` as it is here."""
    variables: dict[str, str] = runtime_env.get("env_vars", {})
    if not any("$" in value for value in variables.values()):
        return variables
    from whipray._private.envs import resolve

    return resolve.variables(variables, os.environ)


def _worker_env(runtime_env: dict[str, Any], namespace: str) -> dict[str, str]:
    """Variables set in every worker over the driver's own."""
    extra = {**_job_variables(runtime_env), NAMESPACE_KEY: namespace, ENV_KEY: ""}
    extra[JOB_CONFIG_KEY] = ""
    extra[JOB_ENV_KEY] = _json(runtime_env) if runtime_env else ""
    compat = sys.modules.get("whipray.compat")
    if compat is not None and compat.installed():
        extra[compat.SWITCH] = "1"
    if THREADS not in os.environ and THREADS not in extra:
        extra.update({THREADS: "1", OWN_THREADS: "1"})
    return extra


def _json(runtime_env: dict[str, Any]) -> str:
    """For those who ask a worker; a hook is shown by its name."""
    import json

    return json.dumps(runtime_env, default=lambda hook: getattr(hook, "__name__", repr(hook)))


def thread_count(claimed: dict[str, float]) -> str | None:
    """What OMP_NUM_THREADS should be for work with these resources; None: the user decided."""
    if OWN_THREADS not in os.environ:
        return None
    return str(max(1, int(claimed.get("CPU", 1))))


# ---- the rest of a session's life ----------------------------------------------------------------


def ensure_attached(about: Any = None) -> None:
    """Auto-init: start a session if the process has none.

    `about`: a reference, a stream or a handle, which is of no session that would be started.
    """
    if _core.attached() or state.other is not None:
        return
    refuse_forked()
    if about is not None and not _core.epoch():
        _refuse_old(about)
    with _opening:
        if _core.attached():  # another thread was first
            return
        _refuse_ended()
        if os.environ.get("RAY_ENABLE_AUTO_CONNECT") == "0":
            from whipray.exceptions import RaySystemError

            raise RaySystemError(
                "No session is open and automatic init is switched off; call init()."
            )
        init()


def _refuse_old(about: Any) -> None:
    from whipray._private import hooks

    if isinstance(about, _core.ActorHandle):
        hooks.lost_ref(about, True, True)
    if isinstance(about, _core.Stream):
        about = about.completed()
    if isinstance(about, _core.ObjectRef):
        _core.phase(about)  # raises


def _refuse_ended() -> None:
    """A session that died under its process is not replaced silently: its objects are gone."""
    from whipray.exceptions import RaySystemError

    end_daemon_thread()
    if state.is_worker:
        raise RaySystemError("the session of this worker has ended")
    if _core.epoch():
        raise RaySystemError(
            f"the session has ended ({_core.end_reason()}), and its objects and actors with it; "
            "call shutdown() and then init() to start another one"
        )


def require_attached(what: str, error: type[Exception] | None = None) -> None:
    """For questions that do not start a session by themselves; `error` if not RaySystemError."""
    if not _core.attached():
        _refuse_ended()
        refuse_forked()
        from whipray.exceptions import RaySystemError

        message = f"Ray has not been started yet: {what} needs a session; init() first."
        raise (error or RaySystemError)(message)


def shutdown(*, wait_for_processes: bool = False, _exiting_interpreter: bool = False) -> None:
    """End the session: its tasks and actors stop, and old references are of no use any more.

    It always waits for the processes of a session that this process has started.
    Does nothing when no session is open, and inside a worker.  One that is interrupted (Ctrl-C) has
    left the session, without waiting for the end of what runs in it.
    """
    if state.is_worker:
        return
    monitor = sys.modules.get("whipray._private.monitor")
    try:
        if _core.attached() and monitor is not None:
            monitor.drain()
        _core.detach()
    except MemoryError:
        raise  # nothing has been left
    except BaseException:
        _core.hang_up()
        _forget_session()
        raise
    _forget_session()


def _forget_session() -> None:
    """What served the session that has been left ends."""
    completion = sys.modules.get("whipray._private.completion")
    metrics = sys.modules.get("whipray.util.metrics")
    monitor = sys.modules.get("whipray._private.monitor")
    termination = sys.modules.get("whipray._private.termination")
    if termination is not None:
        termination.end()
    if monitor is not None:
        monitor.stop()
    if completion is not None:
        completion.stop()
    if metrics is not None:
        metrics.stop()
    state.clear()


def _hook_once() -> None:
    if state.hooked:
        return
    state.hooked = True
    import atexit

    atexit.register(_exit)


_exiting = False


def _exit() -> None:
    """The program ends: its session does, too."""
    global _exiting
    _exiting = True
    try:
        shutdown(_exiting_interpreter=True)
    except SystemExit:  # SIGTERM came meanwhile: the session has been left, the program ends
        return


def end_daemon_thread() -> None:
    """End the calling thread if it is one that nobody waits for, and the program ends.

    Python stops such a thread wherever it is, a moment after the session has gone.  In that moment
    it must neither see errors of a session that it did not leave nor start another one.
    """
    if _exiting:
        import threading

        if threading.current_thread().daemon:
            raise SystemExit
