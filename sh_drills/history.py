"""History: replays a Git history of published files as arrivals.

Belongs here: which files of a feed each commit published, and landing them the way their vendor did. Does not belong
here: moving a clock, bringing tables up to date (whoever drives does both), faults. Invariant: a replay ends with
exactly the files that the history ends with, and landing a publication again changes nothing.

    with History.open(Path("feeds.bundle")) as history:
        for publication in history.publications([Source(LOANS)]):
            publication.land(Path("state/landing"))

What counts as a publication:

- **Each commit of the main line is one** (``--first-parent``). What was made on a side branch is published by the merge
  that brings it in: nobody who follows the branch could see it before.
- **Its time is the committer's**, not the author's: a change that was written in March and applied in May was published
  in May. The order is that of the history. A commit whose clock was behind counts as published together with the one
  before it, so that times never run backward.
- **A rename is a delivery under the new name and a deletion of the old one.** Links and submodules are no files.

Git itself is used, the program: whoever has such a history has it, and it knows every kind of repository.
"""

import os
import re
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from pathlib import Path

from sh_core.errors import FeedError
from sh_core.feed import Feed
from sh_drills.replay import land

_TOGETHER = 256
"""Commits that are compared with their parents in one call."""

_FILES = {"100644", "100664", "100755"}
"""Modes of regular files; 100664 is that of very old repositories."""

_MARK = ".replayed"
"""Per feed, beside its files: the last commit that was replayed. What starts with a dot is no delivery."""


@dataclass(frozen=True)
class Source:
    """Where a feed's files are in a repository.

    Attributes:
        feed: The feed. A file is one of its if ``file_name`` takes the name, whatever folder it is in.
        glob: Of those, only paths like this, from the top of the repository; ``*`` stands for folders, too, as in Git.
            None for all.
    """

    feed: Feed
    glob: str | None = None

    def file_name(self, path: str) -> str | None:
        """Name under which a path of the repository is delivered; None if it is no file of the feed."""
        name = path.rpartition("/")[2]
        wanted = self.glob is None or fnmatchcase(path, self.glob)
        return name if wanted and self.feed.partition_of(name) is not None else None


@dataclass(frozen=True)
class PublishedFile:
    """One file of a publication.

    Attributes:
        feed: Name of its feed.
        file_name: Name under which it lands.
        content: Its bytes; None if it was deleted.
    """

    feed: str
    file_name: str
    content: bytes | None


@dataclass(frozen=True)
class Landed:
    """What landing a publication did, as ``<feed>/<file>`` in the order of the history.

    Attributes:
        new: Files that were not there.
        replaced: Files that were there with other bytes.
        deleted: Files that are gone now.
        unchanged: Files that were as published already, or gone.
    """

    new: tuple[str, ...]
    replaced: tuple[str, ...]
    deleted: tuple[str, ...]
    unchanged: tuple[str, ...]


@dataclass(frozen=True)
class Publication:
    """What a vendor published at one moment.

    Attributes:
        commit: Id of the commit, in full.
        at_utc: When it was published, aware; never before the publication before it.
        message: First line of the commit's message.
        files: Files of the feeds that were added, changed or deleted.
    """

    commit: str
    at_utc: datetime
    message: str
    files: tuple[PublishedFile, ...]

    def land(self, landing: Path) -> Landed:
        """Do in the landing zone what the vendor did; what was done already is left alone.

        Files are delivered first and deleted then, so that a renamed one is always there.

        Args:
            landing: Root of the landing zone; files land in ``<landing>/<feed>/<file>``.
        """
        done: dict[str, list[str]] = {"new": [], "replaced": [], "deleted": [], "unchanged": []}
        for file in sorted(self.files, key=lambda file: file.content is None):
            path = landing / file.feed / file.file_name
            path.parent.mkdir(parents=True, exist_ok=True)
            there = path.is_file()
            if file.content is None:
                word = "deleted" if there else "unchanged"
                path.unlink(missing_ok=True)
            elif there and path.read_bytes() == file.content:
                word = "unchanged"
            else:
                word = "replaced" if there else "new"
                land(path, file.content)
            done[word].append(f"{file.feed}/{file.file_name}")
        return Landed(**{word: tuple(names) for word, names in done.items()})


@dataclass(frozen=True)
class History:
    """A repository whose commits are publications.

    Attributes:
        folder: A clone, bare or not.
    """

    folder: Path

    @classmethod
    @contextmanager
    def open(cls, repository: Path) -> Iterator["History"]:
        """Open a clone, or a bundle, which is unpacked into a temporary folder meanwhile.

        Args:
            repository: The top folder of the clone, or the bundle's file.

        Raises:
            FeedError: If it is neither, or Git is not there.
        """
        if not repository.is_file():
            _git(repository, "rev-parse", "--git-dir")
            yield cls(repository)
            return
        with tempfile.TemporaryDirectory(prefix="selfheal-history-") as folder:
            clone = ("clone", "--quiet", "--bare", "--", str(repository.absolute()), ".")
            _git(Path(folder), *clone, about=repository)
            yield cls(Path(folder))

    def publications(
        self,
        sources: Sequence[Source],
        revision: str = "HEAD",
        *,
        until: datetime | None = None,
        replayed: Mapping[str, str] | None = None,
    ) -> Iterator[Publication]:
        """What was published of some feeds, oldest first; commits that touch no file of theirs are left out.

        Args:
            sources: Where the feeds' files are.
            revision: Which commits, as ``git log`` takes it: a branch, a tag, ``v1..v2``.
            until: Last moment, aware; None for all.
            replayed: Per feed the commit up to which nothing is to be published any more, see ``last_replayed``.

        Raises:
            FeedError: If the repository cannot be read, does not hold such a commit, or has two files for one name.
        """
        commits = [c for c in self._commits(revision) if until is None or c.at_utc <= until]
        place = {commit.id: at for at, commit in enumerate(commits)}
        begins = {feed: self._place(place, feed, commit, revision) + 1 for feed, commit in (replayed or {}).items()}
        paths: dict[tuple[str, str], str] = {}
        with self._contents() as contents:
            for commit, changes in self._changes(commits):
                files = {
                    (feed, name): PublishedFile(feed, name, contents.read(blob) if blob else None)
                    for (feed, name), blob in _delivered(commit, changes, sources, paths).items()
                    if place[commit.id] >= begins.get(feed, 0)
                }
                if files:
                    yield Publication(commit.id, commit.at_utc, commit.message, tuple(files.values()))

    def _place(self, place: Mapping[str, int], feed: str, commit: str, revision: str) -> int:
        if commit in place:
            return place[commit]
        if self._is_commit(commit):  # a smaller range or an earlier end than last time: all of it was replayed
            return len(place)
        msg = (
            f"feed {feed} was replayed up to commit {commit[:12]}, which is not in the history of {revision}: "
            f"take the repository that was replayed, or another state folder"
        )
        raise FeedError(msg)

    def _is_commit(self, commit: str) -> bool:
        try:
            _git(self.folder, "cat-file", "-e", f"{commit}^{{commit}}")
        except FeedError:
            return False
        return True

    def _commits(self, revision: str) -> "list[_Commit]":
        options = ("--reverse", "--first-parent", "--encoding=UTF-8", "--format=%P%x00%ct%x00%s")
        listed = _git(self.folder, "rev-list", *options, "--end-of-options", revision, "--")
        lines = iter(listed.decode("utf-8", "replace").split("\n")[:-1])
        found: list[_Commit] = []
        for line, told in zip(lines, lines, strict=True):
            parents, seconds, message = told.split("\0")
            at_utc = datetime.fromtimestamp(int(seconds), UTC)
            at_utc = max(at_utc, found[-1].at_utc) if found else at_utc
            found.append(_Commit(line.removeprefix("commit "), parents.partition(" ")[0], at_utc, message))
        return found

    def _changes(self, commits: "Sequence[_Commit]") -> "Iterator[tuple[_Commit, Sequence[_Change]]]":
        """Each commit with the files in which it differs from its first parent."""
        for start in range(0, len(commits), _TOGETHER):
            some = commits[start : start + _TOGETHER]
            asked = "".join(f"{c.id} {c.parent}".rstrip() + "\n" for c in some).encode()
            told = _git(self.folder, "diff-tree", "--stdin", "-r", "-z", "--root", "--no-renames", asked=asked)
            found: dict[str, list[_Change]] = {c.id: [] for c in some}
            changes: list[_Change] = []
            words = iter(told.split(b"\0")[:-1])
            for word in words:
                if word.startswith(b":"):
                    before, after, _, blob, _ = word[1:].decode().split(" ")
                    # A name that is no UTF-8 keeps its bytes.
                    changes.append(_Change(os.fsdecode(next(words)), before in _FILES, blob if after in _FILES else ""))
                else:
                    changes = found[word.decode().strip()]
            yield from ((commit, found[commit.id]) for commit in some)

    @contextmanager
    def _contents(self) -> "Iterator[_Contents]":
        """Git as a server of contents, as long as they are wanted."""
        with subprocess.Popen(  # noqa: S603 - a fixed command
            _command(self.folder, "cat-file", "--batch"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=_environment(self.folder),
        ) as process:
            try:
                yield _Contents(process, self.folder)
            finally:
                process.kill()


@dataclass(frozen=True)
class _Commit:
    id: str
    parent: str
    at_utc: datetime
    message: str


@dataclass(frozen=True)
class _Change:
    """A path whose content differs: whether a file was there, and the blob that is there now, or nothing."""

    path: str
    was_file: bool
    blob: str


@dataclass(frozen=True)
class _Contents:
    process: "subprocess.Popen[bytes]"
    folder: Path

    def read(self, blob: str) -> bytes:
        """Bytes of a blob.

        Raises:
            FeedError: If it is not there: a partial clone has only some.
        """
        asked, told = self.process.stdin, self.process.stdout
        if asked is None or told is None:
            raise AssertionError(self.process)  # both are pipes
        asked.write(f"{blob}\n".encode())
        asked.flush()
        words = told.readline().decode().split()
        if len(words) != 3:  # noqa: PLR2004 - id, kind, size
            msg = f"{self.folder} does not hold all of its files ({blob} is missing): make a full clone of it"
            raise FeedError(msg)
        content = told.read(int(words[2]))
        told.read(1)
        return content


def _delivered(
    commit: _Commit, changes: Sequence[_Change], sources: Sequence[Source], paths: dict[tuple[str, str], str]
) -> dict[tuple[str, str], str]:
    """The blob of each file (feed, name) that a commit delivers, nothing if it deletes it.

    ``paths`` holds the path of each file that is there, and is brought up to date.
    """
    found: dict[tuple[str, str], str] = {}
    for change in sorted(changes, key=lambda change: bool(change.blob)):  # so a file may move to another folder
        for source in sources:
            name = source.file_name(change.path)
            if name is None or not (change.blob or change.was_file):
                continue
            file = (source.feed.name, name)
            if not change.blob:
                paths.pop(file, None)
                found[file] = ""
            elif paths.setdefault(file, change.path) == change.path:
                found[file] = change.blob
            else:
                msg = (
                    f"commit {commit.id[:12]}: {paths[file]} and {change.path} would both be {name} of feed "
                    f"{source.feed.name}; name a path that fits only one of them"
                )
                raise FeedError(msg)
    return found


# ------------------------------------------------------------------------------------------------ where it was left


def last_replayed(landing: Path, feed: str) -> str | None:
    """The commit up to which a feed was replayed into a landing zone; None if it never was."""
    try:
        return (landing / feed / _MARK).read_text("ascii").strip()
    except FileNotFoundError:
        return None


def note_replayed(landing: Path, feed: str, commit: str) -> None:
    """Note that a feed was replayed up to a commit, once everything was done with it."""
    folder = landing / feed
    folder.mkdir(parents=True, exist_ok=True)
    land(folder / _MARK, f"{commit}\n".encode("ascii"))


# -------------------------------------------------------------------------------------------------------------- git


def _command(folder: Path, *words: str) -> list[str]:
    return ["git", "-C", str(folder), *words]


def _environment(folder: Path) -> dict[str, str]:
    """Git's own variables are dropped: inside a hook they would name another repository."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    # A folder that is no repository is not taken for a part of one around it.
    return kept | {"LC_ALL": "C", "GIT_CEILING_DIRECTORIES": str(folder.absolute().parent)}


def _git(folder: Path, *words: str, asked: bytes = b"", about: Path | None = None) -> bytes:
    """What Git answers; ``about`` is what a person calls the folder.

    Raises:
        FeedError: If it is not installed, or refuses.
    """
    try:
        done = subprocess.run(  # noqa: S603 - a fixed command, arguments behind --end-of-options
            _command(folder, *words), input=asked, capture_output=True, check=False, env=_environment(folder)
        )
    except FileNotFoundError as error:
        raise FeedError("git is not installed, or not on the PATH: install it to replay a Git history") from error
    if done.returncode:
        said = re.sub(r"\s+", " ", done.stderr.decode("utf-8", "replace")).strip()
        msg = f"{about or folder} cannot be read as a Git history ({said}): name the top folder of a clone, or a bundle"
        raise FeedError(msg)
    return done.stdout
