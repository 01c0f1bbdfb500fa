"""What a tick of intake costs, by how many files are known: a folder, and a bucket of a server on this machine.

Belongs here: landing zones of very many files and a ledger that knows them, one process per measurement. Does not
belong here: finding files. Invariant: what is timed are ticks as the sensor makes them; before and after, the ledger
knows exactly the files that there are.

    first tick      of a process that remembers nothing
    nothing new     the ticks after that, one slice of the sweep each
    100 new         a new day has begun, and its file of each of a hundred sites has landed
    everything      what a person who runs ``selfheal run`` waits for, with nothing new
    a sweep …       within which a change of an old file is found, by the formula of ``sh_resources.intake``

The files of the folder are empty; the objects of the bucket share their content, and all but one were loaded as the
server's metadata: it takes six hundred a second otherwise.
"""

import hashlib
import json
import os
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, date, datetime, timedelta
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.ticks import forget_peak, peak_mb
from sh_core.feed import Feed
from sh_core.graph import Graph
from sh_core.partitions import Daily, Multi, Static
from sh_core.table import raw_table
from sh_resources import intake
from sh_resources.clock import ManualClock
from sh_resources.engine import Engine
from sh_resources.landing import Found
from sh_resources.ledger import KnownFile
from sh_resources.ledger.schema import arrivals
from sh_resources.settings import load
from sh_resources.wiring import open_engine
from sh_sensors.arrivals import EVERY_S
from tests.zones import BUCKET, InBucket, InFolder, NoServerError, S3Server, s3_server

Results = dict[str, dict[str, dict[str, float]]]
"""Per table to print: per row, per column a figure."""

SIZES = (10_000, 100_000, 1_000_000)
SITES = tuple(f"s{n:03}" for n in range(100))
FIRST = date(1990, 1, 1)
FEED = Feed(
    "sales",
    "{site}_{day}.csv",
    ("a", "b"),
    Multi(site=Static(SITES, column="site"), day=Daily(FIRST)),
    owner="team:bench",
)
GRAPH = Graph.of([raw_table(FEED)])
IDLE_TICKS = 50
PREFIX = "landing"


def run(sizes: tuple[int, ...] = SIZES, say: Callable[[str], None] = print) -> Results:
    """Measure.

    Args:
        sizes: How many files are known.
        say: Told what is going on.
    """
    results: Results = {}
    with TemporaryDirectory(prefix="selfheal-bench-") as folder, ExitStack() as stack:
        environment = dict(os.environ)
        for where in ("folder", "bucket"):
            if where == "bucket":
                try:
                    server = stack.enter_context(s3_server())
                except NoServerError as error:
                    say(f"landing: no bucket is measured: {error}")
                    break
                environment |= server.environment
                os.environ.update(server.environment)
            for size in sizes:
                home = Path(folder, f"{where}-{size}")
                home.mkdir()
                say(f"landing: {size:,} files in a {where}")
                zone = _in_folder(home, size) if where == "folder" else _in_bucket(server, size, home)
                say(f"landing: filling a ledger with {size:,} files")
                known = _fill(home, zone)
                say(f"landing: measuring {size:,} files in a {where}")
                command = [sys.executable, "-m", "benchmarks.landing", str(home), zone, str(size)]
                said = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment).stdout  # noqa: S603
                results[f"landing: {known:,} files known, in a {where}"] = json.loads(said)
                subprocess.run(["rm", "-rf", str(home)], check=True)  # noqa: S603, S607 - of a million files
    return results


def measure(home: Path, zone: str, size: int) -> dict[str, dict[str, float]]:
    """Every phase, on a state that was built before."""
    newest = FIRST + timedelta(days=size // len(SITES) - 1)
    clock = ManualClock(datetime(newest.year, newest.month, newest.day, 12, tzinfo=UTC))
    figures: dict[str, dict[str, float]] = {}
    engine = _engine(home, zone, clock)
    _tick(figures, "first tick", engine, 0)
    _tick(figures, "nothing new", engine, 0, times=IDLE_TICKS)
    today = clock.advance(timedelta(days=1)).date()
    vendors = InFolder(Path(zone)) if not zone.startswith("s3:") else InBucket(f"{PREFIX}-{size}")
    for site in SITES:
        vendors.put(FEED.name, FEED.expected_file(f"{today}|{site}"), f"a,b\n{site},1\n".encode())
    time.sleep(0.1)
    _tick(figures, "100 new", engine, len(SITES))
    _tick(figures, "everything", engine, 0, everything=True)
    figures["a sweep by ticks"] = {"s": 2 * size / intake.SLICE * EVERY_S}
    return figures


def _tick(
    figures: dict[str, dict[str, float]],
    phase: str,
    engine: Engine,
    new: int,
    *,
    times: int = 1,
    everything: bool = False,
) -> None:
    """Measure a tick, or the mean of several."""
    forget_peak()
    now_utc, worst_s = engine.now_utc(), 0.0
    cpu_s, began_s = time.process_time(), time.perf_counter()
    for _ in range(times):
        at_s = time.perf_counter()
        taken = engine.take_in(now_utc, everything=everything)
        worst_s = max(worst_s, time.perf_counter() - at_s)
        if sum(taken.values()) != new:
            raise AssertionError(taken)
    figures[phase] = {
        "s": (time.perf_counter() - began_s) / times,
        "worst s": worst_s,
        "CPU s": (time.process_time() - cpu_s) / times,
        "peak MB": peak_mb(),
    }


def _names(size: int) -> Iterator[str]:
    for day in range(size // len(SITES)):
        for site in SITES:
            yield FEED.expected_file(f"{FIRST + timedelta(days=day)}|{site}")


def _in_folder(home: Path, size: int) -> str:
    folder = home / "zone" / FEED.name
    folder.mkdir(parents=True)
    for name in _names(size):
        os.close(os.open(f"{folder}/{name}", os.O_CREAT | os.O_WRONLY))
    return str(folder.parent)


def _in_bucket(server: S3Server, size: int, home: Path) -> str:
    """Objects made by loading copies of the metadata of one under other names of the same length."""
    prefix, names = f"{PREFIX}-{size}", _names(size)
    first = next(names)
    InBucket(prefix).put(FEED.name, first, b"")
    one, many = home / "one.meta", home / "many.meta"
    _operate(server, f"fs.meta.save -o {one} /buckets/{BUCKET}/{prefix}/{FEED.name}")
    (record,) = (record for record in _records(one.read_bytes()) if first.encode() in record)
    with many.open("wb") as file:
        for name in names:
            renamed = record.replace(first.encode(), name.encode())
            file.write(struct.pack(">I", len(renamed)) + renamed)
    _operate(server, f"fs.meta.load -v=false -concurrency 16 {many}")
    many.unlink()
    return f"s3://{BUCKET}/{prefix}"


def _records(saved: bytes) -> Iterator[bytes]:
    place = 0
    while place < len(saved):
        (length,) = struct.unpack_from(">I", saved, place)
        yield saved[place + 4 : place + 4 + length]
        place += 4 + length


def _operate(server: S3Server, command: str) -> None:
    subprocess.run(server.shell, input=f"{command}\n", text=True, check=True, capture_output=True)  # noqa: S603


def _engine(home: Path, zone: str, clock: ManualClock) -> Engine:
    return open_engine(load({"SELFHEAL_HOME": str(home / "state"), "SELFHEAL_LANDING": zone}), GRAPH, clock=clock)


def _fill(home: Path, zone: str) -> int:
    """Let the ledger know every file that there is, as if each had been taken in; how many that were."""
    now = datetime(FIRST.year, FIRST.month, FIRST.day, tzinfo=UTC)
    engine, sha256, count = _engine(home, zone, ManualClock(now)), hashlib.sha256(b"").hexdigest(), 0
    for seen in engine.landing.slices(FEED, 50_000):
        files = list(seen.files.values())
        count += len(files)
        with engine.ledger._database.write() as connection:  # noqa: SLF001 - recording them one by one takes an hour
            connection.execute(arrivals.insert(), [_arrival(file, sha256, now) for file in files])
        known = (KnownFile(f.name, _partition(f), f.size_bytes, f.stamp, sha256, now) for f in files)
        while batch := list(islice(known, 10_000)):
            engine.ledger.files.note(FEED.name, batch, {})
    engine.ledger.close()
    return count


def _arrival(file: Found, sha256: str, now: datetime) -> dict[str, object]:
    return {
        "feed": FEED.name,
        "partition_key": _partition(file),
        "file_name": file.name,
        "sha256": sha256,
        "size_bytes": file.size_bytes,
        "arrived_utc": now,
        "supersedes": None,
        "serial": 1,
    }


def _partition(file: Found) -> str:
    partition = FEED.partition_of(file.name)
    if partition is None:
        raise AssertionError(file)
    return partition


if __name__ == "__main__":
    at, named, known_files = sys.argv[1:]
    print(json.dumps(measure(Path(at), named, int(known_files))))
