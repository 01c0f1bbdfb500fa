"""On time, in Dagster's words: one check per partition, on feeds and on tables that have deadlines.

Belongs here: the check, its evaluations, and the freshness policies that say the same of whole assets. Does not belong
here: what is late (``sh_resources.on_time``), sentences (``wording``). Invariant: the check says of a partition what
the incidents say; nothing is computed.

Dagster's own freshness looks at an asset's latest materialization, whichever partition it is of. So a policy is set
only where that agrees with the deadline of the newest partition as long as files come in their order: on feeds without
end that deliver every period, at one time of the day. Where an older file comes again after the newest period is over,
Dagster calls the feed fresh; the check of the partition does not. Tables get none: every repair of an old partition
would make them fresh.
"""

import warnings
from collections.abc import Callable, Collection, Iterable
from datetime import timedelta

import dagster as dg

from sh_assets import wording
from sh_assets.dagster_checks import make_room
from sh_assets.keys import feed_key, partition_name, partitions_definition, table_key
from sh_core.due import By, Within
from sh_core.feed import Feed
from sh_core.graph import Graph
from sh_core.partitions import Daily, Hourly, Monthly, Partitions, Periods, Weekly
from sh_core.records import About
from sh_core.table import Table
from sh_resources.engine import Engine
from sh_resources.on_time import OnTime, Remark
from sh_resources.overdue import Watchman

CHECK = "on_time"

_DAY = timedelta(days=1)
_SHORTEST_DAY = timedelta(hours=23)
_ALWAYS_IN_A_MONTH = 28


def spec(asset: dg.AssetKey, partitions: Partitions) -> dg.AssetCheckSpec:
    """The check of a feed or a table."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.PreviewWarning)  # as those of the rules (``describing``)
        return dg.AssetCheckSpec(
            CHECK,
            asset=asset,
            description="What is owed of the partition is there, or not late yet.",
            partitions_def=partitions_definition(partitions),
        )


def check(feed: Feed, engine_key: str) -> dg.AssetChecksDefinition:
    """The check of a feed as something that can be run: files arrive without our doing, so no run brings it along."""

    @dg.multi_asset_check(
        specs=[spec(feed_key(feed), feed.partitions)],
        name=f"{CHECK}_{feed.name}",
        description="Says of the partitions asked for, or of all that are late, whether their file is there in time.",
        can_subset=True,
        required_resource_keys={engine_key},
    )
    def body(context: dg.AssetCheckExecutionContext):  # noqa: ANN202  # Dagster reads the annotation
        engine: Engine = getattr(context.resources, engine_key)
        running, now_utc, on_time = context.op_execution_context, engine.now_utc(), OnTime(Watchman(engine))
        subject = (About.FILE, feed.name)
        # Dagster gives a run of checks alone no partitions, where the asset is not of our making.
        asked = running.partition_keys if running.has_partition_key else on_time.late(now_utc).get(subject, {})
        log: Callable[[dg.AssetCheckEvaluation], None] = running.log_event  # type: ignore[assignment]
        for evaluation in evaluations(on_time.remarks(subject, [str(key) for key in asked], now_utc), engine.graph):
            log(evaluation)
        yield from ()

    return body


def of_table(engine: Engine, table: Table, keys: Collection[str]) -> list[dg.AssetCheckEvaluation]:
    """What the check says of partitions of a table now."""
    found = OnTime(Watchman(engine)).remarks((About.DEADLINE, table.name), list(keys), engine.now_utc())
    return evaluations(found, engine.graph)


def evaluations(remarks: Iterable[Remark], graph: Graph) -> list[dg.AssetCheckEvaluation]:
    """Remarks as evaluations of the check, one per partition."""
    feeds = {feed.name: feed for feed in graph.feeds}
    return [_evaluation(r, feeds[r.name] if r.about is About.FILE else graph[r.name]) for r in remarks]


def to_report(instance: dg.DagsterInstance, remarks: Iterable[Remark], graph: Graph) -> list[dg.AssetCheckEvaluation]:
    """Evaluations for a sensor to report, which belong to no run."""
    found = evaluations(remarks, graph)
    make_room(instance, found)
    return found


def _evaluation(remark: Remark, of: Feed | Table) -> dg.AssetCheckEvaluation:
    moments = {"due": remark.due_utc, "late_since": remark.late_utc, "there_since": remark.came_utc}
    return dg.AssetCheckEvaluation(
        asset_key=feed_key(of) if isinstance(of, Feed) else table_key(of.name),
        check_name=CHECK,
        passed=remark.passed,
        partition=partition_name(of.partitions, remark.partition),
        severity=dg.AssetCheckSeverity.WARN,
        description=f"{wording.on_time(remark)}.",
        metadata={
            **{name: dg.MetadataValue.timestamp(at.timestamp()) for name, at in moments.items() if at is not None},
            "late_by_s": remark.late_by_s,
            **({"expected_file": remark.file_name} if remark.file_name is not None else {}),
            **({"incident": remark.incident} if remark.incident is not None else {}),
        },
        blocking=False,
    )


# ------------------------------------------------------------------------------------------------- freshness policies


def freshness(feed: Feed) -> dg.FreshnessPolicy | None:
    """Dagster's policy for a feed, if it can say what the deadline of the newest partition says; see above."""
    periods, due = feed.partitions, feed.due
    if not isinstance(periods, Periods) or periods.end is not None:
        return None  # of a set that ends, nothing new is owed in the end, and Dagster would wait for it
    match due:
        case By(closed=closed, without=without) if not (
            closed.weekdays or closed.dates or without.weekdays or without.dates
        ):
            return _by(due, periods)
        case Within() if isinstance(periods, Hourly):
            return _within(due, periods)
        case _:
            return None  # Dagster knows no days off


def _by(due: By, periods: Periods) -> dg.FreshnessPolicy | None:
    late = timedelta(hours=due.at.hour, minutes=due.at.minute) + due.grace
    days, of_day = due.days_after + late // _DAY, late % _DAY
    if isinstance(periods, Hourly) or of_day.seconds % 60 or periods.timezone != due.timezone:
        return None  # on another clock the period is over at another time of the day, when clocks are changed
    time = f"{of_day.seconds % 3600 // 60} {of_day.seconds // 3600}"
    # How long before the deadline the period is over: before that no file of it can have come.
    over = of_day + (days - 1) * _DAY - timedelta(hours=periods.hour_offset, minutes=periods.minute_offset)
    match periods:
        case Daily():
            cron, longest = f"{time} * * *", _SHORTEST_DAY
        case Weekly():
            cron, longest = f"{time} * * {days % 7}", 7 * _SHORTEST_DAY
        case Monthly() if 1 <= days <= _ALWAYS_IN_A_MONTH:
            cron, longest = f"{time} {days} * *", _ALWAYS_IN_A_MONTH * _SHORTEST_DAY
        case _:
            return None
    if not timedelta(minutes=1) <= over <= longest:
        return None  # it would take a file of another period for this one's
    return dg.FreshnessPolicy.cron(cron, over, due.timezone)


def _within(due: Within, periods: Periods) -> dg.FreshnessPolicy | None:
    late = due.after + due.grace
    if not isinstance(periods, Hourly) or not timedelta(minutes=1) <= late <= timedelta(hours=1) or late.seconds % 60:
        return None
    minute = (periods.minute_offset + late.seconds // 60) % 60
    return dg.FreshnessPolicy.cron(f"{minute} * * * *", late)
