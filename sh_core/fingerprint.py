"""One 128-bit hash over several texts.

Belongs here: the way texts are joined before they are hashed. Does not belong here: what they mean. Invariant: two
different sequences of texts are never the same input to the hash (each carries its length), nor are the same texts
hashed for two purposes.
"""

from collections.abc import Iterable
from hashlib import blake2b


def fingerprint(purpose: str, texts: Iterable[str]) -> bytes:
    """Hash texts in the order given.

    Args:
        purpose: What the hash is for, at most 16 ASCII characters, with a number that says which scheme it is.
        texts: What to hash.

    Returns:
        16 bytes.
    """
    h = blake2b(digest_size=16, person=purpose.encode("ascii"))
    for text in texts:
        raw = text.encode()
        h.update(len(raw).to_bytes(8, "big"))
        h.update(raw)
    return h.digest()
