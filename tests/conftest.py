"""What every test shares: how many examples Hypothesis tries, and none of them timed.

The default profile tries the same examples in every run, so that a green main stays green; ``make soak`` tries many
more, new ones each time, and prints its seed.
"""

import multiprocessing
import os
import shutil
import tempfile
from multiprocessing.context import ForkServerContext
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

_SLOW_IS_FINE = [HealthCheck.too_slow, HealthCheck.data_too_large]

settings.register_profile(
    "default", max_examples=50, derandomize=True, deadline=None, suppress_health_check=_SLOW_IS_FINE
)
settings.register_profile("soak", max_examples=2_000, deadline=None, suppress_health_check=_SLOW_IS_FINE)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))

MEMORY = Path("/dev/shm")
_own_folder = pytest.StashKey[Path]()


def pytest_configure(config: pytest.Config) -> None:
    """Keep the tests' folders in memory where there is some: most of their time would go into waiting for the disk.

    A killed process leaves the same behind on either; only a power cut would tell them apart.
    """
    is_worker = hasattr(config, "workerinput")
    if not is_worker and config.option.basetemp is None and os.access(MEMORY, os.W_OK):
        config.stash[_own_folder] = Path(tempfile.mkdtemp(prefix="selfheal-tests-", dir=MEMORY))
        config.option.basetemp = str(config.stash[_own_folder] / "pytest")


def pytest_unconfigure(config: pytest.Config) -> None:
    """Give the memory back."""
    if _own_folder in config.stash:
        shutil.rmtree(config.stash[_own_folder], ignore_errors=True)


@pytest.fixture(scope="session")
def processes() -> ForkServerContext:
    """Real processes that start in a fraction of a second, since their server has imported the libraries already.

    The server imports only what runs no Polars query: Polars' threads do not survive a fork.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["sh_resources.wiring", "pandera.polars"])
    return context
