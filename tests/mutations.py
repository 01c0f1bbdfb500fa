"""Faults on purpose: a module's source with one passage exchanged, in place of the module, for the length of a test.

Belongs here: exchanging, and undoing it. Does not belong here: which faults (the tests that need them). Invariant: what
others imported by name from the module is exchanged as well, and everything is as before afterwards.
"""

import importlib
import inspect
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

ROOMS = ("sh_core.", "sh_resources.", "sh_assets.", "sh_drills.", "tests.scenarios.")


@contextmanager
def mutated(module_name: str, passage: str, instead: str) -> Iterator[None]:
    """A module with another passage in its source.

    Args:
        module_name: Dotted name.
        passage: Text that occurs once in its source.
        instead: What stands there meanwhile.
    """
    module = importlib.import_module(module_name)
    source = inspect.getsource(module)
    if source.count(passage) != 1:
        raise AssertionError(f"{module_name} has this {source.count(passage)} times, adapt the mutation: {passage!r}")
    before = dict(vars(module))
    undo: list[tuple[ModuleType, str, object]] = []
    try:
        exec(compile(source.replace(passage, instead), module.__file__ or module_name, "exec"), vars(module))
        exchanged = {
            id(old): vars(module)[name]
            for name, old in before.items()
            if getattr(old, "__module__", None) == module_name and vars(module)[name] is not old
        }
        for other in [m for n, m in sys.modules.items() if n.startswith(ROOMS) and m is not module]:
            for name, value in list(vars(other).items()):
                if id(value) in exchanged:
                    undo.append((other, name, value))
                    setattr(other, name, exchanged[id(value)])
        yield
    finally:
        for exchanged_in, name, value in undo:
            setattr(exchanged_in, name, value)
        vars(module).clear()
        vars(module).update(before)
