"""Serving: Dagster's web interface and daemon, on this project.

Belongs here: starting ``dagster dev``, saying where it listens, and ending it. Does not belong here: preparing its
folder (``home``). Invariant: when this returns, none of the processes that it started is left, whichever signal ended
it.
"""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from sh_core.errors import SettingsError
from sh_defs.declaring import declared_graph
from sh_defs.home import dagster_file, dagster_instance, prepare_dagster_home
from sh_resources.settings import Settings

HOST = "127.0.0.1"
"""Nobody but this machine: the web interface asks for no password."""

GRACE_S = 15.0
"""How long Dagster may take to end its own processes before they are killed."""

_SUPERSEDED = "Function `dev_command` is superseded"
"""``dg dev``, its successor, needs packages that only developers have installed."""

_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_POLL_S = 0.2


def serve(settings: Settings, port: int, say: Callable[[str], None]) -> int:
    """Run ``dagster dev`` until it ends or is told to.

    Args:
        settings: Whose state to show.
        port: Where to listen.
        say: Told once the web interface answers.

    Returns:
        Exit code: 0 if it was told to end, else Dagster's own.

    Raises:
        SettingsError: If the port is taken, or the state folder cannot be used.
        DeclarationError: If the tables cannot be imported, or contradict each other.
    """
    declared_graph(settings.tables_module)  # what is wrong with it is said here, and not somewhere in Dagster's log
    _refuse_taken(port)
    workspace = dagster_file("workspace.yaml")
    home = prepare_dagster_home(settings)
    with dagster_instance(home):
        pass  # its storage is there now, so that the web interface and the daemon don't both create it
    environment = {
        **os.environ,
        "DAGSTER_HOME": str(home),
        "SELFHEAL_HOME": str(settings.home),
        # Dagster runs elsewhere, and finds the module of tables that stands here all the same.
        "PYTHONPATH": os.pathsep.join([str(Path.cwd()), *filter(None, [os.environ.get("PYTHONPATH")])]),
    }
    place = ["--workspace", str(workspace), "--host", HOST, "--port", str(port)]
    command = [sys.executable, "-W", f"ignore:{_SUPERSEDED}", "-m", "dagster", "dev", *place]
    told = list[int]()
    with _noting(told), _started(command, environment, home) as dagster:
        announced = False
        while dagster.poll() is None and not told:
            time.sleep(_POLL_S)
            if not announced and _answers(port):
                announced = True
                say(f"http://{HOST}:{port}")
        return 0 if told else dagster.returncode


@contextmanager
def _noting(told: list[int]) -> Iterator[None]:
    """Note signals instead of dying of them, so that there is time to end what was started."""

    def note(number: int, _: FrameType | None) -> None:
        told.append(number)

    before = {number: signal.signal(number, note) for number in _ENDING}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _started(command: list[str], environment: Mapping[str, str], folder: Path) -> Iterator["subprocess.Popen[bytes]"]:
    # A session of its own: Dagster started in the background of a shell would ignore SIGINT, and Ctrl-C in a terminal
    # would reach every one of its processes at once, which then complain about each other.
    # In Dagster's own folder, since it warns of a dagster.yaml that it finds in any other.
    process = subprocess.Popen(command, env=environment, cwd=folder, start_new_session=True)  # noqa: S603  # built above
    try:
        yield process
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            if process.poll() is None:
                process.send_signal(number)
                _await(process)
        _kill_group(process.pid)
        process.wait()


def _await(process: "subprocess.Popen[bytes]") -> None:
    try:
        process.wait(GRACE_S)
    except subprocess.TimeoutExpired:
        return


def _kill_group(leader: int) -> None:
    try:
        os.killpg(leader, signal.SIGKILL)
    except ProcessLookupError:
        return  # all of them have ended


def _refuse_taken(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            msg = f"port {port} cannot be used ({error.strerror}): name another, e.g. selfheal dev --port {port + 1}"
            raise SettingsError(msg) from error


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(_POLL_S)
        return probe.connect_ex((HOST, port)) == 0
