"""What may be kept of an error that was raised over personal data."""

import pytest
from polars.exceptions import ColumnNotFoundError

from sh_core.masking import LONGEST_ERROR, raised_as_text

ADA = ValueError("cannot read 'Ada Lovelace'")


def test_the_message_of_an_error_over_personal_data_is_not_kept() -> None:
    """It went into the ledger, Dagster's event log and a page that anybody may open."""
    said = raised_as_text(ADA, {"reader"}, "in library.py, line 12")
    assert said == "ValueError in library.py, line 12 (message not shown: reader is personal data)"
    assert "Ada" not in raised_as_text(ADA, {"reader"})


def test_elsewhere_its_first_line_is() -> None:
    assert raised_as_text(ADA, ()) == "ValueError: cannot read 'Ada Lovelace'"
    assert raised_as_text(ValueError("one\ntwo"), (), "in x.py, line 3") == "ValueError in x.py, line 3: one"
    assert raised_as_text(ValueError(), ()) == "ValueError: (no message)"
    assert len(raised_as_text(ValueError("x" * 10_000), ())) == LONGEST_ERROR


@pytest.mark.parametrize("error", [NameError("name 'colum' is not defined"), ColumnNotFoundError("colum")])
def test_a_name_is_no_value(error: Exception) -> None:
    """The incident: ``NameError (message not shown)``, and forty lines to look at."""
    assert "colum" in raised_as_text(error, {"reader"})
