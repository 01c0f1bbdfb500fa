"""Clauses: what a contract says, in words, so that people can compare two versions of it.

Belongs here: the words, and keeping them as text. Does not belong here: the contract's version (``contract``).
Invariant: clauses that differ belong to versions that differ. (Not the other way round: how a check treats missing
values, say, is in no clause.)
"""

import json
from collections.abc import Mapping

import polars as pl

from sh_core.code_version import code_version
from sh_core.contract import Contract, Split


def clauses(contract: Contract) -> dict[str, str]:
    """What a contract's version covers, clause by clause in words, so that two versions can be compared by people.

    Where a check is a function of the project's own, its fingerprint is in the clause.
    """
    said = {f"column {name}": _column(contract, name, dtype) for name, dtype in contract.schema.items()}
    judges = {rule.rule.name: rule.function for rule in contract.row_rules}
    judges |= {function.__name__: function for function in contract.table_rules}
    for rule in contract.rules:
        function = judges.get(rule.name)
        code = "" if function is None else f" (code {code_version(function).digest[:8]})"
        said[f"rule {rule.name}"] = f"{rule.description}{code}"
    match contract.on_breach:
        case Split(max_fraction):
            said["policy"] = f"broken rows are set aside while they are at most {100 * max_fraction:.3g} %"
        case _:
            said["policy"] = "one broken row withholds its partition"
    said["duplicates"] = "exact copies are dropped" if contract.drop_duplicates else "exact copies are kept"
    return said


def clauses_as_text(contract: Contract) -> str:
    """Its clauses as JSON text, to be kept."""
    return json.dumps(clauses(contract), indent=0)


def _column(contract: Contract, name: str, dtype: pl.DataType) -> str:
    quantum = contract.quanta.get(name)
    return str(dtype) if quantum is None else f"{dtype}, to {quantum:g}"


def clauses_from_text(text: str) -> Mapping[str, str]:
    """The opposite of ``clauses_as_text``."""
    said = json.loads(text)
    return {str(name): str(clause) for name, clause in said.items()}
