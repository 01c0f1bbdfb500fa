"""The web interface as a person sees it, in a real browser.

The incident: every query of the interface answers as it should, and the page is blank, or says nothing to a person.

With SELFHEAL_PICTURES=1 (`make pictures`) the README's pictures are taken on the way.
"""

import os
import re
from pathlib import Path
from urllib.parse import quote

import dagster as dg
import pytest

from sh_assets.build import build
from sh_assets.flights import TABLES
from sh_core.graph import Graph
from sh_core.table import Station
from tests.browser.conftest import GUSTY, SPOILED, TABLE, Window

pytestmark = [pytest.mark.browser, pytest.mark.graph, pytest.mark.slow]

PICTURES = Path(__file__).parents[2] / "docs" / "pictures"
LARGEST_BYTES = 300_000
SHOWS_MS = 60_000


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


def groups() -> set[str]:
    """Every group of assets, as Dagster is told of them."""
    assets = build(Graph.of(TABLES), lambda table: Path("/", table.name))
    specs = [s for a in assets for s in ([a] if isinstance(a, dg.AssetSpec) else a.specs)]
    return {spec.group_name or "default" for spec in specs}


def test_the_graph_names_every_table_and_feed(window: Window) -> None:
    # Of several groups, each is one box until somebody opens it.
    opened = ",".join(sorted({f"global@global:{group}" for group in groups()}))
    window.page.goto(f"/asset-groups?expanded={quote(opened)}")
    graph = window.page.locator("svg").filter(has=window.page.locator("foreignObject"))
    for table in TABLES:
        graph.get_by_text(table.name, exact=True).first.wait_for()
        if table.feed is not None:
            graph.get_by_text(table.feed.name, exact=True).first.wait_for()
    picture(window, "lineage")
    assert window.strangers == []


def test_a_tables_page_says_what_it_is_and_whose(window: Window) -> None:
    (weather,) = (t for t in TABLES if t.name == TABLE)
    window.page.goto(f"/assets/{TABLE}")
    shows(window, weather.description.splitlines()[0])
    shows(window, "Broken rows are set aside while they are at most 5 % of a partition.")
    owner = window.page.get_by_text("Owners", exact=True).locator("xpath=..")
    owner.get_by_text(weather.contract.owner.removeprefix("team:"), exact=True).wait_for()
    shows(window, f"station: {Station.STAGED.value}")
    for column in weather.contract.columns:
        row = window.page.get_by_role("row").filter(has=window.page.get_by_text(column, exact=True))
        row.first.wait_for()
        if column in weather.contract.units:
            assert f"in {weather.contract.units[column]}" in row.first.inner_text()
    picture(window, "table")
    assert window.strangers == []


def test_a_failed_check_shows_the_rows_that_failed_it(window: Window) -> None:
    """24 temperatures came in Kelvin: the day is withheld, and the page says so and shows them."""
    window.page.goto(f"/assets/{TABLE}")
    window.page.get_by_text("Checks", exact=True).click()
    window.page.get_by_placeholder("Filter checks").fill("temp_f")
    window.page.get_by_text("temp_f__in_range", exact=True).first.click()
    shows(window, "temp_f must be between -60 and 130")
    shows(window, re.compile(r"24 broken rows\. The partition is withheld; readers keep its last good content"))
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
    shows(window, "1 broken row. Set aside; all other rows are published.")
    shows(window, "1048.36058")
    assert window.strangers == []


def test_a_withheld_day_is_red_and_still_has_its_last_good_content(window: Window) -> None:
    window.page.goto(f"/assets/{TABLE}?view=partitions&partition={SPOILED}")
    shows(window, "Failed (1)")
    shows(window, re.compile("failed, and did not materialize this asset"))
    shows(window, "Materialized", exact=True)
    assert window.strangers == []
