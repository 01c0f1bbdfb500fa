"""Formats: how the bytes of a delivered file are laid out.

Belongs here: the closed union ``Format`` and what each member lets a vendor choose. Does not belong here: reading
(``sh_resources.raw``), columns and names (``feed``). Invariant: a format that exists can be read; what cannot be is
refused at import.
"""

import codecs
from dataclasses import dataclass
from typing import Literal

from sh_core.errors import DeclarationError

Compression = Literal["gzip"]
"""How a file as a whole may be packed. Parquet packs itself."""


@dataclass(frozen=True)
class Csv:
    """Delimited text with one header line; an empty cell is the empty text, and none is ever null.

    Attributes:
        delimiter: One ASCII character between cells.
        encoding: Encoding of the text, as Python names it.
        compression: How the file is packed; None for not at all.
    """

    delimiter: str = ","
    encoding: str = "utf-8"
    compression: Compression | None = None

    def __post_init__(self) -> None:
        """Refuse what the reader could not split on."""
        if len(self.delimiter) != 1 or not self.delimiter.isascii() or self.delimiter in '"\r\n':
            msg = f"a CSV delimiter is one ASCII character other than quote and line ends, not {self.delimiter!r}"
            raise DeclarationError(msg)
        _refuse(self.encoding, self.compression)

    @property
    def codec(self) -> str:
        """Python's own name of the encoding; a byte-order mark is dropped for UTF-8 in any case."""
        return _codec(self.encoding)

    def __str__(self) -> str:
        """What a person is told the file should be."""
        return _said(f"{self.encoding} CSV", self.compression)


@dataclass(frozen=True)
class JsonLines:
    """One JSON object on each line, without a header.

    Attributes:
        encoding: Encoding of the text, as Python names it.
        compression: How the file is packed; None for not at all.
    """

    encoding: str = "utf-8"
    compression: Compression | None = None

    def __post_init__(self) -> None:
        """Refuse what the reader could not split into lines."""
        _refuse(self.encoding, self.compression)

    @property
    def codec(self) -> str:
        """Python's own name of the encoding; a byte-order mark is dropped for UTF-8 in any case."""
        return _codec(self.encoding)

    def __str__(self) -> str:
        """What a person is told the file should be."""
        return _said(f"{self.encoding} JSON lines", self.compression)


@dataclass(frozen=True)
class Parquet:
    """A Parquet file, whatever its own types and compression; cells are turned into text as ``sh_resources.raw`` says.

    It says for itself how its text is encoded (UTF-8) and packed.
    """

    def __str__(self) -> str:
        """What a person is told the file should be."""
        return "Parquet"


Format = Csv | JsonLines | Parquet


def _codec(encoding: str) -> str:
    return codecs.lookup(encoding).name.removesuffix("-sig")


def _said(what: str, compression: Compression | None) -> str:
    return what if compression is None else f"{what} in {compression}"


def _refuse(encoding: str, compression: object) -> None:
    if not _contains_ascii(encoding):
        msg = f"encoding {encoding!r} is unknown here or does not contain ASCII; have the vendor deliver utf-8"
        raise DeclarationError(msg)
    if compression not in (None, "gzip"):
        msg = f"compression is 'gzip' or None, not {compression!r}; have the vendor deliver gzip"
        raise DeclarationError(msg)


def _contains_ascii(encoding: str) -> bool:
    """Whether bytes below 128 mean themselves, so that lines and cells can be found in the bytes."""
    ascii_bytes = bytes(range(128))
    try:
        return ascii_bytes.decode(encoding) == ascii_bytes.decode("ascii")
    except (LookupError, UnicodeError):
        return False
