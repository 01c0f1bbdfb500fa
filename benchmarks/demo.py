"""Where the wall time of ``selfheal demo`` goes, from the start of the process to its end.

Belongs here: running the demo the way a person does, in a new state folder. Does not belong here: the parts of a table
(``year`` has those). Invariant: nothing is put into the demo; its parts are those of ``report.json``, and what they
leave over is shown as well, so that a round adds up to the whole.

    start     until the demo prints its first line: the interpreter, imports, looking at the declarations
    load …    ``seconds`` of ``report.json``, table by table
    end       after ``report.json`` was written: what is printed, the interpreter's end
    rest      what is left: Dagster's storages, the ledger, definitions
"""

import json
import os
import resource
import subprocess
import sysconfig
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

Results = dict[str, dict[str, dict[str, float]]]
"""Per table to print: per row, per column a figure."""


def run(days: int = 150, rounds: int = 3, say: Callable[[str], None] = print) -> Results:
    """Measure.

    Args:
        days: Days to replay.
        rounds: Times that the demo runs; the round of the median total is shown.
        say: Told what is going on.

    Raises:
        CalledProcessError: If the demo failed; what it said is on standard error.
    """
    taken = []
    for turn in range(rounds):
        say(f"demo: round {turn + 1}/{rounds}, {days} days")
        taken.append(_once(days))
    parts = sorted(taken, key=lambda each: each["all"])[rounds // 2]
    rows = {part: {"s": seconds, "%": 100 * seconds / parts["all"]} for part, seconds in parts.items() if part != "CPU"}
    rows["all"]["CPU s"] = parts["CPU"]
    return {f"demo: where its wall time goes, {days} days": rows}


def _once(days: int) -> Mapping[str, float]:
    """Seconds per part of one run, ``all`` of them, and ``CPU`` seconds of all threads."""
    command = [str(Path(sysconfig.get_path("scripts")) / "selfheal"), "demo", "--days", str(days)]
    # Settings of whoever measures would lead elsewhere than into the new folder.
    plain = {name: value for name, value in os.environ.items() if not name.startswith("SELFHEAL_")}
    with TemporaryDirectory(prefix="selfheal-bench-") as folder:
        os.sync()  # what others have left to write is not to be waited for within the figures
        cpu, began = _children_cpu_s(), time.perf_counter()
        with subprocess.Popen([*command, "--home", folder], stdout=subprocess.PIPE, env=plain) as demo:  # noqa: S603  # built here
            assert demo.stdout is not None  # noqa: S101  # a pipe
            demo.stdout.readline()
            start = time.perf_counter() - began
            demo.stdout.read()
        whole, over, cpu = time.perf_counter() - began, time.time(), _children_cpu_s() - cpu
        if demo.returncode:
            raise subprocess.CalledProcessError(demo.returncode, command)
        report = Path(folder) / "report.json"
        seconds, end = json.loads(report.read_text())["seconds"], over - report.stat().st_mtime
    rest = whole - start - seconds.pop("total") - end
    return {"start": start, **seconds, "end": end, "rest": rest, "all": whole, "CPU": cpu}


def _children_cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
