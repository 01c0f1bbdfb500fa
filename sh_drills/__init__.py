"""What the real world does to the pipeline, on demand.

Belongs here: replaying real deliveries, and later the catalogue of faults and the oracle that judges healing. Does not
belong here: anything that production needs. Invariant: a drill talks to the pipeline only as a vendor or an operator
could, through the landing zone or a process, never by writing to the ledger or the store.
"""
