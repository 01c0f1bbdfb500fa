"""Bars: what a rollback keeps from coming back.

Belongs here: which traces and which content a bar stands against. Does not belong here: choosing what to return to
(``rollback``), keeping bars (the ledger). Invariant: a bar never stands against the trace that was returned to, unless
bad and good content came from the very same trace.

A person who rolls a partition back says two things: this content is bad, and that one is good. So a bar stands against
the bad content itself, whatever it is computed from next time; and against every trace that agrees with the bad one in
all the components in which bad and good differ, as one of these must have been the cause. A trace that has another
value in one of them (a corrected file, say) is new, and is tried.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

from sh_core.trace import Trace
from sh_core.verdict import Level, RuleBreach

ROLLED_BACK = "rolled_back"
"""Name under which content that was rolled back is withheld, in the place of a rule's."""

Component = tuple[str, ...]
"""What a part of a trace is about: ``("code",)``, ``("contract",)``, or what was read, without its digest."""


def components_of(trace: Trace) -> dict[Component, str]:
    """Each component of a trace with its version."""
    reads = {("read", r.source, r.partition, r.rows, *r.columns): r.digest for r in trace.reads}
    return {("code",): trace.code, ("contract",): trace.contract, **reads}


@dataclass(frozen=True)
class Bar:
    """What one rollback of one partition stands against.

    Attributes:
        table: Table name.
        partition: Partition key.
        root: Root of the bad content.
        bad: What the bad content was computed from.
        good: What the content was computed from that took its place; or, since, other content that was published by a
            person's word under a trace that the bar stood against.
        made_by: Who rolled back.
        why: For what reason, in words.
        attempt_id: The attempt that put the good content in its place; empty until there is one.
        made_utc: When the bar came into force; None until then.
    """

    table: str
    partition: str
    root: str
    bad: Trace
    good: Trace
    made_by: str = ""
    why: str = ""
    attempt_id: str = ""
    made_utc: datetime | None = None

    @cached_property
    def components(self) -> Mapping[Component, str | None]:
        """The bad trace's version of everything in which bad and good differ; None of what only the good one has."""
        bad, good = components_of(self.bad), components_of(self.good)
        return {c: bad.get(c) for c in bad.keys() | good.keys() if bad.get(c) != good.get(c)}

    def bars(self, trace: Trace) -> bool:
        """Whether it stands against whatever is computed from this.

        Where bad and good do not differ (the transform gave two results from one trace), against that very trace only.
        """
        if not self.components:
            return trace.digest == self.bad.digest
        now = components_of(trace)
        return all(now.get(component) == version for component, version in self.components.items())


def barring(bars: Iterable[Bar], trace: Trace) -> Bar | None:
    """The first bar that stands against a trace, if one does."""
    return next((bar for bar in bars if bar.bars(trace)), None)


def refusing(bars: Iterable[Bar], root: str) -> Bar | None:
    """The first bar that stands against a content, if one does."""
    return next((bar for bar in bars if bar.root == root), None)


def after_publishing(bar: Bar, root: str, trace: Trace) -> Bar | None:
    """What is left of a bar once content is published on somebody's word: by a rollback to it, or by a forced run.

    Returns:
        None if it is the very content that the bar stood against: it is lifted. If it was computed from a trace that
        the bar stood against, the bar with that trace as the good one: what the two have in common was not the cause.
        Else the bar itself.
    """
    if bar.root == root:
        return None
    if bar.bars(trace) and bar.good.digest != trace.digest:
        return Bar(
            bar.table, bar.partition, bar.root, bar.bad, trace, bar.made_by, bar.why, bar.attempt_id, bar.made_utc
        )
    return bar


def breach(bar: Bar) -> RuleBreach:
    """Why content that a bar stands against is withheld."""
    when = f" on {bar.made_utc:%Y-%m-%d %H:%M} UTC" if bar.made_utc is not None else ""
    by, why = (f" by {bar.made_by}" if bar.made_by else ""), (f" ({bar.why})" if bar.why else "")
    detail = (
        f"content {bar.root} was rolled back{when}{by}{why}: other input, code or contract is needed, "
        f"or selfheal rollback {bar.table} {bar.partition} --to {bar.root} to take it after all"
    )
    return RuleBreach(ROLLED_BACK, Level.TABLE, 1, detail)
