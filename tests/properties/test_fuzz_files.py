"""Real days in every format, damaged at random, through reader, transform and gate, by the engine itself.

Whatever was done to the bytes: each physical line that arrived is accounted for, nothing is raised, nothing hangs, and
every row that is published holds its contract, as plain Pandera says when it is asked again.
"""

import gzip
import io
import json
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sh_assets.flights import TABLES
from sh_assets.flights.contracts import STG_FLIGHTS, Flights
from sh_assets.flights.feeds import DAYS, FLIGHT_FEEDS, REFERENCE_FEEDS
from sh_assets.flights.staging import stg_flights
from sh_core.columns import FILE, LINE
from sh_core.contract import READABLE
from sh_core.feed import Feed
from sh_core.formats import Csv, Format, JsonLines, Parquet
from sh_core.graph import Graph
from sh_core.outcome import Published, Waiting, Withheld
from sh_core.partitions import WHOLE
from sh_core.table import raw_table
from sh_core.verdict import Unknown
from sh_drills.replay import Replay, land
from sh_resources.engine import Engine
from sh_resources.raw import RawFile, read_raw
from sh_resources.settings import load
from sh_resources.wiring import open_engine
from tests.conftest import MEMORY

DAYS_DAMAGED = 12
"""Days in one run, three files each."""

KEYS = DAYS.keys()[40 : 40 + DAYS_DAMAGED]

fuzzing = settings(max_examples=max(2, settings().max_examples // 20), deadline=timedelta(seconds=60))
"""Two runs of 36 files each by default, a hundred in a soak. One takes two seconds: a minute is a hang."""

Lines = list[dict[str, str]]


# ---- the same day in every format


def as_csv(content: bytes) -> bytes:
    return content


def as_gzip(content: bytes) -> bytes:
    return gzip.compress(content, mtime=0)


def as_json_lines(content: bytes) -> bytes:
    """Numbers bare, nothing for NA: as a vendor's own program would write it."""
    lines = []
    for row in _rows(content):
        cells = {c: json.loads(v) if v.lstrip("-").isdigit() else v for c, v in row.items() if v != "NA"}
        lines.append(json.dumps(cells))
    return "".join(f"{line}\n" for line in lines).encode()


def as_packed_json_lines(content: bytes) -> bytes:
    return gzip.compress(as_json_lines(content), mtime=0)


def as_parquet(content: bytes) -> bytes:
    """Numbers and instants typed, null for NA; without checksums, so that some damage is for the gate to see."""
    rows = _rows(content)
    columns: dict[str, pa.Array[Any]] = {}
    for name in rows[0]:
        texts = [None if row[name] == "NA" else row[name] for row in rows]
        if name == "time_hour":
            columns[name] = pa.array([datetime.fromisoformat(t) for t in texts if t], pa.timestamp("us", "UTC"))
        elif all(t is None or t.lstrip("-").isdigit() for t in texts):
            columns[name] = pa.array([None if t is None else int(t) for t in texts], pa.int64())
        else:
            columns[name] = pa.array(texts, pa.string())
    out = io.BytesIO()
    pq.write_table(pa.table(columns), out)
    return out.getvalue()


def _rows(content: bytes) -> Lines:
    header, *lines = content.decode().splitlines()
    return [dict(zip(header.split(","), line.split(","), strict=True)) for line in lines]


@dataclass(frozen=True)
class Way:
    """How a vendor delivers."""

    layout: Format
    write: Callable[[bytes], bytes]


WAYS = {
    "csv": Way(Csv(), as_csv),
    "csv.gz": Way(Csv(compression="gzip"), as_gzip),
    "jsonl": Way(JsonLines(), as_json_lines),
    "jsonl.gz": Way(JsonLines(compression="gzip"), as_packed_json_lines),
    "parquet": Way(Parquet(), as_parquet),
}


@cache
def year() -> Replay:
    return Replay.load()


def feeds_of(ways: tuple[str, ...]) -> list[Feed]:
    return [
        replace(feed, file_name=f"{feed.name}_{{partition}}.{way}", format=WAYS[way].layout, max_bytes=2**22)
        for feed, way in zip(FLIGHT_FEEDS, ways, strict=True)
    ]


@cache
def delivered(name: str, way: str, key: str) -> bytes:
    """A real file in some format."""
    return WAYS[way].write(year().files[name, DAYS.value(key)])


# ---- damage


@dataclass(frozen=True)
class Damage:
    """One thing done to a file's bytes.

    Attributes:
        kind: What.
        at: Where, as a share of the file.
        size: Of how many bytes, or lines.
        put: What is inserted.
        other: Where else, as a share of the file.
    """

    kind: str
    at: float
    size: int
    put: bytes
    other: float

    def of(self, content: bytes) -> bytes:
        at, other = int(self.at * len(content)), int(self.other * len(content))
        return DAMAGES[self.kind](self, content, at, other)


def flip(d: Damage, content: bytes, at: int, _: int) -> bytes:
    return content[:at] + bytes(b ^ (1 << d.size % 8) for b in content[at : at + 1]) + content[at + 1 :]


def put_lines(d: Damage, content: bytes, *, moved: bool) -> bytes:
    lines = content.splitlines(keepends=True)
    at, to = int(d.at * len(lines)), int(d.other * len(lines))
    rest = lines[:at] + lines[at + d.size :] if moved else lines
    return b"".join([*rest[:to], *lines[at : at + d.size], *rest[to:]])


DAMAGES: Mapping[str, Callable[[Damage, bytes, int, int], bytes]] = {
    "flip": flip,
    "cut off": lambda d, content, at, _: content[:at],
    "cut out": lambda d, content, at, _: content[:at] + content[at + d.size :],
    "insert": lambda d, content, at, _: content[:at] + d.put + content[at:],
    "overwrite": lambda d, content, at, _: content[:at] + d.put + content[at + len(d.put) :],
    "double": lambda d, content, at, _: content[: at + d.size] + content[at:],
    "splice": lambda d, content, at, other: content[:at] + content[other : other + d.size * 20] + content[at:],
    "double lines": lambda d, content, *_: put_lines(d, content, moved=False),
    "move lines": lambda d, content, *_: put_lines(d, content, moved=True),
}
shares = st.floats(0, 1, exclude_max=True)
puts = st.one_of(
    st.sampled_from(
        [b'"', b",", b"\n", b"\r\n", b"\0", b"\xff", b"NA", b"-", b"=1+1", b"}", b"\xef\xbb\xbf", b"9" * 30]
    ),
    st.binary(min_size=1, max_size=8),
)
damages = st.builds(Damage, st.sampled_from(sorted(DAMAGES)), shares, st.integers(1, 40), puts, shares)
wounds = st.lists(damages, max_size=3)
batches = st.fixed_dictionaries({(feed.name, key): wounds for feed in FLIGHT_FEEDS for key in KEYS})
deliveries = st.tuples(*[st.sampled_from(sorted(WAYS))] * len(FLIGHT_FEEDS))


# ---- what holds


def records_in(feed: Feed, content: bytes) -> set[int]:
    """How many records a file has, told without the reader: by counting line ends, or by what its foot says."""
    layout = feed.format
    if isinstance(layout, Parquet):
        try:
            return {pq.read_metadata(pa.BufferReader(content)).num_rows, 1}
        except (pa.ArrowException, OSError, ValueError):
            return {1 if content else 0}
    text = content
    if layout.compression:
        text = b""
        rest = content
        while rest[:2] == b"\x1f\x8b":
            member = zlib.decompressobj(31)
            try:
                for at in range(0, len(rest), 64):
                    text += member.decompress(rest[at : at + 64])
                    if member.eof:
                        break
            except zlib.error:
                # What comes out of the last step before the damage depends on the size of a step.
                return set(range(text.count(b"\n") + 10_000))
            rest = rest[at + 64 - len(member.unused_data) :] if member.eof else b""
        if not text:
            return {0, 1}
    lines = text.count(b"\n") + (bool(text) and not text.endswith(b"\n"))
    if isinstance(layout, JsonLines):
        return {lines - (text == b"\xef\xbb\xbf")}
    header = 1 if lines else 0
    # A cell in quotes may hold line ends, and then a record has several lines.
    return set(range(lines - header + 1)) if b'"' in text else {lines - header}


def check(engine: Engine, feeds: list[Feed], files: Mapping[tuple[str, str], bytes]) -> None:
    for feed in feeds:
        raw = read_raw(
            feed, {k: RawFile.of(feed.expected_file(k), c) for (name, k), c in files.items() if name == feed.name}
        )
        accounts = {
            a.arrival.partition: a.account for a in engine.ledger.accounts(feed.name, f"raw_{feed.name}", "stg_flights")
        }
        assert accounts.keys() == set(KEYS)
        for key, account in accounts.items():
            assert account.missing == 0
            assert account.arrived == raw[key].records
            assert account.arrived in records_in(feed, files[feed.name, key])
            unreadable = raw[key].frame.filter(pl.col("_text").is_not_null()).height
            assert not raw[key].breaches or unreadable == account.arrived
            # One line may be the start of a row of several; none is the start of two.
            assert raw[key].frame[LINE].is_unique().all()
            if not any(b.rule == READABLE for b in raw[key].breaches) and not isinstance(feed.format, Parquet):
                assert_lines_covered(feed, raw[key].frame)


def assert_lines_covered(feed: Feed, frame: pl.DataFrame) -> None:
    """Each physical line is in a row, and in one only."""
    covered: list[int] = []
    in_cells = pl.sum_horizontal(pl.col(c).str.count_matches("\n").fill_null(0) for c in feed.columns)
    spans = in_cells if isinstance(feed.format, Csv) else pl.lit(0)
    for line, more in frame.select(LINE, spans.alias("more")).iter_rows():
        covered += range(line, line + 1 + more)
    first = 2 if isinstance(feed.format, Csv) else 1
    assert covered == list(range(first, first + len(covered)))


def check_published(home: Path) -> None:
    """Asked again, by Pandera alone and eagerly, everything at once."""
    if not (home / "tables" / "stg_flights").exists():
        return
    rows = pl.read_delta(str(home / "tables" / "stg_flights"))
    Flights.to_schema().validate(rows.select(STG_FLIGHTS.columns), lazy=True)
    assert rows.select(STG_FLIGHTS.key).is_unique().all()
    assert rows.select(FILE, LINE).is_unique().all()
    of_a_day = rows.group_by("date").agg(
        pl.len(), (pl.col("origin").value_counts().struct.field("count")).min().alias("fewest")
    )
    assert of_a_day["len"].is_between(300, 2000).all()
    assert (of_a_day["fewest"] >= 100).all()
    origin = rows[FILE].str.extract(r"_(\d{4}-\d\d-\d\d)\.").str.to_date()
    assert (origin == rows["date"]).all()


def run(engine: Engine, feeds: list[Feed]) -> int:
    """Materialize raw and staged tables; returns how many staged partitions are published."""
    published = 0
    for name in (*(f"raw_{feed.name}" for feed in feeds), "stg_flights"):
        outcomes = list(engine.materialize(name, KEYS, run_id="fuzz"))
        assert [o.partition for o in outcomes] == list(KEYS)
        for outcome in outcomes:
            assert isinstance(outcome, Published | Withheld | Waiting)
            assert not (isinstance(outcome, Withheld) and isinstance(outcome.verdict, Unknown)), outcome
        published = sum(isinstance(o, Published) for o in outcomes)
    return published


def through_engine(ways: tuple[str, ...], files: Mapping[tuple[str, str], bytes]) -> tuple[int, dict[str, str]]:
    """Deliver, run, check; returns how many staged days are published, and their content."""
    feeds = feeds_of(ways)
    with TemporaryDirectory(dir=MEMORY if MEMORY.exists() else None) as folder:
        home = Path(folder)
        for feed in feeds:
            (home / "landing" / feed.name).mkdir(parents=True)
            for key in KEYS:
                land(home / "landing" / feed.name / feed.expected_file(key), files[feed.name, key])
        registers = {f"raw_{feed.name}": feed for feed in REFERENCE_FEEDS}
        referred = [t for t in TABLES if t.name in registers or set(registers) & {i.table for i in t.inputs}]
        for feed in REFERENCE_FEEDS:
            (home / "landing" / feed.name).mkdir()
            land(home / "landing" / feed.name / feed.expected_file(WHOLE), year().snapshots[feed.name])
        graph = Graph.of([*referred, *map(raw_table, feeds), stg_flights])
        engine = open_engine(load({"SELFHEAL_HOME": folder}), graph)
        for table in referred:
            list(engine.materialize(table.name, [WHOLE], run_id="registers"))
        published = run(engine, feeds)
        check(engine, feeds, files)
        check_published(home)
        roots = {key: s.version.root for key, s in engine.ledger.publications.current("stg_flights").items()}
        engine.ledger.close()
    return published, roots


def real(ways: tuple[str, ...]) -> dict[tuple[str, str], bytes]:
    return {(f.name, k): delivered(f.name, way, k) for f, way in zip(FLIGHT_FEEDS, ways, strict=True) for k in KEYS}


def test_the_same_days_in_any_format_are_the_same_content() -> None:
    """And whole: else the damage below would be done to files that nobody publishes anyway."""
    plain = through_engine(("csv", "csv", "csv"), real(("csv", "csv", "csv")))
    assert plain[0] == DAYS_DAMAGED
    for ways in (("csv.gz", "jsonl", "parquet"), ("parquet", "jsonl.gz", "csv")):
        assert through_engine(ways, real(ways)) == plain


@pytest.mark.timeout(3600)
@fuzzing
@given(deliveries, batches)
def test_damage_loses_no_row_and_publishes_none_that_is_broken(
    ways: tuple[str, ...], batch: Mapping[tuple[str, str], list[Damage]]
) -> None:
    files = real(ways)
    for at, wounds_of_file in batch.items():
        for damage in wounds_of_file:
            files[at] = damage.of(files[at])
    through_engine(ways, files)
