"""Whether our Kneser-Ney is KenLM's: n-grams, probabilities and back-off weights of a text, side by side.

    python benchmarks/compare_kenlm.py TEXT [--order 3]

Needs KenLM's lmplz on PATH, which no Python package has; with PyPI's kenlm, which reads models alone, ours is also read
by it. Prints the largest differences of natural logarithms.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "scripts")]
from asr.language.arpa import read_arpa, write_arpa  # noqa: E402 - found through the line above
from asr.language.kneser_ney import estimate  # noqa: E402
from asr.language.sources import read_lm_text  # noqa: E402


def main() -> None:
    """Print how far ours and KenLM's are apart."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("text", type=Path)
    parser.add_argument("--order", type=int, default=3)
    arguments = parser.parse_args()
    lines = read_lm_text([arguments.text]).lines
    ours = estimate(lines, arguments.order)
    command = ["lmplz", "-o", str(arguments.order), "--discount_fallback", "-S", "100M"]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "kenlm.arpa")
        spaced = "".join(" ".join(line) + "\n" for line in lines)
        path.write_text(subprocess.run(command, input=spaced, capture_output=True, text=True, check=True).stdout)
        theirs = read_arpa(path)
        write_arpa(Path(folder, "ours.arpa"), ours)
        try:
            import kenlm  # type: ignore

            model = kenlm.Model(str(Path(folder, "ours.arpa")))
            gaps = [abs(model.score(" ".join(line)) * 2.302585 - ours.log_prob(line)) for line in lines]
            print(f"read by kenlm: a text's log-probability differs by at most {max(gaps):.2g}")
        except ImportError:
            print("kenlm is not installed: pip install kenlm")
    print(f"n-grams: {len(ours.log_probs):,} ours, {len(theirs.log_probs):,} KenLM's")
    shared = ours.log_probs.keys() & theirs.log_probs.keys()
    for name, one, other in (
        ("probability", ours.log_probs, theirs.log_probs),
        ("back-off weight", ours.backoffs, theirs.backoffs),
    ):
        print(f"{name}: differs by at most {max(abs(one.get(gram, 0) - other.get(gram, 0)) for gram in shared):.2g}")


if __name__ == "__main__":
    main()
