"""Great Expectations beside the gate: its environment, and a process in it that validates a frame when told to.

Belongs here: making the environment on demand, handing the frame over, asking. Does not belong here: the suite and the
validation (``gx_process``, which runs there), timing (``gate``).
Invariant: nothing is installed into this project's own environment, whose packages Great Expectations may contradict.
The environment is kept in ``.bench/`` and made anew when the versions in ``gx.txt`` or the Python change.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl

PINS = Path(__file__).with_name("gx.txt")
FOLDER = Path(__file__).parent.parent / ".bench" / "great-expectations"

_SHOWN = 5
"""Last lines of a failed command's output that are shown."""


class UnavailableError(Exception):
    """Great Expectations cannot be had here; the message says why."""


def versions() -> str:
    """The versions that the figures hold for."""
    pinned = dict(line.split("==") for line in PINS.read_text().split("\n") if "==" in line)
    return f"Great Expectations {pinned['great_expectations']} on pandas {pinned['pandas']}"


def environment(say: Callable[[str], None]) -> Path:
    """Make the environment unless it is there (about 20 s and 600 MB).

    Args:
        say: Told if it takes a while.

    Returns:
        Its Python.

    Raises:
        UnavailableError: If it cannot be made.
    """
    python, stamp = FOLDER / "bin" / "python", FOLDER / "installed"
    wanted = f"{sys.base_prefix} {sys.version}\n{PINS.read_text()}"
    if stamp.is_file() and stamp.read_text() == wanted:
        return python
    say(f"gate: installing Great Expectations into {FOLDER}, once")
    shutil.rmtree(FOLDER, ignore_errors=True)
    _must([sys.executable, "-m", "venv", str(FOLDER)])
    install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input", "--no-deps"]
    _must([str(python), "-I", *install, "-r", str(PINS)])
    _must([str(python), "-I", "-m", "pip", "check"])
    stamp.write_text(wanted)
    return python


def _must(command: list[str]) -> None:
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)  # noqa: S603  # built here
    if done.returncode:
        said = "\n".join(done.stdout.splitlines()[-_SHOWN:])
        msg = (
            f"Great Expectations is left out: {' '.join(command)} failed with\n{said}\n"
            f"The versions of {PINS} come from the index that pip is set up for. Put that right and run this again."
        )
        raise UnavailableError(msg)


@contextmanager
def validating(python: Path, frame: pl.DataFrame) -> Iterator[Callable[[str], int]]:
    """A process that holds the frame.

    Args:
        python: From ``environment``.
        frame: What to validate; handed over as Parquet.

    Yields:
        Asks for one validation, ``summary`` or ``rows``, and returns the number of broken rows that it yielded.

    Raises:
        OSError: If the process ended before it had answered; what it said is on standard error.
    """
    with TemporaryDirectory(prefix="selfheal-bench-") as folder:
        frame.write_parquet(path := Path(folder) / "frame.parquet")
        command = [str(python), "-I", str(Path(__file__).with_name("gx_process.py")), str(path)]
        quiet = {**os.environ, "GX_ANALYTICS_ENABLED": "false"}
        with subprocess.Popen(  # noqa: S603  # built here
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=quiet
        ) as process:
            asked, answers = process.stdin, process.stdout
            assert asked is not None  # noqa: S101  # both are pipes
            assert answers is not None  # noqa: S101

            def answer() -> str:
                line = answers.readline()
                if not line:
                    raise ChildProcessError(f"{command[2]} ended with code {process.wait()}")
                return line.strip()

            def ask(what: str) -> int:
                print(what, file=asked, flush=True)
                return int(answer())

            answer()
            yield ask
