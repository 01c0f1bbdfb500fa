"""Showing facts to people: at a terminal, and as a page.

Belongs here: layout, colours. Does not belong here: gathering (``sh_defs.facts``). Invariant: shows what it
is given; what a vendor delivered is shown as text, never as markup.

    terminal.py, terminal_tables.py   grids and lines
    page.py, charts.py, templates/    report.html
    json_form.py                      report.json
"""
