"""The command line: ``selfheal``.

Belongs here: commands, their options and help, exit codes, and turning errors into messages. Does not belong here: the
work. Invariant: an error that this project raises on purpose ends as one message on stderr and exit code 1, never as a
traceback; anything else is a bug, and shows itself as one.

Exit codes: 0 done; 1 something is wrong, and the message says what; 2 the command was written wrongly; 130 interrupted.

Imports of the work stand in the commands: Dagster and Polars take seconds to import, ``--help`` should not.

    base.py      the program, options that commands share, errors as messages
    making.py    commands that change the state folder: demo, run, replay-history, dev, arrived, recover, report
    undoing.py   commands that take something back or away: rollback, tidy
    ruling.py    commands that decide about files that are held: accept, reject
    healing.py   commands about what is due: plan, repair, pause, resume, why
    looking.py   commands that only read it: accounts, tables, late, show, quarantine
"""

from sh_defs.cli.base import app
from sh_defs.cli.healing import pause, plan, repair, resume, why
from sh_defs.cli.looking import accounts, late, quarantine, show, tables
from sh_defs.cli.making import arrived, demo, dev, recover, replay_history, report, run
from sh_defs.cli.ruling import accept, reject
from sh_defs.cli.undoing import rollback, tidy

__all__ = ["app"]

_AS_HELP_LISTS_THEM = (
    *(demo, run, replay_history, dev, arrived),
    *(plan, repair, why, pause, resume),
    *(report, tables, late, show, accounts),
    *(accept, reject),
    *(rollback, recover, tidy),
)
for command in _AS_HELP_LISTS_THEM:
    app.command()(command)
app.add_typer(quarantine, name="quarantine")
