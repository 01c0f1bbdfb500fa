"""Tables that somebody wrote elsewhere: found where they are, and told where they are wrong."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sh_core.errors import DeclarationError, SelfHealError, SettingsError
from sh_defs.declaring import declared_graph
from sh_defs.home import dagster_file

HEAD = """from datetime import date
import polars as pl
import pandera.polars as pa
from selfheal import *
DAYS = Daily(date(2025, 1, 1))
LOANS = Feed("loans", "loans_{partition}.csv", ("item", "days"), DAYS, "team:own")
class Loan(pa.DataFrameModel):
    date: pl.Date
    item: str
"""
TABLE = """
@table(contract=Contract(Loan, key=("item",)), partitions=DAYS, station=Station.STAGED)
def stg_loans(raw_loans):
    return parse(raw_loans, date=as_is("date"), item=text("item"))
TABLES = (raw_table(LOANS), stg_loans)
"""
LINES = HEAD.count("\n")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        file = getattr(sys.modules[name], "__file__", None) or ""
        if file.startswith(str(tmp_path)):
            del sys.modules[name]


def write(folder: Path, name: str, source: str) -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(source)


@pytest.mark.parametrize("file", ["own_loans.py", "own_loans/__init__.py"])
def test_a_module_or_package_where_one_is(folder: Path, file: str) -> None:
    """The incident: ``selfheal run`` beside ``library_loans.py``, and "there is no module library_loans"."""
    write(folder, file, HEAD + TABLE)
    assert [t.name for t in declared_graph("own_loans").tables] == ["raw_loans", "stg_loans"]


@pytest.mark.parametrize(
    ("old", "new", "line", "says"),
    [
        ("TABLES = (raw", "TABLES = (1", LINES + 5, "SyntaxError|was never closed|invalid"),
        ("import polars as pl", "import pollars as pl", 2, "ModuleNotFoundError: No module named 'pollars'"),
        ('"team:own")', 'team:own")', 6, "unterminated string literal"),
        ('Feed("loans"', 'Feed("my-loans"', 6, "feed 'my-loans': a name is lower case letters, digits and underscores"),
        ('("item", "days")', '"item"', 6, "feed loans: columns is a tuple of names, .*, not str 'item'"),
        ('DAYS, "team:own")', '"daily", "team:own")', 6, "feed loans: partitions is Hourly"),
        ('"team:own")', '"me")', LINES + 5, "table raw_loans: an owner is a mail address or team:<name>, not 'me'"),
        ('"team:own")', '"", format="csv")', 6, r"feed loans: format is Csv\(\), .* not str 'csv'"),
        ("Station.STAGED", 'Station.STAGED, group="my loans"', LINES + 2, "a group is letters, digits and underscores"),
        (
            'key=("item",)',
            'key=("itme",)',
            LINES + 2,
            "key__unique needs .* got itme; there are date, item",
        ),
        ('key=("item",)', 'key="item"', LINES + 2, r"key is a tuple of column names, with a comma even for one"),
        ('Contract(Loan, key=("item",))', "Loan", LINES + 2, r"contract is Contract\(Model, key=\(…\)\), not Loan"),
        ("Station.STAGED", '"staged"', LINES + 2, "station is one of Station.STAGED, .*, not str 'staged'"),
        ("    date: pl.Date\n", "", LINES + 1, "table stg_loans: the contract lacks the partition column 'date'"),
        ("raw_loans", "raw_lones", None, "table stg_loans reads raw_lones, which is not declared; there are raw_loans"),
        ("(raw_table(LOANS)", "(LOANS", None, r"TABLES holds a Feed, .*: use @table, and raw_table\(feed\) for a feed"),
        ("TABLES =", "TABELS =", None, "declares no TABLES"),
    ],
)
def test_a_mistake_is_told_with_file_and_line(folder: Path, old: str, new: str, line: int | None, says: str) -> None:
    """The incident: forty lines of traceback, and the one that can be mended is in the middle."""
    source = HEAD + TABLE
    assert old in source
    source = source.replace(old, new)
    write(folder, "own_wrong.py", source)
    with pytest.raises(SelfHealError) as raised:
        declared_graph("own_wrong")
    said = str(raised.value)
    assert re.search(says, said), said
    assert str(folder / "own_wrong.py") in said
    if line is not None:
        assert f"own_wrong.py, line {line}: " in said


def test_a_mistake_in_a_module_that_is_imported_is_told_there(folder: Path) -> None:
    write(folder, "own_pack/__init__.py", "from own_pack.feeds import LOANS\n")
    write(folder, "own_pack/feeds.py", "\nLOANS = undefined\n")
    with pytest.raises(DeclarationError, match=r"own_pack/feeds\.py, line 2: NameError: name 'undefined'"):
        declared_graph("own_pack")


@pytest.mark.parametrize(
    ("named", "says"),
    [
        ("own_lones", r"no module 'own_lones' \(did you mean own_loans\?\): name a module or package in"),
        ("own_loans.py", "which is no name of a module: call it own_loans, without folder and ending"),
        ("./tables/own-loans.py", r"call it tables\.own_loans,"),
    ],
)
def test_a_module_that_is_not_there(folder: Path, named: str, says: str) -> None:
    write(folder, "own_loans.py", HEAD + TABLE)
    with pytest.raises(SettingsError, match=says):
        declared_graph(named)


def test_looking_at_the_tables_of_another_module_says_so(folder: Path) -> None:
    """The incident: a new terminal without SELFHEAL_TABLES shows the demo's tables, all empty."""
    write(folder, "own_loans.py", HEAD + TABLE)
    environment = {k: v for k, v in os.environ.items() if not k.startswith("SELFHEAL_")}
    environment["PYTHONPATH"] = str(Path(__file__).parents[2])
    own = {**environment, "SELFHEAL_TABLES": "own_loans"}

    def selfheal(given: dict[str, str], *command: str) -> "subprocess.CompletedProcess[str]":
        program = [str(Path(sys.executable).with_name("selfheal")), *command]
        return subprocess.run(program, cwd=folder, env=given, capture_output=True, text=True, check=False)

    landing = folder / ".selfheal" / "landing" / "loans"
    landing.mkdir(parents=True)
    (landing / "loans_2025-01-01.csv").write_text("item,days\na,1\n")
    (landing / "loans_1.1.2025.csv").write_text("item,days\na,1\n")
    (landing.parent / "lones").mkdir()
    ran = selfheal(own, "run", "--to", "2025-01-02")
    assert ran.returncode == 0, ran.stderr
    # What nobody will ever read is named.
    assert (
        "landing/loans/loans_1.1.2025.csv is not looked at: loans takes files named loans_{partition}.csv, "
        "with the day from 2025-01-01 on, e.g. loans_2025-01-01.csv" in ran.stdout
    )
    assert "landing/lones is not looked at: no feed has that name, there are loans" in ran.stdout
    # Partitions without end can be looked at.
    shown = selfheal(own, "show", "stg_loans")
    assert "1, 2025-01-01 to 2025-01-01; 1 row" in shown.stdout, shown.stderr
    other = selfheal(environment, "tables")
    assert other.returncode == 1
    assert "holds raw_loans, stg_loans, but SELFHEAL_TABLES is 'sh_assets.flights'" in other.stderr


def test_dagsters_own_files_are_inside_the_package() -> None:
    """The incident: they stood beside the packages, where ``pip install`` leaves them behind."""
    for name in ("dagster.yaml", "workspace.yaml"):
        assert dagster_file(name).parent.name == "sh_defs"
        assert dagster_file(name).is_file()
