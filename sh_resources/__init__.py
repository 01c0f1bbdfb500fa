"""Adapters: everything that touches files, databases, the clock and the environment.

Belongs here: the table store, the landing zone, the ledger, settings, and the publisher, which joins store and ledger
into the one door through which rows become visible. Does not belong here: Dagster, and rules of meaning (``sh_core``).
Invariant: nothing makes rows visible but ``publisher``, and nothing outside ``settings`` reads the environment.
"""
