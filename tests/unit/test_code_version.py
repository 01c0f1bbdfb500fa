"""What an edit of the project does to the code version of a transform: nothing if it cannot matter, else something."""

import importlib
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent

import polars as pl
import pytest

from sh_core.code_version import CodeVersion, code_version, outside_libraries
from sh_core.errors import DeclarationError

Version = Callable[..., CodeVersion]

PROJECT = {
    "shop/__init__.py": "",
    "shop/rates.py": """
        import re
        from decimal import Decimal

        BASE = Decimal("1.5")
        FACTOR = BASE * 2
        UNRELATED = 3
        CODES = {"b", "a"}
        PATTERN = re.compile("[a-z]+")
        CACHE = {}

        class Limits:
            "Bounds."
            low: int = 0
            high = 10

            def clip(self, x):
                return max(self.low, min(x, self.high))

        def unrelated(x):
            return x - UNRELATED

        def even(n):
            return n == 0 or odd(n - 1)

        def odd(n):
            return n != 0 and even(n - 1)
        """,
    "shop/flow.py": '''
        from functools import partial, wraps

        from shop import rates
        from shop.rates import FACTOR, Limits, even, unrelated
        from shop.rates import CODES as KNOWN

        def twice(function):
            @wraps(function)
            def wrapper(*args):
                return function(function(*args))
            return wrapper

        def step(x, by=FACTOR):
            """Add something."""
            return x + by  # more

        def transform(rows, limits: Limits = None) -> list:
            unrelated = 1
            return [step(row) for row in rows if row in KNOWN]

        @twice
        def decorated(x):
            return x + 1

        def scaled(n, extra=()):
            width = n * 2

            def inner(rows, *, m=width):
                return [row * n * m for row in rows]
            return inner

        class Checks:
            positive = lambda x: x > 0
            negative = lambda x: x < 0

        by_two = scaled(2)
        of_rates = lambda x: (rates.PATTERN, x)
        clipped = Limits().clip
        bound = partial(step, by=7)

        def recursive(n):
            return even(n)

        def dynamic(name):
            return getattr(rates, name)

        def evaluated(x):
            return eval("hid" + "den(x)")

        def hidden(x):
            return x + 6

        def filtered(condition):
            return lambda rows: rows.filter(condition)

        def cached(x):
            return rates.CACHE.setdefault(x, 1)

        def two_lambdas():
            return (lambda x: x + 1), (lambda x: x + 2), (lambda: lambda: 1)()
        ''',
}


@pytest.fixture
def version(tmp_path: Path) -> Iterator[Version]:
    """``version("flow.transform", "flow.py", "old", "new")``: of a function, in the project with some text replaced."""
    number = 0

    def of(
        function: str, file: str = "", old: str = "", new: str = "", edit: Callable[[str], str] = str
    ) -> CodeVersion:
        nonlocal number
        number += 1
        root = tmp_path / str(number)
        for name, text in PROJECT.items():
            source = dedent(text).lstrip("\n")
            if name == f"shop/{file}":
                assert old in source
                source = edit(source.replace(old, new) if old else source)
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(source)
        for loaded in [m for m in sys.modules if m == "shop" or m.startswith("shop.")]:
            del sys.modules[loaded]
        importlib.invalidate_caches()
        sys.path.insert(0, str(root))
        try:
            module, _, name = function.partition(".")
            found = vars(importlib.import_module(f"shop.{module}"))
            return code_version(eval(name, found))
        finally:
            sys.path.remove(str(root))

    yield of
    for loaded in [m for m in sys.modules if m == "shop" or m.startswith("shop.")]:
        del sys.modules[loaded]


IRRELEVANT = {
    "comment": ("flow.transform", "flow.py", "# more", "# more or less"),
    "docstring": ("flow.transform", "flow.py", '"""Add something."""', '"""Add."""'),
    "no docstring": ("flow.transform", "flow.py", '"""Add something."""', ""),
    "format": ("flow.transform", "flow.py", "return x + by", "return (\n        x\n        + by\n    )"),
    "annotation": ("flow.transform", "flow.py", "limits: Limits = None) -> list", "limits: 'int' = None) -> 'set'"),
    "unrelated function in the same module": ("flow.transform", "flow.py", "row * n * m", "row * m"),
    "unrelated function behind an import": ("flow.transform", "rates.py", "x - UNRELATED", "x + UNRELATED"),
    "unrelated constant": ("flow.transform", "rates.py", "UNRELATED = 3", "UNRELATED = 4"),
    "one more name in an import": (
        "flow.transform",
        "flow.py",
        "import partial, wraps",
        "import partial, reduce, wraps",
    ),
    "order in a set": ("flow.transform", "rates.py", '{"b", "a"}', "{'a', 'b'}"),
    "a class's docstring": ("flow.clipped", "rates.py", '"Bounds."', '"Limits."'),
    "the other function that a factory made": ("flow.by_two", "flow.py", "x + 1", "x + 3"),
    "the other lambda on the line": ("flow.two_lambdas()[0]", "flow.py", "x + 2", "x + 3"),
    "the other check in a class body": ("flow.Checks.positive", "flow.py", "x < 0", "x <= 0"),
    "the lambda around a lambda": ("flow.two_lambdas()[2]", "flow.py", "(lambda: lambda: 1)", "(lambda *_: lambda: 1)"),
    "a line above": ("flow.of_rates", "flow.py", "by_two =", "\n\nby_two ="),
}


@pytest.mark.parametrize("what", IRRELEVANT)
def test_an_edit_that_cannot_matter_recomputes_nothing(version: Version, what: str) -> None:
    function, *edit = IRRELEVANT[what]
    before, after = version(function), version(function, *edit)
    assert before == after


RELEVANT = {
    "constant two hops away": ("flow.transform", "rates.py", '"1.5"', '"1.6"'),
    "expression of a constant": ("flow.transform", "rates.py", "BASE * 2", "BASE + 2"),
    "helper": ("flow.transform", "flow.py", "return x + by", "return x - by"),
    "default argument": ("flow.transform", "flow.py", "by=FACTOR", "by=1"),
    "renamed helper": ("flow.transform", "flow.py", "step", "stride"),
    "where a name is imported from": ("flow.transform", "flow.py", "import CODES as KNOWN", "import FACTOR as KNOWN"),
    "member of a set": ("flow.transform", "rates.py", '"b", "a"', '"c", "a"'),
    "decorator": ("flow.decorated", "flow.py", "function(function(*args))", "function(*args)"),
    "decorated function": ("flow.decorated", "flow.py", "x + 1", "x + 2"),
    "value in a closure": ("flow.by_two", "flow.py", "scaled(2)", "scaled(3)"),
    "function that was returned": ("flow.by_two", "flow.py", "row * n * m", "row * m * n"),
    "default of a nested function": ("flow.by_two", "flow.py", "width = n * 2", "width = n * 3"),
    "attribute of a module": ("flow.of_rates", "rates.py", '"[a-z]+"', '"[a-z]*"'),
    "lambda": ("flow.of_rates", "flow.py", "(rates.PATTERN, x)", "(x, rates.PATTERN)"),
    "lambda that shares its line": ("flow.two_lambdas()[1]", "flow.py", "x + 2", "x + 3"),
    "check in a class body": ("flow.Checks.positive", "flow.py", "x > 0", "x >= 0"),
    "lambda in a lambda": ("flow.two_lambdas()[2]", "flow.py", "lambda: 1", "lambda: 2"),
    "method": ("flow.clipped", "rates.py", "min(x,", "min(x + 1,"),
    "class attribute that a method reads": ("flow.clipped", "rates.py", "high = 10", "high = 11"),
    "annotation in a class": ("flow.clipped", "rates.py", "low: int", "low: float"),
    "partial: bound argument": ("flow.bound", "flow.py", "by=7", "by=8"),
    "partial: function": ("flow.bound", "flow.py", "x + by", "x - by"),
    "one of two that call each other": ("flow.recursive", "rates.py", "n != 0 and", "n > 0 and"),
    "anything, where an attribute is looked up by a computed name": (
        "flow.dynamic",
        "rates.py",
        "UNRELATED = 3",
        "UNRELATED = 4",
    ),
    "anything in the module, where text is run": ("flow.evaluated", "flow.py", "x + 6", "x + 7"),
    "local name that hides an import no longer": ("flow.transform", "flow.py", "unrelated = 1", "unrelated(1)"),
}


@pytest.mark.parametrize("what", RELEVANT)
def test_an_edit_of_what_a_function_reaches_shows(version: Version, what: str) -> None:
    """A stale table would stay: published rows that today's code would not compute."""
    function, *edit = RELEVANT[what]
    before, after = version(function), version(function, *edit)
    assert before.digest != after.digest
    assert before.source != after.source


def test_a_constant_that_a_function_changes_widens_to_its_module(version: Version) -> None:
    """Its value is no longer what its assignment says."""
    writer = "def fill():\n    CACHE['x'] = 1\n\nclass Limits:"
    before = version("flow.cached", "rates.py", "class Limits:", writer)
    after = version("flow.cached", "rates.py", "class Limits:", writer.replace("= 1", "= 2"))
    assert before != after
    assert version("flow.cached") == version("flow.cached", "rates.py", "UNRELATED = 3", "UNRELATED = 4")


def test_an_expression_that_another_module_hands_in_counts(version: Version) -> None:
    """Two tables made by one factory from different conditions are different code."""
    version("flow.filtered")
    filtered = sys.modules["shop.flow"].filtered
    versions = [code_version(filtered(pl.col("delay") > limit)) for limit in (15, 15, 30)]
    assert versions[0] == versions[1] != versions[2]


def test_a_constant_that_the_module_completes_later_counts_with_its_completion(version: Version) -> None:
    completed = {version("flow.cached", "rates.py", "CACHE = {}", f"CACHE = {{}}\nCACHE['x'] = {n}") for n in (1, 2)}
    assert len(completed) == 2


def test_a_name_that_nobody_can_resolve_widens_to_the_module(version: Version) -> None:
    def odd(text: str) -> str:
        return text.replace("return x + by", "return x + by + injected")

    assert version("flow.step", "flow.py", "x + 1", "x + 9", odd) != version("flow.step", "flow.py", edit=odd)


def test_star_imports_are_followed(version: Version) -> None:
    def star(text: str) -> str:
        return text.replace("from shop.rates import FACTOR, Limits, even, unrelated", "from shop.rates import *")

    plain = version("flow.transform", "flow.py", edit=star)
    assert "shop.rates:BASE" in plain.source
    assert "shop.rates:UNRELATED" not in plain.source


def test_an_import_inside_a_function_is_followed(version: Version) -> None:
    def lazy(text: str) -> str:
        return text.replace("return x + by", "from .rates import UNRELATED as u\n    return x + u")

    plain = version("flow.step", "flow.py", edit=lazy)
    assert "shop.rates:UNRELATED" in plain.source
    assert "shop.rates:unrelated" not in plain.source


def test_registering_decorators_do_not_count_for_the_function_they_registered() -> None:
    """``@table(group=...)`` is layout: a table moved to another group in the web interface must not be recomputed."""
    kept: list[Callable[[int], int]] = []

    def register(group: str) -> Callable[[Callable[[int], int]], None]:
        assert group
        return kept.append

    @register("a")
    def first(x: int) -> int:
        return x

    @register("b")
    def second(x: int) -> int:
        return x

    texts = [code_version(f).source.replace("second", "first") for f in kept]
    assert [t.split("\n", 1)[1] for t in texts[:1]] == [t.split("\n", 1)[1] for t in texts[1:]]


def test_libraries_count_by_name_alone() -> None:
    """A patch release of polars must not recompute the world."""
    source = code_version(outside_libraries).source
    assert "import sysconfig as sysconfig" in source
    assert "def get_path" not in source
    assert code_version(len).source == "# builtins.len\n"


def test_the_caller_decides_what_the_project_is(version: Version) -> None:
    version("flow.transform")
    transform = sys.modules["shop.flow"].transform
    assert "BASE" not in code_version(transform, lambda module, _: module == "shop.flow").source


def test_code_without_source_is_refused_and_not_taken_for_unchanged() -> None:
    with pytest.raises(DeclarationError, match="source of module nowhere"):
        code_version(eval("lambda: 1", {"__name__": "nowhere"}))


GOLDEN = "code1-ac140e03c81ee12b8411f7b32c61b2a5"

SAMPLE = '''
from __future__ import annotations
import re
from dataclasses import dataclass

WIDTH = 3
NAMES = {"é", "b", b"x", 1.5, 10**20, None, ...}
LINE = f"{WIDTH!r:>{WIDTH}}" f"x{{}}" "y" f"{WIDTH=}"

@dataclass(frozen=True)
class Point:
    """A point."""
    x: int = 1
    def __add__(self, other: Point) -> Point:
        return Point(self.x + other.x)

async def later(a, /, b, *c, d=1, **e):
    async with a as b:
        yield [z async for z in c if (w := z)]

def transform(df: object, *, n: int = -1) -> object:
    """Doc."""
    try:
        total: int = sum(i for i in range(n))
    except* (ValueError, TypeError) as group:
        raise RuntimeError from group
    match df:
        case {"a": [1, *rest], **kw} if rest:
            return kw
        case Point(x=0) | None:
            return NAMES
        case _:
            return lambda q=LINE: (q, later, re.compile(r"\\d"), total, Point() + Point(2))
'''


def digest_in(python: str, folder: Path) -> str:
    program = (
        "import sys; sys.path[:0] = sys.argv[1:];"
        "import sample; from sh_core.code_version import code_version; print(code_version(sample.transform).digest)"
    )
    root = str(Path(__file__).parents[2])
    done = subprocess.run(
        [python, "-c", program, root, str(folder)], check=True, capture_output=True, text=True, cwd=folder
    )
    return done.stdout.strip()


OTHER_PYTHONS = sorted(Path("/root/.pyenv/versions").glob("3.1[1-3].*/bin/python"))


@pytest.mark.parametrize("python", [Path(sys.executable), *OTHER_PYTHONS], ids=str)
def test_golden_every_python_version_agrees(tmp_path: Path, python: Path) -> None:
    """An upgrade of Python must not recompute the world."""
    (tmp_path / "sample.py").write_text(SAMPLE)
    assert digest_in(str(python), tmp_path) == GOLDEN


def test_a_package_among_the_site_packages_is_a_project_too(tmp_path: Path) -> None:
    """The incident: tables in a package of their own, installed with pip, and no edit of them computes anything."""
    digests = set()
    for factor in (2, 3):
        folder = tmp_path / str(factor) / "site-packages"
        (folder / "rented").mkdir(parents=True)
        (folder / "rented" / "__init__.py").touch()
        (folder / "rented" / "rates.py").write_text(f"FACTOR = {factor}\n")
        program = "from rented.rates import FACTOR\ndef transform(x):\n    return x * FACTOR\n"
        (folder / "rented" / "sample.py").write_text(program)
        program = (
            "import sys; sys.path[:0] = sys.argv[1:]; from rented.sample import transform;"
            "from sh_core.code_version import code_version; print(code_version(transform).digest)"
        )
        root = str(Path(__file__).parents[2])
        done = subprocess.run(
            [sys.executable, "-c", program, root, str(folder)], check=True, capture_output=True, text=True
        )
        digests.add(done.stdout.strip())
    assert len(digests) == 2
