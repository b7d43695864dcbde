"""The tests are worth something only if they can fail: each step of tests/run.sh meets a planted fault here.

tests/run.sh runs on a small folder with one fault in it and must say which step failed, in its last line and by its
status; the same folder without the fault must pass.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.patience import PATIENCE

ROOT = Path(__file__).resolve().parents[2]

SOUND = {
    "good.py": '"""A module."""\n\nVALUE = 1\n',
    "scripts/asr/config/good.py": '"""A module."""\n\nVALUE: int = 1\n',
    "good.sh": '#!/usr/bin/env bash\necho "$1"\n',
    "good.yaml": "key: value\n",
    "tests/unit/test_good.py": "def test_good():\n    assert True\n",
    "tests/shell/good.bats": '@test "good" {\n  true\n}\n',
    "tests/e2e/test_good.py": "def test_good():\n    assert True\n",
}

STEPS = ("lint", "format", "types", "shellcheck", "shfmt", "yamllint", "unit", "shell", "e2e")
FAULTS = [
    ("lint", "bad.py", "import os\n"),
    ("format", "bad.py", "VALUE = {  'a':1 }\n"),
    ("types", "scripts/asr/config/bad.py", "VALUE: int = 'word'\n"),
    ("shellcheck", "bad.sh", "#!/usr/bin/env bash\necho $1\n"),
    ("shellcheck", ".ci/run", "#!/usr/bin/env bash\necho $1\n"),
    ("shfmt", "bad.sh", "#!/usr/bin/env bash\nif true; then\n        echo\nfi\n"),
    ("yamllint", "conf/bad.yaml", "key: 1\nkey: 2\n"),
    ("unit", "tests/unit/test_bad.py", "def test_bad():\n    assert 1 == 2\n"),
    ("unit", "tests/unit/test_bad.py", "import no_such_module_here\n"),
    ("shell", "tests/shell/bad.bats", '@test "bad" {\n  false\n}\n'),
    ("e2e", "tests/e2e/test_bad.py", "def test_bad():\n    assert 1 == 2\n"),
]


@pytest.fixture
def folder(tmp_path):
    """A folder in which every step passes."""
    for name, text in SOUND.items():
        plant(tmp_path, name, text)
    shutil.copy(ROOT / "tests" / "conftest.py", tmp_path / "tests" / "conftest.py")
    for name in ("pyproject.toml", ".yamllint", ".shellcheckrc"):
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


def plant(folder: Path, name: str, text: str) -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def run_suite(folder: Path, *steps: str, ci: str = "") -> subprocess.CompletedProcess[str]:
    """Run these steps of tests/run.sh on the folder, with this Python."""
    command = [shutil.which("bash"), str(ROOT / "tests" / "run.sh"), "--root", str(folder)]
    for step in steps:
        command += ["--only", step]
    environment = {**os.environ, "ASR_PYTHON": sys.executable, "CI": ci}
    environment.pop("PYTEST_ADDOPTS", None)
    environment["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # only to start sooner
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=PATIENCE)


def last_line(answer: subprocess.CompletedProcess[str]) -> str:
    return answer.stdout.splitlines()[-1]


def has_tool(step: str) -> bool:
    tool = {"shellcheck": "shellcheck", "shfmt": "shfmt", "shell": "bats"}.get(step)
    return tool is None or any(shutil.which(tool, path=path) for path in (None, str(Path(sys.executable).parent)))


def needs(step: str) -> None:
    """Skip where a step's tool is missing, as the step itself would (in CI conftest.py makes that a failure)."""
    if not has_tool(step):
        pytest.skip(f"the tool of step {step} is not installed")


def test_a_sound_folder_passes(folder):
    steps = [step for step in STEPS if has_tool(step)]
    answer = run_suite(folder, *steps)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert last_line(answer) == f"{len(steps)} passed, 0 failed, 0 skipped"


def test_every_step_has_a_fault():
    assert {step for step, _, _ in FAULTS} == set(STEPS)


@pytest.mark.parametrize(("step", "name", "text"), FAULTS, ids=[f"{step}:{name}" for step, name, _ in FAULTS])
def test_a_planted_fault_fails_its_step(folder, step, name, text):
    needs(step)
    plant(folder, name, text)
    answer = run_suite(folder, step)
    assert answer.returncode == 1, answer.stdout + answer.stderr
    assert f"FAILED: {step}" in answer.stdout
    assert last_line(answer) == "0 passed, 1 failed, 0 skipped"


def test_one_failed_step_does_not_hide_behind_those_that_pass(folder):
    plant(folder, "bad.py", "import os\n")
    answer = run_suite(folder, "lint", "format", "yamllint")
    assert answer.returncode == 1
    assert last_line(answer) == "2 passed, 1 failed, 0 skipped"


def test_no_tests_at_all_is_a_failure(folder):
    shutil.rmtree(folder / "tests" / "unit")
    assert run_suite(folder, "unit").returncode == 1


def test_generated_folders_are_not_checked(folder):
    plant(folder, "exp/mini/bad.sh", "echo $1\n")
    plant(folder, "data/bad.yaml", "a: 1\na: 2\n")
    assert run_suite(folder, "shellcheck", "yamllint").returncode == 0


SKIPS = {
    "test_a.py": "import pytest\n\n\ndef test_x():\n    pytest.skip('{0}')\n",
    "test_b.py": "import pytest\n\n\n@pytest.mark.skip(reason='{0}')\ndef test_y():\n    pass\n",
}


def test_in_ci_a_skipped_test_is_a_failure(folder):
    for name, text in SKIPS.items():
        plant(folder, f"tests/unit/{name}", text.format("no time"))
    assert run_suite(folder, "unit").returncode == 0
    answer = run_suite(folder, "unit", ci="true")
    assert answer.returncode == 1
    assert "test_a.py::test_x" in answer.stdout
    assert "test_b.py::test_y" in answer.stdout


def test_in_ci_a_skipped_file_is_a_failure(folder):
    plant(folder, "tests/unit/test_c.py", "import pytest\n\npytest.importorskip('no_such_module_here')\n")
    assert run_suite(folder, "unit", ci="true").returncode == 1


def test_in_ci_two_reasons_to_skip_are_allowed(folder):
    reasons = ("needs a GPU", "needs ../shared/real_mandarin")
    for (name, text), reason in zip(SKIPS.items(), reasons, strict=True):
        plant(folder, f"tests/unit/{name}", text.format(reason))
    assert run_suite(folder, "unit", ci="true").returncode == 0


def test_a_missing_tool_is_skipped_aloud_and_in_ci_a_failure(folder, tmp_path_factory):
    bare = tmp_path_factory.mktemp("bin")
    for tool in ("bash", "cut", "dirname", "env", "find", "grep", "sed", "xargs"):
        (bare / tool).symlink_to(shutil.which(tool))
    (bare / "python").symlink_to(sys.executable)
    environment = {**os.environ, "ASR_PYTHON": str(bare / "python"), "PATH": str(bare)}
    command = [shutil.which("bash"), str(ROOT / "tests" / "run.sh"), "--root", str(folder), "--only", "shfmt"]
    for ci, status, counts in (("", 0, "0 passed, 0 failed, 1 skipped"), ("true", 1, "0 passed, 1 failed, 0 skipped")):
        answer = subprocess.run(
            command, env={**environment, "CI": ci}, capture_output=True, text=True, timeout=PATIENCE
        )
        assert answer.returncode == status
        assert "shfmt is not installed" in answer.stdout
        assert last_line(answer) == counts


@pytest.mark.parametrize("words", [["--frobnicate"], ["--only", "everything"], ["--only"], ["--root", "/no/such"]])
def test_wrong_usage_is_refused(words):
    answer = subprocess.run(
        ["bash", str(ROOT / "tests" / "run.sh"), *words], capture_output=True, text=True, timeout=PATIENCE
    )
    assert answer.returncode == 2
    assert answer.stderr.startswith("error: ")
    assert answer.stderr.count("\n") == 1


def test_no_limit_of_a_test_measures_the_machine():
    """A limit is there to end what hangs: with other work beside them, tests that waited 30 seconds have failed."""
    short = re.compile(r"(run|wait|communicate|join)\(.*timeout=\d|monotonic\(\) \+ \d|monotonic\(\) - \w+ <")
    lines = [
        f"{path.name}:{number}: {line}"
        for path in sorted((ROOT / "tests").rglob("test_*.py"))
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if short.search(line)
    ]
    assert lines == []
