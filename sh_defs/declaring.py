"""Declaring: finding the tables that somebody wrote, and saying where they are wrong.

Belongs here: importing the module that a setting names, from the working directory too, and turning what it raises into
a message with file and line. Does not belong here: what makes declarations consistent (``sh_core``). Invariant:
whatever a module of tables raises while it is imported ends as one message that names the place to mend it.
"""

import sys
import traceback
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path

from sh_core.code_version import outside_libraries
from sh_core.errors import DeclarationError, SelfHealError, SettingsError
from sh_core.graph import Graph
from sh_core.table import Table
from sh_resources.settings import DEMO_TABLES, Settings

_OWN = frozenset({"sh_core", "sh_defs"})
"""Packages that declarations call, or are called by: a mistake in one is not made there."""


def declared_graph(module: str) -> Graph:
    """The graph that a module declares as ``TABLES``; it is looked for in the working directory first.

    Raises:
        SettingsError: If there is no such module, or it has no ``TABLES``.
        DeclarationError: If the module cannot be imported, or its tables contradict each other.
    """
    found = _imported(module)
    tables = getattr(found, "TABLES", None)
    if not isinstance(tables, Sequence) or not tables:
        msg = (
            f"SELFHEAL_TABLES is {module!r} ({_file_of(found)}), which declares no TABLES: "
            "add TABLES = (raw_…, stg_…), inputs included"
        )
        raise SettingsError(msg)
    strange = [item for item in tables if not isinstance(item, Table)]
    if strange:
        what = f"a {type(strange[0]).__name__}, {strange[0]!r:.60}"
        msg = f"{_file_of(found)}: TABLES holds {what}, which is no table: use @table, and raw_table(feed) for a feed"
        raise DeclarationError(msg)
    try:
        return Graph.of(tables)
    except DeclarationError as error:
        raise DeclarationError(f"{_file_of(found)}: {error}") from error


def refuse_other_tables(graph: Graph, settings: Settings) -> None:
    """Refuse to work on a state folder of which the tables in question know nothing.

    Raises:
        SettingsError: If it has tables, and not one of them is declared.
    """
    folder = settings.home / "tables"
    there = sorted(f.name for f in folder.iterdir()) if folder.is_dir() else []
    if there and not {t.name for t in graph.tables} & set(there):
        named = f"SELFHEAL_TABLES is {settings.tables_module!r}"
        if settings.tables_module == DEMO_TABLES:
            named += " (the demo's tables, unless you name others)"
        msg = (
            f"{folder} holds {', '.join(there[:3])}{' …' if there[3:] else ''}, but {named}, "
            "which declares none of them: name the module that does"
        )
        raise SettingsError(msg)


def _imported(module: str) -> object:
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)  # as `python -m` would: the console script has only its own folder there
    if module.endswith(".py") or not all(part.isidentifier() for part in module.split(".")):
        name = module.removesuffix(".py").strip("./").replace("/", ".").replace("-", "_")
        msg = f"SELFHEAL_TABLES is {module!r}, which is no name of a module: call it {name}, without folder and ending"
        raise SettingsError(msg)
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        # Otherwise it is something that the module itself imports.
        if error.name is not None and f"{module}.".startswith(f"{error.name}."):
            raise SettingsError(_no_module(module, error.name)) from error
        raise DeclarationError(_where(error, module)) from error
    except Exception as error:  # the boundary around a user's module: whatever it raises is theirs to mend
        raise DeclarationError(_where(error, module)) from error


def _no_module(module: str, missing: str) -> str:
    here = Path.cwd()
    around = [p.stem for p in here.iterdir() if p.suffix == ".py" or (p / "__init__.py").is_file()]
    near = get_close_matches(missing, around, 1)
    meant = f" (did you mean {near[0]}?)" if near else ""
    return (
        f"SELFHEAL_TABLES is {module!r}, but there is no module {missing!r}{meant}: name a module or package in "
        f"{here}, where you are, or one that is installed in this environment"
    )


def _where(error: Exception, module: str) -> str:
    """File, line and what is wrong there; the line that somebody can mend, and not the one deep inside that raised."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}, line {error.lineno}: {error.msg}"
    place = next(_places(error, module), f"module {module}")
    said = str(error).strip() or "no message"
    return f"{place}: {said}" if isinstance(error, SelfHealError) else f"{place}: {type(error).__name__}: {said}"


def _places(error: Exception, module: str) -> Iterator[str]:
    """Lines of code outside this project and the libraries that the error came through, the innermost first."""
    for frame, line in reversed(list(traceback.walk_tb(error.__traceback__))):
        name, file = str(frame.f_globals.get("__name__")), frame.f_code.co_filename
        root = name.partition(".")[0]
        mine = root == module.partition(".")[0] or (root not in _OWN and outside_libraries(name, file))
        if mine and not file.startswith("<"):
            yield f"{file}, line {line}"


def _file_of(module: object) -> str:
    return str(getattr(module, "__file__", None) or module)
