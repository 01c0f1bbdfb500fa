"""Great Expectations beside the gate: a process in an environment of its own that validates a frame when told to.

Belongs here: handing the frame over, asking. Does not belong here: the suite and the validation (``gx_process``, which
runs there), timing (``gate``), making the environment (``environment``). Invariant: the process reads the frame once.
"""

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl

from benchmarks.environment import Environment

GREAT_EXPECTATIONS = Environment("Great Expectations", "great-expectations", Path(__file__).with_name("gx.txt"))


def versions() -> str:
    """The versions that the figures hold for."""
    version = GREAT_EXPECTATIONS.version
    return f"Great Expectations {version('great_expectations')} on pandas {version('pandas')}"


@contextmanager
def validating(python: Path, frame: pl.DataFrame) -> Iterator[Callable[[str], int]]:
    """A process that holds the frame.

    Args:
        python: Of ``GREAT_EXPECTATIONS``.
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
