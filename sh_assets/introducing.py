"""A table's introduction: what a person reads first on its page.

Belongs here: the declaration of a table in words. Does not belong here: sentences about outcomes (``wording``), columns
(``schemas``). Invariant: everything said is read from the declaration, so that no page can be out of date.
"""

from collections.abc import Mapping

from sh_assets.schemas import link, listed, shared_origins
from sh_core.contract import Split
from sh_core.graph import Graph
from sh_core.inputs import Input, Partial
from sh_core.mapping import ONLY, SAME, All, Keys, Last, PartitionMapping, Window, dimensions_of, paired
from sh_core.partitions import (
    Daily,
    Dimension,
    Hourly,
    Monthly,
    Multi,
    Partitions,
    Periods,
    Unpartitioned,
    Weekly,
)
from sh_core.table import Station, Table
from sh_core.verdict import Level

_UNITS: Mapping[type[Dimension], str] = {Hourly: "hour", Daily: "day", Weekly: "week", Monthly: "month"}
_LENGTHS = ["hour", "day", "week", "month"]


def introduction(table: Table, graph: Graph) -> str:
    """Markdown: what the table is for, its key, what happens to broken rows, what it reads, which rules hold."""
    contract = table.contract
    key = listed(contract.key) or "none: rows have no identity"
    return "\n\n".join(
        [
            _purpose(table),
            f"**Key:** {key}",
            f"**Broken rows:** {_policy(table)}",
            *([_reads(table, graph)] if table.inputs else []),
            _rules(table),
        ]
    )


def _purpose(table: Table) -> str:
    if table.station is not Station.RAW:
        return table.description.replace("``", "`")
    return f"{_sentence(table.description)} As delivered: text, each row with its file and line."


def _sentence(text: str) -> str:
    return text if text.endswith(".") else f"{text}."


def _policy(table: Table) -> str:
    whole = "a partition" if table.partitions.column else "the table"
    match table.contract.on_breach:
        case Split(max_fraction):
            return (
                f"set aside while they are at most {100 * max_fraction:.3g} % of {whole}. With more of them, or if a "
                "rule about the whole is broken, it is withheld, and readers keep its last good content."
            )
        case _:
            return f"one of them withholds {whole}, and readers keep its last good content."


def _rules(table: Table) -> str:
    """The rules in a sentence; each of them is a check with its own page."""
    rules = table.contract.rules
    rows = sum(r.level is Level.ROW for r in rules)
    whole = len(rules) - rows
    return (
        f"**Rules:** [{len(rules)} checks](/assets/{table.name}?view=checks), {rows} of them about single rows and "
        f"{whole} about {'a partition' if table.partitions.column else 'the table'} as a whole."
    )


def _reads(table: Table, graph: Graph) -> str:
    lines = [_read(given, table, graph) for given in table.inputs]
    lines += [
        f"- {link(r.table)}, only to see whether {listed(r.columns)} occurs there" for r in table.contract.references
    ]
    shared = " and ".join(
        f"{listed(columns)} of {link(name)}" for name, columns in shared_origins(table, graph).items()
    )
    also = [f"\nEvery column depends on {shared}; what else it comes from is said under Columns."] if shared else []
    return "\n".join(["**Reads:**", "", *lines, *also])


def _read(given: Input, table: Table, graph: Graph) -> str:
    columns = "all columns" if given.columns is None else listed(given.columns)
    source = graph[given.table]
    said = [f"- {link(given.table)}: {columns or 'its key'} {when(given.window, table.partitions, source.partitions)}"]
    if given.lookup is not None:
        driver = next(i.table for i in table.inputs if i.name == given.lookup.driver)
        said.append(f"only rows that {listed(given.lookup.columns)} of `{driver}` names")
    if isinstance(given.present, Partial):
        least = given.present.min_present
        said.append(f"at least {least} must be there" if least else "may be missing")
    return ", ".join(said)


def when(mapping: PartitionMapping, downstream: Partitions, upstream: Partitions) -> str:
    """Which partitions a mapping means, in words.

    Args:
        mapping: As declared.
        downstream: Partitions of the table that reads.
        upstream: Partitions of the table that is read.
    """
    if isinstance(upstream, Unpartitioned):
        return "of the whole table"
    if isinstance(mapping, All | Last):
        return "of every partition" if isinstance(mapping, All) else "of the newest partition"
    own, theirs = dimensions_of(downstream), dimensions_of(upstream)
    said = {
        name: _one(how, own.get(by) if by is not None else None, theirs[name])
        for name, (how, by) in paired(mapping, downstream, upstream).items()
    }
    if not isinstance(upstream, Multi):
        return f"of {said[ONLY]}"
    return "of " + " and ".join(f"{which} ({name})" for name, which in said.items())


def _one(mapping: PartitionMapping, downstream: Dimension | None, upstream: Dimension) -> str:
    """The same of one dimension."""
    unit = _UNITS.get(type(upstream), "key")
    match mapping:
        case All():
            return f"every {unit}"
        case Last():
            return f"the newest {unit}"
        case Keys():
            return "the keys that are listed for each"
        case Window() if isinstance(upstream, Periods) and isinstance(downstream, Periods):
            return _window(mapping, downstream, upstream)
        case _:
            return "the same key"


def _window(window: Window, downstream: Periods, upstream: Periods) -> str:
    own, unit = _UNITS[type(downstream)], _UNITS[type(upstream)]
    if downstream.same_periods(upstream):
        return _periods(window, unit)
    inside = _LENGTHS.index(unit) < _LENGTHS.index(own)
    # A week may lie in two months.
    within = f"the {unit}s of the {own}" if inside or (own, unit) == ("week", "month") else f"the {unit} of the {own}"
    if own == unit:
        within = f"the {unit}s that overlap the {own}"
    if window == SAME:
        return within
    return f"{within}, its beginning moved by {window.first:+} and its end by {window.last:+} {unit}s"


def _periods(window: Window, unit: str) -> str:
    """E.g. ``the day before and the day itself``."""
    match window:
        case Window(0, 0):
            return f"the same {unit}"
        case Window(-1, -1):
            return f"the {unit} before"
        case Window(-1, 0):
            return f"the {unit} before and the {unit} itself"
        case Window(first, 0) if first < 0:
            return f"the {-first} {unit}s before and the {unit} itself"
        case Window(first, -1):
            return f"the {-first} {unit}s before"
        case Window(first, last):
            return f"the {unit}s {first:+} to {last:+}"
