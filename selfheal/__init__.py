"""What a module of tables is written with: everything that an author needs, under one name.

Belongs here: names, imported from ``sh_core`` and documented there. Does not belong here: code, and whatever runs
tables; what tests of tables need is in ``selfheal.testing``. Invariant: a name that is here stays here with its
meaning; where it comes from is this project's own business.

    from selfheal import Contract, Daily, Feed, Station, field, parse, raw_table, table, text
"""

from sh_core.columns import PASSED_ON
from sh_core.contract import Contract, Reference, Split, TableRule, Utc, Withhold, field
from sh_core.deliveries import Several
from sh_core.due import By, DaysOff, Within
from sh_core.errors import DeclarationError
from sh_core.feed import Feed
from sh_core.formats import Csv, JsonLines, Parquet
from sh_core.inputs import Input, Lookup, Partial, Required
from sh_core.mapping import All, Dimensions, Keys, Last, Window
from sh_core.parsing import Parser, as_is, day, hhmm, instant, integer, number, parse, text, year_month_day
from sh_core.partitions import Daily, Hourly, Monthly, Multi, Static, Unpartitioned, Weekly
from sh_core.placeholder import Placeholder
from sh_core.table import Station, Table, raw_table, table

__all__ = [
    "PASSED_ON",
    "All",
    "By",
    "Contract",
    "Csv",
    "Daily",
    "DaysOff",
    "DeclarationError",
    "Dimensions",
    "Feed",
    "Hourly",
    "Input",
    "JsonLines",
    "Keys",
    "Last",
    "Lookup",
    "Monthly",
    "Multi",
    "Parquet",
    "Parser",
    "Partial",
    "Placeholder",
    "Reference",
    "Required",
    "Several",
    "Split",
    "Static",
    "Station",
    "Table",
    "TableRule",
    "Unpartitioned",
    "Utc",
    "Weekly",
    "Window",
    "Withhold",
    "Within",
    "as_is",
    "day",
    "field",
    "hhmm",
    "instant",
    "integer",
    "number",
    "parse",
    "raw_table",
    "table",
    "text",
    "year_month_day",
]
