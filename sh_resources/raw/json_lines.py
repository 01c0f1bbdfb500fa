"""JSON lines: one object on each physical line.

Belongs here: objects into cells of text. Does not belong here: what is common to all formats (``rows``). Invariant:
each physical line is exactly one row; a number is never computed with, so that 1.10 stays ``1.10``.

========================= ============================
a value                   becomes
========================= ============================
``"text"``                the text
``1.10``, ``12345678901`` the same characters
``true``, ``false``       ``true``, ``false``
``[1, {"a": "b"}]``       compact JSON, ``[1,{"a":"b"}]``
``null``, or no such key  null
========================= ============================

A line **cannot be read** if it is blank, longer than ``MAX_RECORD_BYTES``, holds a NUL (also an escaped one, in a cell)
or bytes that are invalid in the feed's encoding, is no JSON object, names a key twice, is nested deeper than
``MAX_DEPTH``, or holds half of a surrogate pair. Nor can a line with a key that was not promised: published without it,
what it said would be lost. Nor can one that has a column under two of its names.

The rule ``header`` is broken if a promised column that is not optional is in no line, or each line has the same column
too many, or the same one under two names: that is how another layout looks, and not a slip. A file without any line is
a day without rows.
"""

import io
import json
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import Any, NoReturn

from sh_core.feed import Feed
from sh_core.formats import JsonLines
from sh_core.verdict import RuleBreach
from sh_resources.raw.rows import (
    BOM,
    MAX_RECORD_BYTES,
    RawPartition,
    Row,
    all_unreadable,
    both_names,
    evidence,
    from_rows,
    header_breach,
    lines_of,
    listed,
    looks_like,
    promised,
    unreadable,
    without_line_end,
)

MAX_DEPTH = 100
"""Brackets within brackets: deeper ones would come up against the interpreter's stack, sooner or later as it stands."""


def read_json_lines(feed: Feed, layout: JsonLines, key: str, file_name: str, content: bytes) -> RawPartition:
    """Read one file of JSON lines.

    Args:
        feed: What the vendor promised.
        layout: The feed's format.
        key: The file's partition.
        file_name: The file's name.
        content: Its unpacked bytes.
    """
    encoding = layout.codec
    content = content.removeprefix(BOM) if encoding == "utf-8" else content
    seen = _Seen()
    frame = from_rows(feed, key, file_name, _rows(feed, content, encoding, seen), feed.columns)
    breach = _breach_of(feed, layout, file_name, content, seen)
    if breach is None:
        return RawPartition(frame)
    return all_unreadable(feed, key, file_name, lines_of(content, encoding, first=1), breach)


@dataclass
class _Seen:
    """The keys of a file's objects.

    Attributes:
        objects: How many objects there are, those with the keys of the one before left out.
        anywhere: Columns that are in one at least.
        unexpected: Other keys that are in all of them.
        repeated: Columns that are in all of them under several names, with the names that they have in the first.
    """

    objects: int = 0
    anywhere: set[str] = field(default_factory=set)
    unexpected: set[str] = field(default_factory=set)
    repeated: dict[str, list[str]] = field(default_factory=dict)
    _last: tuple[str, ...] | None = None
    _taken: bool = False

    def add(self, names: Collection[str], feed: Feed) -> bool:
        """Note the keys of an object; returns whether each is a column of its own."""
        keys = tuple(names)
        if keys == self._last:  # most lines have the keys of the one before
            return self._taken
        came_as: dict[str, list[str]] = {}
        others = set[str]()
        for name in names:
            if name in feed.columns_by_name:
                came_as.setdefault(feed.columns_by_name[name], []).append(name)
            else:
                others.add(name)
        repeated = {column: found for column, found in came_as.items() if len(found) > 1}
        self.unexpected = self.unexpected & others if self.objects else others
        self.repeated = {c: n for c, n in self.repeated.items() if c in repeated} if self.objects else repeated
        self.anywhere.update(came_as)
        self.objects += 1
        self._last, self._taken = keys, not others and not repeated
        return self._taken


def _rows(feed: Feed, content: bytes, encoding: str, seen: _Seen) -> Iterator[Row]:
    for number, raw in enumerate(io.BytesIO(content), 1):
        found = _object(raw, encoding)
        cells = _cells(feed, found) if found is not None and seen.add(found, feed) else None
        yield (
            unreadable(len(feed.columns), number, evidence(raw, encoding)) if cells is None else (*cells, number, None)
        )


def _cells(feed: Feed, found: dict[str, Any]) -> list[str | None] | None:
    """The promised cells as text; None if one of them holds what no text can."""
    by_column = {feed.columns_by_name[name]: value for name, value in found.items()} if feed.aliases else found
    try:
        cells = [_text(by_column.get(name)) for name in feed.columns]
    except _NotTakenError:
        return None
    together = "".join(cell for cell in cells if cell is not None)
    return None if "\0" in together or not _is_unicode(together) else cells


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:  # half of a surrogate pair, which JSON can write and nothing else can hold
        return False
    return True


class _Written(str):
    """A number as the file has it."""

    __slots__ = ()


class _NotTakenError(ValueError):
    """JSON that is not taken."""


def _refuse(constant: str) -> NoReturn:
    raise _NotTakenError(constant)  # NaN and Infinity are none of JSON's


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _NotTakenError
    return found


_decoder = json.JSONDecoder(object_pairs_hook=_once, parse_float=_Written, parse_int=_Written, parse_constant=_refuse)


def _object(raw: bytes, encoding: str) -> dict[str, Any] | None:
    """The object on a line, None if it cannot be read."""
    if len(raw) > MAX_RECORD_BYTES:
        return None
    try:
        found = _decoder.decode(without_line_end(raw).decode(encoding))
    except (ValueError, RecursionError):  # JSONDecodeError and UnicodeDecodeError are ValueErrors
        return None
    return found if isinstance(found, dict) else None


def _text(value: Any) -> str | None:  # noqa: ANN401 - JSON
    return value if value is None or isinstance(value, str) else _json(value, MAX_DEPTH)


def _json(value: Any, depth: int) -> str:  # noqa: ANN401 - JSON
    """Compact JSON, with that many brackets within brackets at most."""
    if depth < 0:
        raise _NotTakenError
    match value:
        case _Written():
            return value
        case dict():
            return "{" + ",".join(f"{_json(name, 0)}:{_json(item, depth - 1)}" for name, item in value.items()) + "}"
        case list():
            return "[" + ",".join(_json(item, depth - 1) for item in value) + "]"
        case _:
            return json.dumps(value, ensure_ascii=False)


def _breach_of(feed: Feed, layout: JsonLines, file_name: str, content: bytes, seen: _Seen) -> RuleBreach | None:
    """What is wrong with the columns of all lines together."""
    if not content:
        return None
    if not seen.objects:
        start = looks_like(content, but_not="JSON")
        problem = f"{start}, not JSON lines" if start else f"no line is a readable object of {layout}"
        where = f"{file_name} line 1"
    else:
        missing = [name for name in feed.columns if name not in seen.anywhere and name not in feed.optional]
        twice = (both_names(column, names) for column, names in seen.repeated.items())
        problems = (listed("missing", missing), listed("unexpected", sorted(seen.unexpected)), *twice)
        problem, where = "; ".join(filter(None, problems)), f"{file_name}, all lines"
    return header_breach(where, problem, promised(feed, ", ")) if problem else None
