"""What a test of somebody's own tables needs: a folder in which they run, and the gate by itself.

Belongs here: landing rows as a vendor would, running tables, reading back what readers see. Does not belong here:
Dagster, assertions. Invariant: everything goes the way that it goes in production (landing zone, archive, gate, store,
ledger); only Dagster is left out, which decides nothing.

    def test_a_loan_of_two_years_is_set_aside(tmp_path):
        bench = Bench(tmp_path, library_loans.TABLES)
        bench.land("loans", "2026-01-05", [GOOD, {**GOOD, "item": "b2", "days": 730}])
        bench.run()
        assert bench.rows("stg_loans").height == 1
        assert bench.quarantine("stg_loans")["rules"].to_list() == [["days__in_range"]]
"""

import csv
import gzip
import io
import json
import uuid
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, assert_never

import polars as pl

from sh_core.contract import Contract
from sh_core.errors import DeclarationError
from sh_core.feed import Feed
from sh_core.formats import Csv, JsonLines, Parquet
from sh_core.gate import Judgement, judge_partitions
from sh_core.graph import Graph
from sh_core.outcome import Outcome
from sh_core.table import Table
from sh_core.verdict import Broken, Held, Unknown
from sh_defs.facts.report import feed_accounts
from sh_defs.facts.saying import why
from sh_resources import settings
from sh_resources.clock import SystemClock
from sh_resources.wiring import open_engine

Row = Mapping[str, object]


class Bench:
    """Tables with a state folder of their own."""

    def __init__(self, home: Path, tables: Iterable[Table]) -> None:
        """Open a state folder.

        Args:
            home: The folder; a new or empty one, such as pytest's ``tmp_path``.
            tables: What a module declares as ``TABLES``.

        Raises:
            DeclarationError: If the tables contradict each other.
        """
        self.graph = Graph.of(tables)
        self.home = home
        self._engine = open_engine(settings.load({"SELFHEAL_HOME": str(home)}), self.graph)

    def land(
        self, feed: str, partition: str, rows: Iterable[Row] | bytes, *, version: str = "1", part: str = "1"
    ) -> Path:
        """Let a file land, in the feed's format.

        Args:
            feed: The feed's name.
            partition: Partition key: the ISO date of the period's first day, an hour as ``2026-01-05-13:00``, a key of
                a list, two of these with ``|`` between, ``all`` for a feed without partitions.
            rows: One mapping per row, with the columns to write; or the bytes of the file, for files that are broken.
            version: Version in the file's name, where names have one.
            part: Part in the file's name, where names have one.

        Returns:
            Where it landed.

        Raises:
            DeclarationError: If there is no such feed or partition.
        """
        found = next((f for f in self.graph.feeds if f.name == feed), None)
        if found is None:
            names = ", ".join(f.name for f in self.graph.feeds)
            raise DeclarationError(f"there is no feed {feed!r}; there are {names}")
        found.partitions.check(partition)
        path = self.home / "landing" / feed / found.expected_file(partition, version, part)
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_name(f".{path.name}.part")
        unfinished.write_bytes(rows if isinstance(rows, bytes) else written(found, list(rows)))
        unfinished.replace(path)
        return path

    def run(self) -> dict[str, dict[str, Outcome]]:
        """Bring every table up to date, inputs first, as ``selfheal run`` does.

        Returns:
            Per table, per partition that was due, what became of it.
        """
        outcomes: dict[str, dict[str, Outcome]] = {}
        for table in self.graph.tables:
            keys = table.partitions.begun(SystemClock().now_utc())
            due = list(self._engine.look(table.name, keys).stale)
            made = self._engine.materialize(table.name, due, run_id=uuid.uuid4().hex)
            outcomes[table.name] = {outcome.partition: outcome for outcome in made}
        return outcomes

    def rows(self, table: str) -> pl.DataFrame:
        """What readers of a table see: its contract's columns, in the order of its key."""
        found = self.graph[table]
        store = self._engine.store.table(found)
        files = list(store.state().files.values())
        rows = store.scan(files, list(found.contract.columns)).collect() if files else found.contract.schema.to_frame()
        return rows.sort(found.contract.key) if found.contract.key else rows

    def quarantine(self, table: str) -> pl.DataFrame:
        """The rows that were set aside from a table, PII masked: ``rules``, ``file``, ``line``, ``row`` (JSON)."""
        return self._engine.store.quarantined(self.graph[table])

    def why(self, table: str, partition: str) -> tuple[str, ...]:
        """What the newest judgement of a partition complains about, a sentence per rule; nothing if all hold."""
        name = self.graph[table].name
        settled = self._engine.ledger.publications.settlements(name, [partition]).get(partition)
        return () if settled is None else why(settled.verdict)

    def missing_rows(self) -> int:
        """Delivered rows of which nobody can say where they are, of all feeds. Anything but 0 is a bug in selfheal."""
        return sum(account.rows.missing for account in feed_accounts(self.graph, self._engine.ledger))


def judge(contract: Contract, rows: pl.DataFrame | pl.LazyFrame) -> Judgement:
    """Ask the gate about the rows of one partition, without files, store and ledger.

    Args:
        contract: What they must satisfy. A table's own, ``stg_loans.contract``, has the framework's rules beside yours;
            those are judged elsewhere and not asked here, nor are references.
        rows: The contract's columns.
    """
    frame = rows.collect() if isinstance(rows, pl.LazyFrame) else rows
    return judge_partitions({"": frame}, contract)[""]


def broken_rules(contract: Contract, rows: pl.DataFrame | pl.LazyFrame) -> dict[str, int]:
    """The rules that the rows of one partition break, and how many rows break each; 1 for a rule of the whole."""
    verdict = judge(contract, rows).verdict
    match verdict:
        case Held():
            return {}
        case Broken(breaches, _):
            return {breach.rule: breach.count for breach in breaches}
        case Unknown(rule, cause):
            raise AssertionError(f"{rule} crashed: {cause}")
        case _:
            assert_never(verdict)


def written(feed: Feed, rows: Sequence[Row]) -> bytes:
    """A file of a feed, in its format; a column that a row does not have is empty."""
    layout = feed.format
    match layout:
        case Csv(delimiter, encoding, compression):
            text = io.StringIO()
            lines = csv.writer(text, delimiter=delimiter, lineterminator="\n")
            lines.writerow(feed.columns)
            lines.writerows([row.get(column, "") for column in feed.columns] for row in rows)
            return _packed(text.getvalue().encode(encoding), compression)
        case JsonLines(encoding, compression):
            said = "".join(json.dumps(dict(row), ensure_ascii=False) + "\n" for row in rows)
            return _packed(said.encode(encoding), compression)
        case Parquet():
            packed = io.BytesIO()
            cells: dict[str, Any] = {column: [row.get(column) for row in rows] for column in feed.columns}
            pl.DataFrame(cells).write_parquet(packed)
            return packed.getvalue()
        case _:
            assert_never(layout)


def _packed(content: bytes, compression: str | None) -> bytes:
    return content if compression is None else gzip.compress(content, mtime=0)
