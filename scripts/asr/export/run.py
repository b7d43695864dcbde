"""A tuned model as other runtimes want it, with its texts proven equal: ``python -m asr.export --exp exp/<tag>``.

Makes exp/<tag>/deploy/ with a folder for each runtime that can have the model, and parity.json: the test set is decoded
by torch and by every runtime, in fp32 and with 8-bit weights. The export fails unless the fp32 texts are those that
stage 5 scored; what failed is kept as deploy.failed/, for a look at it. ``--model DIR --out DIR --test FILE`` exports a
model folder without a run. ``--phrases FILE``, one a line: sherpa-onnx writes as a phrase what sounds like it.
"""

from __future__ import annotations

import argparse
import itertools
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from asr.core.digests import sha256_file
from asr.core.errors import RecipeError, UsageError
from asr.core.files import write_json
from asr.core.locks import alone
from asr.core.made_by import mark, refuse_others
from asr.core.manifest import Utterance, read_manifest
from asr.core.run_folder import RunFolder, rerun
from asr.core.run_records import read_decode
from asr.decoding.transcribe import model_folder
from asr.export import parity, web_proof
from asr.export.build import build, check_model, timed
from asr.export.card import write_card
from asr.export.deploy_folder import COMMAND, PARITY, SCHEMA_VERSION, file_records, refuse_additions
from asr.export.gate import decoded, prove, versions
from asr.export.graphs import need
from asr.export.runtimes import PACKAGES
from asr.language.phrases import read_phrases
from asr.models import families

ROOT = Path(__file__).resolve().parents[3]  # a stamp names files from the folder that run.sh is in


@dataclass(frozen=True)
class Job:
    """What to export, where to, and the clips that it is proven by; ``exp`` is None for a model without a run."""

    exp: Path | None
    model: Path
    out: Path
    test: Path
    clips: int | None
    phrases: tuple[str, ...]


def main() -> int:
    """Export as the command line says."""
    parser = argparse.ArgumentParser(prog="python -m asr.export", description=(__doc__ or "").splitlines()[0])
    given = parser.add_mutually_exclusive_group(required=True)
    given.add_argument("--exp", type=Path, help="a run, after stage 5")
    given.add_argument("--model", type=Path, help="a FunASR model folder without a run; needs --out and --test")
    parser.add_argument("--out", type=Path, help="folder to make (default: exp/<tag>/deploy)")
    parser.add_argument("--test", type=Path, metavar="FILE", help="clips to prove it by (default: those of stage 5)")
    parser.add_argument("--clips", type=int, metavar="N", help="only so many of them, in turn of each speaker")
    parser.add_argument("--phrases", type=Path, metavar="FILE", help="phrases that sherpa-onnx is to write, one a line")
    job = read_job(parser.parse_args())
    need("onnx", *dict.fromkeys(PACKAGES.values()), *(["pynini"] if job.phrases else []))
    families.of_folder(job.model).refuse_export(job.model)
    check_model(job.model)
    failed = job.out.with_name(f"{job.out.name}.failed")
    for folder in (job.out, failed):
        refuse_others(folder, COMMAND)
        refuse_additions(folder)
    with alone(job.out):
        return export(job, failed)


def read_job(arguments: argparse.Namespace) -> Job:
    """Return the job. RecipeError, or UsageError, for a run or clips that are not there."""
    exp, out, test = arguments.exp, arguments.out, arguments.test
    if arguments.clips is not None and arguments.clips < 1:
        raise UsageError(f"--clips {arguments.clips}: at least 1")
    phrases = tuple(read_phrases(arguments.phrases).weights) if arguments.phrases else ()
    if exp is None:
        if not out or not test:
            raise UsageError(
                "--model: texts are proven by clips: give --test FILE.jsonl, lines as stage 1 writes them, and --out"
            )
        return Job(None, model_folder(arguments.model), out, test, arguments.clips, phrases)
    model = RunFolder(exp).model
    if not (model / "config.yaml").is_file() and model_folder(exp) == exp:
        raise UsageError(f"--exp {exp}: is a model, not a run: give --model {exp} --out DIR --test FILE.jsonl")
    return Job(exp, model, out or exp / "deploy", test or test_set(exp), arguments.clips, phrases)


def test_set(exp: Path) -> Path:
    """Return the manifest that stage 5 decoded: the one of its stamp with the sha256 of its record."""
    record, stamp = read_decode(RunFolder(exp).tuned.path), RunFolder(exp).stamps / "stage5"
    if record is None:
        raise RecipeError(f"{exp}: has no scored texts to prove the export by; decode them first: {rerun(exp, 5)}")
    lines = stamp.read_text(encoding="utf-8").splitlines() if stamp.is_file() else []
    named = [line.split(maxsplit=3) for line in lines]
    for root, words in itertools.product((exp.absolute().parent.parent, ROOT), named):
        if words[0] == "input" and words[2] == record["inputs"]["manifest"] and (root / words[3]).is_file():
            if sha256_file(root / words[3]) == words[2]:
                return root / words[3]
            raise RecipeError(
                f"{root / words[3]}: is another test set than the one that {exp} was scored by; score it anew:"
                f" {rerun(exp, 5)}; or give the one that it was: --test FILE"
            )
    raise RecipeError(f"{exp}: its test set is not where it was; give it: --test data/…/test.jsonl")


def export(job: Job, failed: Path) -> int:
    """Build beside the place, prove, and rename; what fails is put under ``failed``."""
    building = job.out.with_name(f".{job.out.name}.new")
    shutil.rmtree(building, ignore_errors=True)
    mark(building, COMMAND)
    try:
        record, wrong = make(job, building)
    except BaseException:
        shutil.rmtree(building, ignore_errors=True)
        raise
    write_json(building / PARITY, record)
    if not wrong:
        write_card(job.model, building, job.exp)
    place = failed if wrong else job.out
    old = place.with_name(f".{place.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if place.exists():
        place.rename(old)
    building.rename(place)
    shutil.rmtree(old, ignore_errors=True)
    if wrong:
        kept = f"; {job.out} is still the one of before" if job.out.exists() else ""
        raise RecipeError(f"{'; '.join(wrong)}: not exported; what was made is in {failed}{kept}")
    shutil.rmtree(failed, ignore_errors=True)  # of an earlier export, and no more of interest
    print(f"written to {job.out}: {', '.join(name for name, rows in record['runtimes'].items() if 'int8' in rows)}")
    return 0


def use_torch(job: Job, clips: Sequence[Utterance], folder: Path) -> tuple[dict[str, str], dict[str, str]]:
    """Fill the folder; return ``build``'s reasons, and torch's texts. The loaded model goes with this function."""
    from asr.models.loading import load

    with timed("model"):
        recogniser = load(job.model)
    why = build(recogniser.family.graph(recogniser, job.model), job.model, folder, job.phrases)
    with timed(f"torch, {len(clips)} clips"):
        return why, decoded(clips, lambda samples: recogniser.transcribe([samples])[0])


def make(job: Job, folder: Path) -> tuple[dict[str, Any], list[str]]:
    """Fill the folder; return parity.json, and what of the proof failed."""
    chosen, how = parity.drawn(read_manifest(job.test), job.clips)
    family, manifest = families.of_folder(job.model), sha256_file(job.test)
    scored, why_none = parity.scored_texts(job.exp, job.model, manifest, family) if job.exp else ({}, "there is no run")
    why, texts = use_torch(job, chosen, folder)
    clips = [clip for clip in chosen if clip.key in texts]
    if not clips:
        raise RecipeError(f"{job.test}: none of its clips can be read; rerun stage 1")
    reference = {clip.key: scored.get(clip.key, texts[clip.key]) for clip in clips}
    wrong = parity.wrong_reference(reference, texts, job.exp)
    if why_none:
        print(f"compared with torch's texts: {why_none}")
    rows = {name: prove(name, text, folder / name, clips, reference) for name, text in why.items()}
    called = (job.exp or job.model).resolve().name
    rows[web_proof.NAME] = web_proof.offer(folder, called, why, clips, reference)
    return {
        "schema_version": SCHEMA_VERSION,
        "utterances": len(clips),
        "unreadable": len(chosen) - len(clips),
        "choice": how,
        "manifest": manifest,
        "reference": "torch" if why_none else "tuned/hyp.txt",
        "versions": versions(),
        "runtimes": rows,
        "files": file_records(folder),
    }, wrong + parity.wrong_runtimes(rows)
