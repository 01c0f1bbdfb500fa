"""The oracle can fail: each of these faults, planted into the code on trial, is found within a few cases.

The incident: a rule of the watch is dropped in a refactoring, and the oracle, which compares the wrong things, stays
green. Whoever exchanges a passage named here exchanges it here as well.

Not here, since nothing that is executed differs: a trace that leaves out what is absent (only the reasons are told
differently).
"""

from dataclasses import dataclass

import pytest

from sh_drills.oracle import drive, schedule
from tests.mutations import mutated

WATCH, SUSPECTS, LINKS, READING = "sh_core.watch", "sh_core.suspects", "sh_core.links", "sh_core.reading"
BOOK, ENGINE = "sh_drills.oracle.memory_book", "sh_drills.oracle.memory_engine"


@dataclass(frozen=True)
class Fault:
    """A passage of a module, what stands there instead, and the seed from which on to look for it (to save time)."""

    module: str
    passage: str
    instead: str
    first: int = 0


FAULTS = {
    "whoever reads from what is due goes with it": Fault(
        WATCH, "return behind if behind is not None and behind.any() else None", "return None"
    ),
    "only direct ancestors count": Fault(
        WATCH, "unsettled[name] = flags if behind is None else flags | behind", "unsettled[name] = flags"
    ),
    "what failed blocks whatever reads from it": Fault(
        WATCH, "if hold is None or hold.hold in (Hold.ANCESTOR, Hold.BUSY, Hold.REQUESTED):", "if True:"
    ),
    "what is worked on blocks nobody": Fault(WATCH, "blocking = unlooked.union(busy)", "blocking = set(unlooked)"),
    "who works on what is not asked": Fault(
        WATCH, "occupied = _together(busy, self.book.leased())", "self.book.leased()\n        occupied = _together()"
    ),
    "leases are not asked for": Fault(WATCH, "_together(busy, self.book.leased())", "_together(busy)"),
    "a wait goes on where an earlier one ended": Fault(
        WATCH, "self._waits_since = waiting\n", "self._waits_since = self._waits_since | waiting\n"
    ),
    "patience has no end": Fault(WATCH, "if now_utc - since < patience:", "if True:"),
    "nobody waits": Fault(WATCH, "if now_utc - since < patience:", "if False:"),
    "the cursor is read after the look": Fault(
        WATCH, "self._serial = changes.serial", "self._serial = self.book.changes(None).serial"
    ),
    "pauses are not asked for": Fault(
        WATCH, "frozenset(self.book.paused() if any(stale.values()) else ())", "frozenset[str]()"
    ),
    "tries are not asked for": Fault(WATCH, "told = self.book.tries(new) if new else {}", "told: dict = {}"),
    "readers of what changed are not looked at": Fault(
        WATCH, "if given.table in flags:", "if given.table in flags and given is not table.reads[0]:"
    ),
    "what was decided is not looked at again": Fault(
        WATCH,
        "found = {name: set(keys) for name, keys in changes.settled.items() if name in self.graph}",
        "found: dict[str, set[str]] = {}",
    ),
    "arrivals are not looked at": Fault(
        WATCH, "if table.feed is not None and table.feed.name in changes.arrived:", "if False:"
    ),
    "a look forgets nothing": Fault(WATCH, "remembered.pop(key, None)", "pass"),
    "a new day is like any other": Fault(
        WATCH, "any(p.size(today) != p.size(day) for p in self._sets)", "False", first=50
    ),
    "requests are noted nowhere": Fault(WATCH, "self.book.request(requests, by, now_utc)", "0"),
    "whoever looked just before is suspected for ever": Fault(
        SUSPECTS, "of.newest(serial, none=0) > own.looked", "of.newest(serial, none=0) >= own.looked"
    ),
    "a content that came with the next serial is old": Fault(
        SUSPECTS, "of.newest(serial, none=0) > own.looked", "of.newest(serial, none=0) > own.looked + 1"
    ),
    "a file that came with the next serial is old": Fault(
        SUSPECTS, "(arrived > own.looked) & (arrived > 0)", "(arrived > own.looked + 1) & (arrived > 0)"
    ),
    "Partial is forgotten": Fault(SUSPECTS, "np.minimum(of.widths, min_present)", "of.widths"),
    "a recipe is as good as another": Fault(
        SUSPECTS, "settled & (own.recipe != recipe), ~settled", "settled & False, ~settled"
    ),
    "only one range counts": Fault(
        LINKS, "np.maximum.reduceat(greatest, self.starts[filled])", "greatest[self.starts[filled]]", first=430
    ),
    "a window begins one late": Fault(LINKS, "low + first - upstream.first", "low + first + 1 - upstream.first"),
    "a window ends one early": Fault(LINKS, "high + last + 1 - upstream.first", "high + last - upstream.first"),
    "the newest is the first": Fault(
        LINKS, "first = 0 if isinstance(mapping, All) else max(0, n_up - 1)", "first = 0", first=55
    ),
    "time passes unseen where all or the newest is read": Fault(
        READING, "if moves(given.window, table.partitions, theirs):", "if False:", first=116
    ),
    "a lookup reads the whole register": Fault(
        READING, "digest = picked(given, partition, p)", "digest = versions[p].root"
    ),
    "a lookup reads nothing": Fault(READING, "digest = picked(given, partition, p)", "digest = 'sh1-0'"),
    "every column is read": Fault(
        READING, "self.versions[given.table][p].of(columns)", "self.versions[given.table][p].root"
    ),
    "one column is read": Fault(
        READING, "self.versions[given.table][p].of(columns)", "self.versions[given.table][p].of(columns[:1])"
    ),
    "one missing partition less is enough": Fault(
        READING, "if len(asked) - len(absent) < min_present:", "if len(asked) - len(absent) < min_present - 1:"
    ),
    "code does not count": Fault("sh_core.staleness", "if before.code != now.code:", "if False:"),
    "a contract does not count": Fault("sh_core.staleness", "if before.contract != now.contract:", "if False:"),
    "what is withheld is tried for ever": Fault(
        BOOK,
        "compare(before.trace if before else None, trace)",
        "compare(before.trace if before and before.action is not Action.WITHHOLD else None, trace)",
    ),
    "looks are not noted": Fault(
        BOOK,
        "before.looked, before.recipe = max(before.looked, serial), self.recipe(table)",
        "pass",
    ),
    "looked is read when a run ends": Fault(
        ENGINE, "Decided(made.trace, action, made.looked,", "Decided(made.trace, action, ledger.serial,"
    ),
    "a try that failed is never tried again": Fault(
        "sh_core.policy", "if tries.count >= self.most_tries:", "if tries.count >= 1:"
    ),
    "a try has no pause": Fault(
        "sh_core.policy", "return tries.last_utc + timedelta(seconds=pause)", "return tries.last_utc"
    ),
}


def is_found(seeds: range) -> bool:
    """Whether one of some cases disagrees, or breaks down."""
    for seed in seeds:
        for mode in (drive.quiescent, schedule.interleaved):
            try:
                mode(seed)
            except (AssertionError, ArithmeticError, LookupError, TypeError, ValueError):
                return True
    return False


@pytest.mark.slow
@pytest.mark.parametrize("name", FAULTS)
def test_a_planted_fault_is_found(name: str) -> None:
    fault = FAULTS[name]
    with mutated(fault.module, fault.passage, fault.instead):
        assert is_found(range(fault.first, fault.first + 250))
