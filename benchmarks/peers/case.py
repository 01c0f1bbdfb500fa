"""One contender, one step, in this process.

    python -m benchmarks.peers.case CONTENDER FOLDER build|repair [VARIANT]

Belongs here: choosing the contender, and leaving in the folder what it did (``done.json``) and what readers see then
(``content``). Does not belong here: SQLMesh, which has an environment of its own. Invariant: nothing is timed here.
"""

import argparse
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path

from benchmarks.peers.contending import Contender, Done, chain_in


def _ours(folder: Path, variant: str) -> Contender:
    if variant == "dagster":
        from benchmarks.peers.ours_on_dagster import OursOnDagster  # noqa: PLC0415  # same as below

        return OursOnDagster(folder)
    from benchmarks.peers.ours import Ours  # noqa: PLC0415  # a contender must not pay for another one's imports

    return Ours(folder)


def _rebuild(folder: Path, _: str) -> Contender:
    from benchmarks.peers.rebuild import Rebuild  # noqa: PLC0415  # same

    return Rebuild(folder)


def _dagster(folder: Path, variant: str) -> Contender:
    from benchmarks.peers.on_dagster import OnDagster  # noqa: PLC0415  # same

    return OnDagster(folder, variant)


CONTENDERS: Mapping[str, Callable[[Path, str], Contender]] = {"ours": _ours, "rebuild": _rebuild, "dagster": _dagster}


def main() -> None:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(
        description="One step of one contender; `python -m benchmarks peers` runs them all."
    )
    parser.add_argument("contender", choices=CONTENDERS)
    parser.add_argument("folder", type=Path, help="laid out by benchmarks.peers.changes")
    parser.add_argument("step", choices=("build", "repair"))
    parser.add_argument("variant", nargs="?", default="")
    given = parser.parse_args()
    contender = CONTENDERS[given.contender](given.folder, given.variant)
    if given.step == "build":
        contender.build()
        done = Done({}, 0.0, 0.0, 0)
    else:
        done = contender.repair()
    content = given.folder / "content"
    content.mkdir(exist_ok=True)
    for table in chain_in(given.folder).tables:
        contender.content(table.name).write_parquet(content / f"{table.name}.parquet")
    (given.folder / "done.json").write_text(json.dumps(asdict(done)))


if __name__ == "__main__":
    main()
