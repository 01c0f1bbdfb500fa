"""Code versions: everything in the user's project that a function reaches, as one hash and as readable text.

Belongs here: following names and values from a function to the source behind them. Does not belong here: what of a
source counts (``source_ast``), or how a module is read (``source_module``). Invariant: if a function's result can
change because somebody edited the project, its code version changes; where that cannot be told, a whole module counts.
Only the standard library is imported here, and the version is the same on every Python version.

Names of modules are followed through their *source*: a constant counts as the expression that it is assigned from.
Values are looked at only where there is no name to follow: closures, defaults of nested functions, bound arguments. The
decorators of a function that is reached as a value do not count: either they wrapped it, then the wrapper is what was
reached, or they registered it (``@table``). Third-party and standard libraries count by name alone, so that an upgrade
does not recompute the world; whoever wants that edits the project, e.g. a constant.
"""

import ast
import builtins
import copy
import dataclasses
import enum
import functools
import inspect
import re
import sys
import sysconfig
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date, time, timedelta, tzinfo
from decimal import Decimal
from fractions import Fraction
from types import BuiltinFunctionType, CellType, EllipsisType, FunctionType, MethodType, ModuleType, NoneType
from typing import Any
from uuid import UUID

from sh_core.errors import DeclarationError
from sh_core.fingerprint import fingerprint
from sh_core.source_ast import Chain, Function, Outside, canonical, outside, readable
from sh_core.source_module import ModuleSource, absolute, locate, read

InProject = Callable[[str, str], bool]
"""Whether a module belongs to the user's project, by its name and the path of its source (empty if it has none)."""

_WHOLE = "*"
_DYNAMIC = frozenset({"__import__", "delattr", "eval", "exec", "getattr", "globals", "setattr"})
_PLAIN = (NoneType, bool, int, float, complex, str, bytes, EllipsisType, range, slice)
_PLAIN_OBJECTS = (date, time, timedelta, tzinfo, Decimal, Fraction, UUID)
_OWN_NAMES = frozenset({"__name__", "__file__", "__doc__", "__package__", "__spec__", "__path__", "__debug__"})


@dataclass(frozen=True)
class CodeVersion:
    """What a function reaches in the project.

    Attributes:
        digest: ``code1-<32 hex digits>``.
        source: The normalised source of it, one piece per name, so that two versions can be compared by eye.
    """

    digest: str
    source: str


@functools.cache  # asked for every name that is followed, and Python puts them together anew each time
def _libraries() -> tuple[str, ...]:
    return tuple(sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib"))


def outside_libraries(module: str, file: str) -> bool:
    """Whether a module is neither of the standard library nor installed among the site packages."""
    if module.partition(".")[0] in sys.stdlib_module_names and module != "__main__":
        return False
    folders = file.replace("\\", "/").split("/")
    return not file.startswith(_libraries()) and not {"site-packages", "dist-packages"} & set(folders)


def own_project(function: Callable[..., Any]) -> InProject:
    """The user's project as one of its functions sees it: what is no library, and the function's own package.

    A package of tables that is installed among the site packages is as much somebody's project as one in a folder.
    """
    root = (getattr(inspect.unwrap(function), "__module__", None) or "").partition(".")[0]
    own = root if root not in sys.stdlib_module_names else ""

    def is_mine(module: str, file: str) -> bool:
        return outside_libraries(module, file) or (own != "" and module.partition(".")[0] == own)

    return is_mine


def code_version(function: Callable[..., Any], in_project: InProject | None = None) -> CodeVersion:
    """The version of a function's code.

    Args:
        function: A function, method, partial, class or callable object.
        in_project: Which modules to enter; None enters the function's ``own_project``.

    Raises:
        DeclarationError: If the source of a module of the project cannot be read.
    """
    reach = _Reach(own_project(function) if in_project is None else in_project)
    entry = reach.value(function)
    reach.follow_all()
    pieces = sorted((label, text, shown) for (label, text), shown in reach.pieces.items())
    digest = fingerprint("sh-code-1", (entry, *(t for label, text, _ in pieces for t in (label, text)))).hex()
    return CodeVersion(f"code1-{digest}", "\n\n".join((f"# {entry}", *(f"# {p[0]}\n{p[2]}" for p in pieces))) + "\n")


class _Reach:
    """The pieces of source found so far, and the names still to follow.

    Attributes:
        pieces: By label and canonical text, the readable text.
    """

    def __init__(self, in_project: InProject) -> None:
        self.pieces: dict[tuple[str, str], str] = {}
        self._in_project = in_project
        self._todo: list[tuple[str, str]] = []
        self._seen: set[tuple[str, str]] = set()
        self._followed: set[tuple[str, Chain]] = set()
        self._open: set[int] = set()

    # ------------------------------------------------------------------------------------------------ names

    def follow_all(self) -> None:
        """Find what stands behind every name that was reached, until there is nothing new."""
        while self._todo:
            module, name = self._todo.pop()
            source = self._source(module)
            if name == _WHOLE:
                self._add(source.name, source.tree)
                self._follow(source, outside(source.tree.body))
            elif name in source.mutated:
                self._reach(source.name, _WHOLE)
            else:
                self._expand(source, name)

    def _expand(self, source: ModuleSource, name: str) -> None:
        for statement in source.statements.get(name, ()):
            self._add(f"{source.name}:{name}", statement)
            self._follow(source, outside([statement]))

    def _reach(self, module: str, name: str) -> None:
        if (module, name) not in self._seen:
            self._seen.add((module, name))
            self._todo.append((module, name))

    def _add(self, label: str, node: ast.AST) -> None:
        self.pieces[label, canonical(node)] = readable(node)

    def _follow(self, source: ModuleSource, found: Outside) -> None:
        for chain in found.chains:
            self._chain(source, chain)
        # What the name of an import in a function is used for is not followed: the whole of what it names counts.
        for statement in found.imports:
            if isinstance(statement, ast.ImportFrom):
                module = absolute("." * statement.level + (statement.module or ""), source.package)
                for alias in statement.names:
                    self._member(module, (alias.name,))
            else:
                parts = [alias.name.split(".") for alias in statement.names]
                for module in {".".join(p[:n]) for p in parts for n in range(1, len(p) + 1)}:
                    self._member(module, ())

    def _chain(self, source: ModuleSource, chain: Chain) -> None:
        """Follow ``a.b.c`` as it stands in a module."""
        name = chain[0]
        if source.binds(name):
            self._bound(source, chain)
        elif name in _DYNAMIC or (
            name not in _OWN_NAMES and not hasattr(builtins, name) and not self._starred(source, chain)
        ):
            self._reach(source.name, _WHOLE)
        if chain[:2] == ("sys", "modules") or chain[-1] == "import_module":
            self._reach(source.name, _WHOLE)

    def _bound(self, source: ModuleSource, chain: Chain) -> None:
        if (source.name, chain) in self._followed:
            return
        self._followed.add((source.name, chain))
        name, *attributes = chain
        if name in source.statements:
            self._reach(source.name, name)
        for module, taken in source.imports.get(name, ()):
            origin = module if taken is None else f"{module}.{taken}"
            self.pieces[f"{source.name}:{name}", f"import {origin}"] = f"import {origin} as {name}"
            if taken is None or module == source.name:  # `from . import part` in a package names a module
                self._member(origin, tuple(attributes))
            else:
                self._member(module, (taken, *attributes))

    def _starred(self, source: ModuleSource, chain: Chain) -> bool:
        """Follow a name into the modules of which everything is imported; whether it can come from there."""
        libraries = False
        todo, done = list(source.stars), {source.name}
        while todo:
            module = todo.pop()
            if not self._mine(module):
                libraries = True
            elif module not in done:
                done.add(module)
                star = self._source(module)
                if star.binds(chain[0]):
                    self._bound(star, chain)
                    return True
                todo.extend(star.stars)
        return libraries

    def _member(self, module: str, chain: Chain) -> None:
        """Follow attributes looked up on a module."""
        if not self._mine(module):
            return
        source = read(module)
        if source is not None and chain and source.binds(chain[0]):
            self._bound(source, chain)
        elif chain and locate(f"{module}.{chain[0]}") is not None:
            self._member(f"{module}.{chain[0]}", chain[1:])
        elif locate(module) and not (source is not None and chain and self._starred(source, chain)):
            # The module itself is handed on, or makes its attributes at run time. (A bare folder has nothing to read.)
            self._reach(module, _WHOLE)

    def _mine(self, module: str) -> bool:
        file = locate(module)
        return file is not None and self._in_project(module, file)

    def _source(self, module: str) -> ModuleSource:
        source = read(module)
        if source is None:
            msg = f"the source of module {module} cannot be read, so its code has no version; keep it in a file"
            raise DeclarationError(msg)
        return source

    # ----------------------------------------------------------------------------------------------- values

    def value(self, value: object, holder: str = "") -> str:
        """Render a value on one line and follow the code in it.

        Args:
            value: Anything.
            holder: Module of the code that holds it, which counts whole if the value says too little of itself.
        """
        if type(value) in _PLAIN:
            return ascii(value)
        if id(value) in self._open:
            return "<again>"
        self._open.add(id(value))
        try:
            return self._compound(value, holder)
        finally:
            self._open.remove(id(value))

    def _compound(self, value: Any, holder: str) -> str:  # noqa: ANN401, C901, PLR0911, PLR0912 - one case per kind of value
        match value:
            case FunctionType():
                return self._function(value)
            case MethodType():
                return self._said("method", (value.__func__, value.__self__), holder)
            case BuiltinFunctionType():
                return f"{value.__module__}.{value.__qualname__}"
            case functools.partial():
                return self._said("partial", (value.func, value.args, value.keywords), holder)
            case type():
                return self._class(value)
            case ModuleType():
                self._member(value.__name__, ())
                return value.__name__
            case enum.Enum():
                return f"{self._class(type(value))}.{value.name}"
            case re.Pattern():
                return f"re.compile({value.pattern!a}, {value.flags})"
            case dict():
                return self._said(self._class(type(value)), (x for item in value.items() for x in item), holder)
            case set() | frozenset():
                members = ",".join(sorted(self.value(member, holder) for member in value))
                return f"{self._class(type(value))}({members})"
            case tuple() | list():
                return self._said(self._class(type(value)), value, holder)
            case _ if isinstance(value, _PLAIN_OBJECTS):
                return f"{self._class(type(value))}:{value!a}"
            case _ if dataclasses.is_dataclass(value):
                fields = [getattr(value, field.name) for field in dataclasses.fields(value)]
                return self._said(self._class(type(value)), fields, holder)
        return self._object(value, holder)

    def _said(self, kind: str, parts: Iterable[object], holder: str) -> str:
        return f"{kind}({','.join(self.value(part, holder) for part in parts)})"

    def _class(self, kind: type) -> str:
        if self._mine(kind.__module__):
            source = self._source(kind.__module__)
            known = source.binds(kind.__qualname__.partition(".")[0])
            self._reach(source.name, kind.__qualname__.partition(".")[0] if known else _WHOLE)
        return f"{kind.__module__}.{kind.__qualname__}"

    def _object(self, value: Any, holder: str) -> str:  # noqa: ANN401
        kind = self._class(type(value))
        wrapped = getattr(value, "__wrapped__", None)
        if isinstance(wrapped, FunctionType | MethodType | functools.partial | type):
            return self._said(kind, (wrapped,), holder)
        if self._mine(type(value).__module__) and hasattr(value, "__dict__"):
            return self._said(kind, (vars(value),), holder)
        if holder:
            self._reach(holder, _WHOLE)
        # A text with an address in it says nothing that holds in the next process; polars expressions have one in repr.
        said = next((text for text in (repr(value), str(value)) if " at 0x" not in text), "")
        return f"{kind}:{said!a}"

    def _function(self, function: FunctionType) -> str:
        code = function.__code__
        module = str(function.__globals__.get("__name__"))
        label = f"{module}:{code.co_qualname}"
        cells = dict(zip(code.co_freevars, function.__closure__ or (), strict=True))
        # Unlike a module that is imported, one that runs does exist, even where it cannot be found.
        if not self._in_project(module, locate(module) or ""):
            # A library's wrapper; what it wraps may be ours.
            inner = [getattr(function, "__wrapped__", None), *(_content(cell) for cell in cells.values())]
            return self._said(label, (f for f in inner if isinstance(f, FunctionType | MethodType)), "")
        source = self._source(module)
        node = source.function(code)
        nested = "<locals>" in code.co_qualname
        # A method counts with its class, whose other members it uses; a lambda in a class body sees none of them.
        method = "." in code.co_qualname and not nested and not isinstance(node, ast.Lambda)
        if node is None or method:
            owner = code.co_qualname.partition(".")[0]
            self._reach(module, owner if node is not None and source.binds(owner) else _WHOLE)
            return label
        bare = _without_decorators(node, keep_defaults=not nested)
        self._add(label, bare)
        found = outside([bare])
        self._follow(source, Outside({c for c in found.chains if c[0] not in cells}, found.imports))
        given = {name: _content(cell) for name, cell in cells.items()}
        if nested:
            given["defaults"] = (function.__defaults__, function.__kwdefaults__)
        which = fingerprint("sh-code-1", (canonical(bare),)).hex()[:8]
        return f"{label}@{which}({','.join(f'{name}={self.value(v, module)}' for name, v in sorted(given.items()))})"


def _content(cell: CellType) -> object:
    try:
        return cell.cell_contents
    except ValueError:
        return inspect.Parameter.empty  # a variable of the outer function that was never assigned


def _without_decorators(node: Function, *, keep_defaults: bool) -> Function:
    """A copy of a definition as the function itself was compiled from it."""
    bare = copy.copy(node)
    if not isinstance(bare, ast.Lambda):
        bare.decorator_list = []
    if not keep_defaults:
        bare.args = copy.copy(bare.args)
        bare.args.defaults, bare.args.kw_defaults = [], [None] * len(bare.args.kwonlyargs)
    return bare
