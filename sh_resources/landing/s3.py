"""A landing zone in a bucket of an S3-compatible store, through obstore.

Belongs here: requests to the store. Does not belong here: what is done with files (``zone``), which bucket
(``settings``). Invariant: nothing is asked that changes anything; of an object the pieces that are read belong to the
content that was seen, by its ETag.

    s3://<bucket>/<prefix>/<feed>/<file name>

An object appears whole or not at all, so none is ever seen half-written.

Credentials and endpoint come from the environment as obstore reads it: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY,
AWS_SESSION_TOKEN; AWS_REGION or AWS_DEFAULT_REGION; AWS_ENDPOINT_URL, and AWS_ALLOW_HTTP=true where it is an http one;
AWS_VIRTUAL_HOSTED_STYLE_REQUEST, AWS_SKIP_SIGNATURE; on AWS also a web identity (AWS_WEB_IDENTITY_TOKEN_FILE,
AWS_ROLE_ARN), a container's or an instance's role.
"""

from collections.abc import Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property, partial
from itertools import islice, takewhile
from typing import TYPE_CHECKING

import obstore
from obstore.exceptions import BaseError, PreconditionError
from obstore.store import S3Store

from sh_core.errors import FeedError, SettingsError
from sh_resources.landing.port import Found, Seen, UnfinishedError, UnreadableError, is_unfinished

if TYPE_CHECKING:
    from obstore import GetOptions, ObjectMeta

_PIECE = 8 * 2**20
"""Bytes that one request reads, so that none of them takes longer than a request may."""

_AT_ONCE = 16
"""Requests at a time: a store answers each in some ten milliseconds, and thousands together."""

_FEW = 200
"""Names that are asked for one by one; a listing has a thousand a request, but may have others in between."""

_SPARSE = 4
"""Objects listed for each name looked for, after which the rest is asked for one by one."""

_PATIENCE = {"connect_timeout": "3s", "timeout": "30s"}
_RETRIES = {"max_retries": 3, "retry_timeout": timedelta(seconds=20)}
"""A tick must not wait for minutes: what cannot be reached now is looked for by the next one."""

_CHANGED = "it is there, but it was replaced while it was read; the new one is taken in at the next look"


@dataclass(frozen=True)
class S3Bucket:
    """A bucket, or what is below a prefix in it, with one folder per feed.

    Attributes:
        name: Name of the bucket.
        prefix: Path in it, without slashes at its ends; may be empty.
    """

    name: str
    prefix: str = ""

    def __str__(self) -> str:
        return f"s3://{self.name}/{self.prefix}".rstrip("/")

    @cached_property
    def _store(self) -> S3Store:
        try:
            # Not as client_options, which would be taken instead of those that the environment names.
            return S3Store(self.name, config=_PATIENCE, retry_config=_RETRIES)  # type: ignore[arg-type]  # mappings
        except BaseError as error:
            msg = f"{self} cannot be used: {_said(error)}; check the AWS_… variables"
            raise SettingsError(msg) from error

    def look(self, feed: str, names: Collection[str]) -> Seen:
        """Ask for each name; for many of them, list those from the first to the last."""
        wanted = sorted(name for name in names if not is_unfinished(name) and "/" not in name)
        with self._asking(feed):
            if not wanted or not self._was_there:
                return Seen(looked=len(names))
            found, until = self._between(feed, wanted) if len(wanted) > _FEW else ({}, "")
            rest = [name for name in wanted if name > until]
            if rest:
                with ThreadPoolExecutor(min(_AT_ONCE, len(rest)), "look") as pool:
                    found |= {f.name: f for f in pool.map(partial(self._head, feed), rest) if f is not None}
        return Seen(found, {}, len(names))

    @property
    def lists_prefixes(self) -> bool:
        """Yes: from where they would begin on."""
        return True

    def starting(self, feed: str, prefixes: Collection[str]) -> Seen:
        """List the objects from each prefix on, for as long as their names begin with it."""
        with self._asking(feed), ThreadPoolExecutor(_AT_ONCE, "look") as pool:
            found = [file for files in pool.map(partial(self._from, feed), prefixes) for file in files]
        files = {f.name: f for f in found if "/" not in f.name and not is_unfinished(f.name)}
        return Seen(files, {}, len(found))

    def slices(self, feed: str, most: int) -> Iterator[Seen]:
        """Go through the feed's objects in the order of their names; after an error from where it was."""
        return _Listing(self, feed, most)

    def gone(self, feed: str, known: Mapping[str, str]) -> frozenset[str]:
        """Those that are not there, in a bucket that is."""
        with self._asking(feed):
            self._ask()
        return frozenset(known).difference(self.look(feed, known).files)

    @contextmanager
    def opened(self, feed: str, file: Found) -> Iterator["S3Object"]:
        """Open an object as it was seen; if it was replaced since, it is an error."""
        yield S3Object(self._store, self._path(feed, file.name), file)

    def folders(self) -> Collection[str]:
        """Names below the prefix."""
        with self._asking(""):
            below = obstore.list_with_delimiter(self._store, self.prefix or None)
        paths = [*below["common_prefixes"], *(found["path"] for found in below["objects"])]
        return sorted(path.rpartition("/")[2] for path in paths)

    def listed(self, feed: str, after: str) -> Iterator[Found]:
        """Objects of a feed whose names come after one, in order, a thousand a request; those in folders below, too."""
        folder = self._path(feed, "")
        pages = obstore.list(self._store, folder, offset=f"{folder}/{after}" if after else None, chunk_size=1000)
        for page in pages:
            for meta in page:
                yield _found(meta, meta["path"].removeprefix(f"{folder}/"))

    def _from(self, feed: str, prefix: str) -> list[Found]:
        # A name comes after its beginning; one that is the beginning itself is asked for.
        whole = self._head(feed, prefix)
        rest = takewhile(lambda file: file.name.startswith(prefix), self.listed(feed, prefix))
        return [*([whole] if whole is not None else []), *rest]

    def _ask(self) -> None:
        """Fail if there is no bucket; asked for an object, a store says the same as if only that were missing."""
        next(iter(obstore.list(self._store, self.prefix or None, chunk_size=1)), None)

    @cached_property
    def _was_there(self) -> bool:
        self._ask()
        return True

    def _between(self, feed: str, names: list[str]) -> tuple[dict[str, Found], str]:
        """Those of some names, in order, that are there, and up to which name that was seen."""
        wanted, found, last = frozenset(names), dict[str, Found](), names[0][:-1]
        for file in islice(self.listed(feed, last), _SPARSE * len(names)):
            if file.name > names[-1]:
                break
            last = file.name
            if file.name in wanted:
                found[file.name] = file
        else:
            return found, last
        return found, names[-1]

    def _head(self, feed: str, name: str) -> Found | None:
        try:
            return _found(obstore.head(self._store, self._path(feed, name)), name)
        except FileNotFoundError:
            return None

    def _path(self, feed: str, name: str) -> str:
        return "/".join(part for part in (self.prefix, feed, name) if part)

    @contextmanager
    def _asking(self, feed: str) -> Iterator[None]:
        try:
            yield
        except (BaseError, FileNotFoundError, ValueError, OSError) as error:
            of = f"feed {feed}: " if feed else ""
            msg = f"{of}{self} cannot be read ({_said(error)}); check the bucket, the AWS_… variables and the network"
            raise FeedError(msg) from error


class S3Object:
    """One content of an object."""

    def __init__(self, store: S3Store, path: str, file: Found) -> None:
        """Nothing is asked yet."""
        self._store, self._path, self._file = store, path, file
        self._tag = file.stamp.partition(" ")[0]
        self.size_bytes = file.size_bytes

    def pieces(self) -> Iterator[bytes]:
        """Its content from the beginning, as long as the object has it."""
        try:
            for start in range(0, self.size_bytes, _PIECE):
                until = min(start + _PIECE, self.size_bytes)
                options: GetOptions = {"range": (start, until)}
                if self._tag:
                    options["if_match"] = f'"{self._tag}"'
                yield bytes(obstore.get(self._store, self._path, options=options).bytes())
        except PreconditionError as error:
            raise UnfinishedError(_CHANGED) from error
        except FileNotFoundError as error:
            raise UnreadableError("it was there a moment ago, and is gone") from error
        except (BaseError, OSError) as error:
            msg = f"it is there, but it cannot be read ({_said(error)}); give access to it, or deliver it again"
            raise UnreadableError(msg) from error

    def stamp(self) -> str:
        """That under which it was seen: what was read had its ETag."""
        return self._file.stamp


class _Listing(Iterator[Seen]):
    """Objects of a feed being gone through."""

    def __init__(self, place: S3Bucket, feed: str, most: int) -> None:
        self._place, self._feed, self._most = place, feed, most
        self._after = ""

    def __next__(self) -> Seen:
        with self._place._asking(self._feed):  # noqa: SLF001 - its own
            found = list(islice(self._place.listed(self._feed, self._after), self._most))
        if not found:
            raise StopIteration
        self._after = found[-1].name
        files = {f.name: f for f in found if "/" not in f.name and not is_unfinished(f.name)}
        return Seen(files, {}, len(found))


def _found(meta: "ObjectMeta", name: str) -> Found:
    # Some answers have the time in whole seconds, and some the ETag in quotes.
    tag = (meta["e_tag"] or "").strip('"')
    written_s = int(meta["last_modified"].timestamp())
    return Found(name, meta["size"], f"{tag} {written_s}", written_s * 10**9)


def _said(error: Exception) -> str:
    """The first line of what obstore says; the others are its inner workings."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
