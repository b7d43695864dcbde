"""The list of what may be published is complete, and what it lets out names nobody: a run with planted names."""

from __future__ import annotations

import re
import shutil
import sys
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

from asr.core.kaldi_text import read_text
from asr.core.manifest import read_manifest
from tests.recipe import REPOSITORY

pytestmark = pytest.mark.e2e
NAMES = {"train": ("钱七", "孙八"), "dev": ("周九", "吴十"), "test": ("张三", "李四", "赵六", "郑一")}
MARKS = {"publishing.md": ("may be published", "private"), "publishing.zh.md": ("可以公开", "不公开")}


def listed(page: str) -> tuple[set[str], set[str]]:
    """Patterns of the table in docs/: what may be published, and what may not."""
    rows = re.findall(
        r"^\| (.+?) \| (`.+`) \|$", (REPOSITORY / "docs" / page).read_text(encoding="utf-8"), re.MULTILINE
    )
    found = tuple({one for what, files in rows if what.startswith(mark) for one in re.findall("`(.+?)`", files)}
                  for mark in MARKS[page])  # fmt: skip
    assert all(found)
    return found


def test_both_languages_have_one_list():
    assert listed("publishing.md") == listed("publishing.zh.md")


@pytest.fixture(scope="module")
def corpus(recipe, tmp_path_factory) -> Path:
    """Kaldi folders of some of the mini corpus, in a folder with a name and blanks in it, of speakers with names."""
    unpacked = recipe.root / "data/mini_for_names"
    done = recipe.run("--out", str(unpacked), command=(sys.executable, "mini/unpack.py"))
    assert done.returncode == 0, done.stderr
    texts = {}
    for path in sorted((unpacked / "after_catting/1h/Text").iterdir()):
        texts |= read_text(path)
    clips = sorted((unpacked / "after_catting/1h/Audio").rglob("*.wav"))[::4]
    root = tmp_path_factory.mktemp("王五 的文件夹") / "病人 王五, 1"
    for set_name, names in NAMES.items():
        rows: dict[str, list[str]] = {"wav.scp": [], "text": [], "utt2spk": []}
        folder = root / set_name
        folder.mkdir(parents=True)
        for number in range(40 if set_name == "train" else 12):
            clip, name = clips.pop(), names[number % len(names)]
            key, path = f"{name}_{number:03d}", folder / f"{clip.stem}.wav"
            shutil.copyfile(clip, path)
            rows["wav.scp"].append(f"{key} {path}")
            rows["text"].append(f"{key} 秘密的话{texts[clip.stem]}")
            rows["utt2spk"].append(f"{key} {name}")
        for name, lines in rows.items():
            (folder / name).write_text("\n".join(sorted(lines)) + "\n", encoding="utf-8")
    people = [name for names in NAMES.values() for name in names]
    table = [f"{name}\t{name}大名\t13812345678\tmild\n" for name in people]
    (root / "speakers.tsv").write_text("speaker\tname\tphone\tseverity\n" + "".join(table), encoding="utf-8")
    return root


def test_what_may_be_published_names_nobody_and_every_file_is_listed(recipe, corpus):
    words = ("--corpus", str(corpus), "--data", "data/named", "--tag", "named", "--conf", "conf/mini.yaml")
    words = (*words, "++train_conf.max_epoch=1", "++data_conf.max_unknown_characters=1")
    done = recipe.run(*words, "--stop-stage", "1")
    assert done.returncode == 0, done.stdout + done.stderr
    test = read_manifest(recipe.root / "data/named/test.jsonl")
    Path(test[0].source).unlink()  # a clip that cannot be read: decode.json says which, and where it was
    done = recipe.run(*words, "--stage", "2")
    assert done.returncode == 0, done.stdout + done.stderr
    exp = recipe.root / "exp/named"
    assert test[0].key in (exp / "tuned/decode.json").read_text(encoding="utf-8")
    hypotheses = {text for name in ("baseline", "tuned") for text in read_text(exp / name / "hyp.txt").values()}
    secrets = {item.target for item in test} | {text for text in hypotheses if len(text) > 3}
    secrets |= {"秘密的话", "王五", "病人", "大名", "13812345678", str(corpus), str(recipe.root)}
    secrets |= {name for names in NAMES.values() for name in names}
    public, private = listed("publishing.md")
    unlisted, leaks, published = [], [], set()
    for folder, inside in ((exp, ""), (recipe.root / "data/named", "data/")):
        for path in folder.rglob("*"):
            if path.is_dir() or (path.is_symlink() and not path.exists()):
                continue
            name = inside + str(path.relative_to(folder))
            kinds = [any(fnmatchcase(name, pattern) for pattern in kind) for kind in (public, private)]
            unlisted += [name] if sum(kinds) != 1 else []
            if kinds[0]:
                text = path.read_bytes().decode("utf-8", "replace")
                published.add(name)
                leaks += [(name, secret) for secret in secrets if secret in text]
    assert (unlisted, leaks) == ([], [])
    assert {"RESULTS.md", "provenance.json", "score/score.json", "figures/speakers.en.svg"} <= published
    page = (exp / "RESULTS.md").read_text(encoding="utf-8")
    assert "bash run.sh --corpus /path/to/corpus --data data/named --tag named" in page
    assert "| severity " in page
    assert len(re.findall(r"no hypothesis of \w+ for 1 of \d+ clips, counted as deletions", page)) == 2
    # the test can see: what is private holds what it looks for
    assert "张三" in (exp / "report.html").read_text(encoding="utf-8")
    assert "秘密的话" in (exp / "score/per_utterance.tsv").read_text(encoding="utf-8")
    assert "王五" in (exp / "command").read_text(encoding="utf-8")
