"""Stage 1 from end to end: prepare a corpus, or only check it, and say what came of it."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

from asr.core.errors import RecipeError
from asr.core.locks import alone
from asr.core.made_by import STAGE1, mark
from asr.preparation.data_files import check_summary, statistics_of, summary, write
from asr.preparation.data_folder import refuse_theirs
from asr.preparation.prepare import Options, Prepared, convert_audio, prepare, refuse_if_strict
from asr.preparation.problems import write_problems


def run(options: Options) -> None:
    """Prepare, or only check, the corpus of ``options``. RecipeError where it cannot be used."""
    out = options.out
    if out:
        refuse_theirs(out, options.corpus)
    with alone(out) if out else nullcontext():
        prepared = prepare(options)
        if out:  # the corpus may begin above the folder that was named
            refuse_theirs(out, prepared.corpus.root)
        if options.check_only or out is None:
            _check(options, prepared)
        else:
            _write(options, prepared, out)


def _check(options: Options, prepared: Prepared) -> None:
    file = options.out / "problems.tsv" if options.out else None
    if file:
        mark(file.parent, STAGE1)
        write_problems(file, prepared.problems)
    print(check_summary(prepared, file), flush=True)
    if prepared.fatal:
        raise RecipeError(f"{prepared.corpus.root}: stage 1 would stop, as said above")
    if options.strict:
        refuse_if_strict(prepared, "mend them, or leave --strict out")


def _write(options: Options, prepared: Prepared, out: Path) -> None:
    if options.strict:
        refuse_if_strict(prepared, "no data was written; --check-only lists them all")
    audio = convert_audio(prepared, out)
    statistics = statistics_of(prepared)
    written = write(prepared, statistics, out, options.lhotse)
    if audio:
        from asr.audio.convert import prune

        prune(audio, {item.source for utterances in prepared.splits.values() for item in utterances})
    print(summary(prepared, statistics, out, written, converted=bool(audio)))
