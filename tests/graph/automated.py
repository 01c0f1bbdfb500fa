"""Definitions for the daemon's tests: two daily tables in a row and a monthly one, repaired by what stands in files.

``WANTED`` in the folder ``TOY`` says which content each partition should have, ``done/`` which it has. So what is due
is a matter of state, as it is in the product, and each execution leaves a line in ``log.txt``.
"""

import json
import os
import time
from collections.abc import Mapping
from pathlib import Path

import dagster as dg

from sh_assets.automation import NOTHING, Answer, Busy, due, sensors
from sh_core.policy import Hold

WANTED = "wanted.json"
DAILY = dg.DailyPartitionsDefinition("2024-01-01", end_date="2024-12-31")
MONTHLY = dg.MonthlyPartitionsDefinition("2024-01-01", end_date="2025-01-01")


class Files:
    """What a folder says."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def wanted(self) -> dict[str, dict[str, str]]:
        try:
            return dict(json.loads((self.folder / WANTED).read_text()))
        except FileNotFoundError:
            return {}

    def want(self, wanted: Mapping[str, Mapping[str, str]]) -> None:
        part = self.folder / f"{WANTED}.part"
        part.write_text(json.dumps(wanted))
        part.replace(self.folder / WANTED)

    def has(self, table: str, key: str) -> str | None:
        try:
            return (self.folder / "done" / table / key).read_text()
        except FileNotFoundError:
            return None

    def satisfied(self) -> bool:
        return all(self.has(t, k) == content for t, keys in self.wanted().items() for k, content in keys.items())

    def executed(self) -> list[str]:
        """A line per partition, in the order of execution: ``table key content``."""
        log = self.folder / "log.txt"
        return log.read_text().splitlines() if log.exists() else []

    def work(self, table: str, key: str) -> None:
        content = self.wanted()[table][key]
        with (self.folder / "log.txt").open("a") as log:
            log.write(f"{table} {key} {content}\n")
        while (self.folder / "hold").exists():
            time.sleep(0.05)
        place = self.folder / "done" / table
        place.mkdir(parents=True, exist_ok=True)
        (place / key).write_text(content)

    def decide(self, tables: frozenset[str], evaluation_id: int, busy: Busy) -> Mapping[str, Answer]:
        return {table: self._of(table, busy.get(table, frozenset())) for table in tables}

    def _of(self, table: str, busy: frozenset[str]) -> Answer:
        stale = [k for k, content in self.wanted().get(table, {}).items() if self.has(table, k) != content]
        if not stale:
            return NOTHING
        return Answer({k: ("changed",) for k in stale if k not in busy}, {k: Hold.BUSY for k in stale if k in busy})


def _table(name: str, before: list[str], partitions: dg.PartitionsDefinition) -> dg.AssetsDefinition:
    @dg.multi_asset(
        name=name,
        specs=[dg.AssetSpec(name, deps=before, partitions_def=partitions, automation_condition=due())],
        backfill_policy=dg.BackfillPolicy.single_run(),
    )
    def body(context: dg.AssetExecutionContext):  # noqa: ANN202  # Dagster reads the annotation
        for key in context.partition_keys:
            FILES.work(name, key)
        yield dg.MaterializeResult()

    return body


FILES = Files(Path(os.environ.get("TOY", "/nowhere")))
while (FILES.folder / "slow").exists():  # definitions that take long to load, and so does the start of a run
    time.sleep(0.05)
defs = dg.Definitions(
    assets=[_table("first", [], DAILY), _table("second", ["first"], DAILY), _table("month", ["second"], MONTHLY)],
    sensors=sensors(("first", "second", "month"), FILES),
    executor=dg.in_process_executor,
)
