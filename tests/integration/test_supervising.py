"""Services are kept running while they are wanted, and not a moment longer, whoever dies first.

The incident: a web interface that goes on for days after the terminal in which it was started is gone, or a daemon that
waits for ever for a code server that died. Real processes; each notes its number in a file.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sh_defs import leashed, supervising
from sh_defs.supervising import Service, ServiceError, Supervisor

SOON_S = 30.0

TOYS = {
    # Starts another process that does not care for signals, as a code server starts runs.
    "stubborn": """
import os, signal, subprocess, sys, time
if len(sys.argv) > 2:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
else:
    subprocess.Popen([sys.executable, __file__, sys.argv[1], "child"])
with open(sys.argv[1], "a") as log:
    log.write(f"{os.getpid()}\\n")
time.sleep(600)
""",
    "broken": """
import os, sys
with open(sys.argv[1], "a") as log:
    log.write(f"{os.getpid()}\\n")
sys.exit(3)
""",
}

KEEPER = """
import os, sys, time
from pathlib import Path
from sh_defs.supervising import Service, Supervisor
with Supervisor(os.environ, Path("."), print) as kept:
    kept.keep(Service("toy", ("stubborn", sys.argv[1])))
    time.sleep(600)
"""


class Toys:
    """Services that note their numbers in a file."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.log = folder, folder / "pids"
        self.said: list[str] = []
        for name, text in TOYS.items():
            (folder / f"{name}.py").write_text(text)
        self.environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), *filter(None, sys.path)])}

    def service(self, name: str, answers: Callable[[], bool] | None = None) -> Service:
        return Service(name, (name, str(self.log)), answers)

    def supervisor(self) -> Supervisor:
        return Supervisor(self.environment, self.folder, self.said.append)

    def started(self) -> list[int]:
        """Numbers of all processes that ever noted theirs."""
        return [int(line) for line in self.log.read_text().split()] if self.log.exists() else []

    def alive(self) -> list[int]:
        return [pid for pid in self.started() if is_there(pid)]


def is_there(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def until(condition: Callable[[], object], look: Callable[[], None] = lambda: None) -> None:
    end = time.monotonic() + SOON_S
    while not condition():
        assert time.monotonic() < end
        look()
        time.sleep(0.05)


@pytest.fixture
def toys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Toys]:
    monkeypatch.setattr(supervising, "FIRST_PAUSE_S", 0.01)
    found = Toys(tmp_path)
    yield found
    for pid in found.alive():
        os.kill(pid, signal.SIGKILL)


def test_a_service_that_was_killed_is_started_anew_and_its_children_are_not_left(toys: Toys) -> None:
    with toys.supervisor() as kept:
        kept.keep(toys.service("stubborn"))
        until(lambda: len(toys.started()) == 2)
        first = toys.started()
        (leader,) = (pid for pid in first if os.getpgid(pid) == pid)
        os.kill(leader, signal.SIGKILL)
        until(lambda: len(toys.started()) == 4, kept.look)
        assert not any(map(is_there, first))
        assert toys.said == ["The stubborn was killed (SIGKILL). It is started anew in 0 s."]


def test_a_service_that_always_dies_is_given_up_and_the_others_end_with_it(toys: Toys) -> None:
    with toys.supervisor() as kept:
        kept.keep(toys.service("stubborn"))
        until(lambda: len(toys.started()) == 2)
        kept.keep(toys.service("broken"))
        with pytest.raises(ServiceError, match=r"the broken ended \(exit code 3\), 6 times in a row"):
            until(lambda: False, kept.look)
    assert len(toys.started()) == 2 + supervising.STARTS
    assert toys.alive() == []
    assert len(toys.said) == supervising.STARTS - 1


def test_a_service_that_ran_for_a_while_may_die_as_often_as_it_likes(
    toys: Toys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervising, "STEADY_S", 0.0)
    with toys.supervisor() as kept:
        kept.keep(toys.service("broken"))
        until(lambda: len(toys.started()) > supervising.STARTS + 2, kept.look)


def test_a_service_that_is_there_and_answers_no_more_is_started_anew(
    toys: Toys, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The code server's front stays when what holds the code behind it is killed."""
    monkeypatch.setattr(supervising, "SILENT_S", 0.3)
    monkeypatch.setattr(supervising, "_ASK_EVERY_S", 0.05)
    answer = True
    service = toys.service("stubborn", lambda: answer)
    with toys.supervisor() as kept:
        kept.keep(service)
        until(lambda: kept.ready(service) and len(toys.started()) == 2, kept.look)
        first = toys.started()
        answer = False
        until(lambda: toys.said, kept.look)
        assert "does not answer any more" in toys.said[0]
        assert not kept.ready(service)
        until(lambda: len(toys.started()) == 4, kept.look)
        assert not any(map(is_there, first))


def test_nothing_outlives_a_supervisor_that_ends(toys: Toys, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervising, "GRACE_S", 0.5)
    with toys.supervisor() as kept:
        kept.keep(toys.service("stubborn"))
        until(lambda: len(toys.alive()) == 2)
    assert toys.alive() == []


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP])
def test_nothing_outlives_a_supervisor_that_is_killed(toys: Toys, number: signal.Signals) -> None:
    """It cannot end what it has started any more: they notice by themselves."""
    command = [sys.executable, "-c", KEEPER, str(toys.log)]
    with subprocess.Popen(command, env=toys.environment, cwd=toys.folder) as keeper:
        until(lambda: len(toys.alive()) == 2)
        keeper.send_signal(number)
    until(lambda: not toys.alive())
    assert leashed.GRACE_S < SOON_S
