"""The incident: a description of every column, and the web interface shows a column of dashes."""

import pandera.polars as pa
import polars as pl

from sh_core.contract import Contract, field
from sh_core.field_docs import field_docs


class Base(pa.DataFrameModel):
    """One row."""

    inherited: int
    """From the base."""
    overridden: int
    """Not shown."""


class Model(Base):
    date: pl.Date
    """Scheduled local day.

    On two lines, "quoted".
    """
    bare: int
    given: int = field(description="Said in the field")
    """Not shown, as the field says it."""
    overridden: int
    """The newer one."""

    @pa.dataframe_check(description="A rule")
    def rule(cls, data: pa.PolarsData) -> pl.LazyFrame:  # noqa: N805
        """No field's."""
        return data.lazyframe.select(pl.lit(value=True))


def test_a_column_is_described_by_what_is_written_below_it() -> None:
    assert Contract(Model).column_descriptions == {
        "inherited": "From the base.",
        "overridden": "The newer one.",
        "date": 'Scheduled local day.\n\nOn two lines, "quoted".',
        "given": "Said in the field",
    }


def test_nested_classes_are_found_and_texts_after_other_things_are_not() -> None:
    class Inner(pa.DataFrameModel):
        """Not a field's."""

        first: int
        # A comment between them changes nothing.
        """The first."""
        second: int

        """Far below, and still the second's."""

    assert field_docs(Inner) == {"first": "The first.", "second": "Far below, and still the second's."}


def test_a_class_without_source_has_none() -> None:
    typed = type("Typed", (), {"__annotations__": {"x": int}})
    assert field_docs(typed) == {}


def test_a_description_changes_no_version() -> None:
    """It decides about no row: a better word must not have every partition computed again."""

    class Bare(pa.DataFrameModel):
        x: int

    class Described(pa.DataFrameModel):
        x: int = field(description="Said")
        """Said again."""

    assert Contract(Bare).version == Contract(Described).version
