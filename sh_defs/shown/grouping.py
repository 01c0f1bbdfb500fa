"""Grouping: partitions of which the same is to be said, said once.

Belongs here: sentences about a partition, and which partitions share them. Does not belong here: gathering facts
(``facts``), grids (``terminal_plan``). Invariant: every partition is in exactly one group, and what is said of a group
is true of each of its partitions, except what is marked as an example.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sh_core.outcome import awaited
from sh_core.partitions import DELIMITER
from sh_defs.facts.saying import moment

Facts = Mapping[str, Any]
Places = Callable[[str], Mapping[str, int]]
"""The place of each partition of a table, by key; nothing for what is no table."""

AWAITED = 2
"""Missing inputs that are named."""

Sentence = tuple[str, str]
"""What is said, and what may be special about one partition."""


@dataclass(frozen=True)
class Group:
    """Partitions of one table of which the same is to be said.

    Attributes:
        members: The partitions, in order.
        says: What is said of each.
    """

    members: Sequence[Facts]
    says: tuple[str, ...]

    @property
    def text(self) -> str:
        """Everything that is to be said: what is special about each only if it is the same, or as an example."""
        lines: list[str] = []
        for number, said in enumerate(self.says):
            lines.append(said)
            special = [_sentences(one)[number][1] for one in self.members]
            if special[0]:
                same = len(set(special)) == 1
                lines.append(f"  {special[0]}" if same else f"  e.g. {self.members[0]['partition']}: {special[0]}")
        return "\n".join(lines)

    def spans(self, place: Mapping[str, int]) -> list[str]:
        """The partitions as spans of neighbours."""
        return spans([one["partition"] for one in self.members], place)


def grouped(found: Sequence[Facts], places: Places) -> list[Group]:
    """Group partitions of one table.

    First those of which the very same is said; of the others, those to which the same happened relative to themselves:
    each reads the day before, say, and that changed.
    """
    alike = _by(found, lambda one: tuple(_general(text, one) for text, _ in _sentences(one)))
    single = [members[0] for members in alike.values() if len(members) == 1]
    relative = _by(single, lambda one: tuple(_relative(one, places)))
    groups = [Group(members, texts) for texts, members in alike.items() if len(members) > 1]
    for texts, members in relative.items():
        plain = tuple(text for text, _ in _sentences(members[0]))
        groups.append(Group(members, texts if len(members) > 1 else plain))
    order = {id(one): number for number, one in enumerate(found)}
    return sorted(groups, key=lambda group: order[id(group.members[0])])


def spans(keys: Iterable[str], place: Mapping[str, int]) -> list[str]:
    """Partitions as spans of neighbours: ``2013-01-05..2013-01-09``."""
    found: list[tuple[str, str]] = []
    for key in sorted(keys, key=lambda key: place.get(key, -1)):
        if found and place.get(key, -1) == place.get(found[-1][1], -3) + 1:
            found[-1] = (found[-1][0], key)
        else:
            found.append((key, key))
    return [first if first == last else f"{first}..{last}" for first, last in found]


def _by(found: Iterable[Facts], text: Callable[[Facts], tuple[str, ...]]) -> dict[tuple[str, ...], list[Facts]]:
    groups: dict[tuple[str, ...], list[Facts]] = {}
    for one in found:
        groups.setdefault(text(one), []).append(one)
    return groups


def _general(text: str, one: Facts) -> str:
    """A sentence without the partition's own name."""
    if one["status"] == "waiting" and "[" in text:
        return f"for {awaited(list(dict.fromkeys(m.partition('[')[0] for m in one['missing'])), AWAITED)}"
    text = text.replace(one["partition"], "…")
    # A file of a combination is called by the parts of its key, each in its own place.
    parts = one["partition"].split(DELIMITER)
    for part in parts if len(parts) > 1 else ():
        text = re.sub(rf"(?<![^\W_]){re.escape(part)}(?![^\W_])", "…", text)
    return text


def _relative(one: Facts, places: Places) -> Iterable[str]:
    """Its sentences, with what it reads named by how far it is from itself."""
    texts = [_general(text, one) for text, _ in _sentences(one)]
    for reason in one.get("reasons", ()):
        source, read = reason.get("source"), reason.get("partition")
        place = places(source) if source else {}
        if read in place and one["partition"] in place:
            away = place[read] - place[one["partition"]]
            named = f"{source}, {abs(away)} {'earlier' if away < 0 else 'later'}"
            texts = [text.replace(f"{source} {read}", named) for text in texts]
    return texts


def _sentences(one: Facts) -> list[Sentence]:
    said: list[Sentence] = [(reason["says"], reason["exactly"]) for reason in one.get("reasons", ())]
    match one["status"]:
        case "due" if one.get("overrides"):
            said.append((f"although automation holds it back: {one['overrides']['says']}", ""))
        case "landed":
            said.append((f"{one['file']} has landed and was not taken in yet", ""))
        case "may_change":
            new = ", and is new" if one["is_new"] else ""
            said.append((f"may change: reads {', '.join(one['through'])}{new}", ""))
        case "held_back":
            until = one["held"]["until_utc"]
            when = f" (at {moment(datetime.fromisoformat(until))})" if until else ""
            said.insert(0, (f"{one['held']['says']}{when}", ""))
            said += [(f"may change: reads {', '.join(one['through'])}", "")] if one["through"] else []
        case "outside":
            said.append((f"reads {', '.join(one['first'])}, too", ""))
        case "waiting":
            said.append((f"for {awaited(one['missing'], AWAITED)}", ""))
        case "said":
            said.append((one["says"], one.get("exactly", "")))
    return said
