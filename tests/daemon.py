"""Dagster's daemon and one code server, as real processes on a state folder, for tests that need no web interface.

Both are killed and started again as a test likes; ``running`` ends whatever is left, runs included. Each process leads
a session of its own, so that ending its group also ends the runs that a code server has started.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import dagster as dg
import yaml
from dagster._core.execution.backfill import BulkActionsFilter, BulkActionStatus
from dagster._core.scheduler.instigation import InstigatorTick
from dagster._core.storage.dagster_run import NOT_FINISHED_STATUSES

from sh_assets.dagster_private import code_server_answers
from sh_defs.home import dagster_instance

START_S = 60.0
END_S = 20.0
_POLL_S = 0.05
_LOCATION = "selfheal"


@dataclass
class Services:
    """The processes around one DAGSTER_HOME.

    Attributes:
        home: DAGSTER_HOME, with a ``dagster.yaml``.
        module: Module of Dagster definitions.
        environment: What the processes are told besides.
        sensors_every_s: How often the daemon looks for sensors.
        backfills_every_s: How often it looks at backfills.
    """

    home: Path
    module: str
    environment: Mapping[str, str] = field(default_factory=dict)
    sensors_every_s: float = 0.2
    backfills_every_s: float = 0.2
    _running: "dict[str, subprocess.Popen[bytes]]" = field(default_factory=dict)

    @property
    def workspace(self) -> Path:
        """Where to find the code server, for further processes."""
        return self.home / "workspace.yaml"

    @property
    def _socket(self) -> Path:
        return self.home / "code.sock"

    def start(self) -> None:
        """Start what is not running, and wait until the code server answers."""
        if not self._alive("code"):
            self.start_code_server()
        if not self._alive("daemon"):
            self.start_daemon()

    def start_code_server(self) -> None:
        """Start the code server and wait until it answers."""
        where = {"socket": str(self._socket), "location_name": _LOCATION}
        self.workspace.write_text(yaml.safe_dump({"load_from": [{"grpc_server": where}]}))
        self._socket.unlink(missing_ok=True)
        place = ["--socket", str(self._socket), "--module-name", self.module, "--location-name", _LOCATION]
        self._spawn("code", [sys.executable, "-m", "dagster", "api", "grpc", *place])
        self.wait_for(self._socket.exists, START_S, "the code server's socket")
        self.wait_for(lambda: code_server_answers(str(self._socket)), START_S, "the code server")

    def start_daemon(self) -> None:
        """Start the daemon; its sensors tick within a second or two."""
        self._spawn("daemon", [sys.executable, "-m", "sh_defs.daemon", "run", "--workspace", str(self.workspace)])

    def kill(self, name: str) -> None:
        """Kill the ``daemon``, or ``code``: the code server with all its runs."""
        process = self._running.pop(name)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def stop(self) -> None:
        """End everything."""
        for name in ("daemon", "code"):
            process = self._running.pop(name, None)
            if process is None:
                continue
            process.send_signal(signal.SIGINT)
            try:
                process.wait(END_S)
            except subprocess.TimeoutExpired:
                pass
            finally:
                _kill_group(process.pid)
                process.wait()

    def wait_for(self, condition: Callable[[], bool], timeout_s: float, what: str) -> None:
        """Wait until something is so; fail with the processes' output if it never is, or if one of them has ended."""
        until = time.monotonic() + timeout_s
        while not condition():
            ended = [name for name, process in self._running.items() if process.poll() is not None]
            if ended or time.monotonic() > until:
                said = "\n".join(
                    f"--- {log.name}\n{log.read_text()[-4000:]}" for log in sorted(self.home.glob("*.log"))
                )
                msg = f"{', '.join(ended) or 'time'} ended before {what}\n{said}"
                raise AssertionError(msg)
            time.sleep(_POLL_S)

    @contextmanager
    def instance(self) -> Iterator[dg.DagsterInstance]:
        """Dagster's storage, as the processes see it."""
        with dagster_instance(self.home) as opened:
            yield opened

    def _spawn(self, name: str, command: list[str]) -> None:
        told = {
            **{k: v for k, v in os.environ.items() if not k.startswith(("SELFHEAL_", "DAGSTER_"))},
            "DAGSTER_HOME": str(self.home),
            "DAGSTER_DISABLE_TELEMETRY": "yes",
            "SELFHEAL_SENSORS_EVERY_S": str(self.sensors_every_s),
            "SELFHEAL_BACKFILLS_EVERY_S": str(self.backfills_every_s),
            "PYTHONPATH": os.pathsep.join(p for p in sys.path if p),
            **self.environment,
        }
        with (self.home / f"{name}.log").open("ab") as log:
            self._running[name] = subprocess.Popen(
                command, env=told, cwd=self.home, stdout=log, stderr=log, start_new_session=True
            )

    def _alive(self, name: str) -> bool:
        process = self._running.get(name)
        return process is not None and process.poll() is None


@contextmanager
def running(services: Services) -> Iterator[Services]:
    """Everything started, and nothing left behind."""
    try:
        services.start()
        yield services
    finally:
        services.stop()


def ticks(instance: dg.DagsterInstance, sensor: str) -> list[InstigatorTick]:
    """The newest ticks of a sensor."""
    for state in instance.all_instigator_state():
        if state.instigator_name == sensor:
            return list(instance.get_ticks(state.instigator_origin_id, state.selector_id, limit=20))
    return []


def under_way(instance: dg.DagsterInstance) -> bool:
    """Whether a run or a backfill is not over."""
    active = [BulkActionStatus.REQUESTED, BulkActionStatus.CANCELING, BulkActionStatus.FAILING]
    return bool(
        instance.get_runs(dg.RunsFilter(statuses=list(NOT_FINISHED_STATUSES)), limit=1)
        or instance.get_backfills(BulkActionsFilter(statuses=active), limit=1)
    )


def _kill_group(leader: int) -> None:
    try:
        os.killpg(leader, signal.SIGKILL)
    except ProcessLookupError:
        return
