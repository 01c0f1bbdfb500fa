"""Schedule: one case in which everything happens at once.

Belongs here: changes that arrive while runs are under way, runs that overlap, die or are started by hand, ticks that
are killed, and what must hold when all of it is over. Does not belong here: one change after the other (``drive``).
Invariant: a case follows from its seed alone.
"""

from dataclasses import dataclass
from datetime import timedelta

from sh_core.policy import Hold
from sh_drills.oracle.changes import change
from sh_drills.oracle.drive import Account, Case
from sh_drills.oracle.memory_engine import Run
from sh_drills.oracle.system import KilledError

MEANWHILE = 0.25
"""How often something happens between two questions that a tick or a run asks."""


@dataclass
class Turmoil:
    """A case in which anything may happen at any time.

    Attributes:
        case: The case.
        inside: Whether something is happening between two questions just now.
        in_tick: Whether a tick is under way, that may be killed.
        stopping: Whether no more is to happen.
    """

    case: Case
    inside: bool = False
    in_tick: bool = False

    def meanwhile(self) -> None:
        """Between two questions."""
        rng = self.case.rng
        if self.inside or rng.random() >= MEANWHILE:
            return
        if self.in_tick and rng.random() < 0.1:  # noqa: PLR2004 -- now and then
            raise KilledError
        self.inside = self.case.disturbed = True
        try:
            rng.choice([self.deliver, self.step_run, self.step_run, self.by_hand])()
        finally:
            self.inside = False

    def act(self) -> None:
        """Something happens."""
        acts = {
            self.tick: 6,
            self.step_run: 8,
            self.change: 4,
            self.by_hand: 1,
            self.roll_back: 1,
            self.hold: 1,
            self.release: 2,
            self.restart: 1,
            self.wait: 2,
        }
        self.case.rng.choices(list(acts), list(acts.values()))[0]()

    # ---- what may happen

    def tick(self) -> None:
        """A tick; what it requests may get lost, with the process or without."""
        case, rng = self.case, self.case.rng
        self.in_tick, case.disturbed = True, False
        try:
            decision = case.tick(sweep=rng.random() < 0.1)  # noqa: PLR2004 -- now and then
        except KilledError:
            case.story.append("a tick was killed")
            case.restart()
            return
        finally:
            self.in_tick = False
        fate = rng.random()
        requested = sorted(f"{name}[{key}]" for name, found in decision.due.items() for key in found)
        if requested:
            case.story.append(f"requested: {', '.join(requested)}{', and lost' if fate < 0.15 else ''}")  # noqa: PLR2004
        if fate < 0.05:  # noqa: PLR2004 -- now and then
            case.restart()
        if fate >= 0.15:  # noqa: PLR2004 -- now and then
            case.system.launch(decision.due)

    def step_run(self) -> None:
        """A run starts, ends or dies."""
        system, rng = self.case.system, self.case.rng
        runs = [*system.runs, *system.foreign]
        if not runs:
            return
        run = rng.choice(runs)
        if rng.random() < 0.08:  # noqa: PLR2004 -- now and then
            self._say(run, "dies")
            system.crash(run)
        elif run.started:
            self._say(run, "ends")
            system.finish(run)
        else:
            self._say(run, "starts")
            run.start()

    def _say(self, run: Run, what: str) -> None:
        self.case.story.append(f"{run.holder} of {run.table} {run.keys} {what}")

    def change(self) -> None:
        """A change from outside."""
        self.case.change()

    def deliver(self) -> None:
        """A change that needs no new process."""
        case = self.case
        while True:
            before = (dict(case.world.shapes), case.world.today)
            made = change(case.rng, case.world)
            if not made.edited and case.world.today == before[1]:
                break
            case.world.shapes, case.world.today = before
        case.changes += 1
        case.story.append(f"(meanwhile) {made.says}")
        case.system.notice(made)

    def by_hand(self) -> None:
        """A person runs some partitions, in Dagster or not."""
        system, rng = self.case.system, self.case.rng
        table = rng.choice(system.book.graph.tables)
        keys = [k for k in table.partitions.declared(system.now_utc) if rng.random() < 0.5]  # noqa: PLR2004
        if keys:
            system.run_by_hand(table.name, keys, in_dagster=rng.random() < 0.5)  # noqa: PLR2004

    def roll_back(self) -> None:
        """Old content is put back."""
        self.case.roll_back()

    def hold(self) -> None:
        """Somebody holds a lease and does nothing."""
        system, rng = self.case.system, self.case.rng
        table = rng.choice(system.book.graph.tables)
        key = rng.choice(list(table.partitions.declared(system.now_utc)))
        system.ledger.leases.setdefault((table.name, key), "somebody")

    def release(self) -> None:
        """They let go."""
        leases = self.case.system.ledger.leases
        for place in [place for place, holder in leases.items() if holder == "somebody"]:
            del leases[place]

    def restart(self) -> None:
        """The process that ticks starts anew."""
        self.case.restart()

    def wait(self) -> None:
        """Time passes."""
        self.case.system.now_utc += timedelta(seconds=self.case.rng.choice([10, 60, 2000]))
        self.case.world.today = max(self.case.world.today, self.case.system.now_utc.date())
        self.case.know_nothing()  # a night may have gone by


def interleaved(seed: int, steps: int = 60, tables: int | None = None) -> Account:
    """Everything at once; when it is over, all is as if it had never happened.

    Raises:
        DisagreedError: With the seed and what happened.
    """
    case = Case.draw(seed, tables)
    case.turns = True
    turmoil = Turmoil(case)
    case.system.between = turmoil.meanwhile
    for _ in range(steps):
        turmoil.act()
    case.system.between = lambda: None
    turmoil.release()
    while runs := [*case.system.runs, *case.system.foreign]:
        run = case.rng.choice(runs)
        if not run.started:
            run.start()
        case.system.finish(run)
    case.world.paused.clear()
    case.system.ledger.paused.clear()
    case.settle_down()
    # What was given up is for a person, who finds it held, runs it by hand, and is done.
    while given_up := _given_up(case):
        for name, keys in given_up.items():
            run = case.system.run_by_hand(name, keys, in_dagster=True)
            run.start()
            case.system.finish(run)
        case.settle_down()
    case.check_content()
    case.check_quiet()
    case.check_traces()
    return case.account()


def _given_up(case: Case) -> dict[str, list[str]]:
    held = case.tick().held
    found = {name: [k for k, h in keys.items() if h.hold is Hold.GIVEN_UP] for name, keys in held.items()}
    return {name: keys for name, keys in found.items() if keys}
