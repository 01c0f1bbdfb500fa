"""Commands that decide about files that are held: ``accept`` and ``reject``.

Belongs here: their options and help. Does not belong here: the work (``sh_defs.ruling``). Invariant: a word is taken
only on those files that the person was shown, or could have been.
"""
# ruff: noqa: PLC0415

import json
from pathlib import Path
from typing import Annotated

import typer

from sh_defs.cli.base import AsJson, Home, engine_at

OfFeed = Annotated[str, typer.Argument(metavar="FEED", show_default=False)]
OfPartition = Annotated[str, typer.Argument(metavar="PARTITION", show_default=False)]
Reason = Annotated[str, typer.Option("--why", help="The reason, kept with the decision.", show_default=False)]


def accept(
    feed: OfFeed,
    partition: OfPartition,
    arrival: Annotated[
        int | None, typer.Option(help="Number of the held arrival, where there are several.", show_default=False)
    ] = None,
    why: Reason = "",
    as_json: AsJson = False,
    home: Home = None,
) -> None:
    """Take a held file for its partition, instead of the one that counts now.

    Feeds that are declared with Several.HOLD hold whatever comes after a partition's first file. The partition's raw
    table is due from then on; other files that are held for the partition are rejected.

    **Examples**

    ```
    selfheal accept weather 2013-02-12 --why "the vendor confirmed the correction"
    selfheal accept weather 2013-02-12 --arrival 4711
    ```
    """
    _rule(home, feed, partition, arrival, why, accepts=True, as_json=as_json)


def reject(feed: OfFeed, partition: OfPartition, why: Reason = "", as_json: AsJson = False, home: Home = None) -> None:
    """Refuse every file that is held for a partition: the one that counts stays.

    The same content is not held again if it is delivered again. The rejected files stay in the archive.

    **Examples**

    ```
    selfheal reject weather 2013-02-12 --why "a test file of the vendor's"
    ```
    """
    _rule(home, feed, partition, None, why, accepts=False, as_json=as_json)


def _rule(
    home: Path | None, feed: str, partition: str, arrival: int | None, why: str, *, accepts: bool, as_json: bool
) -> None:
    from sh_defs.ruling import rule

    facts = rule(engine_at(home), feed, partition, arrival, why, accepts=accepts)
    typer.echo(json.dumps(facts, indent=2, ensure_ascii=False) if as_json else facts["says"])
