"""Services on a leash: ``python -m sh_defs.leashed MODULE ARGUMENTS…`` instead of ``python -m MODULE ARGUMENTS…``.

Belongs here: ending a service when whoever started it is gone, however that one died. Does not belong here: starting
it (``supervising``). Invariant: once the other end of standard input is closed, this process and all that it has
started, its process group, are gone within ``GRACE_S`` seconds.
"""

import os
import runpy
import signal
import sys
import threading
import time
from types import FrameType

GRACE_S = 10.0
"""How long the service may take to end by itself before it is killed."""

_cut = threading.Event()


def _hold_on() -> None:
    """Wait until nobody holds the other end, then end this process and its group."""
    while os.read(0, 1):
        pass
    _cut.set()
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE_S)
    _kill_group()


def _kill_group() -> None:
    os.killpg(os.getpid(), signal.SIGKILL)


def _leave(number: int, _: FrameType | None) -> None:
    """End with all that is to be done on the way out, until the service has its own handler."""
    sys.exit(128 + number)


if __name__ == "__main__":
    sys.argv = sys.argv[1:]
    signal.signal(signal.SIGTERM, _leave)
    threading.Thread(target=_hold_on, name="leash", daemon=True).start()
    try:
        runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
    finally:
        if _cut.is_set():
            _kill_group()  # what it has started may still be there
