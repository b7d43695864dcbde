"""Three kills of a training, one of them during a save; benchmarks/soak_training.py does as many as it is asked for."""

from __future__ import annotations

import pytest

from benchmarks.soak_training import soak
from tests.recipe import Recipe

pytestmark = pytest.mark.e2e


def test_a_training_that_was_killed_ends_as_one_that_was_not(tmp_path):
    counts = soak(Recipe(tmp_path), kills=3, seed=0)
    assert counts["trainings compared"] >= 1
    assert counts.get("killed", 0) + counts.get("killed while saving", 0) == 3
