"""SQLMesh on a case's folder, in an environment of its own (``on_sqlmesh``).

Belongs here: what a person who runs SQLMesh does after a change, and counting what it ran. Does not belong here: the
models (``sqlmesh_project``). Invariant: imports nothing of this project, which is not installed where this runs.

    python -I benchmarks/peers/sqlmesh_process.py FOLDER build|repair day|window

A restated file is a restatement plan of the raw model for that day, as SQLMesh's documentation says of a change outside
its reach; the register's has no dates. An edit is a plan. A restatement plan takes one span of days for all models, so
the days after it, whose seven-day windows hold it, keep what they had (``day``); somebody who knows of the window
restates these, of the feature alone, with a second plan (``window``). SQLMesh's console tells every span that it has
computed; days and months in it are counted one by one, a model that is always made whole is one.
"""

import json
import os
import sys
import time
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from sqlmesh import Context  # type: ignore[import-not-found]  # only in the environment that on_sqlmesh.py makes
from sqlmesh.core.console import NoopConsole, set_console  # type: ignore[import-not-found]  # same
from sqlmesh.utils.date import to_datetime  # type: ignore[import-not-found]  # same

WINDOW = timedelta(days=6)


class Counting(NoopConsole):
    """Notes what was computed."""

    def __init__(self) -> None:
        super().__init__()
        self.executed: dict[str, list[str]] = {}
        self.batches = 0

    def update_snapshot_evaluation_progress(self, snapshot: Any, interval: Any, *_: Any, **__: Any) -> None:  # noqa: ANN401
        """One statement has filled an interval of a table."""
        self.batches += 1
        found = self.executed.setdefault(snapshot.name.replace('"', "").rpartition(".")[2], [])
        if snapshot.is_full:
            found.append("all")
            return
        at, end = (to_datetime(ms) for ms in interval)
        while at < end:
            found.append(at.date().isoformat())
            at = snapshot.node.interval_unit.cron_next(at)

    def log_failed_models(self, errors: Any) -> None:  # noqa: ANN401
        """A model failed: nothing that is counted here means anything then."""
        if errors:
            raise SystemExit(str([(str(e), str(e.__cause__)) for e in errors]))


def main() -> None:
    """Do what the command line says."""
    folder, step, variant = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
    os.chdir(folder)  # the models name the landing zone from there
    console = Counting()
    set_console(console)
    context = Context(paths=["."])
    plans: list[dict[str, Any]] = (
        [{}] if step == "build" else _plans(json.loads(Path("change.json").read_text()), variant)
    )
    wall, cpu = time.perf_counter(), time.process_time()
    for plan in plans:
        context.plan(auto_apply=True, no_prompts=True, skip_tests=True, **plan)
    done = {
        "executed": console.executed,
        "seconds": time.perf_counter() - wall,
        "cpu_s": time.process_time() - cpu,
        "batches": console.batches,
        "ticks": 0,
    }
    Path("content").mkdir(exist_ok=True)
    for model in context.models.values():
        name = model.name.rpartition(".")[2]
        rows = f"SELECT * FROM chain.{name}"  # names of our own models
        context.engine_adapter.execute(f"COPY ({rows}) TO 'content/{name}.parquet' (FORMAT parquet)")
    Path("done.json").write_text(json.dumps(done))


def _plans(word: dict[str, Any], variant: str) -> list[dict[str, Any]]:
    delivery = word["delivery"]
    if delivery is None:
        return [{}]
    raw = f"chain.raw_{delivery['feed']}"
    if delivery["partition"] == "all":
        return [{"restate_models": [raw]}]
    day = date.fromisoformat(delivery["partition"])
    plans = [{"restate_models": [raw], "start": day.isoformat(), "end": day.isoformat()}]
    if variant == "window":
        first, last = day + timedelta(days=1), day + WINDOW
        feature = {"restate_models": ["chain.feat_week"], "start": first.isoformat(), "end": last.isoformat()}
        plans.append(feature)
    return plans


if __name__ == "__main__":
    main()
