"""Pausing: what is paused, by whom and why, as plain JSON values and in words.

Belongs here: telling it, wherever people look. Does not belong here: pausing (the ledger's ``requests``). Invariant:
reads only.
"""

from collections.abc import Iterable
from typing import Any

from sh_defs.facts.saying import moment
from sh_resources.ledger.requests import Pause

Facts = dict[str, Any]


def pause_facts(pauses: Iterable[Pause]) -> list[Facts]:
    """Every pause; ``says`` is a line for people."""
    return [
        {
            "table": pause.table,
            "downstream": pause.downstream,
            "since_utc": pause.since_utc.isoformat(),
            "by": pause.paused_by,
            "reason": pause.reason,
            "says": _says(pause),
        }
        for pause in pauses
    ]


def _says(pause: Pause) -> str:
    below = ", with all downstream" if pause.downstream else ""
    why = f": {pause.reason}" if pause.reason else ""
    return f"by {pause.paused_by} since {moment(pause.since_utc)}{below}{why}"
