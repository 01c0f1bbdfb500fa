"""What self-healing *means*: declarations, judgement, versions and traces, as pure functions.

Belongs here: what a table, a feed, a contract, a verdict, a version and a trace are, and how one is computed from
another. Does not belong here: Dagster, files, databases, clocks, randomness, the environment. Time, ids and data are
arguments. Invariant: the same arguments give the same result, on every platform and in every process.

Read in this order: ``partitions`` → ``feed``, ``table``, ``graph`` (what a user declares) → ``contract`` and ``gate``
(what a row must satisfy, and who judges it) → ``version``, ``code_version``, ``trace`` (how change is recognised) →
``accounts`` (where every row went).
"""
