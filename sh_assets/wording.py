"""What people read in Dagster: sentences on checks, and why a run failed.

Belongs here: wording. Does not belong here: events (``telling``). Invariant: a message says what, how many, the first
few, and what to do; it holds no value of a row.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import assert_never

import dagster as dg

from sh_core.outcome import Busy, Fenced, Outcome, Published, Reused, Waiting, Withheld
from sh_core.records import Action
from sh_core.table import Table
from sh_core.verdict import Broken, Held, Level, RuleBreach, Unknown, Verdict

SHOWN = 3
"""Partitions of each kind that a failure names; its metadata name more."""

LISTED = 400
"""Partitions of each kind in a failure's metadata."""

_ADVICE = {
    "withheld": "Their failed checks say what is broken. Correct the delivery or the code, and materialize them again.",
    "waiting": "Materialize them again when that is there.",
    "busy": "Another run is working on them.",
    "taken over": "Another run took them over while this one stood still.",
}


def broken(breach: RuleBreach, version: str | None, last_good: str | None) -> str:
    """Of a check whose rule is broken.

    Args:
        breach: How.
        version: Root of the published content; None if the partition is withheld.
        last_good: Root of what readers see instead, if anything.
    """
    found = f"{breach.count:,} {_rows(breach.count)}" if breach.level is Level.ROW else breach.detail.rstrip(".")
    return f"{found}. {'Set aside; all other rows are published.' if version is not None else _withheld(last_good)}"


def crashed(cause: str, last_good: str | None) -> str:
    """Of a check that could not be evaluated."""
    return f"The rule itself crashed: {cause}. {_withheld(last_good)}"


def _withheld(last_good: str | None) -> str:
    return "The partition is withheld; " + (
        "readers see nothing of it yet." if last_good is None else f"readers keep its last good content, {last_good}."
    )


def _rows(count: int) -> str:
    return "broken row" if count == 1 else "broken rows"


def word(outcome: Outcome) -> str:
    """What became of a partition, in a word or two."""
    match outcome:
        case Published(refreshed=refreshed):
            return "unchanged" if refreshed else "published"
        case Reused(action=action):
            return "withheld" if action is Action.WITHHOLD else "reused"
        case Withheld():
            return "withheld"
        case Waiting():
            return "waiting"
        case Busy():
            return "busy"
        case Fenced():
            return "taken over"
        case _:
            assert_never(outcome)


def summary(counts: Mapping[str, int]) -> str:
    """Counts of words in a line, e.g. ``3 published, 362 reused``."""
    return ", ".join(f"{count:,} {said}" for said, count in counts.items())


def not_published(outcomes: Iterable[Outcome]) -> list[Outcome]:
    """Those outcomes that leave a partition without the content that was asked for."""
    return [outcome for outcome in outcomes if word(outcome) in _ADVICE]


def failure(table: Table, failed: Sequence[Outcome], asked: int) -> dg.Failure:
    """Why a run fails."""
    kinds: dict[str, list[Outcome]] = {}
    for outcome in failed:
        kinds.setdefault(word(outcome), []).append(outcome)
    rest = asked - len(failed)
    lines = [
        f"{len(failed):,} of {asked:,} partitions of {table.name} could not be published; {rest:,} are up to date."
    ]
    for said, outcomes in kinds.items():
        first = "; ".join(_named(o) for o in outcomes[:SHOWN])
        more = f"; and {len(outcomes) - SHOWN:,} more" if len(outcomes) > SHOWN else ""
        lines.append(f"{len(outcomes):,} {said}: {first}{more}. {_ADVICE[said]}")
    return dg.Failure(
        description="\n".join(lines),
        metadata={said: [_named(o) for o in outcomes[:LISTED]] for said, outcomes in kinds.items()},
        allow_retries=False,
    )


def awaited(missing: Sequence[str]) -> str:
    """What a partition waits for, the first few by name."""
    more = f" and {len(missing) - SHOWN:,} more" if len(missing) > SHOWN else ""
    return f"{', '.join(missing[:SHOWN])}{more}"


def _named(outcome: Outcome) -> str:
    match outcome:
        case Withheld(partition=key, verdict=verdict) | Reused(partition=key, verdict=verdict):
            return f"{key} ({_cause(verdict)})"
        case Waiting(partition=key, missing=missing):
            return f"{key} (for {awaited(missing)})"
        case _:
            return outcome.partition


def _cause(verdict: Verdict) -> str:
    match verdict:
        case Unknown(rule=rule, cause=cause):
            return f"{rule} crashed: {cause}"
        case Broken(breaches=breaches):
            return ", ".join(
                f"{b.rule}: {b.count:,} {_rows(b.count)}" if b.level is Level.ROW else b.rule for b in breaches
            )
        case Held():
            return "nothing broken"
        case _:
            assert_never(verdict)
