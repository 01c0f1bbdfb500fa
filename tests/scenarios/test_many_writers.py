"""Several processes publishing the same and different partitions of one table.

The incident: a backfill and the daily run meet. One of them loses its update without an error, or both of them win and
every figure doubles. delta-rs accepts both: two first publishes append, and a lower transaction version passes.
"""

import random
from collections import Counter
from datetime import UTC, datetime
from multiprocessing.context import ForkServerContext
from pathlib import Path

import polars as pl
from deltalake import DeltaTable

from sh_resources.clock import SystemClock
from tests.little import DAYS, GRAPH, deliver, engine_at

TABLE = "raw_readings"
KEYS = DAYS.keys()[:6]
WRITERS, ROUNDS = 4, 6


def publish_at_random(home: Path, writer: int) -> None:
    """Deliver files and publish them, in competition with others who do the same."""
    chance = random.Random(writer)
    engine = engine_at(home, SystemClock(), patience_s=30)
    for turn in range(ROUNDS):
        wanted = chance.sample(KEYS, chance.randrange(1, 4))
        for key in wanted:
            name = f"w{writer}t{turn}"
            deliver_from(home, writer, key, [(name, i, 0) for i in range(chance.randrange(1, 5))])
        list(engine.materialize(TABLE, wanted, run_id=f"{writer}-{turn}", chunk=2))


def deliver_from(home: Path, writer: int, key: str, rows: list[tuple[object, ...]]) -> None:
    """Each writer has a temporary name of its own, as two vendors' uploads would."""
    scratch = home / f"scratch-{writer}"
    deliver(scratch, key, rows)
    target = home / "landing" / "readings"
    target.mkdir(parents=True, exist_ok=True)
    name = f"readings_{key}.csv"
    (scratch / "landing" / "readings" / name).replace(target / name)


def test_nothing_is_lost_doubled_or_mixed(tmp_path: Path, processes: ForkServerContext) -> None:
    """All start at once on a table that does not exist, and meet on six partitions again and again."""
    writers = [processes.Process(target=publish_at_random, args=(tmp_path, n)) for n in range(WRITERS)]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        look(tmp_path)
    assert [writer.exitcode for writer in writers] == [0] * WRITERS

    engine = engine_at(tmp_path, SystemClock())
    list(engine.materialize(TABLE, KEYS, run_id="last"))
    ledger, landed = engine.ledger, look(tmp_path)
    for key in KEYS:
        on_disk = (tmp_path / "landing" / "readings" / f"readings_{key}.csv").read_text().splitlines()[1:]
        newest = Counter(line.split(",")[0] for line in on_disk)
        assert landed[key] == newest, "the newest delivery is not what is published"
        history = ledger.publications.history(TABLE, key, limit=1000)
        transactions = [snapshot.transaction for snapshot in history]
        assert transactions == sorted(set(transactions), reverse=True), "two snapshots share a transaction"
        live = engine.store.table(GRAPH[TABLE]).state([key]).files[key]
        assert history[0].path == live.path
    assert ledger.publications.unconfirmed(TABLE) == []
    assert ledger.leases.held(None, datetime.now(UTC)) == []


def look(home: Path) -> dict[str, Counter[str]]:
    """What a plain Delta reader sees: per partition, rows of exactly one delivery."""
    folder = str(home / "tables" / TABLE)
    if not DeltaTable.is_deltatable(folder):
        return {}
    rows = pl.read_delta(folder)
    seen: dict[str, Counter[str]] = {}
    for (day,), part in rows.partition_by("date", as_dict=True).items():
        assert part["sensor"].n_unique() == 1, f"{day} mixes deliveries: {part}"
        assert part["minute"].to_list() == [str(i) for i in range(part.height)], f"{day} is doubled or torn: {part}"
        seen[str(day)] = Counter(part["sensor"])
    return seen
