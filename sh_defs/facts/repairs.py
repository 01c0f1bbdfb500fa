"""Repairs: what a repair did, as plain JSON values.

Belongs here: its shape. Does not belong here: repairing (``sh_defs.repairing``). Invariant: every step of the plan has
one entry.
"""

from typing import Any

from sh_defs.repairing import Repair

Facts = dict[str, Any]


def repair_facts(plan: Facts, done: Repair | None) -> Facts:
    """A repair and its plan.

    Args:
        plan: From ``plan_facts``.
        done: The repair; None if there was nothing to run.
    """
    if done is None:
        return {"repair": None, "seconds": 0.0, "counts": {}, "partitions": [], "plan": plan}
    order = {table.name: place for place, table in enumerate(done.engine.graph.tables)}
    return {
        "repair": done.id,
        "seconds": round(done.seconds, 3),
        "counts": dict(done.counts),
        "partitions": [
            {
                "table": table,
                "partition": key,
                "status": "said",
                "became": became,
                "says": f"{became}: {done.said[table, key]}" if (table, key) in done.said else "",
            }
            for (table, key), became in sorted(done.became.items(), key=lambda item: (order[item[0][0]], item[0][1]))
        ],
        "plan": plan,
    }
