"""Columns that a file may lack, and other names under which they come: declared, and read in every format."""

import io
import json
from collections.abc import Mapping
from datetime import date
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sh_core.contract import HEADER
from sh_core.errors import DeclarationError
from sh_core.feed import Feed
from sh_core.formats import Csv, Format, JsonLines, Parquet
from sh_core.partitions import Daily
from sh_resources.raw import RawFile, RawPartition, csv_files, read_raw, reader_version
from sh_resources.raw.rows import wrong_columns

DAY, OTHER = "2026-03-01", "2026-03-02"
DAYS = Daily(date(2026, 3, 1), date(2026, 3, 31))
FORMATS = (Csv(), JsonLines(), Parquet())
PLAIN = ("place", "cases", "note")
OPTIONAL = frozenset({"note"})
ALIASES = {"place": ("town", "city"), "note": ("remark",)}


def feed(layout: Format | None = None, **changed: Any) -> Feed:  # noqa: ANN401 - those of Feed
    declared = {"optional": OPTIONAL, "aliases": ALIASES, **changed}
    return Feed("cases", "cases_{partition}", PLAIN, DAYS, "team:test", format=layout or Csv(), **declared)


def written(layout: Format, rows: list[dict[str, str]]) -> bytes:
    match layout:
        case Csv():
            return "".join(f"{','.join(row)}\n" for row in [list(rows[0]), *(list(r.values()) for r in rows)]).encode()
        case JsonLines():
            return "".join(json.dumps(row) + "\n" for row in rows).encode()
        case _:
            packed = io.BytesIO()
            pl.DataFrame(rows).write_parquet(packed)
            return packed.getvalue()


def read(given: Feed, contents: Mapping[str, bytes]) -> dict[str, RawPartition]:
    return read_raw(given, {day: RawFile.of(given.expected_file(day), content) for day, content in contents.items()})


def cells(part: RawPartition) -> list[tuple[str | None, ...]]:
    assert part.breaches == ()
    return part.frame.select(PLAIN).rows()


def complaint(part: RawPartition) -> str:
    (breach,) = part.breaches
    assert breach.rule == HEADER
    return breach.detail


@pytest.mark.parametrize("layout", FORMATS)
def test_a_file_without_an_optional_column_has_nulls_there(layout: Format) -> None:
    part = read(feed(layout), {DAY: written(layout, [{"place": "Bern", "cases": "3"}])})[DAY]
    assert cells(part) == [("Bern", "3", None)]


@pytest.mark.parametrize("layout", FORMATS)
def test_a_column_comes_under_any_of_its_names(layout: Format) -> None:
    part = read(feed(layout), {DAY: written(layout, [{"remark": "new", "cases": "3", "city": "Bern"}])})[DAY]
    assert cells(part) == [("Bern", "3", "new")]


@pytest.mark.parametrize("layout", FORMATS)
def test_what_was_not_declared_still_withholds_the_file(layout: Format) -> None:
    """Nothing is guessed: only the columns named may be missing, only the names declared are known."""
    without = read(feed(layout), {DAY: written(layout, [{"place": "Bern", "note": "x"}])})[DAY]
    assert "missing column cases; expected place" in complaint(without)
    assert "perhaps without note" in complaint(without)
    renamed = read(feed(layout), {DAY: written(layout, [{"Place": "Bern", "cases": "3"}])})[DAY]
    assert "missing column place; unexpected column Place" in complaint(renamed)
    plain = feed(layout, optional=frozenset(), aliases={})
    assert "missing column note" in complaint(
        read(plain, {DAY: written(layout, [{"place": "Bern", "cases": "3"}])})[DAY]
    )


@pytest.mark.parametrize("layout", FORMATS)
def test_a_column_that_comes_under_two_names_withholds_the_file(layout: Format) -> None:
    """Which of the two is meant, nobody can say; to take either would be a guess."""
    part = read(feed(layout), {DAY: written(layout, [{"place": "Bern", "city": "Genf", "cases": "3"}])})[DAY]
    assert "'place' came under 2 of its names ('place', 'city')" in complaint(part)
    aliases = read(feed(layout), {DAY: written(layout, [{"town": "Bern", "city": "Bern", "cases": "3"}])})[DAY]
    assert "'place' came under 2 of its names ('town', 'city')" in complaint(aliases)


def test_a_json_line_with_a_column_under_two_names_cannot_be_read_the_others_can() -> None:
    both = {"place": "Bern", "city": "Genf", "cases": "2"}
    rows: list[dict[str, str]] = [both, {"place": "Bern", "cases": "1"}, both, {"city": "Chur"}]
    part = read(feed(JsonLines()), {DAY: written(JsonLines(), rows)})[DAY]
    assert cells(part) == [(None, None, None), ("Bern", "1", None), (None, None, None), ("Chur", None, None)]
    assert part.frame["_unparsed"].to_list() == [["*"], [], ["*"], []]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("place,cases\nBern,3\n", "remark,city,cases\nold,Genf,4\n"),
        ('place,cases\n"Bern",3\n', 'remark,city,cases\nold,"Genf",4\n'),
        ("place,cases\r\nBern,3", "\ufeffremark,city,cases\r\nold,Genf,4\r\n"),
    ],
    ids=["vectorised", "record by record", "as from windows"],
)
def test_files_with_other_columns_are_read_together(first: str, second: str) -> None:
    found = read(feed(), {DAY: first.encode(), OTHER: second.encode()})
    assert cells(found[DAY]) == [("Bern", "3", None)]
    assert cells(found[OTHER]) == [("Genf", "4", "old")]
    assert found[DAY].frame["_line"].to_list() == found[OTHER].frame["_line"].to_list() == [2]


def test_a_file_that_lacks_a_column_is_as_quick_to_read_as_one_that_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """Record by record takes fifty times as long; a vendor who drops a column must not slow down a year of files."""
    monkeypatch.delattr(csv_files, "_read_any")
    assert cells(read(feed(), {DAY: b"city,cases\nBern,3\n"})[DAY]) == [("Bern", "3", None)]


def test_a_file_in_another_delimiter_is_told_so_under_any_names() -> None:
    part = read(feed(), {DAY: b"city;cases\nBern;3\n"})[DAY]
    assert "the delimiter is ';', not ','" in complaint(part)


def test_an_unnamed_column_can_be_given_a_name() -> None:
    """Pandas writes its index without one."""
    given = feed(aliases={"place": ("",)})
    assert cells(read(given, {DAY: b",cases\nBern,3\n"})[DAY]) == [("Bern", "3", None)]


@given(st.lists(st.sampled_from(["place", "town", "city", "cases", "note", "remark", "other", ""]), max_size=6))
def test_a_header_is_taken_exactly_if_there_is_nothing_to_say_about_it(names: list[str]) -> None:
    """A file that is withheld without a word, or taken in spite of one, would be worse than either."""
    columns = feed().columns_of(names)
    assert (columns is None) == bool(wrong_columns(feed(), names))
    if columns is not None:
        assert {"place", "cases"} <= set(columns) <= set(PLAIN)
        assert [feed().columns_by_name[name] for name in names] == list(columns)


def test_what_is_declared_about_columns_is_part_of_the_readers_version() -> None:
    """Otherwise a file that was withheld would stay so after its new column was declared."""
    versions = {
        reader_version(feed(optional=optional, aliases=aliases))
        for optional in (frozenset[str](), OPTIONAL, frozenset({"cases"}))
        for aliases in ({}, ALIASES, {"place": ("city",)}, {"cases": ("city",)})
    }
    assert len(versions) == 12
    reordered = {"note": ("remark",), "place": ("city", "town")}
    assert reader_version(feed(aliases=reordered)) == reader_version(feed())


def test_feeds_that_declare_neither_keep_the_version_that_they_had() -> None:
    """Otherwise an upgrade would read every file of every feed again."""
    given = Feed("cases", "cases_{partition}", PLAIN, DAYS, "team:test")
    assert reader_version(given) == "raw-2-6e008ae5701051b9fd685ceec3f1d6f0"


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"optional": frozenset({"remark"})}, "optional names remark, which is no column"),
        ({"optional": frozenset(PLAIN)}, "every column is optional; leave out those that each file has"),
        ({"version_column": "note"}, "version_column 'note' is optional"),
        ({"optional": ("note",)}, "optional is a frozenset of columns"),
        ({"aliases": {"remark": ("note",)}}, "aliases names remark, which is no column"),
        ({"aliases": {"note": ("place",)}}, "'place' would name two columns"),
        ({"aliases": {"note": ("note",)}}, "'note' would name two columns"),
        ({"aliases": {"note": ("n",), "place": ("n",)}}, "'n' would name two columns"),
        ({"aliases": {"note": "remark"}}, "aliases of note is a tuple of names"),
        ({"aliases": (("note", "remark"),)}, "aliases is other names by column"),
    ],
)
def test_declarations_that_leave_open_which_column_is_meant_are_refused(changed: dict[str, Any], says: str) -> None:
    with pytest.raises(DeclarationError, match=says):
        feed(**changed)


def test_a_feed_with_aliases_can_be_a_key_like_any_other() -> None:
    """Tables are looked up by themselves; a dict inside one must not stand in the way."""
    assert len({feed(), feed(), feed(aliases={})}) == 2
