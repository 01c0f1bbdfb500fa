"""Saying what a judgement found, in sentences that people read at a terminal and on the report's page.

Belongs here: wording about rules, verdicts and times. Does not belong here: Dagster's sentences
(``sh_assets.wording``), gathering facts. Invariant: no sentence holds a value of a row.
"""

from datetime import datetime

from sh_core.contract import Split
from sh_core.inputs import Input, Required
from sh_core.mapping import All, Dimensions, Keys, Last, PartitionMapping, Window, dimensions_of
from sh_core.partitions import Partitions, Periods
from sh_core.table import Table
from sh_core.verdict import Broken, Held, Level, Rule, RuleBreach, Unknown, Verdict

_MINUTE_S, _HOUR_S, _DAY_S = 60, 3600, 86400


def rule_of(table: Table, name: str) -> Rule | None:
    """The rule behind a name in quarantine: ``parse:dep_time`` is the rule ``parse``, broken by one column.

    Returns:
        None for a rule that the contract had once and no longer has.
    """
    plain = name.partition(":")[0]
    return next((rule for rule in table.contract.rules if rule.name == plain), None)


def why(verdict: Verdict) -> tuple[str, ...]:
    """What a verdict complains about, one sentence per rule; nothing if every rule holds."""
    match verdict:
        case Held():
            return ()
        case Broken(breaches, _):
            return tuple(f"{b.rule}: {found(b)}" for b in breaches)
        case Unknown(rule, cause):
            return (f"{rule} crashed: {cause}",)


def found(breach: RuleBreach) -> str:
    """How much of a rule is broken."""
    if breach.level is Level.ROW:
        return count(breach.count, "row")
    return breach.detail.rstrip(".")


def count(number: int, noun: str) -> str:
    """E.g. ``1 row`` or ``1,200 rows``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def periods(given: Input, source: Table) -> str:
    """Which partitions of an upstream table a partition reads, and how many must be there."""
    if not source.partitions.columns:
        return "whole"
    which, present = _which(given.window, source.partitions), given.present
    return which if isinstance(present, Required) else f"{which}, at least {present.min_present} of them"


def _which(mapping: PartitionMapping, of: Partitions) -> str:
    match mapping:
        case Window(0, 0):
            return "its own period" if isinstance(of, Periods) else "its own partition"
        case Window(first, last):
            return f"periods {first:+d} to {last:+d} from its own"
        case All():
            return "all partitions"
        case Last():
            return "the newest partition"
        case Keys(reads):
            return "; ".join(f"for {own} {', '.join(read)}" for own, read in reads)
        case Dimensions(dimensions):
            return "; ".join(f"{name}: {_which(how, dimensions_of(of)[name])}" for name, how in dimensions)


def policy(table: Table) -> str:
    """What becomes of broken rows."""
    match table.contract.on_breach:
        case Split(max_fraction):
            return f"broken rows are set aside while they are at most {100 * max_fraction:.3g} % of a partition"
        case _:
            return "one broken row withholds its partition"


def moment(at: datetime | None) -> str:
    """E.g. ``2013-03-10 07:30 UTC``."""
    return "never" if at is None else f"{at:%Y-%m-%d %H:%M} UTC"


def age(at: datetime | None, now: datetime) -> str:
    """E.g. ``3 h ago``."""
    if at is None:
        return "never"
    seconds = (now - at).total_seconds()
    if seconds < _MINUTE_S:
        return "just now"
    if seconds < _HOUR_S:
        return f"{seconds / _MINUTE_S:.0f} min ago"
    if seconds < 2 * _DAY_S:
        return f"{seconds / _HOUR_S:.0f} h ago"
    return f"{seconds / _DAY_S:,.0f} days ago"


def visible(text: str) -> str:
    """Text with control characters made visible: a delivered file name or cell must not move a terminal's cursor."""
    return "".join(c if c.isprintable() or c == "\n" else repr(c)[1:-1] for c in text)
