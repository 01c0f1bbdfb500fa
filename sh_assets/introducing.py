"""A table's introduction: what a person reads first on its page.

Belongs here: the declaration of a table in words. Does not belong here: sentences about outcomes (``wording``), columns
(``schemas``). Invariant: everything said is read from the declaration, so that no page can be out of date.
"""

from sh_assets.schemas import link, listed, shared_origins
from sh_core.contract import Split
from sh_core.graph import Graph
from sh_core.inputs import Input, Partial
from sh_core.mapping import SAME, Window
from sh_core.partitions import Partitions, Unpartitioned
from sh_core.table import Station, Table
from sh_core.verdict import Level

_UNITS = {"Daily": "day", "Weekly": "week", "Monthly": "month"}


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


def when(window: Window, downstream: Partitions, upstream: Partitions) -> str:
    """Which partitions a window means, in words.

    Args:
        window: As declared.
        downstream: Partitions of the table that reads.
        upstream: Partitions of the table that is read.
    """
    if isinstance(upstream, Unpartitioned) or isinstance(downstream, Unpartitioned):
        return "of the whole table"
    own, unit = _UNITS[type(downstream).__name__], _UNITS[type(upstream).__name__]
    if own == unit:
        return f"of {_periods(window, unit)}"
    within = f"the {unit}s of the {own}" if own == "month" or unit == "day" else f"the {unit} of the {own}"
    if window == SAME:
        return f"of {within}"
    return f"of {within}, its beginning moved by {window.first:+} and its end by {window.last:+} {unit}s"


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
