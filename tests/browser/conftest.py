"""A browser, and Dagster's web interface on a few days of the demo with two faults in them, for this folder's tests."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import pytest

from sh_defs.declaring import declared_graph
from sh_defs.definitions import definitions
from sh_defs.home import dagster_instance, prepare_dagster_home
from sh_defs.running import run_table
from sh_drills.replay import land
from sh_resources import settings as environment

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Request, ViewportSize

GUSTY, SPOILED = date(2013, 2, 12), date(2013, 2, 13)
"""The day with a wind of 1,048 mph, as the vendor had it; the day whose file was delivered again with other units."""

TABLE = "stg_weather"
"""Whose checks both days fail."""

SELFHEAL = str(Path(sys.executable).with_name("selfheal"))
START_S = 120
CHROMIUMS = ("chromium", "chromium-browser", "google-chrome")
REMEMBERED = {"dagster-nav-collapsed": True, "asset-node-facets": ["description", "checks", "status"]}
"""The interface's own settings: less menu and more page, and boxes in which the graph's words have room."""
SIZE: "ViewportSize" = {"width": 1400, "height": 900}


@dataclass
class Window:
    """One page of the browser, and what it asked of other machines.

    Attributes:
        page: Playwright's page; addresses are relative to the web interface.
        strangers: Addresses of requests to anywhere else.
    """

    page: "Page"
    strangers: list[str] = field(default_factory=list)


def give_up(reason: str) -> NoReturn:
    """Without an optional part: skip at home, fail where everything is required."""
    if os.environ.get("SELFHEAL_REQUIRE_ALL") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="module")
def chromium() -> str:
    """Path of the system's Chromium; there is Playwright to drive it."""
    found = next((path for name in CHROMIUMS if (path := shutil.which(name))), None)
    if found is None:
        give_up(f"NO BROWSER TEST RUNS: there is no {' or '.join(CHROMIUMS)}; on Debian: apt-get install chromium")
    if find_spec("playwright") is None:
        give_up("NO BROWSER TEST RUNS: there is no playwright; it comes with pip install -e '.[dev]'")
    return found


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, chromium: str) -> Path:
    """A state folder: the demo's two days, then the weather at LGA of the second delivered again, in Kelvin."""
    place = tmp_path_factory.mktemp("browser") / "home"
    demo = [SELFHEAL, "demo", "--on-time", "--first", GUSTY.isoformat(), "--days", "2", "--home", str(place)]
    done = subprocess.run(demo, check=False, capture_output=True, text=True, env=surroundings(), timeout=START_S)
    assert done.returncode == 0, done.stdout + done.stderr

    settings = environment.load({"SELFHEAL_HOME": str(place)})
    graph, day = declared_graph(settings.tables_module), SPOILED.isoformat()
    (feed,) = (f for f in graph.feeds if f.name == "weather_lga")
    file = settings.landing / feed.name / feed.expected_file(day)
    land(file, in_kelvin(file.read_bytes()))
    with dagster_instance(prepare_dagster_home(settings)) as instance:
        ran = [run_table(instance, definitions(graph, settings), graph[t], [day]) for t in ("raw_weather_lga", TABLE)]
    assert [run.success for runs in ran for run in runs] == [True, False]
    return place


def surroundings() -> dict[str, str]:
    """The environment without anything that would lead a command elsewhere."""
    return {k: v for k, v in os.environ.items() if not k.startswith(("SELFHEAL_", "DAGSTER_"))}


def in_kelvin(delivered: bytes) -> bytes:
    """A file of weather whose temperatures are in Kelvin and no longer in °F."""
    header, *lines = (line.split(",") for line in delivered.decode().splitlines())
    temp = header.index("temp")
    for cells in lines:
        cells[temp] = f"{(float(cells[temp]) - 32) / 1.8 + 273.15:.2f}"
    return "".join(",".join(cells) + "\n" for cells in (header, *lines)).encode()


@pytest.fixture(scope="module")
def served(home: Path) -> Iterator[str]:
    """Address of the web interface, started as a person starts it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        [SELFHEAL, "dev", "--port", str(port), "--home", str(home)],
        env=surroundings(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    said: list[str] = []
    answers = threading.Event()

    def listen() -> None:
        assert process.stdout is not None
        for line in process.stdout:
            said.append(line)
            if "Dagster answers on" in line:
                answers.set()

    listener = threading.Thread(target=listen)
    listener.start()
    try:
        assert answers.wait(START_S), "".join(said)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(START_S) == 0, "".join(said)
        listener.join()
        assert process.stdout is not None
        process.stdout.close()


@pytest.fixture(scope="module")
def browser(chromium: str, served: str) -> Iterator["Browser"]:
    """A browser in which no other machine's name resolves.

    Opened last: Playwright keeps an event loop running in this thread, with which Dagster could run nothing here.
    """
    from playwright.sync_api import sync_playwright  # noqa: PLC0415  # an optional part

    lonely = ["--no-sandbox", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"]
    with sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=chromium, args=lonely)
        yield opened
        opened.close()


@pytest.fixture
def window(browser: "Browser", served: str) -> Iterator[Window]:
    """A new page, of a browser that remembers nothing else than ``REMEMBERED``."""
    context = browser.new_context(base_url=served, viewport=SIZE, timezone_id="UTC", locale="en-US")
    for name, value in REMEMBERED.items():
        context.add_init_script(f"localStorage.setItem({json.dumps(name)}, {json.dumps(json.dumps(value))})")
    opened = Window(context.new_page())

    def note(request: "Request") -> None:
        if not request.url.startswith((served, served.replace("http", "ws", 1), "data:", "blob:")):
            opened.strangers.append(request.url)

    context.on("request", note)
    yield opened
    context.close()
