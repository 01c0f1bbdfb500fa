"""Bars: whatever comes back after a rollback, it is not what was rolled back; and what is new gets its chance."""

from dataclasses import replace
from datetime import UTC, datetime

from hypothesis import assume, given
from hypothesis import strategies as st

from sh_core.bars import Bar, after_publishing, barring, breach, components_of, refusing
from sh_core.trace import Read, Trace

few = st.sampled_from("abc")
read_keys = st.sets(
    st.tuples(st.sampled_from(["flights", "weather"]), st.sampled_from(["d1", "d2"]), st.sampled_from([(), ("c",)])),
    max_size=3,
)
roots = st.sampled_from(["sh1-1", "sh1-2", "sh1-3"])


@st.composite
def traces(draw: st.DrawFn) -> Trace:
    """Traces of few values, so that components often agree, and often exist in one of two only."""
    reads = {Read(s, p, c, draw(few), draw(st.sampled_from(["", "picked"]))) for s, p, c in draw(read_keys)}
    return Trace(draw(few), draw(few), frozenset(reads))


def agrees(now: Trace, bad: Trace, good: Trace) -> bool:
    """The sentence of the design, written naively."""
    n, b, g = (
        {
            **{f"read {r.source} {r.partition} {r.columns} {r.rows}": r.digest for r in t.reads},
            "code": t.code,
            "contract": t.contract,
        }
        for t in (now, bad, good)
    )
    differing = [c for c in {*b, *g} if b.get(c) != g.get(c)]
    if not differing:
        return now == bad
    return all(n.get(c) == b.get(c) for c in differing)


@given(traces(), traces(), traces())
def test_a_bar_stands_against_what_agrees_with_the_bad_where_bad_and_good_differ(
    bad: Trace, good: Trace, now: Trace
) -> None:
    made = Bar("t", "p", "sh1-1", bad, good)
    assert made.bars(now) == agrees(now, bad, good)
    assert made.bars(bad), "what was rolled back is barred"
    assert made.bars(good) == (bad == good), "what it was rolled back to is not, if the two can be told apart"


@given(traces(), traces(), traces(), st.data())
def test_a_change_in_what_bad_and_good_have_in_common_does_not_lift_the_bar(
    bad: Trace, good: Trace, now: Trace, data: st.DataObject
) -> None:
    """Someone edits the code: the bad file is still the bad file."""
    assume(bad.code == good.code)
    assume(bad != good)
    assert Bar("t", "p", "sh1-1", bad, good).bars(replace(bad, code="edited"))


@given(traces(), traces())
def test_a_change_in_any_component_in_which_they_differ_is_tried(bad: Trace, good: Trace) -> None:
    made = Bar("t", "p", "sh1-1", bad, good)
    if ("code",) in made.components:
        assert not made.bars(replace(bad, code="edited"))
    for read in bad.reads:
        key = ("read", read.source, read.partition, read.rows, *read.columns)
        corrected = replace(bad, reads=bad.reads - {read} | {replace(read, digest="corrected")})
        if key in made.components and components_of(corrected)[key] == "corrected":
            assert not made.bars(corrected)


@given(traces(), traces(), roots, traces(), roots)
def test_what_was_published_on_a_persons_word_is_not_barred_after_it(
    bad: Trace, good: Trace, root: str, now: Trace, published: str
) -> None:
    """A forced run, a rollback forward: the bars that are left contradict nobody; and they only ever get narrower."""
    before = Bar("t", "p", root, bad, good, "ada", "why", "attempt", datetime(2030, 1, 1, tzinfo=UTC))
    after = after_publishing(before, published, now)
    assert (after is None) == (published == root), "only the very content lifts its bar"
    if after is None:
        return
    assert (after.root, after.bad, after.made_by, after.attempt_id) == (root, bad, "ada", "attempt")
    assert after.made_utc == before.made_utc
    assert not after.bars(now) or now == bad
    assert after.bars(bad)
    if not before.bars(now):
        assert after is before


@given(st.lists(st.tuples(traces(), traces(), roots), max_size=4), traces(), roots)
def test_several_bars_stand_side_by_side(made: list[tuple[Trace, Trace, str]], now: Trace, root: str) -> None:
    bars = [Bar("t", "p", r, bad, good) for bad, good, r in made]
    found, refused = barring(bars, now), refusing(bars, root)
    assert (found is not None) == any(agrees(now, bad, good) for bad, good, _ in made)
    assert (refused is not None) == (root in [r for _, _, r in made])
    if refused is not None:
        assert root in breach(refused).detail
