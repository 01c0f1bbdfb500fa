"""The report's charts, drawn to SVG when the report is made (docs/adr/0010-report-page.md).

Belongs here: what is drawn. Does not belong here: gathering (``report``), the page around it (``shown.page``).
Invariants: a chart refers to nothing outside of itself; its colours are variables of the page's style, so that it is
right in light, dark and print; what a mark stands for is its ``aria-label``. However many partitions there are, a chart
has at most ``BINS`` marks side by side: neighbours are added up, and of what readers see the worst is shown.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from itertools import groupby
from typing import Any

import altair as alt
import vl_convert as vlc

from sh_core.accounts import RowAccount
from sh_core.records import Action
from sh_defs.facts.standings import TableStanding, Visible, is_date
from sh_resources.ledger import Activity

BINS = 370
"""Marks side by side: a year of days, and about what a page is wide enough for."""

DOTS = 1500
"""Marks in the chart of activity; beyond it, moments of one hour, day, week, … are one."""

OUTCOMES = {
    "published": "var(--published)",
    "duplicates": "var(--duplicates)",
    "superseded": "var(--superseded)",
    "pending": "var(--pending)",
    "quarantined": "var(--aside)",
    "missing": "var(--wrong)",
}
"""What became of rows, in the order in which they are stacked."""

VISIBLE = {
    Visible.PUBLISHED: "var(--published)",
    Visible.STANDS_IN: "var(--duplicates)",
    Visible.MISSING: "var(--nothing)",
    Visible.LAST_GOOD: "var(--pending)",
    Visible.WITHHELD: "var(--wrong)",
}

ACTIONS = {
    Action.PUBLISH: ("new content published", "var(--published)"),
    Action.REFRESH: ("same content confirmed", "var(--duplicates)"),
    Action.WITHHOLD: ("withheld", "var(--wrong)"),
}

_COARSER = tuple(map(timedelta, (0, 1 / 24, 1, 7, 28, 364)))
"""Steps of time, in days, until there are few enough dots."""

_WIDTH, _LABELS, _CHARACTER = 1000, 260, 8
_WORST = tuple(Visible)
_FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"
_UTC = alt.Scale(type="utc")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def outcomes(accounts: Mapping[str, RowAccount], shown: Collection[str] = tuple(OUTCOMES), height: int = 150) -> str:
    """Rows by outcome over the feeds' partitions, stacked.

    Args:
        accounts: Per partition of the feeds, the sum of their accounts.
        shown: Which outcomes; without the published ones, the few others become visible.
        height: Height of the plot, in pixels.
    """
    keys = [key for key in accounts if is_date(key)]
    rows = []
    for span in _bins(keys):
        added = sum((accounts[key] for key in span), RowAccount())
        start, end = _reach(keys, span)
        below = 0
        for outcome in shown:
            count = max(0, getattr(added, outcome))  # rows counted twice are less than none missing
            if count:
                said = f"{_named(span)}: {count:,} of {added.arrived:,} rows {outcome}"
                stacked = {"y": below, "y2": below + count}
                rows.append({"x": start, "x2": end, **stacked, "outcome": outcome, "said": said})
            below += count
    chart = (
        alt.Chart(alt.Data(values=rows))
        .mark_rect(stroke="var(--card)", strokeWidth=1 if len(keys) <= BINS // 2 else 0)
        .encode(
            x=alt.X("x:T", scale=_whole(keys), title=None, axis=_time_axis()),
            x2="x2:T",
            y=alt.Y(
                "y:Q",
                title=None,
                axis=alt.Axis(
                    aria=False,
                    tickCount=height // 40,
                    tickMinStep=1,
                    minExtent=48,
                    maxExtent=48,
                    format=",.0f",
                    domain=False,
                    ticks=False,
                ),
            ),
            y2="y2:Q",
            color=_colors(OUTCOMES, "outcome"),
            description="said:N",
        )
        .properties(width=_WIDTH, height=height)
    )
    return _svg(chart)


def visibility(tables: Sequence[TableStanding]) -> str:
    """What readers see of every partition: a strip per table over its partitions."""
    dated = [list(t.visible) for t in tables if t.visible and is_date(next(iter(t.visible)))]
    edges = sorted(edge for keys in dated for edge in _reach(keys, keys)) or ["2000-01-01", "2000-01-02"]
    whole = (edges[0], edges[-1])
    # What is not as it should be is drawn last and with an edge, so that one day of a year is seen.
    rows = sorted((row for t in tables for row in _strip(t, whole)), key=lambda row: row["edge"])
    chart = (
        alt.Chart(alt.Data(values=rows))
        .mark_bar(height=alt.RelativeBandSize(0.7))
        .encode(
            x=alt.X("x:T", scale=_UTC, title=None, axis=_time_axis()),
            x2="x2:T",
            y=_table_axis(tables),
            color=alt.Color("color:N", scale=None),
            stroke=alt.Stroke("color:N", scale=None),
            strokeWidth=alt.StrokeWidth("edge:Q", scale=None),
            description="said:N",
        )
        .properties(width=_WIDTH, height=alt.Step(20))
    )
    return _svg(chart)


def activity(tables: Sequence[TableStanding], decided: Iterable[Activity]) -> str:
    """When something was decided about which table: a dot per moment, as large as it concerned partitions."""
    names = {t.table for t in tables}
    rows = []
    for (table, action, at), partitions in _moments([a for a in decided if a.table in names]).items():
        word = ACTIONS[action][0]
        said = f"{table}, {at:%Y-%m-%d %H:%M} UTC: {partitions:,} {'partition' if partitions == 1 else 'partitions'} "
        rows.append({"at": at.isoformat(), "table": table, "action": word, "n": partitions, "said": said + word})
    chart = (
        alt.Chart(alt.Data(values=rows))
        .mark_circle(opacity=0.75)
        .encode(
            x=alt.X("at:T", scale=alt.Scale(type="utc", padding=14), title=None, axis=_time_axis()),
            y=_table_axis(tables),
            size=alt.Size("n:Q", scale=alt.Scale(range=[40, 240], zero=False), legend=None),
            color=_colors(dict(ACTIONS.values()), "action"),
            description="said:N",
        )
        .properties(width=_WIDTH, height=alt.Step(20))
    )
    return _svg(chart)


def row_counts(standing: TableStanding) -> str | None:
    """Rows per partition of one table, small; None if it has fewer than two partitions to compare."""
    keys = [key for key in standing.rows if is_date(key)]
    if len(keys) < 2:  # noqa: PLR2004  # one bar compares with nothing
        return None
    rows = []
    for span in _bins(keys, BINS // 4):
        mean = sum(standing.rows[key] for key in span) / len(span)
        said = f"{standing.table} {_named(span)}: {mean:,.0f} rows{' per partition' if len(span) > 1 else ''}"
        start, end = _reach(keys, span)
        rows.append({"x": start, "x2": end, "y": 0, "y2": mean, "said": said})
    chart = (
        alt.Chart(alt.Data(values=rows))
        .mark_rect(color="var(--published)")
        .encode(
            x=alt.X("x:T", scale=_UTC, axis=None),
            x2="x2:T",
            y=alt.Y("y:Q", axis=None),
            y2="y2:Q",
            description="said:N",
        )
        .properties(width=180, height=26)
    )
    return _svg(chart, padding=0)


def _strip(standing: TableStanding, whole: tuple[str, str]) -> Iterable[dict[str, Any]]:
    """Marks of one table: neighbours that look the same are one mark."""
    keys = list(standing.visible)
    worst = [(span, max((standing.visible[k] for k in span), key=_WORST.index)) for span in _bins(keys)]
    for visible, run in groupby(worst, key=lambda pair: pair[1]):
        span = [key for part, _ in run for key in part]
        start, end = _reach(keys, span) if is_date(keys[0]) else _share(keys, span, whole)
        counted = Counter(standing.visible[key] for key in span)
        told = ", ".join(f"{n:,} {what.value}" for what, n in counted.items()) if len(span) > 1 else visible.value
        said = f"{standing.table} {_named(span)}: {told}"
        edge = 2 if visible in (Visible.STANDS_IN, Visible.LAST_GOOD, Visible.WITHHELD) else 0
        yield {"x": start, "x2": end, "table": standing.table, "color": VISIBLE[visible], "edge": edge, "said": said}


def _bins(keys: Sequence[str], most: int = BINS) -> list[Sequence[str]]:
    """Keys in order, as many neighbours together as it takes to have at most so many groups."""
    size = -(-len(keys) // most) or 1
    return [keys[i : i + size] for i in range(0, len(keys), size)]


def _reach(keys: Sequence[str], span: Sequence[str]) -> tuple[str, str]:
    """From the day that neighbouring keys begin to the day the next one does.

    The last is a month where the one before is, else as many days as that one.
    """
    following = keys.index(span[-1]) + 1
    if following < len(keys):
        return span[0], keys[following]
    days = [date.fromisoformat(key) for key in keys[-2:]]
    if len(days) > 1 and days[0].day == days[1].day == 1:
        return span[0], (days[1] + timedelta(days=31)).replace(day=1).isoformat()
    length = days[-1] - days[0] if len(days) > 1 else timedelta(days=1)
    return span[0], (days[-1] + length).isoformat()


def _whole(keys: Sequence[str]) -> alt.Scale:
    """An axis over all keys, also where there is nothing to draw for the first or the last."""
    if not keys:
        return _UTC
    edges = [datetime.fromisoformat(edge).replace(tzinfo=UTC) for edge in _reach(keys, keys)]
    return alt.Scale(type="utc", domain=[int(edge.timestamp() * 1000) for edge in edges], nice=False)


def _share(keys: Sequence[str], span: Sequence[str], whole: tuple[str, str]) -> tuple[str, str]:
    """Keys that are no dates share the whole width equally."""
    start, end = (datetime.fromisoformat(edge).replace(tzinfo=UTC) for edge in whole)
    each = (end - start) / len(keys)
    first = keys.index(span[0])
    return (start + first * each).isoformat(), (start + (first + len(span)) * each).isoformat()


def _moments(decided: Collection[Activity]) -> Mapping[tuple[str, Action, datetime], int]:
    """Partitions per table, action and moment; moments as exact as the number of dots allows."""
    counted: Counter[tuple[str, Action, datetime]] = Counter()
    for step in _COARSER:
        counted = Counter()
        for a in decided:
            at = a.at_utc - (a.at_utc - _EPOCH) % step if step else a.at_utc
            counted[a.table, a.action, at] += a.partitions
        if len(counted) <= DOTS:
            break
    return counted


def _named(span: Sequence[str]) -> str:
    return span[0] if len(span) == 1 else f"{span[0]} to {span[-1]}"


def _time_axis() -> alt.Axis:
    return alt.Axis(aria=False, grid=False, tickCount=10, labelOverlap=True, labelFlush=False)


def _table_axis(tables: Sequence[TableStanding]) -> alt.Y:
    # A reader's font may be wider than the one that the drawing was measured with.
    room = min(_LABELS, _CHARACTER * max((len(t.table) for t in tables), default=1))
    axis = alt.Axis(
        aria=False, labelLimit=room, minExtent=room, maxExtent=room, ticks=False, domain=False, labelPadding=6
    )
    return alt.Y("table:N", sort=[t.table for t in tables], title=None, axis=axis)


def _colors(colors: Mapping[str, str], field: str) -> alt.Color:
    scale = alt.Scale(domain=list(colors), range=list(colors.values()))
    return alt.Color(f"{field}:N", scale=scale, legend=None)  # the page has legends, which its style can lay out


def _svg(chart: alt.Chart, padding: int = 2) -> str:
    axis = alt.AxisConfig(
        labelColor="var(--soft)",
        titleColor="var(--soft)",
        gridColor="var(--line)",
        domainColor="var(--line)",
        tickColor="var(--line)",
        labelFont=_FONT,
        titleFont=_FONT,
        labelFontSize=12,
        titleFontSize=12,
        titleFontWeight="normal",
    )
    configured = chart.properties(padding=padding, background="transparent").configure(
        axis=axis, view=alt.ViewConfig(stroke=None)
    )
    svg: str = vlc.vegalite_to_svg(configured.to_dict(validate=False), vl_version=_vegalite_version())
    return svg


def _vegalite_version() -> str:
    major, minor, *_ = alt.SCHEMA_VERSION.removeprefix("v").split(".")
    return f"{major}.{minor}"
