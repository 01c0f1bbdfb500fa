"""What a ledger keeps of rollbacks and of what was tidied away, on every database that it runs on."""

from dataclasses import replace
from datetime import timedelta

from sh_core.records import Action
from sh_core.trace import Trace
from sh_resources.ledger import Ledger
from tests.conformance.test_ledger import (
    LATER,
    NOW,
    TABLE,
    bar,
    digest,
    lease,
    publish,
    published,
    refresh,
    settle,
    take_over,
    trace,
    version,
    withhold,
)


def test_a_bar_is_in_force_once_its_rollback_is_confirmed(ledger: Ledger) -> None:
    """The process dies between the commit and its confirmation: whoever confirms it brings the bar into force."""
    token = lease(ledger)
    published(ledger, publish("good", token))
    published(ledger, publish("bad", token, transaction=2))
    back = publish("back", token, transaction=3, trace=trace("good"), version=version("good"))
    made = bar("bad", "good", "back")
    assert ledger.publications.intend([back], [made]) == [back]
    assert ledger.bars.standing(TABLE) == {}
    assert ledger.publications.intend([back], [made]) == [back], "may be repeated"
    ledger.publications.recover({"back": take_over(ledger)}, LATER)
    expected = {"d1": (replace(made, made_utc=LATER),)}
    assert ledger.bars.standing(TABLE) == ledger.bars.standing(TABLE, ["d1", "d2"]) == expected
    assert ledger.bars.standing(TABLE, ["d2"]) == ledger.bars.standing("other") == {}


def test_a_discarded_or_fenced_rollback_bars_nothing(ledger: Ledger) -> None:
    token = lease(ledger)
    ledger.publications.intend([publish("a", token)], [bar("bad", "good", "a")])
    ledger.publications.discard(["a"], LATER, "lost the race")
    taken = lease(ledger, "d2")
    take_over(ledger, "d2")
    mine, lost = publish("mine", token), publish("lost", taken, "d2")
    bars = [bar("bad", "good", "mine"), bar("bad", "good", "lost", "d2")]
    assert ledger.publications.intend([mine, lost], bars) == [mine]
    assert ledger.bars.standing(TABLE) == {}


def test_publishing_the_barred_content_lifts_its_bar_and_no_other(ledger: Ledger) -> None:
    """Only what is published: a withheld attempt has decided nothing."""
    token = lease(ledger, "d1", "d2")
    for i, (name, bad, key) in enumerate([("a", "x", "d1"), ("b", "y", "d1"), ("c", "x", "d2")], 1):
        attempt = publish(name, token, key, transaction=i)
        ledger.publications.intend([attempt], [bar(bad, f"good-{name}", name, key)])
        ledger.publications.confirm([name], NOW + timedelta(seconds=i))
    settle(ledger, [withhold("w", token)], LATER)
    assert [b.attempt_id for b in ledger.bars.standing(TABLE)["d1"]] == ["a", "b"]
    published(ledger, publish("forward", token, transaction=9, version=version("x")))
    left = ledger.bars.standing(TABLE)
    assert {key: [b.root for b in of_it] for key, of_it in left.items()} == {"d1": [digest("y")], "d2": [digest("x")]}


def test_publishing_under_a_barred_trace_narrows_the_bar(ledger: Ledger) -> None:
    """A forced run has shown that what bad and new have in common was not the cause; so has a refresh."""
    token = lease(ledger)
    bad, good = trace("bad"), trace("good")
    first = publish("a", token)
    ledger.publications.intend([first], [bar("bad", "good", "a")])
    ledger.publications.confirm(["a"], NOW)
    repaired = Trace("code-2", bad.contract, bad.reads)
    (before,) = ledger.bars.standing(TABLE)["d1"]
    assert before.bars(repaired)
    published(ledger, publish("unrelated", token, transaction=2, trace=trace("other")))
    assert ledger.bars.standing(TABLE)["d1"] == (before,)
    settle(ledger, [withhold("w", token, trace=repaired)], NOW)
    assert ledger.bars.standing(TABLE)["d1"] == (before,), "what was withheld has shown nothing"
    kept = published(ledger, publish("b", token, transaction=3, trace=repaired))
    (after,) = ledger.bars.standing(TABLE)["d1"]
    assert (after.bad, after.good) == (bad, repaired)
    assert not after.bars(repaired)
    again = Trace(bad.code, "contract-2", bad.reads)
    assert after.bars(again)
    settle(ledger, [refresh("c", token, kept, trace=again)], LATER)
    (last,) = ledger.bars.standing(TABLE)["d1"]
    assert last.good == again
    assert good != again


def test_what_was_replaced_long_ago_can_go_but_for_the_newest(ledger: Ledger) -> None:
    """Per partition, whatever the others do; what is published never."""
    token = lease(ledger, "d1", "d2")
    for n in range(1, 6):
        attempt = publish(f"a{n}", token, transaction=n)
        ledger.publications.intend([attempt])
        ledger.publications.confirm([attempt.id], NOW + timedelta(days=n))
    published(ledger, publish("lonely", token, "d2"))

    def replaced(days: float, newest: int) -> list[str]:
        found = ledger.tidying.replaced(TABLE, NOW + timedelta(days=days), newest)
        assert found == ledger.tidying.replaced(TABLE, NOW + timedelta(days=days), newest, ["d1", "d2"])
        return [r.attempt_id for r in found]

    assert replaced(99, 0) == ["a1", "a2", "a3", "a4"]
    assert replaced(99, 2) == ["a1", "a2"]
    assert replaced(3, 0) == ["a1", "a2"], "a2 was replaced on the third day"
    assert replaced(2.9, 0) == ["a1"]
    ledger.tidying.give_up(["a1", "a5", "nothing"], LATER)
    assert replaced(99, 0) == ["a2", "a3", "a4"]
    assert replaced(99, 2) == ["a2"], "what was given up still counts as older"
    given_up = {s.attempt_id: s.tidied_utc for s in ledger.publications.history(TABLE, "d1")}
    assert given_up == {"a1": LATER, "a2": None, "a3": None, "a4": None, "a5": None}


def test_evidence_belongs_to_the_last_attempt_of_each_snapshot_that_is_kept(ledger: Ledger) -> None:
    """A refresh judged other rows: theirs is the evidence. What set nothing aside has none; what is undecided may."""
    token = lease(ledger, "d1", "d2")
    old = published(ledger, publish("old", token, quarantined=1))
    settle(ledger, [refresh("again", token, old, quarantined=2)], LATER + timedelta(hours=1))
    published(ledger, publish("new", token, transaction=2, quarantined=0))
    ledger.publications.intend([publish("open", token, "d2")])
    assert ledger.tidying.needed(TABLE).evidence == {"again", "open"}
    found = ledger.publications.last_by_path(TABLE, str(old.path))
    assert found is not None
    assert (found.attempt.id, found.attempt.action) == ("again", Action.REFRESH)
    assert ledger.publications.last_by_path(TABLE, "nowhere") is None
    ledger.tidying.give_up(["old"], LATER)
    assert ledger.tidying.needed(TABLE).evidence == {"open"}


def test_when_a_partition_was_last_decided_upon(ledger: Ledger) -> None:
    token = lease(ledger, "d1", "d2", "d3")
    published(ledger, publish("a", token))
    ledger.publications.intend([publish("b", token, transaction=2), publish("c", token, "d2")])
    ledger.publications.discard(["b"], LATER + timedelta(hours=1), "too late")
    assert ledger.tidying.last_decided(TABLE) == {"d1": LATER + timedelta(hours=1)}
    assert ledger.tidying.last_decided(TABLE, ["d2", "d3"]) == {}
