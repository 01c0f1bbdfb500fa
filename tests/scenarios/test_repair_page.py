"""docs/repair.md, word for word: its commands run, and its outputs compared.

The incident: a page that explains what a plan looks like, and a program that shows another one.
"""

import re
from pathlib import Path

import pytest

from tests.scenarios.test_own_table import ROOT, Reader, blocks, plain, says

pytestmark = pytest.mark.slow

PAGE = ROOT / "docs" / "repair.md"


def settled(text: str, folder: Path) -> list[str]:
    """Lines without what differs from run to run, or from machine to machine."""
    text = re.sub(r"\b[0-9a-f]{12}\b", "REPAIR", text)
    text = re.sub(r"\b[0-9a-f]{8}\b", "VERSION", text)
    text = re.sub(r"by \w+ since", "by SOMEBODY since", text)
    return plain(text, folder)


def test_the_page_word_for_word(tmp_path: Path) -> None:
    variables, folder = tmp_path / "variables", tmp_path / "here"
    variables.write_text("export LOGNAME=root\n")  # so that lines are as long as on the page
    folder.mkdir()
    reader, said, compared = Reader(folder, variables), "", 0
    for block in blocks(PAGE):
        if block.kind == "sh":
            said = reader.run(block.text)
        else:
            lines, expected = settled(said, folder), settled(block.text, folder)
            assert says(lines, expected), f"{PAGE.name}, line {block.line} is not what is said:\n{said}"
            compared += 1
    assert compared >= 5
