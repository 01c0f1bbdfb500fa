"""The oracle: random graphs and changes, and a second, naive opinion on what had to be executed.

Belongs here: drawing worlds (``shapes``, ``changes``), computing them in memory (``content``, ``memory_book``,
``memory_engine``), the naive opinion (``reference``), comparing the two (``drive``). Does not belong here: deciding
what is due; that is what is on trial. Invariant: ``reference`` shares the drawn worlds and their transforms with what
is on trial, and nothing else.

    python -m sh_drills.oracle --seed 1 --cases 1000
"""
