"""Reasons: why a partition is stale, as plain JSON values and in words.

Belongs here: one sentence per reason, and its detail. Does not belong here: finding details (``explaining``), grids and
colours (``shown``). Invariant: no sentence holds a value of a row that is personal data, and a sentence never says more
than was found out.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from sh_core.explanation import (
    ClausesDiffer,
    CodeDiffers,
    ColumnsDiffer,
    Detail,
    FileDiffers,
    KeysDiffer,
    NotKept,
    RowsDiffer,
)
from sh_core.masking import MASK
from sh_core.staleness import (
    Astray,
    CodeChanged,
    ContractChanged,
    FirstTime,
    InputChanged,
    InputRedeclared,
    Landed,
    Overdue,
    Reason,
)
from sh_core.trace import ABSENT
from sh_defs.facts.saying import count

Facts = dict[str, Any]

NAMED = 6
"""Columns and rules that a sentence names; ``--json`` has all."""


def reason_facts(reason: Reason, detail: Detail | None, own: str) -> Facts:
    """One reason as plain values.

    Args:
        reason: The reason.
        detail: What exactly differs, if that was found out.
        own: The partition that is stale; its name is left out of the words.

    Returns:
        ``kind`` and the reason's own fields; ``says``, a sentence that reads the same for partitions to which the same
        happened; ``exactly``, what may be special about this one, from which version to which, or nothing; ``detail``,
        and ``lines`` of it (a diff, clauses).
    """
    return {
        "kind": _KINDS[type(reason)],
        **asdict(reason),
        "says": says(reason, detail, own),
        "exactly": exactly(reason, detail),
        "detail": None if detail is None else {"kind": _DETAILS[type(detail)], **asdict(detail)},
        "lines": _lines(detail),
    }


_KINDS: Mapping[type[Reason], str] = {
    FirstTime: "first_time",
    CodeChanged: "code_changed",
    ContractChanged: "contract_changed",
    InputChanged: "input_changed",
    InputRedeclared: "input_redeclared",
    Astray: "astray",
    Overdue: "overdue",
    Landed: "landed",
}

_DETAILS: Mapping[type[Detail], str] = {
    ColumnsDiffer: "columns",
    RowsDiffer: "rows",
    KeysDiffer: "keys",
    CodeDiffers: "code",
    ClausesDiffer: "clauses",
    FileDiffers: "file",
    NotKept: "not_kept",
}


def says(reason: Reason, detail: Detail | None, own: str) -> str:
    """A reason in a sentence."""
    match reason:
        case FirstTime():
            said = "it was never computed"
        case CodeChanged():
            said = f"its code was edited{_unkept(detail)}"
        case ContractChanged():
            same = isinstance(detail, ClausesDiffer) and not (detail.added or detail.removed or detail.changed)
            silent = ", in something that its clauses do not say" if same else ""
            said = f"its contract was edited{silent}{_unkept(detail)}"
        case InputChanged():
            said = _input(reason, detail, own)
        case InputRedeclared():
            said = _redeclared(reason, own)
        case Astray():
            said = "what readers see is not what was published: somebody else has written to its files"
        case Overdue():
            said = "something that it needs is late, and an earlier partition is to stand in"
        case Landed():
            said = "what it stands in for is there now"
    return said


def exactly(reason: Reason, detail: Detail | None) -> str:
    """What may be special about one partition: counts, keys, versions."""
    parts = []
    match detail:
        case FileDiffers(name, size_then, size_now):
            then = "" if size_then in (None, size_now) else f"{size_then:,} to "
            sizes = f"{then}{size_now:,} bytes"
            parts.append(f"{name}, {sizes}")
        case ColumnsDiffer(_, rows_then, rows_now) if rows_then != rows_now:
            parts.append(f"{rows_then:,} to {rows_now:,} rows")
        case RowsDiffer(changed, appeared, gone, _, keys):
            more = ", …" if changed + appeared + gone > len(keys) else ""
            named = "" if all(MASK in key for key in keys) else f": {', '.join(keys)}{more}"
            parts.append(f"{count(changed + appeared + gone, 'row')}{named}")
    match reason:
        case CodeChanged(before, now) | ContractChanged(before, now) | InputChanged(before=before, now=now):
            parts.append(f"{short(before)} → {short(now)}")
    return "; ".join(parts)


def short(version: str) -> str:
    """The first digits of a version, by which people tell it from another."""
    algorithm, dash, digits = version.rpartition("-")
    return version if version == ABSENT else f"{algorithm}{dash}{digits[:8]}"


def _redeclared(reason: InputRedeclared, own: str) -> str:
    where = _where(reason.source, reason.partition, own)
    if reason.now is None:
        return f"it does not read {where} any more"
    if reason.before is None:
        return f"it reads {where} now: {_some(reason.now)}"
    added, dropped = _only(reason.now, reason.before), _only(reason.before, reason.now)
    more = [f"{_some(added)} more"] if added else []
    less = [f"{_some(dropped)} no more"] if dropped else []
    return f"it reads other columns of {where}: {', '.join(more + less)}"


def _input(reason: InputChanged, detail: Detail | None, own: str) -> str:
    where = _where(reason.source, reason.partition, own)
    picked = reason.rows.partition(" as ")[0] if not reason.rows.startswith("as ") else ""
    looked_up = f"rows of {where} looked up by {picked}" if picked else where
    if not reason.columns and reason.rows:  # one of several files
        where = f"{reason.rows} of {where}"
    match detail:
        case _ if reason.appeared:
            said = f"{where} was not there, and is now"
        case _ if reason.gone:
            said = f"{where} was there, and is not any more"
        case FileDiffers():
            said = f"another file came for {where}"
        case ColumnsDiffer(columns):
            every = len(columns) > 1 and set(columns) >= set(reason.columns)
            said = f"{where}: {'all columns that are read' if every else _some(columns)} changed"
        case RowsDiffer(changed, appeared, gone, columns, _):
            parts = [f"{_some(columns)} changed"] if changed else []
            parts += ["some had been missing"] if appeared else []
            parts += ["some are gone"] if gone else []
            said = f"{looked_up}: {', '.join(parts)}"
        case KeysDiffer():
            said = f"{looked_up}: other keys occur"
        case _:
            said = f"{looked_up} changed{_unkept(detail)}"
    return said


def _where(source: str, partition: str, own: str) -> str:
    return source if partition in (own, "all") else f"{source} {partition}"


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return f"{', '.join(names[:NAMED])}{more}"


def _only(these: Sequence[str], others: Sequence[str]) -> list[str]:
    return [name for name in these if name not in others]


def _unkept(detail: Detail | None) -> str:
    return f"; {detail.what} is not kept" if isinstance(detail, NotKept) else ""


def _lines(detail: Detail | None) -> list[str]:
    match detail:
        case CodeDiffers(diff):
            return list(diff[2:])  # without the names of the two sides
        case ClausesDiffer(added, removed, changed):
            return [
                *(f"+{name}: {said}" for name, said in added.items()),
                *(f"-{name}: {said}" for name, said in removed.items()),
                *(line for name, (then, now) in changed.items() for line in (f"-{name}: {then}", f"+{name}: {now}")),
            ]
        case _:
            return []
