"""Unpacking gzip, which a vendor, a network or an attacker may have broken.

Belongs here: bytes out of bytes. Does not belong here: what they say. Invariant: never more than the limit is unpacked,
whatever a file claims, and what is returned without a fault is all that was packed.
"""

import io
import zlib
from dataclasses import dataclass

_MAGIC = b"\x1f\x8b"
_GZIP = 16 + zlib.MAX_WBITS
_STEP = 2**20  # bytes unpacked at a time
_FIRST_STEP = 2**10  # of a member: what it does not need of it is copied, and a file may have millions of little ones


@dataclass(frozen=True)
class Unpacked:
    """What came out of a file.

    Attributes:
        content: The bytes up to the fault, if there is one; none where there were too many.
        fault: What is wrong with the file; None if nothing is.
        is_too_large: Whether that is its size.
    """

    content: bytes
    fault: str | None = None
    is_too_large: bool = False


def unpack(packed: bytes, max_bytes: int) -> Unpacked:
    """Unpack a gzip file of one or more members, with zeros after the last one allowed, as gzip itself does.

    Args:
        packed: The file.
        max_bytes: How many bytes may come out.
    """
    if not packed.startswith(_MAGIC):
        return Unpacked(b"", "it is empty" if not packed else "it is not gzip: the first bytes are not those of one")
    out = io.BytesIO()
    rest = memoryview(packed)
    while rest.nbytes and bytes(rest[:2]) == _MAGIC:
        member = zlib.decompressobj(_GZIP)
        at, step = 0, _FIRST_STEP
        try:
            while not member.eof:
                # What was not consumed comes back as unconsumed_tail: a step at a time, so that little is copied.
                given = member.unconsumed_tail or rest[at : at + step]
                at, step = (at, step) if member.unconsumed_tail else (at + len(given), min(2 * step, _STEP))
                part = member.decompress(given, _STEP)
                if not part and not given and not member.eof:
                    return Unpacked(out.getvalue(), _where("it is cut off", out))
                if out.tell() + len(part) > max_bytes:
                    return Unpacked(b"", f"it unpacks to more than {max_bytes:,} bytes", is_too_large=True)
                out.write(part)
        except zlib.error:
            return Unpacked(out.getvalue(), _where("it is damaged", out))
        rest = rest[at - len(member.unused_data) :]
    if bytes(rest).strip(b"\0"):
        return Unpacked(out.getvalue(), f"after its end come {rest.nbytes:,} bytes that are no gzip")
    return Unpacked(out.getvalue())


def _where(what: str, out: io.BytesIO) -> str:
    lines = out.getvalue().count(b"\n")
    return f"{what} in line {lines + 1:,}, after {out.tell():,} unpacked bytes"
