"""The report's page and charts, on made-up facts: what they say, that they escape it, and how large they get."""

import base64
import hashlib
import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path

import pytest

from sh_core.accounts import RowAccount
from sh_core.records import Action, Incident
from sh_core.table import Station
from sh_defs.facts.evidence import Quarantined, Specimen
from sh_defs.facts.report import Breach, Fault, FeedAccount, Report
from sh_defs.facts.standings import TableStanding, Visible
from sh_defs.shown import charts
from sh_defs.shown.json_form import put
from sh_defs.shown.page import headline, page
from sh_resources.ledger import Activity

NOW = datetime(2030, 6, 1, 12, tzinfo=UTC)
INJECTED = "<script>alert(1)</script>"
ENDING = "</script><img src=https://example.org/x>"


class Page(HTMLParser):
    """What a browser would make of a page: its elements, and its text outside of style and script."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(html)
        self.close()
        assert self._open == [], "an element is not closed"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in {"meta", "br", "img"}:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not {"script", "style"} & set(self._open):
            self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def labels(svg: str) -> list[str]:
    return [a["aria-label"] for _, a in Page(svg).elements if a.get("aria-label") is not None]  # type: ignore[misc]


def days(number: int, first: date = date(2030, 1, 1)) -> list[str]:
    return [(first + timedelta(days=n)).isoformat() for n in range(number)]


def standing(name: str, visible: Mapping[str, Visible]) -> TableStanding:
    shown = [
        key for key, state in visible.items() if state in (Visible.PUBLISHED, Visible.STANDS_IN, Visible.LAST_GOOD)
    ]
    withheld = tuple(k for k, state in visible.items() if state in (Visible.WITHHELD, Visible.LAST_GOOD))
    return TableStanding(
        table=name,
        station=Station.STAGED,
        owner="team:test",
        declared=len(visible),
        withheld=withheld,
        rows={key: 100 + number for number, key in enumerate(shown)},
        quarantined=0,
        roots=dict.fromkeys(shown, "sh1-0"),
        visible=visible,
        published_utc=NOW - timedelta(hours=3) if shown else None,
    )


def report(tables: Sequence[TableStanding], accounts: Mapping[str, RowAccount], **more: object) -> Report:
    rows = sum(accounts.values(), RowAccount())
    made = Report(
        made_utc=NOW,
        span=(),
        feeds=(FeedAccount("readings", len(accounts), 0, rows, accounts),),
        quarantined=(),
        breaches=(),
        specimens=(),
        tables=tuple(tables),
        faults=(),
        activity=(),
        runs=(),
        seconds={},
    )
    return replace(made, **more)  # type: ignore[arg-type]


def all_published(number: int) -> Report:
    keys = days(number)
    return report(
        [standing("stg_readings", dict.fromkeys(keys, Visible.PUBLISHED))], dict.fromkeys(keys, RowAccount(10, 10))
    )


def test_a_report_that_somebody_reads_is_replaced_and_not_written_over(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    put(path, "old and long")
    with path.open() as reader:
        put(path, "new")
        assert reader.read() == "old and long"
    assert path.read_text() == "new"
    with pytest.raises(UnicodeEncodeError):
        put(path, "\ud800")
    assert [p.name for p in tmp_path.iterdir()] == ["report.json"]


# ------------------------------------------------------------------------------------------------------ at a glance


def test_where_nothing_is_wrong_the_page_says_so() -> None:
    said = headline(all_published(3))
    assert (said.level, said.title) == ("good", "Nothing is wrong")
    assert "All 30 delivered rows are accounted for" in said.detail
    assert "Nothing is wrong" in Page(page(all_published(3))).text


@pytest.mark.parametrize(
    ("account", "level", "says"),
    [
        (RowAccount(10, published=9), "wrong", "1 row missing"),
        (RowAccount(10, published=12), "wrong", "2 rows missing or counted twice"),
        (RowAccount(10, published=7, pending=3), "pending", "3 rows wait"),
        (RowAccount(10, published=7, quarantined=3), "good", "Nothing is wrong"),
    ],
    ids=["missing", "twice", "pending", "quarantined"],
)
def test_rows_that_are_not_accounted_for_come_before_everything_else(
    account: RowAccount, level: str, says: str
) -> None:
    said = headline(report([standing("stg_readings", {"2030-01-01": Visible.PUBLISHED})], {"2030-01-01": account}))
    assert said.level == level
    assert says in said.title


def test_withheld_partitions_are_the_title() -> None:
    visible = dict(zip(days(3), (Visible.PUBLISHED, Visible.LAST_GOOD, Visible.WITHHELD), strict=True))
    tables = [standing("stg_readings", visible), standing("mart_means", dict.fromkeys(days(3), Visible.PUBLISHED))]
    found = report(tables, {})
    assert headline(found) == replace(headline(found), level="pending", title="2 partitions of 1 table withheld")
    assert "readers see nothing of 1" in " ".join(Page(page(found)).text.split())


def test_a_file_that_nobody_read_is_no_good_news() -> None:
    made = all_published(2)
    (feed,) = made.feeds
    assert headline(replace(made, feeds=(replace(feed, unread=1),))).level == "pending"


def test_an_empty_state_folder_makes_a_page() -> None:
    """The incident this prevents: the first report of a new project fails on the maximum of nothing."""
    empty = report([standing("stg_readings", {}), standing("one", {"all": Visible.MISSING})], {})
    assert "Nothing was delivered yet" in Page(page(empty)).text


# --------------------------------------------------------------------------------------- what others delivered is text


def poisoned() -> Report:
    """A report in which everything that a vendor or a message may contain tries to be markup."""
    rules = {"value__in_range": "value must be between 0 and 100"}
    incident = Incident(1, f"broken:{INJECTED}", "stg_readings", INJECTED, True, NOW, None)
    row = {"sensor": INJECTED, "value": ENDING, INJECTED: 'a" onmouseover="alert(1)'}
    return replace(
        all_published(3),
        quarantined=(Quarantined("stg_readings", "value__in_range", 1),),
        breaches=(Breach("stg_readings", "value__in_range", "row", ENDING, 1, 1, 0),),
        specimens=(Specimen("stg_readings", "2030-01-01", rules, ENDING, 2, row, frozenset({"value"})),),
        faults=(Fault(incident, (ENDING,), has_last_good=False),),
    )


def test_delivered_markup_is_shown_and_not_obeyed() -> None:
    made = Page(page(poisoned()))
    assert len(made.all("script")) == 1
    assert made.all("img") == []
    assert not [a for _, a in made.elements if any(name.startswith("on") for name in a)]
    assert INJECTED in made.text
    assert made.text.count(ENDING) == 4


def test_the_page_refers_to_nothing_and_allows_no_script_but_its_own() -> None:
    made = Page(page(poisoned()))
    addresses = [a for _, a in made.elements if {"src", "href", "xlink:href", "action", "data", "poster"} & set(a)]
    assert addresses == []
    assert made.all("link") == made.all("iframe") == made.all("object") == []
    html = page(poisoned())
    assert "@import" not in html
    assert "url(" not in html
    (policy,) = (m["content"] for m in made.all("meta") if m.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    assert policy.startswith("default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-")
    assert "unsafe-eval" not in policy
    script = html.partition("<script>")[2].partition("</script>")[0]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert (
        f"script-src 'sha256-{digest}'" in policy
    )  # else browsers refuse it, and nobody notices but who looks for tooltips


def test_a_chart_escapes_the_names_in_it() -> None:
    """Declared names are plain; a partition key that is no date may be anything."""
    svg = charts.visibility([standing("stg_readings", {INJECTED: Visible.PUBLISHED})])
    assert labels(svg) == [f"stg_readings {INJECTED}: published"]
    assert "<script" not in svg


# -------------------------------------------------------------------------------------------------------------- charts


def test_neighbours_that_look_the_same_are_one_mark() -> None:
    states = [Visible.PUBLISHED] * 10
    states[4], states[5], states[8] = Visible.LAST_GOOD, Visible.LAST_GOOD, Visible.WITHHELD
    assert labels(charts.visibility([standing("t", dict(zip(days(10), states, strict=True)))])) == [
        "t 2030-01-01 to 2030-01-04: 4 published",
        "t 2030-01-07 to 2030-01-08: 2 published",
        "t 2030-01-10: published",
        # drawn over the others
        "t 2030-01-05 to 2030-01-06: 2 last good",
        "t 2030-01-09: withheld",
    ]


def test_of_many_partitions_in_one_mark_the_worst_is_shown() -> None:
    """The incident this prevents: one withheld day of three years is drawn over by its neighbours."""
    visible = dict.fromkeys(days(3 * charts.BINS), Visible.PUBLISHED)
    bad = list(visible)[500]
    svg = charts.visibility([standing("t", {**visible, bad: Visible.WITHHELD})])
    marks = [label for label in labels(svg) if "withheld" in label]
    assert len(marks) == 1
    assert marks[0].endswith("2 published, 1 withheld") or marks[0].endswith("1 withheld, 2 published")
    assert 'fill="var(--wrong)"' in svg


def test_rows_of_added_up_partitions_are_still_all_there() -> None:
    keys = days(1000)
    told = labels(charts.outcomes(dict.fromkeys(keys, RowAccount(7, published=5, quarantined=2))))
    assert len(told) <= 2 * charts.BINS
    for outcome, each in (("published", 5), ("quarantined", 2)):
        counts = [int(m[1]) for label in told if (m := re.search(rf": (\d+) of \d+ rows {outcome}", label))]
        assert sum(counts) == each * len(keys)


def test_the_few_rows_among_many_published_have_a_chart_of_their_own() -> None:
    made = report([standing("t", {"2030-01-01": Visible.PUBLISHED})], {"2030-01-01": RowAccount(1000, 999, 1)})
    assert Page(page(made)).text.count("The same without the published ones") == 1
    told = [a["aria-label"] for _, a in Page(page(made)).elements if "aria-label" in a]
    assert told.count("2030-01-01: 1 of 1,000 rows quarantined") == 2
    assert told.count("2030-01-01: 999 of 1,000 rows published") == 1
    assert "The same without" not in Page(page(all_published(3))).text


def test_charts_one_above_the_other_have_the_same_days() -> None:
    """The incident this prevents: a fault in February that seems to stand above May."""
    rows = dict.fromkeys(days(100), RowAccount(10, 10)) | {days(100)[40]: RowAccount(10, 9, 1)}

    def start_of(svg: str, day: str) -> float:
        return float(re.findall(rf'aria-label="{day}: [^"]+"[^>]* d="M([\d.]+),', svg)[0])

    day = days(100)[40]
    assert start_of(charts.outcomes(rows), day) == start_of(charts.outcomes(rows, ["quarantined"]), day) == 400


def test_rows_of_no_day_are_in_the_sum_and_not_in_the_chart() -> None:
    """The incident this prevents: a chart "2030-01-01 to all", with a bar for a register that no day has."""
    tables = [
        standing("stg_readings", {"2030-01-01": Visible.PUBLISHED}),
        standing("whole", {"all": Visible.PUBLISHED}),
    ]
    both = Page(page(report(tables, {"2030-01-01": RowAccount(10, 10), "all": RowAccount(7, 7)})))
    assert "All 17 delivered rows" in both.text
    assert "2030-01-01 to 2030-01-01. 7 rows of files for no day are left out." in both.text
    assert "Rows by outcome" not in Page(page(report(tables, {"all": RowAccount(7, 7)}))).text


def test_months_weeks_and_one_partition_share_the_time_axis() -> None:
    tables = [
        standing("daily", dict.fromkeys(days(59), Visible.PUBLISHED)),
        standing("weekly", dict.fromkeys(days(59)[6::7], Visible.PUBLISHED)),
        standing("monthly", {"2030-01-01": Visible.PUBLISHED, "2030-02-01": Visible.WITHHELD}),
        standing("whole", {"all": Visible.PUBLISHED}),
    ]
    told = labels(charts.visibility(tables))
    assert "monthly 2030-02-01: withheld" in told
    assert "whole all: published" in told
    widths = {
        label.split()[0]: float(width)
        for label, width in re.findall(
            r'aria-label="([^"]+)"[^>]* d="M[\d.]+,[\d.]+h([\d.]+)v', charts.visibility(tables)
        )
    }
    # January and February have 59 days, and the last week of them ends three days later.
    assert widths["daily"] == pytest.approx(1000 * 59 / 62, abs=0.5)
    assert widths["weekly"] == pytest.approx(1000 * 56 / 62, abs=0.5)
    assert widths["whole"] == pytest.approx(1000, abs=0.5)


def test_a_burst_of_decisions_is_one_dot_per_moment() -> None:
    table = standing("t", dict.fromkeys(days(3), Visible.PUBLISHED))
    decided = [
        Activity("t", NOW, Action.PUBLISH, 128),
        Activity("t", NOW + timedelta(days=1), Action.WITHHOLD, 1),
        Activity("gone", NOW, Action.PUBLISH, 1),
    ]
    assert sorted(labels(charts.activity([table], decided))) == [
        "t, 2030-06-01 12:00 UTC: 128 partitions new content published",
        "t, 2030-06-02 12:00 UTC: 1 partition withheld",
    ]


def test_a_long_history_is_drawn_by_the_hour_or_the_day() -> None:
    table = standing("t", dict.fromkeys(days(3), Visible.PUBLISHED))
    every_minute = [Activity("t", NOW + timedelta(minutes=n), Action.PUBLISH, 1) for n in range(charts.DOTS + 60)]
    told = labels(charts.activity([table], every_minute))
    assert len(told) == (charts.DOTS + 60) // 60
    assert all("60 partitions" in label for label in told)


def test_three_years_of_twenty_tables_stay_small() -> None:
    """The incident this prevents: a report that grows until no browser opens it."""
    chance = random.Random(1)
    keys = days(3 * 365)

    def somehow() -> Visible:
        return chance.choices(list(Visible), [88, 2, 3, 4, 3])[0]

    tables = [standing(f"table_number_{n}", {key: somehow() for key in keys}) for n in range(20)]
    rows = {
        key: RowAccount(1000, published=900, quarantined=40, duplicates=30, pending=20, superseded=10) for key in keys
    }
    moments = [
        Activity(t.table, NOW + timedelta(minutes=chance.randrange(3 * 365 * 24 * 60)), Action.PUBLISH, 1)
        for t in tables
        for _ in keys
    ]
    faults = [
        Fault(Incident(n, "broken:t:rule", "t", key, True, NOW, None), ("rule: 3 rows",), has_last_good=False)
        for n, key in enumerate(keys)
    ]
    html = page(report(tables, rows, activity=tuple(sorted(moments, key=lambda a: a.at_utc)), faults=tuple(faults)))
    assert len(html.encode()) < 5_000_000
    assert "more, in report.json" in html
