"""Algorithm ``sh1``: one column to one 128-bit hash per cell.

Belongs here: what makes two cells equal, and the arithmetic that turns a cell into two 64-bit lanes. Does not belong
here: keys, rows, partitions (``version``). Invariant: what this module once hashed it hashes the same for ever, on
every platform and with every release of its libraries; a better idea is a new module and a new tag, not an edit here.

A cell is reduced to 64-bit words that stand for its *logical* value; polars is asked for layout, never for a hash. Each
column draws two seeds from its name and family, so that equal values in different columns or of different families have
nothing in common. Nulls are the same in all families; the family is told apart by ``Cells.family``.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import cast

import numpy as np
import numpy.typing as npt
import polars as pl
from xxhash import xxh3_128_digest

from sh_core.errors import DeclarationError
from sh_core.fingerprint import fingerprint

Words = npt.NDArray[np.uint64]
"""One 64-bit word per row, shape (rows,)."""

Lanes = npt.NDArray[np.uint64]
"""Two independent 64-bit hashes per row, shape (2, rows)."""

NOTHING = "null"
"""Family of a column that can hold only nulls; it goes together with every other family."""

_TICKS_PER_SECOND = {"ms": 10**3, "us": 10**6, "ns": 10**9}


@dataclass(frozen=True, eq=False)
class Cells:
    """One column, hashed.

    Attributes:
        family: Its logical type without width, unit or zone, e.g. ``int``, ``instant``, ``list<string>``.
        lanes: Hash of (column name, family, value) per row, shape (2, rows).
    """

    family: str
    lanes: Lanes


def hash_column(column: pl.Series) -> Cells:
    """Hash every cell of a column under the column's name.

    Raises:
        DeclarationError: If the column's type has no canonical content (``Object`` and 128-bit integers).
    """
    return _hash(column, (column.name,))


def mix(lanes: Lanes) -> Lanes:
    """Avalanche each word, in place: the finaliser of splitmix64, a bijection."""
    lanes ^= lanes >> np.uint64(30)
    lanes *= np.uint64(0xBF58476D1CE4E5B9)
    lanes ^= lanes >> np.uint64(27)
    lanes *= np.uint64(0x94D049BB133111EB)
    lanes ^= lanes >> np.uint64(31)
    return lanes


def _hash(values: pl.Series, path: tuple[str, ...]) -> Cells:
    hasher = _HASHERS.get(values.dtype.base_type())
    if hasher is None:
        msg = f"column {'.'.join(path)!r}: {values.dtype} has no content version; cast it to a type that has one"
        raise DeclarationError(msg)
    family, lanes = hasher(values, path)
    nulls = values.is_null().to_numpy()
    return Cells(family, np.where(nulls, _seeds(path, NOTHING), lanes) if nulls.any() else lanes)


def _seeds(path: tuple[str, ...], family: str) -> Lanes:
    """Two seeds for a column, or a part of a nested one, shape (2, 1)."""
    return np.frombuffer(fingerprint("sh1-seeds", (*path, family)), ">u8").astype(np.uint64).reshape(2, 1)


# One function per kind of type: family and lanes of the values, those of nulls being arbitrary.


def _nothing(values: pl.Series, _path: tuple[str, ...]) -> tuple[str, Lanes]:
    return NOTHING, np.zeros((2, len(values)), np.uint64)


def _number(values: pl.Series, path: tuple[str, ...], family: str) -> tuple[str, Lanes]:
    words = values.to_physical().cast(pl.Int64).fill_null(0).to_numpy().view(np.uint64)
    return family, mix(words ^ _seeds(path, family))


def _unsigned(values: pl.Series, path: tuple[str, ...]) -> tuple[str, Lanes]:
    words: Words = values.fill_null(0).to_numpy()
    # From 2^63 on the same bits are a negative Int64: these values need seeds of their own.
    seeds = np.where(words >= np.uint64(2**63), _seeds(path, "int>=2^63"), _seeds(path, "int"))
    return "int", mix(words ^ seeds)


def _float(values: pl.Series, path: tuple[str, ...]) -> tuple[str, Lanes]:
    # Adding 0.0 turns -0.0 into 0.0; every NaN, whatever its payload, becomes the same one.
    numbers = values.cast(pl.Float64).fill_null(0.0).to_numpy() + 0.0
    numbers[np.isnan(numbers)] = np.nan
    return "float", mix(numbers.view(np.uint64) ^ _seeds(path, "float"))


def _datetime(values: pl.Series, path: tuple[str, ...]) -> tuple[str, Lanes]:
    kind = cast("pl.Datetime", values.dtype)
    return _ticks(values, path, kind.time_unit, "datetime" if kind.time_zone is None else "instant")


def _duration(values: pl.Series, path: tuple[str, ...]) -> tuple[str, Lanes]:
    return _ticks(values, path, cast("pl.Duration", values.dtype).time_unit, "duration")


def _ticks(values: pl.Series, path: tuple[str, ...], unit: str, family: str) -> tuple[str, Lanes]:
    # Whole seconds and nanoseconds: the one pair that every unit reaches without loss or overflow.
    per_second = _TICKS_PER_SECOND[unit]
    ticks = values.to_physical().fill_null(0).to_numpy()
    seconds = ticks // per_second
    nanoseconds = (ticks - seconds * per_second) * (10**9 // per_second)
    lanes = mix(seconds.view(np.uint64) ^ _seeds(path, family))
    lanes += nanoseconds.view(np.uint64)
    return family, mix(lanes)


def _string(values: pl.Series, path: tuple[str, ...]) -> tuple[str, Lanes]:
    return _text(values.cast(pl.String).cast(pl.Binary), path, "string")


def _decimal(values: pl.Series, path: tuple[str, ...]) -> tuple[str, Lanes]:
    # As plain digits without trailing zeros after the point: 1.50 and 1.5 are the same number.
    digits = values.cast(pl.String)
    if cast("pl.Decimal", values.dtype).scale:
        digits = digits.str.strip_chars_end("0").str.strip_chars_end(".")
    return _text(digits.cast(pl.Binary), path, "decimal")


def _text(values: pl.Series, path: tuple[str, ...], family: str) -> tuple[str, Lanes]:
    # XXH3 has been frozen since xxHash 0.8 and gives the same 128 bits on every platform, but from Python one call
    # hashes one value: so Arrow's hash table finds the distinct values, and only these are hashed. Measured on a
    # million strings: 0.29 s if all differ, 0.02 s if five do. Each row by itself would take 0.5 s and 0.26 s, with
    # blake2b 1.2 s and 0.9 s; a vectorised hash of our own over Arrow's buffers 0.4 s and 0.05 s, and nobody to vouch
    # for it.
    encoded = values.to_arrow(compat_level=pl.CompatLevel.oldest()).dictionary_encode()
    distinct = cast("list[bytes]", encoded.dictionary.to_pylist())
    digests = np.frombuffer(b"".join(map(xxh3_128_digest, distinct)), ">u8").astype(np.uint64).reshape(-1, 2)
    # A last column for what has no code: nulls.
    per_value = np.pad(mix(digests.T ^ _seeds(path, family)), ((0, 0), (0, 1)))
    codes = encoded.indices.fill_null(len(distinct)).to_numpy(zero_copy_only=False)
    return family, per_value[:, codes]


def _array(values: pl.Series, path: tuple[str, ...]) -> tuple[str, Lanes]:
    return _list(values.arr.to_list(), path)


def _list(values: pl.Series, path: tuple[str, ...]) -> tuple[str, Lanes]:
    lengths = values.list.len().fill_null(0).to_numpy().astype(np.int64)
    items = _hash(values.filter(pl.Series(lengths > 0)).explode(), (*path, "[]"))
    owner = np.repeat(np.arange(len(values)), lengths)
    position = np.arange(len(owner)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    # The position goes in through a mix of its own, else [a, b] and [b, a] would add up to the same.
    placed = mix(items.lanes + mix(position.astype(np.uint64) ^ _seeds(path, "position")))
    lanes = np.broadcast_to(lengths.astype(np.uint64), (2, len(values))) ^ _seeds(path, "list")
    for lane, addends in zip(lanes, placed, strict=True):
        np.add.at(lane, owner, addends)
    return f"list<{items.family}>", mix(lanes)


def _struct(values: pl.Series, path: tuple[str, ...]) -> tuple[str, Lanes]:
    names = sorted(field.name for field in cast("pl.Struct", values.dtype).fields)
    fields = {name: _hash(values.struct.field(name), (*path, name)) for name in names}
    lanes = np.broadcast_to(_seeds(path, "struct"), (2, len(values))).copy()
    for field in fields.values():
        lanes += field.lanes
    return f"struct<{','.join(f'{name}:{field.family}' for name, field in fields.items())}>", mix(lanes)


_HASHERS: Mapping[type[pl.DataType], Callable[[pl.Series, tuple[str, ...]], tuple[str, Lanes]]] = {
    pl.Null: _nothing,
    pl.Boolean: partial(_number, family="bool"),
    **dict.fromkeys(
        (pl.Int8, pl.Int16, pl.Int32, pl.Int64, pl.UInt8, pl.UInt16, pl.UInt32), partial(_number, family="int")
    ),
    pl.UInt64: _unsigned,
    **dict.fromkeys((pl.Float16, pl.Float32, pl.Float64), _float),
    **dict.fromkeys((pl.String, pl.Categorical, pl.Enum), _string),
    pl.Binary: partial(_text, family="binary"),
    pl.Decimal: _decimal,
    pl.Date: partial(_number, family="date"),
    pl.Time: partial(_number, family="time"),
    pl.Datetime: _datetime,
    pl.Duration: _duration,
    pl.List: _list,
    pl.Array: _array,
    pl.Struct: _struct,
}
