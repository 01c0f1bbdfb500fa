"""Whether a process is still there, asked of the system, with processes that are killed.

The incident: a number that was given out anew is taken for the process that had it before, and a run that is long dead
counts as in progress; or a process that begins slowly is taken for dead, and its partitions are computed twice.
"""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sh_assets.processes import process_lives, session_behind, session_lives

WEEK_S = 7 * 86400.0
WAITS_S = 30.0


@pytest.fixture
def leader() -> Iterator["subprocess.Popen[str]"]:
    """A process with a session of its own, which has a child, and says its number."""
    child = "import time; time.sleep(600)"
    code = f"import subprocess, sys, time\nprint(subprocess.Popen([sys.executable, '-c', {child!r}]).pid, flush=True)\n"
    with subprocess.Popen(
        [sys.executable, "-c", code + child], start_new_session=True, stdout=subprocess.PIPE, text=True
    ) as process:
        yield process
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            return


def test_a_process_is_told_from_another_of_the_same_number() -> None:
    now_s = time.time()
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        gone.wait()
    assert process_lives(os.getpid(), now_s)
    assert process_lives(1, now_s)  # somebody else's
    assert not process_lives(gone.pid, now_s)
    assert not process_lives(os.getpid(), now_s - WEEK_S)  # that number was another process' then
    with subprocess.Popen([sys.executable, "-c", ""]) as child:
        until_s = time.monotonic() + WAITS_S
        while process_lives(child.pid, now_s) and time.monotonic() < until_s:
            time.sleep(0.05)
        assert not process_lives(child.pid, now_s)  # it has ended, and nobody has asked how


@pytest.mark.parametrize("asked", [False, True])
def test_a_session_lives_as_long_as_one_of_its_processes(leader: "subprocess.Popen[str]", asked: bool) -> None:
    """Whether or not somebody has asked how its leader ended, whose number is in use until then."""
    assert leader.stdout is not None
    child, now_s = int(leader.stdout.readline()), time.time()
    assert session_lives(leader.pid, now_s)
    assert not session_lives(leader.pid, now_s - WEEK_S)  # that number was another session's then
    leader.kill()
    until_s = time.monotonic() + WAITS_S
    while process_lives(leader.pid, now_s) and time.monotonic() < until_s:
        time.sleep(0.05)
    if asked:
        leader.wait()
    assert session_lives(leader.pid, now_s)  # it has outlived its leader
    os.kill(child, signal.SIGKILL)
    while session_lives(leader.pid, now_s) and time.monotonic() < until_s:
        time.sleep(0.05)
    assert not session_lives(leader.pid, now_s)


def test_a_socket_says_whose_session_is_behind_it(tmp_path: Path) -> None:
    place = str(tmp_path / "code.sock")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(place)
        assert session_behind(place) is None  # nobody listens
        server.listen()
        assert session_behind(place) == os.getsid(0)
    assert session_behind(place) is None
