"""Whether a process is still there, asked of the system, with processes that are killed.

The incident: a number that was given out anew is taken for the process that had it before, and a run that is long dead
counts as in progress; or a process that begins slowly is taken for dead, and its partitions are computed twice.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import psutil
import pytest

from sh_assets.processes import Place, process_lives, session_behind, session_lives

WEEK_S = 7 * 86400.0
WAITS_S = 30.0
HOUR_S = 3600.0
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="threads have numbers of processes on Linux only")
ROOT = pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="only root may begin a namespace")


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
    """Not that of this process: in a container whose first process leads none, that has the number 0."""
    place = str(tmp_path / "code.sock")
    listening = (
        f"import socket; s = socket.socket(1); s.bind({place!r}); print(1, flush=True); input();"
        " s.listen(); print(2, flush=True); input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", listening],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as leader:
        assert leader.stdin is not None
        assert leader.stdout is not None
        assert leader.stdout.readline().strip() == "1"
        assert session_behind(place) is None  # nobody listens
        print(file=leader.stdin, flush=True)
        assert leader.stdout.readline().strip() == "2"
        assert session_behind(place) == leader.pid
        leader.communicate("\n")
    assert session_behind(place) is None


@ROOT
def test_a_session_that_began_outside_of_the_container_has_no_number(tmp_path: Path) -> None:
    """The incident: nothing but 0 is known of it, as of any other from outside, and what is not known is not told."""
    place = str(tmp_path / "code.sock")
    code = f"""
import os, socket
from sh_assets.processes import session_behind
with socket.socket(socket.AF_UNIX) as server:
    server.bind({place!r})
    server.listen()
    print(os.getsid(0), session_behind({place!r}))
"""
    assert elsewhere("--pid", "--fork", "--mount-proc", code=code).strip() == "0 None"


@LINUX
def test_a_thread_is_no_process() -> None:
    """The incident: the number of a dead run was given to a thread of the daemon, and the run "lived" for weeks."""
    told, go_on = list[int](), threading.Event()

    def wait() -> None:
        told.append(threading.get_native_id())
        go_on.wait(WAITS_S)

    thread = threading.Thread(target=wait)
    thread.start()
    try:
        while not told:
            time.sleep(0.01)
        assert psutil.Process(told[0]).is_running()  # it has a number, and the system answers for it
        assert not process_lives(told[0], time.time())
    finally:
        go_on.set()
        thread.join()


@LINUX
def test_a_clock_put_forward_makes_no_process_younger() -> None:
    """The incident: the time server answered late, and each run seemed to have begun after it was seen."""
    before = replace(Place.here(), booted_s=psutil.boot_time() - HOUR_S)
    seen_s = time.time() - HOUR_S  # now, as the clock had it then
    assert not process_lives(os.getpid(), seen_s)
    assert process_lives(os.getpid(), seen_s, before.stepped_s())
    assert session_lives(os.getsid(0), seen_s, before.stepped_s())
    assert not process_lives(os.getpid(), seen_s - WEEK_S, before.stepped_s())  # another one of that number
    assert Place.here().stepped_s() < 2.0
    assert replace(Place.here(), booted_s=psutil.boot_time() + HOUR_S).stepped_s() == 0.0  # put back
    assert replace(before, boot="").stepped_s() == 0.0  # it may have been started anew since: nobody knows


def test_numbers_are_looked_up_only_where_they_were_given_out() -> None:
    """The incident: two containers of one host name, each of which took the other's runs for dead."""
    here = replace(Place.here(), machine="m", numbers=0xEFFFFFFC)
    inside = replace(here, numbers=4026532000)
    assert Place.of(here.as_tag()) == here
    assert Place.here().still_there() is True
    assert Place.of("name-of-the-host") is None  # written by earlier versions
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Place, "here", lambda: here)
        assert replace(here, booted_s=0.0).still_there() is True  # the clock says nothing
        assert replace(here, boot="before").still_there() is False  # the machine was started anew
        assert replace(here, host="another").still_there() is None
        assert replace(here, machine="another", boot="another").still_there() is None
        assert inside.still_there() is None
        assert replace(inside, boot="before").still_there() is None
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Place, "here", lambda: replace(here, machine=""))
        assert replace(here, machine="", boot="another").still_there() is None  # which machine that was, nobody knows
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Place, "here", lambda: inside)
        assert replace(inside, boot="another").still_there() is None  # the machine's id is that of the image


def elsewhere(*how: str, code: str) -> str:
    """What code says in a namespace of its own."""
    command = ["unshare", *how, sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=2 * WAITS_S)
    if done.returncode != 0 and "unshare" in done.stderr:
        pytest.skip(done.stderr)
    assert done.returncode == 0, done.stderr
    return done.stdout


@ROOT
def test_numbers_of_another_namespace_are_others() -> None:
    code = "from sh_assets.processes import Place; print(Place.here().as_tag())"
    there = Place.of(elsewhere("--pid", "--fork", "--mount-proc", code=code))
    assert there is not None
    assert asdict(there) == asdict(Place.here()) | {"numbers": there.numbers, "booted_s": there.booted_s}
    assert there.still_there() is None


@ROOT
def test_a_socket_of_another_namespace_says_nothing(tmp_path: Path) -> None:
    """The incident: it is behind process 0, and the session of that is our own, which lives as long as we ask."""
    place = str(tmp_path / "code.sock")
    code = f"""
import os
from sh_assets.processes import session_behind
os.setsid() if os.getsid(0) != os.getpid() else None
print(session_behind({place!r}))
"""
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(place)
        server.listen()
        assert elsewhere("--pid", "--fork", "--mount-proc", code=code).strip() == "None"
    # The other way round, it has a number here, but none that its own log would show.
    listening = (
        f"import socket; s = socket.socket(1); s.bind({place!r} + '2'); s.listen(); print(1, flush=True); input()"
    )
    with subprocess.Popen(
        ["unshare", "--pid", "--fork", "--mount-proc", sys.executable, "-c", listening],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as inside:
        assert inside.stdout is not None
        assert inside.stdout.readline().strip() == "1"
        assert session_behind(f"{place}2") is None
        inside.communicate("\n")


@ROOT
def test_what_the_system_hides_is_there(leader: "subprocess.Popen[str]") -> None:
    """The incident: with ``hidepid=2`` each run of another user was given up at once."""
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        gone.wait()
    code = f"""
import json, os, subprocess, time
subprocess.run(["mount", "-t", "proc", "-o", "hidepid=2", "proc", "/proc"], check=True)
from sh_assets.processes import process_lives, session_lives
os.setgroups([]); os.setgid(65534); os.setuid(65534)
now_s = time.time()
hidden, gone = {leader.pid}, {gone.pid}
print(json.dumps([
    os.path.exists(f"/proc/{{hidden}}"),
    process_lives(hidden, now_s),
    session_lives(hidden, now_s),
    process_lives(os.getpid(), now_s),
    process_lives(gone, now_s),
]))
"""
    assert json.loads(elsewhere("--mount", code=code)) == [False, True, True, True, False]
