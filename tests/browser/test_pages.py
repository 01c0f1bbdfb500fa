"""The web interface as a person sees it, in a real browser.

The incident: every query of the interface answers as it should, and the page is blank, or says nothing to a person.

With SELFHEAL_PICTURES=1 (`make pictures`) the README's pictures are taken on the way.
"""

import os
import re
import time
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import dagster as dg
import pytest

from sh_assets.automation import DESCRIPTION
from sh_assets.build import build
from sh_assets.flights import TABLES
from sh_core.graph import Graph
from sh_core.table import Station
from sh_drills.replay import land
from tests.browser.conftest import GUSTY, SIZE, SPOILED, TABLE, Window

if TYPE_CHECKING:
    from playwright.sync_api import Locator

pytestmark = [pytest.mark.browser, pytest.mark.graph, pytest.mark.slow]

PICTURES = Path(__file__).parents[2] / "docs" / "pictures"
LARGEST_BYTES = 300_000
SHOWS_MS = 60_000
HEALED_S = 180.0


@pytest.fixture(autouse=True)
def expects(window: Window) -> None:
    window.page.set_default_timeout(SHOWS_MS)


def shows(window: Window, text: str | re.Pattern[str], *, exact: bool = False) -> None:
    """Wait until a text can be seen."""
    window.page.get_by_text(text, exact=exact).filter(visible=True).first.wait_for()


def picture(window: Window, name: str) -> None:
    """Keep what is shown, if pictures were asked for."""
    if os.environ.get("SELFHEAL_PICTURES") != "1":
        return
    window.page.wait_for_load_state("networkidle")
    window.page.mouse.move(0, 0)
    PICTURES.mkdir(parents=True, exist_ok=True)
    taken = window.page.screenshot(path=PICTURES / f"{name}.png", animations="disabled")
    assert len(taken) < LARGEST_BYTES


STAGES = ("landing", "raw", "staged", "marts", "features")
"""Groups of assets, each computed from the one before; what is joined stands between the staged and the features."""


def groups() -> set[str]:
    """Every group of assets, as Dagster is told of them."""
    assets = build(Graph.of(TABLES), lambda table: Path("/", table.name))
    specs = [s for a in assets for s in ([a] if isinstance(a, dg.AssetSpec) else a.specs)]
    return {spec.group_name or "default" for spec in specs}


def lineage(window: Window, opened: Collection[str]) -> "Locator":
    """The graph of everything, of whose groups some are opened."""
    window.page.goto("/asset-groups?expanded=" + quote(",".join(f"global@global:{group}" for group in sorted(opened))))
    graph = window.page.locator("svg").filter(has=window.page.locator("foreignObject"))
    graph.first.wait_for()
    return graph


def test_the_stages_stand_side_by_side(window: Window) -> None:
    assert groups() == {*STAGES, "joined"}
    graph = lineage(window, ())
    lefts = []
    for stage in STAGES:
        box = graph.get_by_text(stage, exact=True).first
        box.wait_for()
        found = box.bounding_box()
        assert found is not None
        lefts.append(found["x"])
    assert lefts == sorted(lefts)
    assert len(set(lefts)) == len(STAGES)
    assert window.strangers == []


def test_the_graph_names_every_table_and_feed(window: Window) -> None:
    window.page.set_viewport_size({"width": 2600, "height": 2600})  # what is out of sight is not there
    early = {"landing", "raw"}
    for opened in (early, groups() - early):
        graph = lineage(window, opened)
        for table in TABLES:
            if table.group in opened:
                graph.get_by_text(table.name, exact=True).first.wait_for()
            if table.feed is not None and "landing" in opened:
                graph.get_by_text(table.feed.name, exact=True).first.wait_for()
    window.page.set_viewport_size(SIZE)
    lineage(window, groups() - early).get_by_text(TABLE, exact=True).first.wait_for()
    picture(window, "lineage")
    assert window.strangers == []


def test_a_tables_page_says_what_it_is_and_whose(window: Window) -> None:
    (weather,) = (t for t in TABLES if t.name == TABLE)
    window.page.goto(f"/assets/{TABLE}")
    shows(window, weather.description.splitlines()[0])
    shows(window, re.compile("set aside while they are at most 5 % of a partition"))
    owner = window.page.get_by_text("Owners", exact=True).locator("xpath=..")
    owner.get_by_text(weather.contract.owner.removeprefix("team:"), exact=True).wait_for()
    shows(window, f"station: {Station.STAGED.value}")
    for column in weather.contract.columns:
        row = window.page.get_by_role("row").filter(has=window.page.get_by_text(column, exact=True))
        row.first.wait_for()
        told = row.first.inner_text()
        if column in weather.contract.units:
            assert f"unit: {weather.contract.units[column]}" in told
        assert ("key" in told.split()) == (column in weather.contract.key)
    temperature = window.page.get_by_role("row").filter(has=window.page.get_by_text("temp_f", exact=True)).first
    assert "between -60 and 130" in temperature.inner_text()
    assert "From temp of raw_weather_ewr, raw_weather_jfk, raw_weather_lga." in temperature.inner_text()
    picture(window, "table")
    assert window.strangers == []


def test_a_failed_check_shows_the_rows_that_failed_it(window: Window) -> None:
    """24 temperatures came in Kelvin: the day is withheld, and the page says so and shows them."""
    window.page.goto(f"/assets/{TABLE}")
    window.page.get_by_text("Checks", exact=True).click()
    window.page.get_by_placeholder("Filter checks").fill("temp_f")
    window.page.get_by_text("temp_f__in_range", exact=True).first.click()
    shows(window, "temp_f must be between -60 and 130")
    shows(window, re.compile(r"24 broken rows, the first: weather_lga/weather_lga_2013-02-13\.csv line 2\."))
    shows(window, "In all, 24 of 72 rows are broken, and at most 5 % may be set aside.")
    shows(window, re.compile(r"readers keep its last good content: 72 rows, published 20.{14} UTC\."))
    shows(window, SPOILED.isoformat(), exact=True)
    shows(window, "275.95")  # 37.04 °F
    picture(window, "failed-check")
    assert window.strangers == []


def test_a_row_that_was_set_aside_is_found_under_its_day(window: Window) -> None:
    """Newer days pass this check, so what the wind of 1,048 mph broke is found by its partition."""
    window.page.goto(f"/assets/{TABLE}?view=checks&checkDetail=wind_speed_mph__in_range")
    shows(window, "wind_speed_mph must be between 0 and 250")
    window.page.get_by_text("Partitions", exact=True).last.click()
    window.page.get_by_text(GUSTY.isoformat(), exact=True).first.click()
    shows(window, re.compile(r"1 broken row: weather_ewr/weather_ewr_2013-02-12\.csv line \d+\."))
    shows(window, "Set aside; all other rows are published.")
    shows(window, "1048.36058")
    assert window.strangers == []


def test_a_withheld_day_is_red_and_says_why_and_what_readers_see(window: Window) -> None:
    window.page.goto(f"/assets/{TABLE}?view=partitions&partition={SPOILED}")
    shows(window, "Failed (1)")
    shows(window, re.compile("failed, and did not materialize this asset"))
    shows(window, "Materialized", exact=True)
    shows(window, re.compile("24 of 72 rows are broken, and at most 5 % may be set aside"))
    shows(window, re.compile("Readers keep its last good content: 72 rows, published 20"))
    shows(window, re.compile(r"No\. 1, since 20"))
    shows(window, "275.95")
    shows(window, re.compile(f"selfheal show {TABLE}:{SPOILED}"))
    picture(window, "withheld")
    assert window.strangers == []


def test_every_event_of_a_run_is_listed(window: Window) -> None:
    """Of five partitions that one run materialized, the page listed three."""
    window.page.goto(f"/assets/{TABLE}?view=events")
    for day in (GUSTY, SPOILED):
        window.page.get_by_text(day.isoformat(), exact=True).first.wait_for()


def test_a_register_is_one_table_with_its_number_of_rows(window: Window) -> None:
    window.page.goto("/assets/stg_planes")
    shows(window, "One row per registered aircraft.")
    shows(window, "3,322", exact=True)
    shows(window, "pii: masked")
    assert window.strangers == []


def test_the_automation_tab_says_why_a_partition_was_requested(window: Window, home: Path) -> None:
    """Two days of flights are delivered again with other delays; nobody asks for anything."""
    for day in (GUSTY, SPOILED):
        file = home / "landing" / "flights_jfk" / f"flights_jfk_{day}.csv"
        header, first, *rest = file.read_text().splitlines()
        cells = dict(zip(header.split(","), first.split(","), strict=True))
        cells["arr_delay"] = str(int(cells["arr_delay"]) + 1)
        land(file, "\n".join([header, ",".join(cells.values()), *rest, ""]).encode())

    page, requested = window.page, re.compile(r"^(\d+|Not) requested$")
    until = time.monotonic() + HEALED_S
    while True:
        page.goto("/assets/mart_daily_delays?view=automation")
        shows(window, "Evaluation result")
        results = page.get_by_text(requested).all_inner_texts()
        if any(result.startswith("2 ") for result in results):
            break
        assert time.monotonic() < until, results
        page.wait_for_timeout(2_000)
    which = results.index("2 requested")
    page.get_by_text(re.compile(r"^\w{3} \d+, .+ [AP]M$")).nth(which).click()
    shows(window, "stg_flights changed", exact=True)
    shows(window, "2 True")
    page.get_by_text("2 True").last.click()
    for day in (GUSTY, SPOILED):
        shows(window, day.isoformat(), exact=True)
    picture(window, "automation")
    assert window.strangers == []


def test_the_sensors_page_says_what_it_requests(window: Window) -> None:
    window.page.goto("/locations/selfheal/sensors/due")
    shows(window, DESCRIPTION)
