"""Python source as data: what of it counts, and which names a piece of it takes from outside.

Belongs here: pure functions on syntax trees. Does not belong here: finding modules and following names into them
(``source_module``, ``code_version``). Invariant: comments, formatting, docstrings and the annotations of functions and
variables do not count; what is left renders to the same text on every Python version.

Annotations in class bodies do count: there they are content (dataclasses, Pandera models, enumerations of columns).
"""

import ast
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

Function = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
Chain = tuple[str, ...]
"""A name and the attributes looked up on it: ``a.b.c`` is ``("a", "b", "c")``."""

_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
_NOT_CONTENT = frozenset({"ctx", "kind", "type_comment", "type_ignores", "type_params"})
_BY_ATTRIBUTE_NAME = frozenset({"getattr", "setattr", "delattr"})


def normalised(source: str) -> ast.Module:
    """Parse a module and drop what does not count; line and column numbers stay those of the source."""
    tree = ast.parse(source)
    _Normaliser().visit(tree)
    return tree


def canonical(node: object) -> str:
    """Render a syntax tree on one line, the same on every Python version (``ast.dump`` and ``ast.unparse`` are not)."""
    if isinstance(node, ast.AST):
        fields = ((name, value) for name, value in ast.iter_fields(node) if name not in _NOT_CONTENT)
        # A field that only newer Pythons know is None or empty in code that older ones can parse.
        said = [f"{name}={canonical(value)}" for name, value in fields if value is not None and value != []]
        if isinstance(node, ast.Constant):
            # ascii, since which characters repr escapes depends on the version's Unicode tables.
            said = [ascii(node.value)]
        return f"{type(node).__name__}({','.join(said)})"
    if isinstance(node, list):
        return f"[{','.join(map(canonical, node))}]"
    return ascii(node)


def readable(node: ast.AST) -> str:
    """The normalised source, for people."""
    try:
        return ast.unparse(node)
    except ValueError:  # Python 3.11 cannot write some f-strings with nested quotes
        return canonical(node)


@dataclass(frozen=True)
class Outside:
    """What a piece of source takes from outside itself.

    Attributes:
        chains: Names that it does not bind itself, each with the attributes looked up on it.
        imports: Import statements in functions.
    """

    chains: set[Chain] = field(default_factory=set)
    imports: list[ast.Import | ast.ImportFrom] = field(default_factory=list)


def outside(nodes: Iterable[ast.AST]) -> Outside:
    """What some statements, at the level of their module, take from outside themselves."""
    found = Outside()
    _Look(found).visit_all(nodes)
    return found


def bound(nodes: Iterable[ast.AST]) -> set[str]:
    """Names that some statements bind in the scope in which they stand."""
    names: set[str] = set()
    todo = list(nodes)
    while todo:
        node = todo.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, _COMPREHENSIONS):
            # Its own targets stay inside, but a walrus in it binds outside.
            names.update(n.target.id for n in ast.walk(node) if isinstance(n, ast.NamedExpr))
        elif not isinstance(node, ast.Lambda):
            names.update(_binds(node))
            todo.extend(ast.iter_child_nodes(node))
    return names


def imported(statement: ast.Import | ast.ImportFrom) -> Iterator[tuple[str, str, str | None]]:
    """Per name that an import binds: its module (with leading dots) and what is taken from that, if not all."""
    for alias in statement.names:
        if isinstance(statement, ast.ImportFrom):
            yield alias.asname or alias.name, "." * statement.level + (statement.module or ""), alias.name
        elif alias.asname:
            yield alias.asname, alias.name, None
        else:
            top = alias.name.partition(".")[0]
            yield top, top, None


def root_name(node: ast.AST) -> str | None:
    """The name at the bottom of attribute look-ups, subscripts and calls: ``a`` of ``a.b[0].c()``."""
    while isinstance(node, ast.Attribute | ast.Subscript | ast.Starred | ast.Call):
        node = node.func if isinstance(node, ast.Call) else node.value
    return node.id if isinstance(node, ast.Name) else None


class _Normaliser(ast.NodeTransformer):
    def __init__(self) -> None:
        self._annotations_count = False

    def generic_visit(self, node: ast.AST) -> ast.AST:
        super().generic_visit(node)
        if getattr(node, "body", None) == [] and not isinstance(node, ast.Module):
            setattr(node, "body", [ast.Pass()])  # noqa: B010 - the class is any that has a body
        return node

    def visit_Expr(self, node: ast.Expr) -> ast.AST | None:
        # Docstrings, strings used as comments, and `...` as an empty body.
        return None if isinstance(node.value, ast.Constant) else self.generic_visit(node)

    def visit_arg(self, node: ast.arg) -> ast.AST:
        node.annotation = None
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST | None:
        if self._annotations_count:
            return self.generic_visit(node)
        if node.value is None:
            return None
        return self.generic_visit(ast.copy_location(ast.Assign([node.target], node.value), node))

    def visit_JoinedStr(self, node: ast.JoinedStr) -> ast.AST:
        # How adjacent literal parts are cut differs between versions.
        self.generic_visit(node)
        parts: list[ast.expr] = []
        for part in node.values:
            last = parts[-1] if parts else None
            if isinstance(part, ast.Constant) and isinstance(last, ast.Constant):
                parts[-1] = ast.Constant(str(last.value) + str(part.value))
            elif not (isinstance(part, ast.Constant) and part.value == ""):
                parts.append(part)
        node.values = parts
        return node

    def visit_Set(self, node: ast.Set) -> ast.AST:
        self.generic_visit(node)
        node.elts.sort(key=canonical)
        return node

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        return self._scope(node, annotations_count=True)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.returns = None
        return self._scope(node, annotations_count=False)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> ast.AST:
        node.returns = None
        return self._scope(node, annotations_count=False)

    def _scope(self, node: ast.AST, *, annotations_count: bool) -> ast.AST:
        before, self._annotations_count = self._annotations_count, annotations_count
        try:
            return self.generic_visit(node)
        finally:
            self._annotations_count = before


def _binds(node: Any) -> Iterator[str]:  # noqa: ANN401 - told apart by class
    match node:
        case ast.Name(id=name, ctx=ast.Store() | ast.Del()):
            yield name
        case ast.Import() | ast.ImportFrom():
            yield from (name for name, _, _ in imported(node))
        case (
            ast.ExceptHandler(name=str(name))
            | ast.MatchAs(name=str(name))
            | ast.MatchStar(name=str(name))
            | ast.MatchMapping(rest=str(name))
        ):
            yield name


class _Look(ast.NodeVisitor):
    """Collects what is taken from outside.

    Attributes:
        found: Where to.
        hidden: Names bound by functions around the node that is being visited.
        in_class: Names bound by the class body in which it stands; functions in that body do not see them.
    """

    def __init__(
        self, found: Outside, hidden: frozenset[str] = frozenset(), in_class: frozenset[str] = frozenset()
    ) -> None:
        self.found = found
        self.hidden = hidden
        self.in_class = in_class

    def visit_all(self, nodes: Iterable[ast.AST]) -> None:
        for node in nodes:
            self.visit(node)

    def visit_Name(self, node: ast.Name) -> None:
        self._chain(node, ())

    def visit_Attribute(self, node: ast.Attribute) -> None:
        attributes: list[str] = []
        base: ast.expr = node
        while isinstance(base, ast.Attribute):
            attributes.append(base.attr)
            base = base.value
        if isinstance(base, ast.Name):
            self._chain(base, reversed(attributes))
        else:
            self.visit(base)

    def visit_Call(self, node: ast.Call) -> None:
        match node:
            case ast.Call(func=ast.Name(id=name), args=[_, ast.Constant(), *_]) if name in _BY_ATTRIBUTE_NAME:
                # The attribute is named in the source. Any other use of these three leaves their own name.
                self.visit_all((*node.args, *node.keywords))
            case _:
                self.generic_visit(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        self.visit_all(node.decorator_list)
        self._function(node, node.body)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
        self.visit_all(node.decorator_list)
        self._function(node, node.body)

    def visit_Lambda(self, node: ast.Lambda) -> None:
        self._function(node, [node.body])

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self.visit_all((*node.decorator_list, *node.bases, *node.keywords))
        _Look(self.found, self.hidden, frozenset(bound(node.body))).visit_all(node.body)

    def visit_ListComp(self, node: ast.ListComp) -> None:
        self._comprehension(node.generators, node.elt)

    def visit_SetComp(self, node: ast.SetComp) -> None:
        self._comprehension(node.generators, node.elt)

    def visit_GeneratorExp(self, node: ast.GeneratorExp) -> None:
        self._comprehension(node.generators, node.elt)

    def visit_DictComp(self, node: ast.DictComp) -> None:
        self._comprehension(node.generators, node.key, node.value)

    def visit_Import(self, node: ast.Import) -> None:
        self.found.imports.append(node)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        self.found.imports.append(node)

    def _chain(self, name: ast.Name, attributes: Iterable[str]) -> None:
        if isinstance(name.ctx, ast.Load) and name.id not in self.hidden | self.in_class:
            self.found.chains.add((name.id, *attributes))

    def _function(self, node: Function, body: Sequence[ast.AST]) -> None:
        self.visit_all((*node.args.defaults, *filter(None, node.args.kw_defaults)))
        parameters = {n.arg for n in ast.walk(node.args) if isinstance(n, ast.arg)}
        declared = {name for n in ast.walk(node) if isinstance(n, ast.Global) for name in n.names}
        _Look(self.found, (self.hidden | parameters | bound(body)) - declared).visit_all(body)

    def _comprehension(self, generators: list[ast.comprehension], *results: ast.expr) -> None:
        first, *others = (generator.iter for generator in generators)
        self.visit(first)  # the one part that is evaluated outside
        inner = _Look(self.found, self.hidden | bound(generator.target for generator in generators))
        inner.visit_all((*others, *(test for generator in generators for test in generator.ifs), *results))
