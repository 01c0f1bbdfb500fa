"""What people read in Dagster: sentences on checks, and why a run failed.

Belongs here: wording. Does not belong here: events (``telling``). Invariant: a message says what, how many, the first
few, and what to do; it holds no value of a row.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, assert_never

import dagster as dg

from sh_core.columns import FILE, LINE, UNPARSED, WHOLE_LINE
from sh_core.contract import Split
from sh_core.outcome import Busy, Fenced, Outcome, Published, Reused, Waiting, Withheld, awaited
from sh_core.reconciliation import Reconciliation
from sh_core.records import Action
from sh_core.table import Table
from sh_core.verdict import Broken, Held, Level, RuleBreach, Unknown, Verdict
from sh_resources.on_time import Remark

SHOWN = 3
"""Partitions of each kind, and rows of each rule, that a sentence names; metadata name more."""

LISTED = 400
"""Partitions of each kind in a failure's metadata."""

LONGEST = 300
"""Characters that a failure gives to one rule; its check says all."""

_MINUTE_S, _HOUR_S, _DAY_S = 60, 3600, 86400

_ADVICE = {
    "withheld": "Their failed checks say what is broken. Correct the delivery or the code, and materialize them again.",
    "waiting": "Materialize them again when that is there.",
    "busy": "Another run is working on them.",
    "taken over": "Another run took them over while this one stood still.",
}


@dataclass(frozen=True)
class LastGood:
    """What readers see of a withheld partition.

    Attributes:
        root: Root of its content.
        rows: How many; None if the ledger does not know this content.
        published_utc: Since when; None likewise.
    """

    root: str
    rows: int | None
    published_utc: datetime | None


def broken(
    breach: RuleBreach,
    verdict: Broken,
    table: Table,
    *,
    withheld: bool,
    last_good: LastGood | None,
    judged: int | None,
) -> str:
    """Of a check whose rule is broken.

    Args:
        breach: How.
        verdict: What else is broken.
        table: Whose rule it is.
        withheld: Whether the partition is.
        last_good: What readers see instead, if it is.
        judged: Rows that were judged; None if that is not known any more.
    """
    if not withheld:
        return _paragraphs(_found(breach), "Set aside; all other rows are published")
    share = _share(verdict, table, judged) if breach.level is Level.ROW else ""
    return _paragraphs(_found(breach), share, _withheld(last_good))


def crashed(cause: str, last_good: LastGood | None) -> str:
    """Of a check that could not be evaluated."""
    return _paragraphs(f"The rule itself crashed: {cause}", _withheld(last_good))


def withheld(verdict: Verdict, table: Table, judged: int | None) -> str:
    """Of a withheld partition, as Markdown: everything that is wrong with it."""
    match verdict:
        case Unknown(rule=rule, cause=cause):
            return f"**Withheld**: `{rule}` crashed, which says nothing about the rows: {cause}"
        case Broken(breaches=breaches):
            items = [f"- `{b.rule}`: {_found(b)}" for b in breaches]
            share = _share(verdict, table, judged) if any(b.level is Level.ROW for b in breaches) else ""
            return "\n".join(["**Withheld.**" + (f" {share}." if share else ""), "", *items])
        case Held():
            return "Nothing is broken"
        case _:
            assert_never(verdict)


def instead(last_good: LastGood | None) -> str:
    """What readers see of a withheld partition."""
    if last_good is None:
        return "None: readers see nothing of this partition yet."
    return f"Readers keep {_content(last_good)} ({last_good.root})."


def moment(when: datetime) -> str:
    """A time to the minute."""
    return f"{when:%Y-%m-%d %H:%M} UTC"


def _withheld(last_good: LastGood | None) -> str:
    seen = "readers see nothing of it yet" if last_good is None else f"readers keep {_content(last_good)}"
    return f"The partition is withheld; {seen}"


def _paragraphs(*said: str) -> str:
    """Sentences below each other: on a page beside a wide sample, one line of them would go out of sight."""
    return "\n\n".join(f"{s}." for s in said if s)


def _content(last_good: LastGood) -> str:
    """E.g. ``its last good content: 72 rows, published 2013-02-13 10:00 UTC``."""
    if last_good.rows is None or last_good.published_utc is None:
        return "its last good content"
    rows = "1 row" if last_good.rows == 1 else f"{last_good.rows:,} rows"
    return f"its last good content: {rows}, published {moment(last_good.published_utc)}"


def _share(verdict: Broken, table: Table, judged: int | None) -> str:
    """Why broken rows are not simply set aside, if it is for their number."""
    match table.contract.on_breach:
        case Split(max_fraction) if judged is not None:
            if verdict.rows_broken <= max_fraction * judged:
                return ""  # some other rule is the reason
            limit = f"at most {100 * max_fraction:.3g} % may be set aside"
            are = "is" if verdict.rows_broken == 1 else "are"
            return f"In all, {verdict.rows_broken:,} of {judged:,} rows {are} broken, and {limit}"
        case Split():
            return ""
        case _:
            return "No row of this table may be broken"


def _found(breach: RuleBreach) -> str:
    """How a rule is broken, and where: in which file and line, where rows are still known by them."""
    places = [f"{row[FILE]} line {row[LINE]}" for row in breach.sample if row.get(FILE)]
    match breach.level:
        case Level.ROW:
            rows = "1 broken row" if breach.count == 1 else f"{breach.count:,} broken rows"
            first = ": " if breach.count == 1 else ", the first: "
            return f"{rows}{first}{places[0]}{_unread(breach.sample[0])}" if places else rows
        case Level.TABLE:
            said = breach.detail.rstrip(".")
            return f"{said}: {', '.join(places[:SHOWN])}" if places else said
        case _:
            assert_never(breach.level)


def _unread(row: Mapping[str, Any]) -> str:
    """What of a row could not be read."""
    columns = row.get(UNPARSED)
    if not columns:
        return ""
    return ", the line cannot be read" if WHOLE_LINE in columns else f", {', '.join(columns)} cannot be read"


def on_time(remark: Remark) -> str:
    """Whether a partition, or the file for it, was there in time."""
    due = remark.due_utc or remark.late_utc
    if due is None:
        return "Nothing is owed of this partition"
    waits = f"; it waits for {remark.file_name}" if remark.file_name else ""
    if remark.came_utc is None:
        if remark.passed:
            return f"Not there yet, and not late before {moment(remark.late_utc or due)}"
        return f"Late: due {moment(due)}{waits}"
    came = f"There since {moment(remark.came_utc)}"
    if remark.late_utc is not None and remark.came_utc >= remark.late_utc:
        return f"{came}, {span(remark.late_by_s)} late: due {moment(due)}"
    return f"{came}, on time: due {moment(due)}"


def stands_in(marks: Sequence[str]) -> str:
    """Of a partition that rests on placeholders: on which."""
    first = "; ".join(marks[:SHOWN])
    more = f"; and {len(marks) - SHOWN:,} more" if len(marks) > SHOWN else ""
    return f"Not the truth yet. What is late is stood in for: {first}{more}. It is repaired when the truth lands"


def reconciled(found: Reconciliation) -> dict[str, Any]:
    """What a materialization says of the placeholder that it replaced."""
    rows = f"{found.rows_placeholder:,} rows stood in, {found.rows_truth:,} are true"
    if found.differ is not None:
        rows += f": {found.only_placeholder:,} only there, {found.only_truth:,} only now, {found.differ:,} differ"
    columns = [
        dg.TableRecord(
            {
                "column": name,
                "rows that differ": "not compared" if of.rows is None else f"{of.rows:,}",
                "sum that stood in": "" if of.placeholder is None else str(of.placeholder),
                "true sum": "" if of.truth is None else str(of.truth),
            }
        )
        for name, of in found.columns.items()
    ]
    return {
        "replaced_placeholder": f"{found.mark}: {rows}",
        **({"replaced_placeholder_columns": dg.MetadataValue.table(columns)} if columns else {}),
    }


def span(seconds: float) -> str:
    """A length of time in the unit that fits, e.g. ``3 h``."""
    for unit, length in (("days", 2 * _DAY_S), ("h", _HOUR_S), ("min", _MINUTE_S)):
        if seconds >= length:
            return f"{seconds / (_DAY_S if unit == 'days' else length):.0f} {unit}"
    return f"{seconds:.0f} s"


def word(outcome: Outcome) -> str:
    """What became of a partition, in a word or two."""
    match outcome:
        case Published(refreshed=refreshed, returned_to=to):
            return "rolled back" if to is not None else "unchanged" if refreshed else "published"
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


def _named(outcome: Outcome) -> str:
    match outcome:
        case Withheld(partition=key, verdict=verdict) | Reused(partition=key, verdict=verdict):
            return f"{key} ({_cause(verdict)})"
        case Waiting(partition=key, missing=missing):
            return f"{key} (for {awaited(missing, SHOWN)})"
        case _:
            return outcome.partition


def _cause(verdict: Verdict) -> str:
    match verdict:
        case Unknown(rule=rule, cause=cause):
            return f"{rule} crashed: {cause}"
        case Broken(breaches=breaches):
            return "; ".join(_cut(f"{b.rule}: {_found(b)}") for b in breaches)
        case Held():
            return "nothing broken"
        case _:
            assert_never(verdict)


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"
