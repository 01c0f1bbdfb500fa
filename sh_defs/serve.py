"""Serving: Dagster's web interface, its daemon and a code server, on this project.

Belongs here: which processes there are, how they find each other, when to end. Does not belong here: keeping them
running (``supervising``), preparing their folder (``home``). Invariant: when this returns, none of the processes that
it started is left, whichever signal ended it.

``dagster dev`` is not used since its daemon looks round too rarely (``daemon``), and since it goes on without a word
when its code server dies. The code server is the one that it would start: a small one that stays, and in front of it
another that holds the code. "Reload definitions" in the web interface starts a new one of those; runs of the old one
are finished by it.
"""

import os
import signal
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import yaml

from sh_assets.dagster_private import code_server_answers
from sh_core.errors import SettingsError
from sh_defs.declaring import declared_graph
from sh_defs.home import dagster_instance, outdated, prepare_dagster_home
from sh_defs.running import LOCATION
from sh_defs.supervising import Service, Supervisor
from sh_resources.settings import Settings

HOST = "127.0.0.1"
"""Nobody but this machine: the web interface asks for no password."""

DEFINITIONS = "sh_defs.definitions"

_QUIET = "warning"
"""Dagster's services say each second that there is nothing to do. Runs say what became of their partitions."""

_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_POLL_S = 0.2


def serve(settings: Settings, port: int, announce: Callable[[str], None], say: Callable[[str], None]) -> None:
    """Run Dagster until told to end.

    Args:
        settings: Whose state to show.
        port: Where to listen.
        announce: Told the address of the web interface, whenever it answers anew.
        say: Told whatever else a person should know, in one line.

    Raises:
        SettingsError: If the port is taken, or the state folder cannot be used.
        DeclarationError: If the tables cannot be imported, or contradict each other.
        ServiceError: If one of the processes cannot be kept running.
    """
    declared_graph(settings.tables_module)  # what is wrong with it is said here, and not somewhere in Dagster's log
    _refuse_taken(port)
    home = prepare_dagster_home(settings)
    for advice in outdated(home):
        say(advice)
    with dagster_instance(home):
        pass  # its storage is there now, so that the processes don't all create it
    environment = {
        **os.environ,
        "DAGSTER_HOME": str(home),
        "SELFHEAL_HOME": str(settings.home),
        # Dagster runs elsewhere, and finds the module of tables that stands here all the same.
        "PYTHONPATH": os.pathsep.join([str(Path.cwd()), *filter(None, [os.environ.get("PYTHONPATH")])]),
    }
    told = list[int]()
    # In Dagster's own folder, since it warns of a dagster.yaml that it finds in any other.
    supervisor = Supervisor(environment, home, say, hurry=lambda: len(told) > 1)
    with tempfile.TemporaryDirectory(prefix="selfheal-") as meeting, _noting(told), supervisor:
        code, *rest = services(Path(meeting), port)
        supervisor.keep(code)
        while not told and not supervisor.ready(code):
            supervisor.look()
            time.sleep(_POLL_S)
        for service in rest:
            supervisor.keep(service)
        announced = False
        while not told:
            supervisor.look()
            if announced != (announced := all(map(supervisor.ready, rest))) and announced:
                announce(f"http://{HOST}:{port}")
            time.sleep(_POLL_S)


def services(meeting: Path, port: int) -> tuple[Service, Service, Service]:
    """The code server, and those that need it: the web interface and the daemon.

    They meet at a socket: two servers may share a port without a word, and then answer in turns.
    """
    place, workspace = str(meeting / "code.sock"), meeting / "workspace.yaml"
    workspace.write_text(yaml.safe_dump({"load_from": [{"grpc_server": {"socket": place, "location_name": LOCATION}}]}))
    what = ("--socket", place, "--module-name", DEFINITIONS, "--location-name", LOCATION)
    code = ("dagster", "code-server", "start", *what, "--log-level", _QUIET)
    found = ("--workspace", str(workspace))
    web = ("dagster_webserver", *found, "--host", HOST, "--port", str(port), "--dagster-log-level", _QUIET)
    return (
        Service("code server", code, lambda: code_server_answers(place)),
        Service("web interface", web, lambda: _answers(port)),
        Service("daemon", ("sh_defs.daemon", "run", *found, "--log-level", _QUIET)),
    )


@contextmanager
def _noting(told: list[int]) -> Iterator[None]:
    """Note signals instead of dying of them, so that there is time to end what was started."""

    def note(number: int, _: FrameType | None) -> None:
        told.append(number)

    # Who started it with nohup means it to go on without a terminal.
    heard = [n for n in _ENDING if n != signal.SIGHUP or signal.getsignal(n) is not signal.SIG_IGN]
    before = {number: signal.signal(number, note) for number in heard}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


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
