"""Showing at a terminal what a rollback and a tidying did, or would do.

Belongs here: lines made of what ``facts.undoing`` and ``sh_defs.undoing`` gathered. Does not belong here: gathering.
Invariant: shows what it is given.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from rich.console import Console

from sh_defs.facts.saying import count, moment
from sh_defs.shown.terminal import new_grid

SHORT = 12
"""Characters of an attempt's id by which a snapshot can be named."""

SHOWN = 8
"""Partitions and sentences that are named."""

Facts = Mapping[str, Any]


def rollback(console: Console, facts: Facts) -> None:
    """What a partition returned to, from what, and who follows."""
    where, now, to = f"{facts['table']} {facts['partition']}", facts["from"], facts["to"]
    if to is None:
        _say(console, f"Nothing to do: readers of {where} see {_named(now)} already.")
        _say(console, f"selfheal show {facts['table']}:{facts['partition']} lists what it can return to with --to.")
        return
    if facts["done"]:
        _say(console, f"{where} is back at {_named(to)}.")
        _say(
            console,
            f"Barred: {_named(now)}. selfheal rollback {where} --to {now['attempt'][:SHORT]} takes it after all.",
        )
    elif "run" in facts:
        _say(console, f"Nothing to do: readers of {where} see that content already.")
        return
    else:
        _say(console, f"{where} would go back to {_named(to)}, if today's contract lets it.")
        _say(console, f"It would bar {_named(now)}.")
    if facts["downstream"]:
        due = "Due now" if facts["done"] else "Would be due"
        _say(console, f"{due}, where they read it: {', '.join(facts['downstream'])}.")


def tidied(console: Console, facts: Facts) -> None:
    """What went, by table."""
    verb = "would go" if facts["dry_run"] else "removed"
    if facts["tables"]:
        grid = new_grid("table", "orphans", "snapshots", "evidence", "abandoned", "MB")
        for t in facts["tables"]:
            kinds = (f"{t['kinds'].get(k, 0):,}" for k in ("orphan", "snapshot", "evidence", "abandoned"))
            grid.add_row(t["table"], *kinds, f"{t['size_bytes'] / 1e6:,.1f}")
        console.print(grid)
        _say(console, f"{count(facts['files'], 'file')} {verb}, {facts['size_bytes'] / 1e6:,.1f} MB.")
    else:
        _say(console, "Nothing to tidy: every file is one that readers see or can return to, or is too young.")
    if facts["requests"]:
        _say(console, f"{count(facts['requests'], 'old request')} {verb}; selfheal why no longer tells of them.")
    if facts["busy"]:
        more = f" and {len(facts['busy']) - SHOWN:,} more" if len(facts["busy"]) > SHOWN else ""
        _say(console, f"Left for the next time, as a run works on them: {', '.join(facts['busy'][:SHOWN])}{more}.")
    for sentence in facts["disagree"][:SHOWN]:
        console.print(sentence, style="red", markup=False, highlight=False, soft_wrap=True)
    if len(facts["disagree"]) > SHOWN:
        _say(console, f"and {len(facts['disagree']) - SHOWN:,} more disagreements of Delta and ledger; see --json.")


def _named(snapshot: Facts) -> str:
    published = moment(datetime.fromisoformat(snapshot["published_utc"]))
    return f"{snapshot['attempt'][:SHORT]} ({count(snapshot['rows'], 'row')}, published {published})"


def _say(console: Console, text: str) -> None:
    console.print(text, markup=False, highlight=False, soft_wrap=True)
