"""Deciding: the watch as automation asks it.

Belongs here: a tick of the watch in the words that people read. Does not belong here: what is due (``sh_core.watch``),
what Dagster makes of it (``automation``). Invariant: what is told is what was decided and noted in the ledger, under
the same number.
"""

import threading
from collections.abc import Callable, Mapping
from typing import assert_never

from sh_assets.automation import Answer, Busy
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
    Stale,
)
from sh_core.watch import Decision, Watch, Within
from sh_resources.clock import Clock


class WatchDecider:
    """Asks one watch, whichever sensor asks.

    Attributes:
        decided: What was decided last.
    """

    def __init__(
        self, watch: Callable[[], Watch], clock: Clock, within: Within | None = None, by: str | None = None
    ) -> None:
        """Ask a watch.

        Args:
            watch: The watch of this process; asked for when it is needed first.
            clock: Time.
            within: Which partitions count; None for all.
            by: How the ledger is to call who asks; None for the evaluation of automation that does.
        """
        self._watch, self._clock, self._within, self._by = watch, clock, within, by
        self._one_at_a_time = threading.Lock()
        self.decided: Decision | None = None

    def decide(self, tables: frozenset[str], evaluation_id: int, busy: Busy) -> Mapping[str, Answer]:
        """What to do about the stale partitions of some tables; noted in the ledger as asked by this evaluation."""
        with self._one_at_a_time:
            by = self._by or asked_by(evaluation_id)
            found = self._watch().tick(self._clock.now_utc(), busy, by, tables, within=self._within)
            self.decided = found
        return {
            name: Answer(
                {key: words(stale) for key, stale in found.due.get(name, {}).items()},
                {key: held.hold.value for key, held in found.held.get(name, {}).items()},
            )
            for name in tables & (found.due.keys() | found.held.keys())
        }


def asked_by(evaluation_id: int | str) -> str:
    """How the ledger calls an evaluation of automation."""
    return f"evaluation:{evaluation_id}"


def words(stale: Stale) -> tuple[str, ...]:
    """Why a partition is stale, each reason in a few words, each once."""
    return tuple(dict.fromkeys(_word(reason) for reason in stale.reasons))


def _word(reason: Reason) -> str:
    match reason:
        case FirstTime():
            said = "first time"
        case CodeChanged():
            said = "code changed"
        case ContractChanged():
            said = "contract changed"
        case InputChanged(source=source):
            said = f"{source} {'appeared' if reason.appeared else 'is gone' if reason.gone else 'changed'}"
        case InputRedeclared(source=source):
            said = f"reads {source} differently"
        case Astray():
            said = "somebody else wrote to it"
        case Overdue():
            said = "late: a placeholder is to stand in"
        case Landed():
            said = "the truth has landed"
        case _:
            assert_never(reason)
    return said
