"""What every landing zone promises, a folder as well as a bucket.

Belongs here: what ``intake`` relies on. Does not belong here: what only a folder can do to us (links, pipes, writers at
work: ``integration/test_landing.py``). Invariant: every test that takes ``zone`` runs on both.
"""

import hashlib
import time
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from sh_core.errors import FeedError
from sh_core.feed import Feed
from sh_core.partitions import Daily
from sh_resources.landing import Found, LandingZone, LocalFolder, S3Bucket, s3
from tests.zones import Zone

DAYS = Daily(date(2013, 1, 1), date(2013, 12, 31))
FEED = Feed("flights", "flights_{partition}.csv", ("a", "b"), DAYS, "team:flights")
NAMES = [FEED.expected_file(key) for key in DAYS.keys()]  # noqa: SIM118 - no mapping
AWKWARD = ("a b+c|d#é%41.csv", "x.csv#1", "näme.csv", "q?x=1&y.csv")


def put(zone: Zone, *names: str, content: bytes = b"a,b\n1,2\n") -> None:
    for name in names:
        zone.vendors.put(FEED.name, name, content)


def look(zone: Zone, *names: str) -> dict[str, Found]:
    return dict(zone.landing.look(FEED, names).files)


def everything(zone: Zone, most: int = 3) -> list[str]:
    return [name for seen in zone.landing.slices(FEED, most) for name in seen.files]


# ------------------------------------------------------------------------------------------------------ seeing


def test_files_are_seen_by_name_and_nothing_else_is(zone: Zone) -> None:
    put(zone, *NAMES[:3])
    seen = zone.landing.look(FEED, [NAMES[2], NAMES[0], NAMES[5]])
    assert {name: file.size_bytes for name, file in seen.files.items()} == {NAMES[2]: 8, NAMES[0]: 8}
    assert (seen.refused, seen.looked) == ({}, 3)


def test_many_names_are_seen_like_few(zone: Zone) -> None:
    """Beyond a number of names a bucket is listed, from the first to the last of them; others may lie in between."""
    there = NAMES[10:300:3]
    put(zone, *there, *(f"flights_2013-04-{n:03}.txt" for n in range(50)))
    assert sorted(look(zone, *NAMES)) == there
    assert sorted(look(zone, *NAMES[:20])) == there[:4]


def test_many_names_among_very_many_others_are_all_seen(zone: Zone, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3, "_FEW", 3)
    monkeypatch.setattr(s3, "_SPARSE", 2)
    put(zone, *NAMES[:40])
    asked = [NAMES[0], NAMES[1], NAMES[20], NAMES[39], NAMES[50]]
    assert sorted(look(zone, *asked)) == asked[:4]


def test_everything_is_seen_once_in_slices(zone: Zone) -> None:
    put(zone, *NAMES[:10])
    slices = list(zone.landing.slices(FEED, 3))
    assert sorted(name for seen in slices for name in seen.files) == NAMES[:10]
    assert [seen.looked for seen in slices] == [3, 3, 3, 1]


def test_a_look_and_a_slice_agree_about_a_file(zone: Zone) -> None:
    """The incident: a store says the time to the second here and to the millisecond there, and all is read twice."""
    put(zone, *NAMES[:3])
    seen = {name: file for page in zone.landing.slices(FEED, 2) for name, file in page.files.items()}
    assert seen == look(zone, *NAMES[:3])


def test_files_are_found_by_how_their_names_begin(zone: Zone) -> None:
    """Where names hold a version, nobody knows them beforehand."""
    put(zone, "f_01_v1.csv", "f_01_v2.csv", "f_01_v3.csv.part", "f_02_v1.csv", "f_03_v1.csv", "e.csv")
    zone.vendors.put(f"{FEED.name}/f_01_", "below.csv", b"")
    seen = zone.landing.place.starting(FEED.name, ["f_01_", "f_03_v1.csv", "g"])
    assert sorted(seen.files) == ["f_01_v1.csv", "f_01_v2.csv", "f_03_v1.csv"]
    assert zone.landing.place.starting("none", ["f"]).files == {}


def test_names_that_say_they_are_not_finished_are_not_seen(zone: Zone) -> None:
    unfinished = [f".{NAMES[0]}", f"{NAMES[0]}.part", f"{NAMES[0]}.filepart", f"{NAMES[0]}.tmp", f"{NAMES[0]}~"]
    put(zone, *unfinished, NAMES[1])
    assert look(zone, *unfinished) == {}
    assert everything(zone) == [NAMES[1]]


def test_names_of_all_kinds_can_be_seen_and_read(zone: Zone) -> None:
    put(zone, *AWKWARD)
    assert sorted(everything(zone)) == sorted(look(zone, *AWKWARD)) == sorted(AWKWARD)
    for file in look(zone, *AWKWARD).values():
        assert zone.landing.sha256(FEED, file) == hashlib.sha256(b"a,b\n1,2\n").hexdigest()


def test_other_feeds_and_folders_below_are_not_looked_into(zone: Zone) -> None:
    put(zone, NAMES[0])
    for feed in ("flights_jfk", "flight", "flights/old", "weather"):
        zone.vendors.put(feed, NAMES[1], b"a,b\n")
    assert everything(zone) == [NAMES[0]]
    assert look(zone, f"old/{NAMES[1]}", NAMES[1]) == {}
    assert set(zone.landing.place.folders()) == {"flights", "flights_jfk", "flight", "weather"}


def test_a_feed_that_has_delivered_nothing_yet(zone: Zone) -> None:
    assert look(zone, *NAMES[:2]) == {}
    assert everything(zone) == []


def test_what_lands_while_all_is_being_seen_keeps_nothing_back(zone: Zone) -> None:
    put(zone, *NAMES[:9])
    slices = zone.landing.slices(FEED, 3)
    seen = list(next(slices).files)
    put(zone, *NAMES[20:30])
    for name in seen[:2]:
        zone.vendors.delete(FEED.name, name)
    seen += [name for page in slices for name in page.files]
    assert {*NAMES[:9]} <= {*seen}
    assert len(seen) == len({*seen})


def test_what_nobody_will_ever_look_for_is_named(zone: Zone) -> None:
    put(zone, NAMES[0], "flights_20130107.csv", "flights_2014-01-01.csv", ".flights_2013-01-08.part")
    zone.vendors.put("flihgts", "x.csv", b"")
    assert zone.landing.strays([FEED], datetime(2013, 12, 31, tzinfo=UTC)) == {
        "flights/flights_20130107.csv": FEED,
        "flights/flights_2014-01-01.csv": FEED,
        "flihgts": None,
    }


# ------------------------------------------------------------------------------------------------- stamps, reading


def test_a_stamp_stays_until_somebody_writes(zone: Zone) -> None:
    """Also where the new content has the size of the old one."""
    put(zone, NAMES[0])
    before = look(zone, NAMES[0])
    time.sleep(0.1)
    assert look(zone, NAMES[0]) == before
    put(zone, NAMES[0], content=b"a,b\n1,3\n")
    assert look(zone, NAMES[0]) != before


@pytest.mark.parametrize("size", [0, 1, 2**20, 2**20 + 1, 9 * 2**20])
def test_all_of_a_file_is_read(zone: Zone, size: int) -> None:
    content = hashlib.sha256(b"").digest() * (size // 32 + 1)
    put(zone, NAMES[0], content=content[:size])
    sha256 = hashlib.sha256(content[:size]).hexdigest()
    for feed in (FEED, replace(FEED, max_bytes=2**20)):
        (file,) = zone.landing.ingest(feed, list(look(zone, NAMES[0]).values())).files
        assert (file.sha256, file.size_bytes, file.partition) == (sha256, size, DAYS.keys()[0])
        assert file.content == (content[:size] if size <= feed.max_bytes else None)
        assert zone.landing.shelf(feed).content(sha256) == content[:size]


def test_bytes_that_nobody_wants_are_not_kept(zone: Zone) -> None:
    put(zone, NAMES[0])
    (file,) = zone.landing.ingest(FEED, list(look(zone, NAMES[0]).values()), keep=False).files
    assert file.content is None
    assert zone.landing.shelf(FEED).content(file.sha256) == b"a,b\n1,2\n"


def test_a_file_that_is_replaced_before_it_is_read_is_read_as_it_is_then_or_not_at_all(zone: Zone) -> None:
    """What must not be: the new bytes, noted as those of the old writing."""
    put(zone, NAMES[0])
    old = look(zone, NAMES[0])[NAMES[0]]
    put(zone, NAMES[0], content=b"a,b\n3,4\n")
    taken = zone.landing.ingest(FEED, [old])
    for file in taken.files:
        assert file.content == b"a,b\n3,4\n"
        assert file.stamp != old.stamp
    assert len(taken.files) + len(taken.refused) == 1


def test_a_large_file_that_is_replaced_while_it_is_read_is_no_mixture(
    zone: Zone, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = (bytes([n]) * (20 * 2**20) for n in (1, 2))
    put(zone, NAMES[0], content=old)
    seen = list(look(zone, NAMES[0]).values())
    replaced = False
    update = hashlib.sha256

    class Watched:
        """A hash that has the file replaced after the first piece."""

        def __init__(self, data: bytes = b"") -> None:
            self._hash = update(data)

        def update(self, piece: bytes) -> None:
            nonlocal replaced
            if not replaced:
                replaced = True
                put(zone, NAMES[0], content=new)
            self._hash.update(piece)

        def hexdigest(self) -> str:
            return self._hash.hexdigest()

    with monkeypatch.context() as patched:
        patched.setattr("sh_resources.archive.hashlib.sha256", Watched)
        taken = zone.landing.ingest(replace(FEED, max_bytes=10), seen)
    assert replaced
    hashes = {hashlib.sha256(content).hexdigest() for content in (old, new)}
    assert {file.sha256 for file in taken.files} <= hashes
    assert {path.name for path in zone.landing.archive.rglob("*") if path.is_file()} <= hashes
    (file,) = zone.landing.ingest(FEED, list(look(zone, NAMES[0]).values())).files
    assert file.sha256 == hashlib.sha256(new).hexdigest()


def test_a_file_that_vanished_keeps_nobody_back(zone: Zone) -> None:
    put(zone, *NAMES[:3])
    seen = look(zone, *NAMES[:3])
    zone.vendors.delete(FEED.name, NAMES[1])
    taken = zone.landing.ingest(FEED, list(seen.values()))
    assert [file.file_name for file in taken.files] == [NAMES[0], NAMES[2]]
    assert taken.refused == {NAMES[1]: "it was there a moment ago, and is gone"}
    assert zone.landing.sha256(FEED, seen[NAMES[1]]) is None


# --------------------------------------------------------------------------------------------- gone, unreachable


@pytest.mark.parametrize("count", [5, 300])
def test_exactly_what_was_taken_away_is_gone(zone: Zone, count: int) -> None:
    put(zone, *NAMES[:count])
    known = {name: file.stamp for name, file in look(zone, *NAMES[:count]).items()}
    assert zone.landing.place.gone(FEED.name, known) == frozenset()
    for name in NAMES[1:count:2]:
        zone.vendors.delete(FEED.name, name)
    assert zone.landing.place.gone(FEED.name, known) == {*NAMES[1:count:2]}


def test_a_zone_that_is_not_there_is_an_error_and_nothing_is_gone(zone: Zone, tmp_path: Path) -> None:
    """Else every file looks deleted, and a hundred vendors are called at night because one disk is missing."""
    put(zone, NAMES[0])
    known = {name: file.stamp for name, file in look(zone, NAMES[0]).items()}
    missing = S3Bucket("no-such-bucket") if isinstance(zone.landing.place, S3Bucket) else LocalFolder(tmp_path / "no")
    landing = LandingZone(missing, tmp_path / "archive")
    for ask in (
        lambda: landing.look(FEED, NAMES[:1]),
        lambda: next(landing.slices(FEED)),
        lambda: missing.gone(FEED.name, known),
        lambda: landing.strays([FEED], datetime(2013, 12, 31, tzinfo=UTC)),
    ):
        with pytest.raises(FeedError):
            ask()


def test_who_could_not_be_reached_for_a_while_is_gone_on_with(zone: Zone, monkeypatch: pytest.MonkeyPatch) -> None:
    put(zone, *NAMES[:6])
    slices = zone.landing.slices(FEED, 3)
    seen = list(next(slices).files)
    kind = type(zone.landing.place)
    asked = "_folder" if kind is LocalFolder else "_path"

    def unreachable(*_: object) -> str:
        raise FeedError("the network is down")

    with monkeypatch.context() as patched:
        patched.setattr(kind, asked, unreachable)
        for _ in range(2):
            with pytest.raises(FeedError, match="the network is down"):
                next(slices)
    seen += [name for page in slices for name in page.files]
    assert {*seen} == {*NAMES[:6]}
