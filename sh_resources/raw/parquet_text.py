"""The one text of each value in a Parquet file.

Belongs here: values of Arrow's types as text. Does not belong here: files and rows (``parquet_files``). Invariant: two
different values of a type never have the same text (for a float, the bits of a NaN aside), and no more text is made
than was allowed, however little room the values take in the file.

============================ =====================================================================================
a value                      becomes
============================ =====================================================================================
text                         the same text
whole number                 its digits, ``-5``
float                        the shortest decimal number that reads back as the same float; ``nan``, ``inf``, ``-inf``
decimal                      all its digits, ``1.10``
boolean                      ``true``, ``false``
day                          ``2013-01-05``
instant (adjusted to UTC)    ``2013-01-05T10:15:00Z``, with 3, 6 or 9 digits of a fraction if there is one
date and time of no zone     ``2013-01-05T10:15:00``, likewise
time of day                  ``10:15:00``, likewise
length of time               the bare count of its unit
binary                       hexadecimal digits, ``00ff``
list, struct, map            compact JSON of such values; finite numbers and booleans bare, all others as text
null                         null
============================ =====================================================================================

What no calendar holds reads ``<value out of range: 9223372036854775807>``. A type that is not here cannot be read.
"""

import json
import math
from collections.abc import Sequence
from typing import Any, TypeAlias

import polars as pl
import pyarrow as pa
import pyarrow.compute

Values: TypeAlias = "pa.Array[Any]"

_pc: Any = pyarrow.compute  # its stubs know fewer combinations of types than it does


_Z, _NOTHING = pa.scalar("Z", pa.large_string()), pa.scalar("", pa.large_string())


class TooMuchTextError(Exception):
    """More text than the feed allows."""


class Texts:
    """Cells as text, batch by batch, up to a limit.

    Attributes:
        frames: One per batch and an empty one before, columns named by their number.
    """

    def __init__(self, columns: int, max_bytes: int) -> None:
        """Begin with no rows.

        Args:
            columns: How many columns there are.
            max_bytes: How much text may be made, in bytes, a cell without any counting as one.
        """
        self.frames = [pl.DataFrame(schema={str(at): pl.String() for at in range(columns)})]
        self._left = max_bytes

    def add(self, batch: pa.RecordBatch) -> None:
        """Take another batch, unless that were too much.

        Raises:
            TooMuchTextError: If it were.
        """
        batch.validate(full=True)
        cells = {str(at): self._texts(column) for at, column in enumerate(batch.columns)}
        self.frames.append(pl.DataFrame({name: pl.from_arrow(text) for name, text in cells.items()}))

    def _texts(self, values: Values) -> Values:
        """The text of each value, or null, of type large_string."""
        if isinstance(values, pa.ExtensionArray):
            return self._texts(values.storage)
        if pa.types.is_nested(values.type):
            return pa.array(self._json(values), pa.large_string())
        if isinstance(values, pa.DictionaryArray):
            # Measured before it is made: a text that the file holds once may stand in a million rows.
            texts = _plain(values.dictionary)
            self._take(len(values), _pc.sum(_pc.take(_pc.binary_length(texts), values.indices)).as_py() or 0)
            made: Values = _pc.take(texts, values.indices)
            return made
        texts = _plain(values)
        self._take(len(texts), _pc.sum(_pc.binary_length(texts)).as_py() or 0)
        return texts

    def _take(self, cells: int, size_bytes: int) -> None:
        self._left -= cells + size_bytes
        if self._left < 0:
            raise TooMuchTextError

    def _json(self, values: Values) -> list[str | None]:
        """Compact JSON of each value; None for null."""
        match values:
            case pa.FixedSizeListArray():
                return self._json(values.cast(pa.list_(values.type.value_type)))
            case pa.MapArray():
                pairs = zip(self._json(values.keys), self._json(values.items), strict=True)
                return _spans(values, [f"[{_or_null(name)},{_or_null(item)}]" for name, item in pairs])
            case pa.ListArray() | pa.LargeListArray():
                return _spans(values, [_or_null(item) for item in self._json(values.values)])
            case pa.StructArray():
                return self._objects(values)
            case _:
                kind = values.type.value_type if isinstance(values, pa.DictionaryArray) else values.type
                return [_bare(kind, text) for text in self._texts(values).to_pylist()]

    def _objects(self, values: pa.StructArray) -> list[str | None]:
        names = [json.dumps(values.type.field(at).name, ensure_ascii=False) for at in range(values.type.num_fields)]
        columns = [self._json(column) for column in values.flatten()]
        rows = zip(*columns, strict=True) if names else iter([()] * len(values))
        return [
            "{" + ",".join(f"{n}:{_or_null(v)}" for n, v in zip(names, row, strict=True)) + "}" if valid else None
            for row, valid in zip(rows, values.is_valid().to_pylist(), strict=True)
        ]


def _bare(kind: pa.DataType, text: str | None) -> str | None:
    """JSON of a value that is not nested."""
    is_number = pa.types.is_integer(kind) or (pa.types.is_floating(kind) and math.isfinite(float(text or 0)))
    return text if text is None or is_number or pa.types.is_boolean(kind) else json.dumps(text, ensure_ascii=False)


def _spans(
    lists: "pa.ListArray[Any] | pa.LargeListArray[Any] | pa.MapArray[Any, Any]", items: Sequence[str]
) -> list[str | None]:
    """One JSON array per list, made of its items."""
    ends, valid = lists.offsets.to_pylist(), lists.is_valid().to_pylist()
    return [
        "[" + ",".join(items[ends[at] : ends[at + 1]]) + "]" if is_there else None for at, is_there in enumerate(valid)
    ]


def _or_null(text: str | None) -> str:
    return "null" if text is None else text


def _plain(values: Values) -> Values:
    """The text of each value that is not nested."""
    kind = values.type
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind):
        return pa.array([None if v is None else v.hex() for v in values.to_pylist()], pa.large_string())
    if pa.types.is_timestamp(kind):
        texts = _iso(_cast(_pc.cast(values, pa.timestamp(kind.unit))))  # of no zone: the same instant in UTC
        return texts if kind.tz is None else _pc.binary_join_element_wise(texts, _Z, _NOTHING)
    if pa.types.is_date64(kind):
        return _cast(_pc.cast(values, pa.date32()))
    return _iso(_cast(values)) if pa.types.is_time(kind) else _cast(values)


def _cast(values: Values) -> Values:
    texts: Values = _pc.cast(values, pa.large_string())
    return texts


def _iso(texts: Values) -> Values:
    """ISO 8601 with a T, and without zeros at the end of the fraction, three at a time."""
    short = _pc.replace_substring_regex(texts, r"(\.(?:\d{3})*?)(?:000)+$", r"\1")
    iso: Values = _pc.replace_substring_regex(
        _pc.replace_substring_regex(short, r"\.$", ""), r"^(\S+) (\S+)$", r"\1T\2"
    )
    return iso
