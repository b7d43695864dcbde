"""All families on the same corpora, side by side.

    python benchmarks/compare_families.py DIR --typical CORPUS [--real CORPUS] [--only NAME,…] [--bases]

Small models of each family, for Paraformer the bundled base: the others are made here with the same 350 characters and
trained from random weights on CORPUS, typical synthetic speech (mini/README.md; ``--kokoro-texts 0`` is enough). Each
is then fine-tuned by its own YAMLs on the mini corpus and on ``--real``, in a copy of the repository in DIR, and
``local/score.py --compare`` sets the runs of a corpus side by side: DIR/exp/compare_mini, DIR/exp/compare_real.
Run again, it goes on where it was stopped.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
import yaml

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "scripts"), str(ROOT / "local")]
from asr.core.manifest import read_manifest  # noqa: E402
from asr.models import skeleton  # noqa: E402 - found through the line above
from asr.training.checkpoints import checkpoint  # noqa: E402
from tests import tiny, tiny_conformer, tiny_nano, tiny_sensevoice  # noqa: E402
from tests.recipe import Recipe  # noqa: E402

WIDTH = 144  # the bundled base's
# For a model this small, on two cores: what conf/mini.yaml has where the family's YAML is for a 3090.
COMMON = (
    "++cpu_processes=1",
    "++dataset_conf.num_workers=1",
    "++dataset_conf.speed_perturb=null",
    "++train_conf.log_interval=50",
    "++train_conf.keep_nbest_models=10",
    "++train_conf.avg_nbest_model=3",
    "++train_conf.accum_grad=1",
    "++train_conf.validate_interval=100000",
    "++train_conf.save_checkpoint_interval=100000",
)
BASE = (*COMMON, "++dataset_conf.batch_size=2000", "++optim_conf.lr=0.002", "++scheduler_conf.warmup_steps=400")
BEST = ("++train_conf.avg_nbest_model=1",)  # of a base trained this briefly an average would hold its first epochs
TUNED = (*COMMON, "++dataset_conf.batch_size=2000", "++optim_conf.lr=0.001", "++scheduler_conf.warmup_steps=60")
EPOCHS = {"mini": 6, "real": 4}


def write_sensevoice(folder: Path, characters: list[str], clips: Path) -> Path:
    """4 encoder blocks and two more, the bundled base's mean and scale."""
    tiny_sensevoice.write_folder(folder, characters, list(tiny_sensevoice.TAGS.values()))
    conf = tiny_sensevoice.config()
    conf["encoder_conf"] |= {"output_size": WIDTH, "linear_units": 4 * WIDTH, "num_blocks": 4, "tp_blocks": 2}
    (folder / "config.yaml").write_text(yaml.safe_dump(conf, sort_keys=False), encoding="utf-8")
    shutil.copyfile(ROOT / "mini/base/am.mvn", folder / "am.mvn")
    return tiny.save_random(folder)


def write_conformer(folder: Path, characters: list[str], clips: Path) -> Path:
    """3 encoder and one decoder block, narrower, as its frames are of 40 ms; mean and scale of its training clips."""
    conf, width = tiny_conformer.config(), 96
    conf["encoder_conf"] |= {"output_size": width, "linear_units": 4 * width, "num_blocks": 3}
    conf["decoder_conf"] |= {"linear_units": 4 * width, "num_blocks": 1}
    measured = skeleton.mean_and_scale(read_manifest(clips), conf["frontend_conf"], 500, 0)
    skeleton.write_folder(folder, ["<blank>", "<s>", "</s>", *characters, "<unk>"], conf, *measured)
    return tiny.save_random(folder)


def write_nano(folder: Path, characters: list[str], clips: Path) -> Path:
    """SenseVoice's encoder, one adaptor layer, a language model of three layers, as wide as the others.

    An embedding of the sound is of 60 ms, not of the hub's 480: 2.8 hours do not teach a small model to unpack those.
    """
    folder.mkdir(parents=True)
    tiny_nano.make_model(folder, characters)
    conf = tiny_nano.config()
    conf["audio_encoder_conf"] |= {"output_size": WIDTH, "linear_units": 4 * WIDTH, "num_blocks": 4, "tp_blocks": 2}
    conf["audio_adaptor_conf"] |= {"ffn_dim": 4 * WIDTH, "llm_dim": WIDTH, "encoder_dim": WIDTH}
    conf["audio_adaptor_conf"] |= {"downsample_rate": 1, "use_low_frame_rate": False}
    (folder / "config.yaml").write_text(yaml.safe_dump(conf, sort_keys=False), encoding="utf-8")
    path = folder / tiny_nano.LLM / "config.json"
    llm = json.loads(path.read_text(encoding="utf-8"))
    llm |= {"hidden_size": WIDTH, "intermediate_size": 4 * WIDTH, "num_hidden_layers": 3, "head_dim": WIDTH // 4}
    llm.pop("layer_types", None)
    path.write_text(json.dumps(llm), encoding="utf-8")
    shutil.copyfile(ROOT / "mini/base/am.mvn", folder / "am.mvn")
    (folder / "model.pt").unlink()
    return tiny.save_random(folder)


class Base(NamedTuple):
    """How a family's base is made: ``write`` it, train it by ``conf`` with ``words``."""

    write: Callable[[Path, list[str], Path], Path]
    conf: str
    words: tuple[str, ...]


BASES = {
    "sensevoice": Base(write_sensevoice, "sensevoice_3090", ("++train_conf.max_epoch=3", *BEST)),
    # Half of the loss is CTC's: it leaves the stage in which it writes nothing sooner.
    "conformer": Base(write_conformer, "conformer_3090", ("++model_conf.ctc_weight=0.5", "++train_conf.max_epoch=10")),
    "nano": Base(write_nano, "fun_asr_nano_3090", ("++freeze_param=[]", "++train_conf.max_epoch=5")),
}
NANO = ("++decode_conf.max_new_tokens=40",)
# Name of a run: its base, its YAML, what else it is given.
RUNS: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "paraformer": ("paraformer", "finetune_3090", ()),
    "paraformer_lora": ("paraformer", "paraformer_lora_3090", ()),
    "sensevoice": ("sensevoice", "sensevoice_3090", ()),
    "sensevoice_lora": ("sensevoice", "sensevoice_lora_3090", ()),
    "conformer": ("conformer", "conformer_3090", ()),
    "conformer_lora": ("conformer", "conformer_lora_3090", ()),
    "nano": ("nano", "fun_asr_nano_3090", NANO),
    "nano_lora": ("nano", "fun_asr_nano_lora_3090", NANO),
}
# What was trained in another run, decoded by another method.
DECODED = {f"conformer_{method}": ("conformer", f"++decode_conf.method={method}") for method in ("attention", "joint")}


def run(recipe: Recipe, *words: str) -> None:
    """run.sh, or stop where it fails."""
    print("bash run.sh", *words, flush=True)
    done = recipe.run(*words)
    if done.returncode:
        sys.exit(done.stdout[-3000:] + done.stderr[-3000:])
    print(*[line for line in done.stdout.splitlines() if "CER" in line][-3:], sep="\n", flush=True)


def take_encoder(path: Path, trained: Path) -> None:
    """Into ``path``, a Fun-ASR-Nano's model.pt, the encoder of ``trained``, a SenseVoice's."""
    state = torch.load(path, weights_only=True)["state_dict"]
    heard = torch.load(trained, weights_only=True)
    heard = heard.get("state_dict", heard)
    taken = {f"audio_{key}": value for key, value in heard.items() if key.startswith("encoder.")}
    assert taken.keys() == {key for key in state if key.startswith("audio_encoder.")}
    checkpoint.save({"state_dict": {**state, **taken}}, path)


def base(recipe: Recipe, family: str, typical: Path) -> str:
    """The family's base, trained on typical speech; made once."""
    if family == "paraformer":
        return "mini/base"
    made, tag = BASES[family], f"base_{family}"
    random, data = recipe.root / "data" / f"random_{family}", f"data/typical_{family}"
    if not (recipe.root / data / "train.jsonl").exists():
        run(recipe, "--corpus", str(typical), "--data", data, "--tag", "typical", "--stage", "1", "--stop-stage", "1")
    if not (random / "model.pt").exists():
        shutil.rmtree(random, ignore_errors=True)
        characters = json.loads((ROOT / "mini/base/tokens.json").read_text(encoding="utf-8"))[3:-1]
        made.write(random, characters, recipe.root / data / "train.jsonl")
        if family == "nano":  # as the hub's, whose encoder was trained before it got a language model
            take_encoder(random / "model.pt", recipe.root / base(recipe, "sensevoice", typical) / "model.pt")
    if not (recipe.root / "exp" / tag / "score/score.json").exists():
        words = ("--conf", f"conf/{made.conf}.yaml", "--base", str(random), "--tag", tag, "--ngpu", "0")
        run(recipe, "--corpus", str(typical), "--data", data, *words, *BASE, *made.words, *NANO[: family == "nano"])
    return f"exp/{tag}/model"


def tune(recipe: Recipe, corpus: str, name: str, words: tuple[str, ...]) -> None:
    """All stages of a run; of one that only decodes otherwise, those that follow the training of the other."""
    trained, *method = DECODED.get(name, (name,))
    family, conf, more = RUNS[trained]
    tag = f"{corpus}_{name}"
    if trained != name and not (recipe.root / "exp" / tag).exists():
        shutil.copytree(recipe.root / f"exp/{corpus}_{trained}", recipe.root / "exp" / tag, symlinks=True)
        shutil.rmtree(recipe.root / "exp" / tag / "score")
    start = "mini/base" if family == "paraformer" else f"exp/base_{family}/model"
    given = ("--base", start, "--conf", f"conf/{conf}.yaml", "--data", f"data/{corpus}_{family}", "--tag", tag)
    epochs = f"++train_conf.max_epoch={EPOCHS[corpus]}"
    run(recipe, *words, *given, "--ngpu", "0", *TUNED, epochs, *more, *method)


def main() -> None:
    """Bases, runs, comparisons."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dir", type=Path)
    parser.add_argument("--typical", required=True, type=Path)
    parser.add_argument("--real", type=Path, help="a corpus of real recordings, as the mini corpus is laid out")
    parser.add_argument("--only", default=",".join([*RUNS, *DECODED]))
    parser.add_argument("--bases", action="store_true", help="stop when the bases are made")
    arguments = parser.parse_args()
    recipe = Recipe(arguments.dir.absolute())
    corpora = {"mini": (), "real": ("--corpus", str(arguments.real and arguments.real.absolute()))}
    if not arguments.real:
        del corpora["real"]
    names = arguments.only.split(",")
    for family in dict.fromkeys(RUNS[name][0] for name in names if name in RUNS):
        base(recipe, family, arguments.typical.absolute())
    if arguments.bases:
        return
    for corpus, words in corpora.items():
        for name in names:
            if not (recipe.root / f"exp/{corpus}_{name}/score/score.json").exists():
                tune(recipe, corpus, name, words)
        compared = [f"exp/{corpus}_{name}" for name in names]
        words = ("local/score.py", "--compare", *compared, "--out", f"exp/compare_{corpus}")
        # by path.sh, as run.sh does: the copy's own modules, whatever the environment has installed
        done = recipe.run(*words, command=("bash", "-c", '. ./path.sh && exec python "$@"', "compare"))
        print(done.stdout, done.stderr)


if __name__ == "__main__":
    main()
