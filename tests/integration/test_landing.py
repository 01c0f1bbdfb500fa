"""What vendors, disks and crashes do to files on their way in."""

import errno
import hashlib
import logging
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

from sh_core.errors import FeedError
from sh_core.feed import Feed
from sh_core.partitions import Daily
from sh_resources.landing import Found, Ingested, LandingZone, LocalFolder, Seen, local
from sh_resources.landing.local import LocalFile

DAYS = Daily(date(2013, 1, 1), date(2013, 12, 31))
FEED = Feed("flights", "flights_{partition}.csv", ("a", "b"), DAYS, "team:flights")
MONDAY, TUESDAY, WEDNESDAY = "2013-01-07", "2013-01-08", "2013-01-09"
KEYS = (MONDAY, TUESDAY, WEDNESDAY)


@pytest.fixture
def zone(tmp_path: Path) -> LandingZone:
    (tmp_path / "landing" / FEED.name).mkdir(parents=True)
    return zone_at(tmp_path / "landing", tmp_path / "archive")


def zone_at(root: Path, archive: Path) -> LandingZone:
    return LandingZone(LocalFolder(root), archive)


def folder(zone: LandingZone) -> Path:
    assert isinstance(zone.place, LocalFolder)
    return zone.place.root / FEED.name


def name(key: str) -> str:
    return FEED.expected_file(key)


def seen(zone: LandingZone, feed: Feed = FEED) -> Seen:
    return zone.look(feed, [feed.expected_file(key) for key in KEYS])


def files(zone: LandingZone, feed: Feed = FEED) -> list[Found]:
    return list(seen(zone, feed).files.values())


def landed(zone: LandingZone, key: str, content: bytes = b"a,b\n") -> Path:
    path = folder(zone) / name(key)
    path.write_bytes(content)
    return path


def ingest(zone: LandingZone) -> list[Ingested]:
    return list(zone.ingest(FEED, files(zone)).files)


def archive_files(zone: LandingZone) -> list[Path]:
    return sorted(path for path in zone.archive.rglob("*") if path.is_file())


def place(zone: LandingZone, content: bytes) -> Path:
    sha256 = hashlib.sha256(content).hexdigest()
    return zone.archive / FEED.name / sha256[:2] / sha256


# --------------------------------------------------------------------------------------------------- finding


@pytest.mark.parametrize(
    "name",
    [
        ".flights_2013-01-07.csv",
        "flights_2013-01-07.csv.part",
        "Flights_2013-01-07.csv",
        "flights_2013-1-7.csv",
        "flights_20130107.csv",
        "flights_2013-01-07 (1).csv",
    ],
)
def test_a_file_under_another_name_is_not_taken(zone: LandingZone, name: str) -> None:
    """Half an upload, or a browser's second copy, is not the day's delivery."""
    (folder(zone) / name).write_bytes(b"a,b\n")
    assert files(zone) == []


def test_a_feed_of_dotted_names_finds_nothing(zone: LandingZone) -> None:
    """A dot means "still being written" to every vendor, whatever a feed is declared like."""
    feed = Feed("flights", ".{partition}.csv", ("a",), DAYS, "team:flights")
    (folder(zone) / f".{MONDAY}.csv").write_bytes(b"a\n")
    assert files(zone, feed) == []
    assert [seen.files for seen in zone.slices(feed)] == [{}]


def test_files_are_looked_at_by_name_without_listing_the_others(
    zone: LandingZone, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a folder of a million files a listing takes seconds, every two seconds."""

    def never(path: Path) -> object:
        raise AssertionError(path)

    monkeypatch.setattr(os, "scandir", never)
    monkeypatch.setattr(os, "listdir", never)
    landed(zone, MONDAY)
    assert [file.name for file in files(zone)] == [name(MONDAY)]


def test_a_vendor_without_a_folder_has_not_delivered(zone: LandingZone) -> None:
    folder(zone).rmdir()
    assert files(zone) == []
    assert list(zone.slices(FEED)) == []
    assert ingest(zone) == []


def test_an_unmounted_landing_zone_is_no_late_vendor(tmp_path: Path) -> None:
    """Else a hundred vendors are called at night because one disk is missing."""
    zone = zone_at(tmp_path / "gone", tmp_path / "archive")
    with pytest.raises(FeedError, match="mount"):
        seen(zone)
    with pytest.raises(FeedError, match="mount"):
        next(zone.slices(FEED))


def test_a_file_in_place_of_the_folder_is_named(zone: LandingZone) -> None:
    folder(zone).rmdir()
    folder(zone).write_bytes(b"")
    for look in (lambda: seen(zone), lambda: next(zone.slices(FEED))):
        with pytest.raises(FeedError, match=r"landing/flights cannot be listed \(Not a directory\)"):
            look()


# ------------------------------------------------------------------------------------- what is no plain file


def test_links_folders_and_pipes_are_not_deliveries(zone: LandingZone, tmp_path: Path) -> None:
    """A vendor who may write here must not make us publish ``/etc/passwd``, or wait for a pipe for ever."""
    secret = tmp_path / "secret"
    secret.write_bytes(b"a,b\n1,2\n")
    (folder(zone) / name(MONDAY)).symlink_to(secret)
    (folder(zone) / name(TUESDAY)).mkdir()
    os.mkfifo(folder(zone) / name(WEDNESDAY))
    found = seen(zone)
    assert found.files == {}
    assert found.refused == {
        name(MONDAY): "it is there, but it is a symbolic link; links may lead out of the landing zone, "
        "so deliver the file itself",
        name(TUESDAY): "it is there, but it is a folder; deliver a file under this name",
        name(WEDNESDAY): "it is there, but it is a pipe; deliver a file under this name",
    }
    assert next(zone.slices(FEED)) == found


def test_a_device_or_a_socket_is_no_delivery(zone: LandingZone, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder(zone))  # the path of a socket may have a hundred characters
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(FEED.expected_file(MONDAY))
        refused = seen(zone).refused
    assert refused == {name(MONDAY): "it is there, but it is a device or a socket; deliver a file under this name"}


def test_a_file_replaced_since_it_was_listed_is_not_followed(zone: LandingZone, tmp_path: Path) -> None:
    """The same trick, between our look and our reading."""
    secret = tmp_path / "secret"
    secret.write_bytes(b"a,b\n1,2\n")
    paths = [landed(zone, key) for key in KEYS]
    found = files(zone)
    for path in paths:
        path.unlink()
    paths[0].symlink_to(secret)
    paths[1].mkdir()
    os.mkfifo(paths[2])
    rescued = threading.Event()

    def rescue() -> None:
        rescued.set()
        os.close(os.open(paths[2], os.O_RDWR))

    rescuer = threading.Timer(10, rescue)
    rescuer.start()
    taken = zone.ingest(FEED, found)
    rescuer.cancel()
    assert taken.files == ()
    assert list(taken.refused) == [name(key) for key in KEYS]
    assert all("cannot be read" in why for why in taken.refused.values())
    assert not rescued.is_set(), "it waited for somebody to write into the pipe"
    assert archive_files(zone) == []


def test_a_feed_folder_that_leads_elsewhere_is_refused(zone: LandingZone, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / FEED.expected_file(MONDAY)).write_bytes(b"a,b\n")
    folder(zone).rmdir()
    folder(zone).symlink_to(elsewhere)
    with pytest.raises(FeedError, match="leads out of the landing zone"):
        seen(zone)
    with pytest.raises(FeedError, match="leads out of the landing zone"):
        zone.ingest(FEED, [Found(name(MONDAY), 4, "")])


@pytest.mark.parametrize("name", ["../../secret", "/etc/passwd", "../flights_2013-01-07.csv"])
def test_a_name_that_is_none_of_the_feeds_is_not_read(zone: LandingZone, name: str) -> None:
    landed(zone, TUESDAY)
    (folder(zone).parent / "flights_2013-01-07.csv").touch()
    assert zone.look(FEED, [name]).files == {}
    with pytest.raises(FeedError, match="nothing was read"):
        zone.ingest(FEED, [Found(name, 4, "")])


# -------------------------------------------------------------------------------------------------- ingesting


def test_what_is_hashed_archived_and_handed_on_are_the_same_bytes(zone: LandingZone) -> None:
    contents = {MONDAY: b"a,b\n1,2\n", TUESDAY: b"", WEDNESDAY: bytes(range(256))}
    for key, content in contents.items():
        landed(zone, key, content)
    taken = ingest(zone)
    assert [file.partition for file in taken] == list(KEYS)
    for file in taken:
        assert file.content == contents[file.partition]
        assert file.file_name == FEED.expected_file(file.partition)
        assert file.size_bytes == len(file.content)
        assert file.sha256 == hashlib.sha256(file.content).hexdigest()
        assert place(zone, file.content).read_bytes() == file.content
        assert zone.shelf(FEED).content(file.sha256) == file.content
    assert len(archive_files(zone)) == len(KEYS)


def test_a_file_that_grew_since_it_was_listed_is_taken_as_it_is_read(zone: LandingZone) -> None:
    """A size from the listing beside the hash of other bytes would make every later comparison fail."""
    path = landed(zone, MONDAY, b"a,b\n")
    found = files(zone)
    path.write_bytes(b"a,b\n1,2\n")
    (file,) = zone.ingest(FEED, found).files
    assert (file.content, file.size_bytes) == (b"a,b\n1,2\n", 8)
    assert zone.shelf(FEED).content(file.sha256) == b"a,b\n1,2\n"


def test_a_file_that_changes_while_it_is_taken_in_is_read_once(
    zone: LandingZone, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Hash of the first bytes, archive of the second: a replay would fail on a file that nobody damaged."""
    path = landed(zone, MONDAY, b"first")
    sha256 = hashlib.sha256

    def rewritten_meanwhile(content: bytes) -> object:
        path.write_bytes(b"second")
        return sha256(content)

    with monkeypatch.context() as patched:
        patched.setattr(hashlib, "sha256", rewritten_meanwhile)
        (file,) = ingest(zone)
    assert file.content == b"first"
    assert zone.shelf(FEED).content(file.sha256) == b"first"


def test_a_file_that_vanished_keeps_nobody_back(zone: LandingZone, caplog: pytest.LogCaptureFixture) -> None:
    """A vendor replaces a file by deleting it first; the other days go on."""
    paths = [landed(zone, key, key.encode()) for key in KEYS]
    found = files(zone)
    paths[1].unlink()
    with caplog.at_level(logging.WARNING):
        taken = zone.ingest(FEED, found)
    assert [file.partition for file in taken.files] == [MONDAY, WEDNESDAY]
    assert taken.refused == {name(TUESDAY): "it was there a moment ago, and is gone"}
    assert f"{paths[1]}: it was there a moment ago, and is gone" in caplog.text


def test_a_file_that_may_not_be_read_is_named_with_the_reason(
    zone: LandingZone, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Root may read all, so the refusal is made: somebody uploaded with another umask, and waits for days."""
    landed(zone, MONDAY)
    found = files(zone)

    def denied(*_: object) -> int:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    with monkeypatch.context() as patched:
        patched.setattr(os, "open", denied)
        taken = zone.ingest(FEED, found)
    assert taken.refused == {
        name(MONDAY): "it is there, but it cannot be read (Permission denied); give access to it, or deliver it again"
    }


def test_the_same_content_is_archived_once_and_left_alone(zone: LandingZone) -> None:
    """Delivered twice, ingested twice, by two processes: there is nothing to write."""
    landed(zone, MONDAY, b"same")
    landed(zone, TUESDAY, b"same")
    assert [file.sha256 for file in ingest(zone)] == [hashlib.sha256(b"same").hexdigest()] * 2
    (first,) = archive_files(zone)
    before = first.stat()
    ingest(zone)
    (again,) = archive_files(zone)
    assert (again.stat().st_ino, again.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_archived_files_are_read_only(zone: LandingZone) -> None:
    """An editor opened on evidence must not save over it."""
    landed(zone, MONDAY)
    ingest(zone)
    (path,) = archive_files(zone)
    assert path.stat().st_mode & 0o777 == 0o444


def test_many_processes_may_ingest_the_same_files(zone: LandingZone) -> None:
    for key in KEYS:
        landed(zone, key, key.encode() * 1000)
    results: list[list[Ingested]] = []
    threads = [threading.Thread(target=lambda: results.append(ingest(zone))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [results[0]] * 8
    assert sorted(archive_files(zone)) == sorted(place(zone, key.encode() * 1000) for key in KEYS)


# ----------------------------------------------------------------------------------- files larger than allowed

SMALL = replace(FEED, max_bytes=3 * 2**20)
LARGE = b"".join(hashlib.sha256(bytes([n % 256])).digest() for n in range(100_000)) + bytes(2**21) + b"end"


def ingest_small(zone: LandingZone) -> list[Ingested]:
    return list(zone.ingest(SMALL, files(zone, SMALL)).files)


def test_a_file_is_held_in_memory_up_to_the_limit_and_not_beyond(zone: LandingZone) -> None:
    landed(zone, MONDAY, b"x" * SMALL.max_bytes)
    landed(zone, TUESDAY, b"x" * (SMALL.max_bytes + 1))
    largest, too_large = ingest_small(zone)
    assert largest.content == b"x" * SMALL.max_bytes
    assert (too_large.content, too_large.size_bytes) == (None, SMALL.max_bytes + 1)


def test_a_file_too_large_to_be_read_is_archived_all_the_same(zone: LandingZone) -> None:
    """Pieces of zeros become holes, which read like zeros, also at the very end."""
    for key, content in {MONDAY: LARGE, TUESDAY: LARGE + bytes(2**22), WEDNESDAY: bytes(2**22)}.items():
        landed(zone, key, content)
        file = ingest_small(zone)[-1]
        assert (file.sha256, file.size_bytes) == (hashlib.sha256(content).hexdigest(), len(content))
        assert place(zone, content).read_bytes() == content
        assert place(zone, content).stat().st_mode & 0o777 == 0o444
    assert len(archive_files(zone)) == 3


def test_a_large_file_is_written_to_the_archive_once(zone: LandingZone, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every look at the landing zone would write it again, and throw it away."""
    landed(zone, MONDAY, LARGE)
    (first,) = ingest_small(zone)

    def never(**_: object) -> tuple[int, str]:
        raise AssertionError

    monkeypatch.setattr(tempfile, "mkstemp", never)
    assert [replace(file, stamp=first.stamp) for file in ingest_small(zone)] == [first]


def test_a_large_file_that_changes_while_it_is_taken_in_is_taken_once_it_stays(
    zone: LandingZone, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The incident: the first half of the old delivery and the second half of the new one, published as one."""
    path = landed(zone, MONDAY, LARGE)
    mkstemp = tempfile.mkstemp

    def changed_meanwhile(**options: Any) -> tuple[int, str]:  # noqa: ANN401
        with path.open("r+b") as file:
            file.write(b"changed")
        return mkstemp(**options)

    with monkeypatch.context() as patched:
        patched.setattr(tempfile, "mkstemp", changed_meanwhile)
        taken = zone.ingest(SMALL, files(zone, SMALL))
    assert list(taken.refused) == [name(MONDAY)]
    assert "it changed while it was read" in taken.refused[name(MONDAY)]
    assert archive_files(zone) == []
    (file,) = ingest_small(zone)
    assert file.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert place(zone, path.read_bytes()).read_bytes() == path.read_bytes()


@pytest.mark.parametrize("how", ["grows", "is rewritten"])
def test_a_file_that_changes_while_it_is_read_is_taken_once_it_stays(
    zone: LandingZone, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    path = landed(zone, MONDAY, b"a,b\n1,2\n")
    pieces = LocalFile.pieces

    def changing(source: LocalFile) -> Iterator[bytes]:
        yield from pieces(source)
        with path.open("ab" if how == "grows" else "r+b") as file:
            file.write(b"3,4\n")

    with monkeypatch.context() as patched:
        patched.setattr(LocalFile, "pieces", changing)
        taken = zone.ingest(FEED, files(zone))
    assert "it changed while it was read" in taken.refused[name(MONDAY)]
    assert archive_files(zone) == []
    assert [file.content for file in ingest(zone)] == [path.read_bytes()]


# ----------------------------------------------------------------------------------- files still being written


def test_a_file_that_somebody_is_writing_is_left_until_it_is_closed(zone: LandingZone) -> None:
    """The incident: half a day is published, although the other half is on its way."""
    path = folder(zone) / name(MONDAY)
    with path.open("wb") as writing:
        writing.write(b"a,b\n")
        writing.flush()
        taken = zone.ingest(FEED, files(zone))
        assert taken.refused == {
            name(MONDAY): "it is there, but it is still being written; it is taken in once that is done"
        }
        assert zone.sha256(FEED, files(zone)[0]) is None
        writing.write(b"1,2\n")
    assert [file.content for file in ingest(zone)] == [b"a,b\n1,2\n"]
    assert len(archive_files(zone)) == 1


WRITER = """
import os, sys, time
while os.path.exists(sys.argv[2]):
    with open(sys.argv[1], "r+b") as file:
        file.write(b"a,b\\n")
"""


def test_asking_for_writers_neither_kills_us_nor_keeps_them_waiting(zone: LandingZone, tmp_path: Path) -> None:
    """A lease that is broken sends a signal that by default ends the process; whoever opens the file waits for it."""
    path, go = landed(zone, MONDAY), tmp_path / "go"
    go.touch()
    with subprocess.Popen([sys.executable, "-c", WRITER, str(path), str(go)]):
        told = set[bool]()
        with path.open("rb") as file:
            for _ in range(20_000):
                told.add(local.is_written(file.fileno(), os.fstat(file.fileno())))
        go.unlink()
    assert told == {False, True}


def test_where_nobody_knows_who_writes_a_file_settles_first(zone: LandingZone, monkeypatch: pytest.MonkeyPatch) -> None:
    """A share on the network tells nothing of writers on other machines."""
    monkeypatch.setattr(local, "_tells_writers", lambda device: False)
    path = landed(zone, MONDAY)
    assert "still being written" in zone.ingest(FEED, files(zone)).refused[name(MONDAY)]
    old = time.time() - local.SETTLED_S - 1
    os.utime(path, (old, old))
    assert len(ingest(zone)) == 1


def test_a_clock_of_the_landing_zone_that_is_ahead_keeps_no_file_back(
    zone: LandingZone, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The incident: a file server an hour ahead, and every file is an hour late."""
    monkeypatch.setattr(local, "_tells_writers", lambda device: False)
    path = landed(zone, MONDAY)
    ahead = time.time() + 3600
    os.utime(path, (ahead, ahead))
    assert len(ingest(zone)) == 1


def test_a_file_written_to_twice_within_a_tick_of_the_disks_clock_is_read_again(zone: LandingZone) -> None:
    """Both writings have one size and the same times; whoever trusted them would never see the second."""
    path = landed(zone, MONDAY)
    (fresh,) = ingest(zone)
    assert fresh.stamp == ""
    time.sleep(2 * local._GRAIN_NS / 1e9)
    (settled,) = ingest(zone)
    assert settled.stamp == files(zone)[0].stamp != ""
    path.write_bytes(path.read_bytes())
    assert files(zone)[0].stamp != settled.stamp


def test_files_are_gone_only_from_a_folder_that_something_was_taken_out_of(zone: LandingZone, tmp_path: Path) -> None:
    """The incident: a disk is not mounted, and below its place is an empty folder: every file looks deleted."""
    for key in KEYS:
        landed(zone, key)
    time.sleep(2 * local._GRAIN_NS / 1e9)
    known = {file.name: file.stamp for file in files(zone)}
    below = tmp_path / "below"
    below.mkdir()
    os.utime(below, (0, 0))
    folder(zone).rename(tmp_path / "unmounted")
    with pytest.raises(FeedError, match="flights is not there, and files were known in it; mount the disk"):
        zone.place.gone(FEED.name, known)
    below.rename(folder(zone))
    with pytest.raises(FeedError, match=r"3 known files are not in .*flights.*: is the disk mounted"):
        zone.place.gone(FEED.name, known)
    folder(zone).rename(below)
    (tmp_path / "unmounted").rename(folder(zone))
    assert zone.place.gone(FEED.name, known) == frozenset()
    (folder(zone) / name(MONDAY)).unlink()
    assert zone.place.gone(FEED.name, known) == {name(MONDAY)}


# ----------------------------------------------------------------------------------------- disks and crashes


def test_a_full_disk_is_called_by_its_name_and_leaves_nothing_half_done(
    zone: LandingZone, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A truncated file under its full hash would poison every replay to come."""
    landed(zone, MONDAY)

    def no_space(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", no_space)
        with pytest.raises(
            FeedError, match=r"archive/flights cannot be written \(No space left on device\); make room"
        ):
            ingest(zone)
    assert archive_files(zone) == []
    assert len(ingest(zone)) == 1


def test_a_file_is_on_disk_before_it_has_its_name_and_its_folder_after(
    zone: LandingZone, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a power cut an archive must not hold names without content, nor the ledger names without a file."""
    landed(zone, MONDAY, b"content")
    final = place(zone, b"content")
    synced: list[tuple[int, int, bool]] = []
    beside: list[str] = []
    fsync = os.fsync

    def watched(descriptor: int) -> None:
        found = os.fstat(descriptor)
        synced.append((found.st_ino, found.st_size, final.exists()))
        beside.extend(path.name for path in final.parent.iterdir())
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", watched)
    ingest(zone)
    assert synced[0] == (final.stat().st_ino, len(b"content"), False)
    # Beside its final place: a rename from another disk would be a copy.
    assert beside[0].startswith(".")
    folders = (final.parent, zone.archive / FEED.name, zone.archive)
    assert {(inode, complete) for inode, _, complete in synced[1:]} == {(f.stat().st_ino, True) for f in folders}


KILLED = """
import os, signal, sys
from tests.integration.test_landing import FEED, files, zone_at, Path
zone = zone_at(Path(sys.argv[1]), Path(sys.argv[2]))
found = files(zone)
calls = 0
fsync = os.fsync
def dying(descriptor):
    global calls
    calls += 1
    if calls == int(sys.argv[3]):
        os.kill(os.getpid(), signal.SIGKILL)
    fsync(descriptor)
os.fsync = dying
zone.ingest(FEED, found)
"""


@pytest.mark.parametrize("step", [1, 2, 3, 4, 5])
def test_a_process_killed_at_any_step_leaves_only_what_can_be_ignored(zone: LandingZone, step: int) -> None:
    contents = {key: key.encode() * 10_000 for key in KEYS}
    for key, content in contents.items():
        landed(zone, key, content)
    command = [sys.executable, "-c", KILLED, str(folder(zone).parent), str(zone.archive), str(step)]
    killed = subprocess.run(command, cwd=Path(__file__).parents[2], check=False)
    assert killed.returncode == -9
    for path in archive_files(zone):
        assert path.name.startswith(".") or path == place(zone, path.read_bytes())
    assert {file.partition: file.content for file in ingest(zone)} == contents
    for content in contents.values():
        assert zone.shelf(FEED).content(hashlib.sha256(content).hexdigest()) == content


@pytest.mark.parametrize("damage", [b"", b"a,b\n1,3\n", b"a,b\n1,2\n\0"])
def test_a_damaged_archive_is_never_read_as_if_it_were_whole(zone: LandingZone, damage: bytes) -> None:
    """A replay from rotten bytes would publish them under the name of the good ones."""
    landed(zone, MONDAY, b"a,b\n1,2\n")
    (file,) = ingest(zone)
    (path,) = archive_files(zone)
    path.chmod(0o644)
    path.write_bytes(damage)
    with pytest.raises(FeedError, match=rf"{path} is damaged.*delete it.*team:flights"):
        zone.shelf(FEED).content(file.sha256)
    path.unlink()
    with pytest.raises(FeedError, match=rf"{path} cannot be read.*restore it from a backup"):
        zone.shelf(FEED).content(file.sha256)
    ingest(zone)
    assert zone.shelf(FEED).content(file.sha256) == b"a,b\n1,2\n"


@pytest.mark.parametrize("sha256", ["", "ab", "../../landing/flights/x", "A" * 64, "0" * 63 + "\n", "0" * 64 + "\n"])
def test_only_a_hash_finds_something_in_the_archive(zone: LandingZone, sha256: str) -> None:
    with pytest.raises(FeedError, match="no SHA-256"):
        zone.shelf(FEED).content(sha256)


def test_what_nobody_will_ever_look_for_is_named(zone: LandingZone) -> None:
    """The incident: a week of files named by their Tuesdays, and a pipeline that waits for them, silently."""
    landed(zone, MONDAY)
    for name in (
        "flights_20130107.csv",
        "flights_2014-01-01.csv",
        "Flights_2013-01-08.csv",
        ".flights_2013-01-08.part",
    ):
        (folder(zone) / name).touch()
    (folder(zone).parent / "flihgts").mkdir()
    (folder(zone).parent / ".mounted").touch()
    assert zone.strays([FEED], datetime(2013, 12, 31, tzinfo=UTC)) == {
        "flights/Flights_2013-01-08.csv": FEED,
        "flights/flights_2014-01-01.csv": FEED,
        "flights/flights_20130107.csv": FEED,
        "flihgts": None,
    }
