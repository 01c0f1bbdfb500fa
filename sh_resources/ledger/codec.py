"""What the ledger keeps as JSON text: verdicts, versions, column sets.

Belongs here: turning them into text and back. Does not belong here: traces, shares and the rest of an attempt, which
are rows that can be asked for. Invariant: decoding what was encoded gives an equal value; the text is ASCII, so that
any character a feed may contain (NUL included, which PostgreSQL refuses) can be kept in any database.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any, assert_never, get_args

from sh_core.staleness import Reason
from sh_core.verdict import Broken, Held, Level, RuleBreach, Unknown, Verdict
from sh_core.version import Version


def dumps(value: object) -> str:
    """Plain JSON values as one line of ASCII."""
    return json.dumps(value, ensure_ascii=True, separators=(",", ":"))


def loads(text: str) -> Any:  # noqa: ANN401 -- JSON
    """The opposite of ``dumps``."""
    return json.loads(text)


def encode_verdict(verdict: Verdict) -> str:
    """A verdict as text."""
    match verdict:
        case Held():
            return dumps({"is": "held"})
        case Broken(breaches, rows_broken):
            return dumps({"is": "broken", "rows_broken": rows_broken, "breaches": [_breach(b) for b in breaches]})
        case Unknown(rule, cause):
            return dumps({"is": "unknown", "rule": rule, "cause": cause})
        case _:
            assert_never(verdict)


def decode_verdict(text: str) -> Verdict:
    """The opposite of ``encode_verdict``.

    Raises:
        ValueError: If the text is of no known kind of verdict.
    """
    match loads(text):
        case {"is": "held"}:
            return Held()
        case {"is": "broken", "rows_broken": rows_broken, "breaches": breaches}:
            return Broken(
                tuple(
                    RuleBreach(b["rule"], Level(b["level"]), b["count"], b["detail"], tuple(b["sample"]))
                    for b in breaches
                ),
                rows_broken,
            )
        case {"is": "unknown", "rule": rule, "cause": cause}:
            return Unknown(rule, cause)
        case _:
            msg = f"the ledger holds {text[:80]!r} where a verdict is expected"
            raise ValueError(msg)


def encode_version(version: Version) -> str:
    """A content version as text."""
    return dumps(version.to_json())


def decode_version(text: str) -> Version:
    """The opposite of ``encode_version``."""
    return Version.from_json(loads(text))


_REASONS: dict[str, Callable[..., Reason]] = {kind.__name__: kind for kind in get_args(Reason)}


def encode_reasons(reasons: Sequence[Reason]) -> str:
    """Why a partition is stale, as text."""
    return dumps([{"is": type(reason).__name__, **asdict(reason)} for reason in reasons])


def decode_reasons(text: str) -> tuple[Reason, ...]:
    """The opposite of ``encode_reasons``.

    Raises:
        ValueError: If the text has a kind of reason that is not known.
    """
    found: list[Reason] = []
    for said in loads(text):
        kind = _REASONS.get(said.pop("is"))
        if kind is None:
            msg = f"the ledger holds {text[:80]!r} where reasons are expected"
            raise ValueError(msg)
        # What was a tuple is a list in JSON.
        found.append(kind(**{name: tuple(v) if isinstance(v, list) else v for name, v in said.items()}))
    return tuple(found)


def encode_columns(columns: tuple[str, ...]) -> tuple[str, str]:
    """A column set as (id, text); equal sets have equal ids."""
    text = dumps(columns)
    return hashlib.blake2b(text.encode(), digest_size=16, person=b"sh-columns-1").hexdigest(), text


def decode_columns(text: str) -> tuple[str, ...]:
    """The opposite of ``encode_columns``."""
    return tuple(loads(text))


def _breach(breach: RuleBreach) -> dict[str, object]:
    return {
        "rule": breach.rule,
        "level": breach.level.value,
        "count": breach.count,
        "detail": breach.detail,
        "sample": list(breach.sample),
    }
