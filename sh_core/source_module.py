"""One module's source: which statements stand behind each of its names.

Belongs here: reading a module's text through ``linecache`` and indexing it. Does not belong here: following names from
one module to the next (``code_version``). Invariant: an index depends on the module's name, package and text alone, and
nobody changes it.
"""

import ast
import importlib.util
import linecache
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import CodeType

from sh_core.source_ast import Function, bound, imported, normalised, outside, root_name

_MUTATORS = frozenset(
    [
        "add",
        "append",
        "clear",
        "discard",
        "extend",
        "insert",
        "pop",
        "popitem",
        "remove",
        "reverse",
        "setdefault",
        "sort",
        "update",
    ]
)
"""Methods that change a list, dict or set in place."""


@dataclass(frozen=True, eq=False)
class ModuleSource:
    """A module, indexed.

    Attributes:
        name: Full name of the module.
        package: Full name of the package that its relative imports start from.
        tree: Its normalised source.
        statements: Per name the top-level statements that bind or change it, in order; plain imports left out.
        imports: Per name bound by an import: the modules and what is taken from them (None: the module itself).
        stars: Modules of which it imports everything.
        mutated: Names of the module that its functions rebind or change in place.
    """

    name: str
    package: str
    tree: ast.Module
    statements: Mapping[str, tuple[ast.stmt, ...]]
    imports: Mapping[str, tuple[tuple[str, str | None], ...]]
    stars: tuple[str, ...]
    mutated: frozenset[str]

    def binds(self, name: str) -> bool:
        """Whether the module's own text binds a name."""
        return name in self.statements or name in self.imports

    def function(self, code: CodeType) -> Function | None:
        """The definition that a code object was compiled from; None if the text does not show it (any more)."""
        for node in ast.walk(self.tree):
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or node.name != code.co_name:
                continue
            # A code object starts at its first decorator.
            if code.co_firstlineno == min(n.lineno for n in (*node.decorator_list, node)):
                return node
        # A lambda has no name and may share its line: of those whose body holds all instructions, the innermost.
        spans = [
            ((line, column), (last_line, last_column))
            for line, last_line, column, last_column in code.co_positions()
            if line is not None and last_line is not None and column is not None and last_column
        ]
        if code.co_name != "<lambda>" or not spans:
            return None
        first, last = min(start for start, _ in spans), max(end for _, end in spans)
        around = [
            node
            for node in ast.walk(self.tree)
            if isinstance(node, ast.Lambda)
            and (node.body.lineno, node.body.col_offset) <= first
            and last <= (node.body.end_lineno or 0, node.body.end_col_offset or 0)
        ]
        return max(around, key=lambda node: (node.body.lineno, node.body.col_offset), default=None)


def locate(module: str) -> str | None:
    """Path of a module's source file; empty if it exists without one; None if there is no such module."""
    loaded = sys.modules.get(module)
    if loaded is not None:
        return getattr(loaded, "__file__", None) or ""
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError, AttributeError):
        return None
    if spec is None:
        return None
    return spec.origin or "" if spec.has_location else ""


def read(module: str) -> ModuleSource | None:
    """Index a module; None if its text cannot be read."""
    file = locate(module)
    if not file:
        return None
    # Without checkcache: the text as it was when first read is nearer to the code that was loaded than today's file.
    text = "".join(linecache.getlines(file, getattr(sys.modules.get(module), "__dict__", None)))
    package = module if file.endswith("__init__.py") else module.rpartition(".")[0]
    return _index(module, package, text) if text else None


def absolute(module: str, package: str) -> str:
    """The full name of a module that is imported in a package, perhaps with leading dots."""
    return importlib.util.resolve_name(module, package) if module.startswith(".") else module


@lru_cache(maxsize=1024)
def _index(name: str, package: str, text: str) -> ModuleSource:
    tree = normalised(text)
    statements: dict[str, list[ast.stmt]] = {}
    imports: dict[str, list[tuple[str, str | None]]] = {}
    stars: list[str] = []
    for statement in tree.body:
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            statements.setdefault(statement.name, []).append(statement)
            continue
        for import_ in (n for n in ast.walk(statement) if isinstance(n, ast.Import | ast.ImportFrom)):
            for alias, module, taken in imported(import_):
                if taken == "*":
                    stars.append(absolute(module, package))
                else:
                    imports.setdefault(alias, []).append((absolute(module, package), taken))
        if not isinstance(statement, ast.Import | ast.ImportFrom):
            for bound_name in bound([statement]) | set(_changed(statement)):
                statements.setdefault(bound_name, []).append(statement)
    return ModuleSource(
        name,
        package,
        tree,
        {bound_name: tuple(found) for bound_name, found in statements.items()},
        {alias: tuple(found) for alias, found in imports.items()},
        tuple(stars),
        frozenset(_mutated(tree)) - imports.keys(),
    )


def _mutated(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Global):
            yield from node.names
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield from set(_changed(node)) & {chain[0] for chain in outside([node]).chains}


def _changed(within: ast.AST) -> Iterator[str]:
    """Names whose values are changed in place: ``X[k] = v``, ``X.a = v``, ``del X[k]``, ``X.append(v)``."""
    for node in ast.walk(within):
        match node:
            case ast.Attribute(ctx=ast.Store() | ast.Del()) | ast.Subscript(ctx=ast.Store() | ast.Del()):
                name = root_name(node)
            case ast.Call(func=ast.Attribute(attr=method) as target) if method in _MUTATORS:
                name = root_name(target)
            case _:
                name = None
        if name is not None:
            yield name
