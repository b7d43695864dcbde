"""What measures runs in the environment that the README installs, which has no pytest."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# Everything that a benchmark imports, also from within a function, with pytest nowhere to be found.
IMPORT_ALL = """
import ast, importlib, sys
from pathlib import Path
sys.modules["pytest"] = None
for path in sorted(Path("benchmarks").glob("*.py")):
    sys.path[:0] = [".", "scripts", "local", "mini/make"]
    importlib.import_module(f"benchmarks.{path.stem}")
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module.split(".")[0] in ("asr", "benchmarks", "tests"):
            module = importlib.import_module(node.module)
            for name in node.names:
                hasattr(module, name.name) or importlib.import_module(f"{node.module}.{name.name}")
    print(path.stem)
"""


def test_benchmarks_run_without_what_only_tests_need():
    command = [sys.executable, "-c", IMPORT_ALL]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert {"measure_mini", "compare_families"} <= set(done.stdout.split())
