"""bash scripts/experiment.sh with the real run.sh: three folds of a little of the mini corpus, one epoch each."""

from __future__ import annotations

import shutil

import pytest

from asr.core.manifest import read_manifest

SPEAKERS = ("01", "02", "11", "12", "13", "14")  # of the voice groups A, B, C, C, D and E
CLIPS = 5

EXPERIMENT = """\
name: little
corpus: {corpus}
conf: conf/mini.yaml
folds: 3
fold_by: voice_group
seeds: [3]
settings:
  short:
    train_conf: {{max_epoch: 1, keep_nbest_models: 1, avg_nbest_model: 1}}
    cpu_processes: 1
"""


@pytest.fixture(scope="module")
def little(recipe, tmp_path_factory):
    """The recipe's copy, with an experiment on a few clips of six speakers."""
    corpus = tmp_path_factory.mktemp("corpus") / "little"
    done = recipe.run("--out", str(corpus), command=("python", "mini/unpack.py"))
    assert done.returncode == 0, done.stderr
    for folder in (corpus / "after_catting/1h/Audio").iterdir():
        if folder.name not in SPEAKERS:
            shutil.rmtree(folder)
            (corpus / f"after_catting/1h/Text/{folder.name}_label.txt").unlink()
            continue
        for clip in sorted(folder.iterdir())[CLIPS:]:
            clip.unlink()
    (recipe.root / "little.yaml").write_text(EXPERIMENT.format(corpus=corpus))
    return recipe


def test_each_speaker_is_tested_once_and_what_is_done_is_not_done_again(little):
    command = ("bash", "scripts/experiment.sh", "little.yaml")
    done = little.run(command=command)
    assert done.returncode == 0, done.stdout + done.stderr
    result = little.json("exp/little/short/score/score.json")
    assert result["pooled"]["runs"] == [f"little-short-s3-f{fold}" for fold in (1, 2, 3)]
    assert (result["reference"]["n_utt"], list(result["by_speaker"])) == (len(SPEAKERS) * CLIPS, list(SPEAKERS))
    errors, heard = 0, []
    for fold in (1, 2, 3):
        errors += little.json(f"exp/little-short-s3-f{fold}/score/score.json")["systems"]["tuned"]["sub"]
        sets = [
            read_manifest(little.root / f"data/little-short-f{fold}_dataset/{name}.jsonl") for name in ("test", "train")
        ]
        test, train = ({item.speaker for item in found} for found in sets)
        assert ({"11", "12"} <= test) or not {"11", "12"} & test  # they share a voice
        assert not test & train
        heard += sorted(test)
    assert result["systems"]["tuned"]["sub"] == errors
    assert sorted(heard) == sorted(SPEAKERS)

    weights = [little.root / f"exp/little-short-s3-f{fold}/model.pt" for fold in (1, 2, 3)]
    times = [path.stat().st_mtime_ns for path in weights]
    assert little.run(command=command).returncode == 0
    assert [path.stat().st_mtime_ns for path in weights] == times
    for fold in (1, 2, 3):
        published = little.json(f"docs/experiments/little/short-s3-f{fold}.json")
        of_fold = little.json(f"exp/little-short-s3-f{fold}/score/score.json")
        texts = [row for speaker in published["speakers"].values() for row in speaker.values()]
        for name in ("baseline", "tuned"):
            counts = of_fold["systems"][name]
            assert sum(row["errors"][name] for row in texts) == counts["sub"] + counts["del"] + counts["ins"]
        assert published["cost"]["epochs"] == 1
        assert published["cost"]["peak_memory_gib"] is None or published["cost"]["peak_memory_gib"] > 0
    shutil.rmtree(little.root / "docs/experiments/little")  # finished in exp/, and so published without a run
    assert "3 of 3 runs are done" in little.run(command=command).stdout
    assert [path.stat().st_mtime_ns for path in weights] == times
    done = little.run("--compare", command=command)
    assert done.returncode == 0, done.stderr
    assert "No cell is missing." in done.stdout
    assert result == little.json("exp/little/short/score/score.json")
