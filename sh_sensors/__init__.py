"""Sensors: what happens without anybody asking.

Belongs here: when something is looked at, and how a tick tells what it did. Does not belong here: what is done (the
engine), assets (``sh_assets``). Invariant: a tick is bounded, may run twice, and needs no cursor to be right.

    arrivals.py   takes in what has landed
    lateness.py   notices what should be there and is not
    recovery.py   finishes or discards what stopped processes left half-done
    tidying.py    removes, once a day, what nothing can return to
"""
