"""Facts about the state folder, as plain values: what programs get, and what everything shown is made of.

Belongs here: reading ledger and store, and bringing together what is asked for. Does not belong here: how it looks
(``sh_defs.shown``), changing anything. Invariant: every figure is read back from what is stored; PII leaves masked.

    report.py      the state folder as a whole       standings.py   what readers of each table see
    inspecting.py  one table or partition            evidence.py    rows in quarantine
    naming.py      the table, partition or rule that somebody meant
    saying.py      sentences that all of them use
"""
