"""Field docstrings: what a person wrote below a column of a model.

Belongs here: finding those strings. Does not belong here: showing them. Invariant: a text belongs to the field
that it is written below, and nothing is run to find it.

Python itself drops the string after an annotation, so it is read from the source of the class.
"""

import ast
import inspect
from collections.abc import Mapping
from functools import cache
from itertools import pairwise
from textwrap import dedent


@cache
def field_docs(model: type) -> Mapping[str, str]:
    """The docstring of each field of a class and of those that it inherits from.

    Args:
        model: Any class whose source can be read; of others, such as those typed at a prompt, nothing is found.

    Returns:
        Per field that has one its text, without indentation. A class overrides those that it inherits from.
    """
    found: dict[str, str] = {}
    for part in reversed(model.__mro__):
        found |= _own(part)
    return found


def _own(part: type) -> dict[str, str]:
    try:
        (tree,) = ast.parse(dedent(inspect.getsource(part))).body
    except (OSError, TypeError, SyntaxError, ValueError):
        return {}
    body = tree.body if isinstance(tree, ast.ClassDef) else []
    found: dict[str, str] = {}
    for field, below in pairwise(body):
        match field, below:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                found[name] = inspect.cleandoc(text)
            case _:
                pass
    return found
