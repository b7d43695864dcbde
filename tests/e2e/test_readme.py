"""The commands in README and docs/training.md are run as they stand there."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests import cdsd_tree
from tests.recipe import REPOSITORY

pytestmark = pytest.mark.e2e

# What stands in for a user's own CDSD, and for the hour-long or recursive: each with the reason.
SUBSTITUTES = {
    # this very test is part of it
    "bash tests/run.sh": "bash tests/run.sh --only yamllint",
    # stage 0 would fetch 900 MB from a hub, stage 3 would train it
    "bash run.sh --stage 0 --stop-stage 5": "bash run.sh --stage 1 --stop-stage 1 --ngpu 0",
    # a server ends when it is told to; tests/e2e/test_serve.py speaks into it
    "bash scripts/serve.sh --model exp/mini/model": "bash scripts/serve.sh --help",
    # there is no card to plan for
    "bash scripts/plan.sh --exp exp/TAG --data data/1h_dataset": (
        "bash scripts/plan.sh --exp exp/mini --data data/mini_dataset --ngpu 0 --only 4000"
    ),
}
# The hub's base models are hundreds of megabytes and more; the stages are tests/e2e/test_families.py's.
SHORT = {"bash run.sh --conf": " --stage 1 --stop-stage 1 --ngpu 0"}


def short(line: str) -> str:
    """A command, or what stands in for it."""
    return SUBSTITUTES.get(line, line + "".join(more for start, more in SHORT.items() if line.startswith(start)))


def blocks(name: str) -> list[list[str]]:
    """The lines of each bash block."""
    text = (REPOSITORY / name).read_text(encoding="utf-8")
    return [block.strip().splitlines() for block in re.findall(r"```bash\n(.*?)```", text, re.DOTALL)]


def install(line: str) -> None:
    """The install script, in the repository itself: it is what made the environment that runs this test."""
    active = [] if Path(sys.prefix) == REPOSITORY / ".venv" else ["--active"]
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    if sys.prefix != sys.base_prefix:
        environment["VIRTUAL_ENV"] = sys.prefix
    done = subprocess.run([*line.split(), *active], cwd=REPOSITORY, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "installed in" in done.stdout


def test_every_command_works(recipe, mini, tmp_path):
    tree = tmp_path / "CDSD"
    cdsd_tree.full(tree)
    for name in ("TAG1", "TAG2", "TAG3"):  # runs of a user's
        shutil.copytree(recipe.root / "exp/mini/score", recipe.root / "exp" / name / "score")
    ran = []
    for block in [*blocks("README.md"), *blocks("docs/training.md"), *blocks("docs/models.md")]:
        lines = [part.strip() for line in block for part in line.split("&&")]
        installs = [line for line in lines if line.startswith("bash scripts/install.sh")]
        for line in installs:
            install(line)
        script = "\n".join(short(line) for line in lines if line not in installs)
        # ASR_PYTHON: tests/run.sh takes this environment as it is; the copy has none of its own.
        done = recipe.run(
            "-euc", script.replace("/path/to/CDSD", str(tree)), command=("bash",), ASR_PYTHON=sys.executable
        )
        assert done.returncode == 0, f"{script}\n{done.stdout}{done.stderr}"
        ran += lines
        if "transcribe" in script:
            assert re.search(r"\.wav\t[\u4e00-\u9fff]+$", done.stdout.strip()), done.stdout
    for wanted in ("bash run.sh", "bash run.sh --help", "export CDSD_ROOT=/path/to/CDSD"):
        assert wanted in ran


def test_cdsd_comes_out_with_the_manuals_counts(recipe, mini):
    """After the README's CDSD commands on a tree with CDSD's shape."""
    text = (recipe.root / "data/1h_dataset/data_statistics.txt").read_text(encoding="utf-8")
    for count in ("45,327", "4,460", "6,064"):
        assert count in text
