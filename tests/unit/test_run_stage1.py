"""What run.sh tells stage 1: that a corpus is CDSD, and how much of it the base model must be able to write."""

import json
import shutil

import pytest

from asr.core.made_by import RUN, mark
from asr.core.manifest import read_manifest
from tests import cdsd_tree
from tests.recipe import REPOSITORY, Recipe

STAGE_1 = ("--stage", "1", "--stop-stage", "1")


@pytest.fixture(scope="module")
def recipe(tmp_path_factory) -> Recipe:
    return Recipe(tmp_path_factory.mktemp("recipe"))


def test_with_cdsd_root_an_incomplete_corpus_stops_and_elsewhere_it_is_drawn_by_seed(recipe, tmp_path):
    corpus = cdsd_tree.small(tmp_path / "CDSD")
    for words in ((), ("--corpus", f"{corpus}/")):  # the same folder by another name
        done = recipe.run(*STAGE_1, *words, CDSD_ROOT=str(corpus))
        assert done.returncode == 1
        assert "CDSD's default split cannot be made, because there is no speaker 07, 08, 09, 10, 11" in done.stderr
        assert "42, 43, 44; restore what is missing, or" in done.stderr
    assert not (recipe.root / "data/1h_dataset").exists()
    done = recipe.run(*STAGE_1, "--split", "seeded", CDSD_ROOT=str(corpus))
    assert done.returncode == 0, done.stderr
    assert "not CDSD's default" not in done.stdout
    done = recipe.run(*STAGE_1, "--corpus", str(corpus), "--tag", "mine")
    assert done.returncode == 0, done.stderr
    assert "split drawn by seed 2024, not CDSD's default, because there is no speaker 07, 08, 09, 10 and" in done.stdout


def test_a_base_that_cannot_write_the_corpus_stops_stage_1_until_the_yaml_says_otherwise(recipe, tmp_path):
    corpus, base = cdsd_tree.small(tmp_path / "corpus", said="今天天气很好"), recipe.root / "exp/poor/base"
    shutil.copytree(REPOSITORY / "mini/base", base)
    mark(base.parent / "conf", RUN)
    tokens = json.loads((base / "tokens.json").read_text(encoding="utf-8"))
    assert {"今", "天"} <= set(tokens)
    poor = [f"<{token}>" if token in "今天" else token for token in tokens]
    (base / "tokens.json").write_text(json.dumps(poor, ensure_ascii=False), encoding="utf-8")
    words = (*STAGE_1, "--corpus", str(corpus), "--tag", "poor", "--conf", "conf/mini.yaml")
    done = recipe.run(*words)
    assert done.returncode == 1
    said = (
        "(train 50.0 %, val 50.0 %, test 50.0 %; most often 天 今): it writes none of them, however long it is trained"
    )
    assert said in done.stderr
    assert "(--base), or go on all the same with ++data_conf.max_unknown_characters=0.5 (of" in done.stderr
    done = recipe.run(*words, "++data_conf.max_unknown_characters=0.5")
    assert done.returncode == 0, done.stderr
    assert "characters without a token in the base model: train 50.00 %, val 50.00 %, test 50.00 %" in done.stdout
    assert "warning: characters without" in done.stdout


def test_a_fold_has_a_data_folder_of_its_own_and_is_drawn_anew_when_its_table_changes(recipe, tmp_path):
    corpus, table = cdsd_tree.small(tmp_path / "corpus"), tmp_path / "who.tsv"

    def tested(sites: str, number: int = 2) -> set[str]:
        table.write_text("speaker\tsite\n" + "".join(f"0{n}\t{site}\n" for n, site in enumerate(sites, 1)))
        words = (
            "--corpus",
            str(corpus),
            "--tag",
            "fold",
            "--speakers",
            str(table),
            "--split",
            f"folds:{number}/3@site",
        )
        done = recipe.run(*STAGE_1, *words)
        assert done.returncode == 0, done.stderr
        folder = recipe.root / f"data/corpus_1h_folds_{number}_3_site_dataset"
        return {item.speaker for item in read_manifest(folder / "test.jsonl")}

    assert tested("aabbcc") in ({"01", "02"}, {"03", "04"}, {"05", "06"})
    assert tested("abcabc") in ({"01", "04"}, {"02", "05"}, {"03", "06"})
    assert len(tested("abcabc", 1) | tested("abcabc", 2) | tested("abcabc", 3)) == 6
