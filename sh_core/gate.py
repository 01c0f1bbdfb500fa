"""The gate: who says whether a staged partition may become visible.

Belongs here: verdicts from what the rules found, and the breach policy. Does not belong here: asking the rules
(``gate_rows``, ``gate_whole``), publishing, quarantine files. Invariant: judging a partition in one piece, or in any
split into batches that are merged, in any order of rows, gives the same verdict and the same rows. Every judged row is
in exactly one of ``rows``, ``broken`` and ``duplicates``, unless the verdict is ``Unknown``.

    judge_batch ─┐                      one batch: rows of one partition (an executor), or of many (a range run)
    judge_batch ─┼─ merge ── decide     one partition: rules about it as a whole, policy, verdict
    judge_batch ─┘
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import assert_never

import polars as pl

from sh_core.columns import LINEAGE, RULES, UNPARSED
from sh_core.contract import PARSE, SCHEMA, Contract, Split, Withhold
from sh_core.gate_rows import Crash, judge_rows, misfit, quantise, rule_lists
from sh_core.gate_whole import judge_whole
from sh_core.masking import sample
from sh_core.verdict import SAMPLE_ROWS, Broken, Held, Level, RuleBreach, Unknown, Verdict


@dataclass(frozen=True, eq=False)
class BatchFindings:
    """What the row-level rules say of one batch. Findings of a partition's batches merge into those of the partition.

    Attributes:
        rows: Rows that hold, rounded: the contract's columns in order, then ``_file`` and ``_line`` if they came along.
        broken: Rows that break a rule, every column that came along, and ``_rules``.
        breaches: One boolean column per row-level rule that a row breaks, one value per row of ``broken``.
        crashes: Per rule that could not be asked, why.
        misfit: How the schema differs from the declared one, all rows being in ``broken`` then; empty if it fits.
    """

    rows: pl.DataFrame
    broken: pl.DataFrame
    breaches: pl.DataFrame
    crashes: Mapping[str, Crash]
    misfit: str = ""

    @property
    def rows_judged(self) -> int:
        """Rows of the batch."""
        return self.rows.height + self.broken.height


@dataclass(frozen=True, eq=False)
class Judgement:
    """What the gate makes of one partition.

    Attributes:
        verdict: What it says.
        publishable: Whether ``rows`` may become visible: every rule held, or the policy splits off the broken rows.
        rows: The rows to publish: the contract's columns in order, then ``_file`` and ``_line`` if they came along;
            rounded, without copies and broken rows. Empty if the verdict is ``Unknown`` or the schema is broken.
        broken: Rows left out, every column that came along, and ``_rules``: every rule that the row broke.
        duplicates: ``_file`` and ``_line`` of exact copies that were dropped; of several copies the first is kept.
        rows_judged: Rows that were handed in.
    """

    verdict: Verdict
    publishable: bool
    rows: pl.DataFrame
    broken: pl.DataFrame
    duplicates: pl.DataFrame
    rows_judged: int


def judge_partitions(
    frames: Mapping[str, pl.DataFrame],
    contract: Contract,
    findings: Mapping[str, Sequence[RuleBreach]] = MappingProxyType({}),
) -> dict[str, Judgement]:
    """Judge many partitions at once: row-level rules in one pass over all of them, the others partition by partition.

    Args:
        frames: Staged rows per partition key.
        contract: What they must satisfy.
        findings: Per partition key, breaches that were found before the gate (a wrong header, say). They name no rows
            that could be set aside, so they withhold the partition.

    Returns:
        A judgement per partition key, in the order of ``frames``. A partition on which a user's check crashes, or whose
        schema is wrong, leaves the others alone.
    """
    alike: dict[tuple[tuple[str, pl.DataType], ...], list[str]] = {}
    for key, frame in frames.items():
        alike.setdefault(tuple(frame.schema.items()), []).append(key)
    found: dict[str, BatchFindings] = {}
    for keys in alike.values():
        found |= _judge_alike({key: frames[key] for key in keys}, contract)
    return {key: decide(found[key], contract, findings.get(key, ())) for key in frames}


def _judge_alike(frames: Mapping[str, pl.DataFrame], contract: Contract) -> dict[str, BatchFindings]:
    """Findings per partition, for frames of one schema."""
    together, broken_at = _judge(pl.concat(frames.values(), rechunk=True), contract)
    if together.crashes and len(frames) > 1:
        # Ask again one by one: the check may crash on one partition's rows only.
        return {key: judge_batch(frame, contract) for key, frame in frames.items()}
    ends = pl.Series([frame.height for frame in frames.values()], dtype=pl.UInt32).cum_sum()
    broken_ends = broken_at.search_sorted(ends, side="left").to_list()
    found: dict[str, BatchFindings] = {}
    start = broken_start = 0
    for key, end, broken_end in zip(frames, ends.to_list(), broken_ends, strict=True):
        held = slice(start - broken_start, end - broken_end)
        broken = slice(broken_start, broken_end)
        found[key] = BatchFindings(
            rows=together.rows[held],
            broken=together.broken[broken],
            breaches=together.breaches[broken],
            crashes=together.crashes,
            misfit=together.misfit,
        )
        start, broken_start = end, broken_end
    return found


def judge_batch(frame: pl.DataFrame, contract: Contract) -> BatchFindings:
    """Put the row-level rules to one batch.

    Args:
        frame: Some rows of one partition, with the contract's columns and any system columns.
        contract: What they must satisfy.

    Returns:
        Findings to ``merge`` with those of the partition's other batches, and to ``decide`` upon.
    """
    return _judge(frame, contract)[0]


def _judge(frame: pl.DataFrame, contract: Contract) -> tuple[BatchFindings, pl.Series]:
    """Findings, and the positions of the broken rows in the batch."""
    lineage = {name: dtype for name, dtype in LINEAGE.items() if name in frame.columns}
    fault = misfit(frame.schema, contract)
    if fault:
        rows = pl.Schema({**contract.schema, **lineage}).to_frame(eager=True)
        broken = frame.with_columns(pl.lit([SCHEMA], dtype=pl.List(pl.String)).alias(RULES))
        found = BatchFindings(rows, broken, pl.DataFrame(), {}, fault)
        return found, pl.arange(frame.height, dtype=pl.UInt32, eager=True)
    frame = quantise(frame, contract.quanta)
    said = judge_rows(frame, contract)
    published = [*contract.columns, *lineage]
    breaches = pl.DataFrame(said.broken)
    if said.broken:
        breaks = breaches.select(pl.any_horizontal(pl.all())).to_series()
        breaches = breaches.filter(breaks)
        broken = frame.filter(breaks)
        broken = broken.with_columns(_named(broken, breaches))
        rows = frame.select(published).filter(~breaks)
        broken_at = breaks.arg_true()
    else:
        rows = frame.select(published)
        broken = frame.clear().with_columns(pl.lit(None, dtype=pl.List(pl.String)).alias(RULES))
        broken_at = pl.Series(dtype=pl.UInt32)
    return BatchFindings(rows, broken, breaches, said.crashes), broken_at


def _named(broken: pl.DataFrame, breaches: pl.DataFrame) -> pl.Series:
    """Per broken row every rule that it broke; ``parse`` once per value that could not be read, with its column."""
    rules = rule_lists(breaches)
    if PARSE not in breaches.columns:
        return rules
    unread = broken[UNPARSED].list.eval(pl.lit(f"{PARSE}:") + pl.element())
    others = rules.list.set_difference([PARSE])
    return pl.select(pl.concat_list(unread.list.drop_nulls().fill_null([]), others).alias(RULES)).to_series()


def merge(parts: Iterable[BatchFindings]) -> BatchFindings:
    """Findings of a partition from those of its batches, in any order and any grouping.

    Args:
        parts: At least one; batches of one partition have the same columns.

    Returns:
        What ``judge_batch`` would have found for all the rows at once.
    """
    found = list(parts)
    return BatchFindings(
        rows=pl.concat(part.rows for part in found),
        broken=pl.concat(part.broken for part in found),
        breaches=pl.concat((part.breaches for part in found), how="diagonal").fill_null(value=False),
        crashes={rule: crash for part in found for rule, crash in part.crashes.items()},
        misfit=next((part.misfit for part in found if part.misfit), ""),
    )


def decide(found: BatchFindings, contract: Contract, findings: Sequence[RuleBreach] = ()) -> Judgement:
    """Judge one partition as a whole.

    Args:
        found: What the row-level rules said of all its rows.
        contract: What it must satisfy.
        findings: Breaches found before the gate; they withhold the partition.

    Returns:
        The judgement.
    """
    if found.misfit:
        return _withheld(
            found, Broken(_in_order((*findings, RuleBreach(SCHEMA, Level.TABLE, 1, found.misfit)), contract), 0)
        )
    whole = judge_whole(found.rows, contract)
    crashes = {**found.crashes, **whole.crashes}
    if crashes:
        rule = next(rule.name for rule in contract.rules if rule.name in crashes)
        return _withheld(found, Unknown(rule, crashes[rule].cause))
    breaches = _in_order((*findings, *_row_breaches(found, contract), *whole.breaches), contract)
    verdict = Broken(breaches, found.broken.height) if breaches else Held()
    return Judgement(
        verdict=verdict,
        publishable=not findings and _publishable(verdict, found.rows_judged, contract.on_breach),
        rows=whole.rows,
        broken=pl.concat([found.broken, whole.conflicting], how="diagonal"),
        duplicates=_lineage(whole.copies),
        rows_judged=found.rows_judged,
    )


def with_earlier(now: Judgement, before: Verdict, left_out: int, contract: Contract) -> Judgement:
    """Judge content that was published before, together with the rows that were set aside when it was.

    Args:
        now: What the gate makes of the rows that were published.
        before: What it said of all of them then.
        left_out: Rows that were set aside then, or dropped as copies.
        contract: What they must satisfy now, and how many may be broken.

    Returns:
        The judgement of all of them: broken is what was set aside then, and what breaks a rule now. Its ``broken`` has
        the latter only.
    """
    rows_judged = now.rows_judged + left_out
    if isinstance(now.verdict, Unknown) or not isinstance(before, Broken):
        return replace(now, rows_judged=rows_judged)
    found = now.verdict if isinstance(now.verdict, Broken) else Broken((), 0)
    verdict = Broken(_in_order((*before.breaches, *found.breaches), contract), before.rows_broken + found.rows_broken)
    publishable = _publishable(verdict, rows_judged, contract.on_breach)
    return replace(now, verdict=verdict, publishable=publishable, rows_judged=rows_judged)


def _withheld(found: BatchFindings, verdict: Broken | Unknown) -> Judgement:
    """A judgement without rows to publish: of a wrong schema every row is broken, of an unknown one nothing is said."""
    broken = found.broken if found.misfit else found.broken.clear()
    return Judgement(
        verdict=verdict,
        publishable=False,
        rows=found.rows.clear(),
        broken=broken,
        duplicates=_lineage(found.rows.clear()),
        rows_judged=found.rows_judged,
    )


_NO_LINEAGE = pl.DataFrame(schema=LINEAGE)


def _lineage(rows: pl.DataFrame) -> pl.DataFrame:
    """File and line of these rows; null where they did not come along."""
    if rows.is_empty():
        return _NO_LINEAGE
    absent = [pl.lit(None, dtype=dtype).alias(name) for name, dtype in LINEAGE.items() if name not in rows.columns]
    return rows.with_columns(absent).select(*LINEAGE)


def _row_breaches(found: BatchFindings, contract: Contract) -> list[RuleBreach]:
    if found.broken.is_empty():
        return []
    broken, breaches = found.broken.drop(RULES), found.breaches
    lineage = [name for name in LINEAGE if name in broken.columns]
    if lineage:
        # The sample must not depend on the order in which rows came.
        order = broken.select(pl.arg_sort_by(lineage)).to_series()
        broken, breaches = broken[order], breaches[order]
    return [
        RuleBreach(
            rule=breaks.name,
            level=Level.ROW,
            count=int(breaks.sum()),
            sample=sample(broken[breaks.arg_true().head(SAMPLE_ROWS)], contract.pii),
        )
        for breaks in breaches
        if breaks.any()
    ]


def _in_order(breaches: Iterable[RuleBreach], contract: Contract) -> tuple[RuleBreach, ...]:
    """One breach per rule, in the contract's order; what it does not know (a finding of another's rule) comes last."""
    merged: dict[str, RuleBreach] = {}
    for breach in breaches:
        before = merged.get(breach.rule)
        merged[breach.rule] = breach if before is None else _joined(before, breach)
    known = {rule.name: place for place, rule in enumerate(contract.rules)}
    return tuple(sorted(merged.values(), key=lambda breach: known.get(breach.rule, len(known))))


def _joined(one: RuleBreach, other: RuleBreach) -> RuleBreach:
    match one.level:
        case Level.ROW:
            count = one.count + other.count
        case Level.TABLE:
            count = 1
        case _:
            assert_never(one.level)
    detail = "; ".join(text for text in (one.detail, other.detail) if text)
    return RuleBreach(one.rule, one.level, count, detail, (*one.sample, *other.sample)[:SAMPLE_ROWS])


def _publishable(verdict: Held | Broken, rows_judged: int, policy: Withhold | Split) -> bool:
    if isinstance(verdict, Held):
        return True
    match policy:
        case Withhold():
            return False
        case Split(max_fraction):
            only_rows = all(breach.level is Level.ROW for breach in verdict.breaches)
            return only_rows and verdict.rows_broken <= max_fraction * rows_judged
        case _:
            assert_never(policy)
