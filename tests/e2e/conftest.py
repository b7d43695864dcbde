"""The recipe from end to end, in a copy of the repository: what a user would run, on the bundled mini corpus."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.recipe import Recipe


@pytest.fixture(scope="session")
def recipe(tmp_path_factory) -> Recipe:
    return Recipe(tmp_path_factory.mktemp("recipe"))


@pytest.fixture(scope="session")
def mini(recipe):
    """``bash run.sh`` in an empty folder: the whole mini recipe, once for all tests that look at what it made."""
    done = recipe.run()
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    return done


USE_THE_MINI_RUN = ("export", "interrupted", "mini", "other_corpora", "personal", "readme", "real_mandarin", "serve")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Every test for itself, but for those that look at the mini run: it is made once, so one process has them all.

    A file's tests are kept together where they share what they make.
    """
    from xdist.scheduler import LoadScopeScheduling

    class Scheduling(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            name = Path(nodeid.split("::")[0]).stem.removeprefix("test_")
            return "mini" if name in USE_THE_MINI_RUN else nodeid if name == "families" else name

    return Scheduling(config, log)
