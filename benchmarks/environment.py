"""Environments for programs that are compared with: each has its own packages, made on demand.

Belongs here: making one, and saying why it cannot be had. Does not belong here: what runs in it. Invariant: nothing is
installed into this project's own environment, whose packages a peer may contradict. An environment is kept in
``.bench/`` and made anew when its list of versions or the Python change.
"""

import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent / ".bench"

_SHOWN = 5
"""Last lines of a failed command's output that are shown."""


class UnavailableError(Exception):
    """A peer cannot be had here; the message says why."""


@dataclass(frozen=True)
class Environment:
    """One peer's packages.

    Attributes:
        name: What people call the peer.
        folder: Where its environment is, below ``.bench/``.
        pins: File of ``name==version`` lines, complete.
    """

    name: str
    folder: str
    pins: Path

    def version(self, package: str) -> str:
        """The version of a package that the figures hold for."""
        return dict(line.split("==") for line in self.pins.read_text().split("\n") if "==" in line)[package]

    def python(self, say: Callable[[str], None]) -> Path:
        """Its Python; the environment is made unless it is there.

        Args:
            say: Told if it takes a while.

        Raises:
            UnavailableError: If it cannot be made.
        """
        folder = ROOT / self.folder
        python, stamp = folder / "bin" / "python", folder / "installed"
        wanted = f"{sys.base_prefix} {sys.version}\n{self.pins.read_text()}"
        if stamp.is_file() and stamp.read_text() == wanted:
            return python
        say(f"installing {self.name} into {folder}, once")
        shutil.rmtree(folder, ignore_errors=True)
        self._must([sys.executable, "-m", "venv", str(folder)])
        install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input", "--no-deps"]
        self._must([str(python), "-I", *install, "-r", str(self.pins)])
        self._must([str(python), "-I", "-m", "pip", "check"])
        stamp.write_text(wanted)
        return python

    def _must(self, command: list[str]) -> None:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)  # noqa: S603  # built here
        if done.returncode:
            said = "\n".join(done.stdout.splitlines()[-_SHOWN:])
            msg = (
                f"{self.name} is left out: {' '.join(command)} failed with\n{said}\n"
                f"The versions of {self.pins} come from the index that pip is set up for. Put that right and run this "
                "again."
            )
            raise UnavailableError(msg)
