"""A process that dies, or stops, at a failpoint: rounds of the mixed load, while workers are shot.

usage: python -m tests.crash.one_life driver SPEC ADDRESS   it joins a session, and is armed
       python -m tests.crash.one_life daemon SPEC           the daemon of its own is armed

It says where its session is and which process is armed.  The last line is "done", or "ended" when
the session has ended under it.
"""

from __future__ import annotations

import os
import sys

import whipray
from whipray import _core
from whipray.exceptions import RaySystemError

from .helpers import Killer
from .mixed_load import Load

ROUNDS = 3
ARMED = "WHIPRAY_FAILPOINT"
UNARMED = {"env_vars": {ARMED: ""}}


def live() -> None:
    load = Load()
    with Killer(1_000_000, load.waits):
        load.come_up()
        for n in range(ROUNDS):
            load.play_round(n)


def main() -> None:
    role, spec, *address = sys.argv[1:]
    os.environ[ARMED] = spec if role == "daemon" else ""
    own = {} if address else {"num_cpus": 2, "resources": {"lamp": 3}}
    joined = {"address": address[0]} if address else {}
    whipray.init(log_to_driver=False, runtime_env=UNARMED, **own, **joined)
    os.environ[ARMED] = spec if role == "driver" else ""  # the engine looks at its first failpoint
    info = _core.info()
    print(info["session_dir"], os.getpid() if role == "driver" else info["daemon_pid"], flush=True)
    try:
        live()
        whipray.shutdown()
    except RaySystemError:
        print("ended", flush=True)
    else:
        print("done", flush=True)


if __name__ == "__main__":
    main()
