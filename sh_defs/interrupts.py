"""Interrupts: hearing Ctrl-C while a library catches it.

Belongs here: nothing else. Does not belong here: what an interrupted command says. Invariant: a signal that arrives
within the block is heard at the next question, whichever handler took it, and whatever became of what that raised.

While Dagster executes a run it has its own signal handlers: it notes the run as failed, or nothing at all if the last
step is over, and then the caller goes on as if nobody had asked it to stop. And where a handler raises while Python
runs a finaliser, Python drops what was raised, and prints a traceback.
"""

import signal
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import dagster as dg

_ENDING = {signal.SIGINT, signal.SIGTERM}
_MANY = 4096


@contextmanager
def hearing_interrupts() -> Iterator[Callable[[], None]]:
    """Hear signals that ask to end. Only in the main thread.

    Yields:
        To be called wherever it is good to stop; raises KeyboardInterrupt if such a signal has come.
    """
    ear, mouth = socket.socketpair()
    with ear, mouth:
        ear.settimeout(0)  # never waits
        mouth.settimeout(0)
        before = signal.set_wakeup_fd(mouth.fileno(), warn_on_full_buffer=False)

        def stop_if_told() -> None:
            try:
                heard = ear.recv(_MANY)
            except BlockingIOError:
                return
            if _ENDING & set(heard):
                raise KeyboardInterrupt

        plain_hook = sys.unraisablehook

        def drop_quietly(dropped: Any) -> None:  # noqa: ANN401  # has no public type
            if not isinstance(dropped.exc_value, KeyboardInterrupt | dg.DagsterExecutionInterruptedError):
                plain_hook(dropped)

        sys.unraisablehook = drop_quietly
        try:
            yield stop_if_told
        finally:
            sys.unraisablehook = plain_hook
            signal.set_wakeup_fd(before)
