"""docs/your-own-table.md, word for word: its files are written, its commands run, and its outputs compared.

The incident: a page that a newcomer follows, and that worked for the last time a year ago. Run in an empty folder, with
this environment's programs in place of the page's ``pip install``. Left open in a comparison: times, the folder, and
lines for which the page says ``…``.
"""

import dataclasses
import inspect
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import selfheal

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "your-own-table.md"
FENCE = re.compile(r"^```(?P<kind>\w+)(?: (?P<info>\S+))?\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE)
FOLDER, PORT = "/home/you/library", "3000"
REST = "…"


@dataclass(frozen=True)
class Block:
    """A fenced block of the page.

    Attributes:
        line: Where it begins.
        kind: Its language.
        info: The word after it: a file's name, or how a command is run.
        text: What is in it.
    """

    line: int
    kind: str
    info: str
    text: str


def blocks(path: Path = PAGE) -> list[Block]:
    page = path.read_text()
    return [
        Block(page.count("\n", 0, found.start()) + 1, found["kind"], found["info"] or "", found["text"])
        for found in FENCE.finditer(page)
    ]


@dataclass(frozen=True)
class Reader:
    """Somebody who does what the page says, in a shell."""

    folder: Path
    variables: Path

    @property
    def environment(self) -> dict[str, str]:
        """A new terminal's: nothing of this project's settings, and this environment's programs."""
        strange = ("SELFHEAL_", "PYTEST_", "DAGSTER_", "COLUMNS", "PYTHON")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(strange)}
        path = os.pathsep.join([str(Path(sys.executable).parent), kept["PATH"]])
        return {**kept, "PATH": path, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}

    def run(self, commands: str) -> str:
        """Run commands as one who types them; what they export holds for the next ones too."""
        told = f". {self.variables}\n{commands}\nexport -p > {self.variables}\n"
        done = subprocess.run(
            ["bash", "-e", "-c", told],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, f"{commands}\n{done.stdout}"
        return done.stdout

    def run_until_it_answers(self, command: str) -> str:
        """Run a command that never ends until it answers, on a port that is free here."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = str(probe.getsockname()[1])
        told = f". {self.variables}\nexec {command.strip()} --port {port}"
        process = subprocess.Popen(
            ["bash", "-e", "-c", told],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        try:
            assert process.stdout is not None
            said = ""
            for line in process.stdout:
                said += line
                if "answers on" in line:
                    assert "stg_loans" in assets(port)
                    break
        finally:
            process.send_signal(signal.SIGINT)
            _, _ = process.communicate(timeout=60)
        assert process.returncode == 0
        return said.replace(port, PORT)


def assets(port: str) -> list[str]:
    """Assets that Dagster's own process has loaded from the folder's module; it takes a while."""
    query = "{repositoriesOrError{... on RepositoryConnection{nodes{assetNodes{assetKey{path}}}}}}"
    asked = urllib.request.Request(
        f"http://127.0.0.1:{port}/graphql", json.dumps({"query": query}).encode(), {"Content-Type": "application/json"}
    )
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with urllib.request.urlopen(asked, timeout=60) as answer:
            found = json.load(answer)["data"]["repositoriesOrError"].get("nodes", [])
        if found:
            return [node["assetKey"]["path"][-1] for node in found[0]["assetNodes"]]
        time.sleep(0.5)
    return []


def plain(text: str, folder: Path) -> list[str]:
    """Lines without what differs from run to run."""
    text = text.replace(str(folder), FOLDER)
    text = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d UTC", "TIME", text)
    text = re.sub(r"\b\d+\.\d+ ?s\b", "SECONDS", text)
    return [line.rstrip() for line in text.strip("\n").rstrip().splitlines()]


def says(said: list[str], expected: list[str]) -> bool:
    """Whether lines are those expected, where one that reads ``…`` stands for any number of them."""
    if not expected:
        return not said
    if expected[0] == REST:
        return any(says(said[skipped:], expected[1:]) for skipped in range(len(said) + 1))
    return bool(said) and said[0] == expected[0] and says(said[1:], expected[1:])


@pytest.fixture
def reader(tmp_path: Path) -> Reader:
    variables = tmp_path / "variables"
    variables.touch()
    folder = tmp_path / "library"
    folder.mkdir()
    return Reader(folder, variables)


def test_the_page_word_for_word(reader: Reader) -> None:
    said, ran = "", 0
    for block in blocks():
        where = f"{PAGE.name}, line {block.line}"
        match block.kind, block.info:
            case "sh", "install":
                assert "pip install" in block.text  # this environment is the one that it would make
            case "sh", "":
                said, ran = reader.run(block.text), ran + 1
            case "sh", "until-it-answers":
                said, ran = reader.run_until_it_answers(block.text), ran + 1
            case "text", "":
                lines, expected = plain(said, reader.folder), plain(block.text, reader.folder)
                assert says(lines, expected), f"{where} is not what is said:\n{said}"
            case "python", name if name.endswith(".py"):
                (reader.folder / name).write_text(block.text)
            case "python", "excerpt":
                compile(block.text, where, "exec")
            case _:
                pytest.fail(f"{where}: nobody knows what to do with this block")
    assert ran >= 10


@pytest.mark.parametrize(
    ("said", "expected", "fits"),
    [
        ("a\nb", "a\nb", True),
        ("a\nb", "a", False),
        ("a\nb", "b", False),
        ("a\nb\nc", "…\nc", True),
        ("a\nb\nc", "a\n…\nb", False),
        ("2 published (0.3 s)", "2 published (9.1 s)", True),
        ("2 published (0.3 s)", "3 published (0.3 s)", False),
    ],
)
def test_a_page_that_says_something_else_is_noticed(said: str, expected: str, fits: bool) -> None:
    assert says(plain(said, Path("/nowhere")), plain(expected, Path("/nowhere"))) is fits


# ---- the tables of options


def options() -> dict[str, set[str]]:
    """Per heading of the third level, the names in the first column of its tables."""
    found: dict[str, set[str]] = {}
    for section in re.split(r"^### ", PAGE.read_text(), flags=re.MULTILINE)[1:]:
        heading, _, body = section.partition("\n")
        body = re.split(r"^## ", body, maxsplit=1, flags=re.MULTILINE)[0]
        found[heading] = set(re.findall(r"^\| `(\w+)` \|", body, re.MULTILINE))
    return found


PERIODS = ("Hourly", "Daily", "Weekly", "Monthly")


def declared() -> Iterator[tuple[str, set[str]]]:
    """Per heading, what the code knows."""
    for name in selfheal.__all__:
        thing = getattr(selfheal, name)
        if name in ("Static", "Multi", "Keys", "Dimensions"):
            parameters = inspect.signature(thing).parameters.values()
            yield name, {p.name for p in parameters if p.kind is not p.VAR_KEYWORD}
        elif dataclasses.is_dataclass(thing) and name not in ("Table", "Parser", *PERIODS):
            yield name, {f.name for f in dataclasses.fields(thing) if not f.name.startswith("_")}
    yield "Partitions", {f.name for kind in PERIODS for f in dataclasses.fields(getattr(selfheal, kind))}
    yield "Tables", set(inspect.signature(selfheal.table).parameters)
    parsers = (n for n in selfheal.__all__ if inspect.isfunction(getattr(selfheal, n)))
    yield (
        "Parsers",
        {n for n in parsers if inspect.signature(getattr(selfheal, n)).return_annotation is selfheal.Parser},
    )


def test_every_option_is_on_the_page_and_no_other() -> None:
    """The incident: an option that nobody finds, or that is long gone."""
    on_page = options()
    marks = {n for n, p in inspect.signature(selfheal.field).parameters.items() if p.kind is p.KEYWORD_ONLY}
    assert marks <= on_page["Contract"]
    on_page["Contract"] -= marks
    known = dict(declared())
    known.pop("Unpartitioned")
    assert {name: names for name, names in known.items() if names != on_page.get(name)} == {}


def test_every_name_that_authors_import_is_on_the_page() -> None:
    page = PAGE.read_text()
    assert [name for name in selfheal.__all__ if not re.search(rf"\b{name}\b", page)] == []
