"""What a training step of each family asks of a GPU, counted on the pretended one (tests/pretended_gpu.py).

The steps are those of the trainer's own loop on the YAML's own settings: the batch's copy to the device, forward and
backward pass, clipping of the gradient, the look at the last step's norm, the fused optimizer and logging between two
lines, with somebody watching the bar. They are counted once the first of them have made what stays: the optimizer's
state, tables of positions.

    python tests/unit/test_synchronisations.py NAME [++overrides …]

prints the counts of a case of tests/families.py, with the lines that ask.
"""

import itertools
import sys
import tempfile
from collections import Counter
from pathlib import Path

import pytest

if __name__ == "__main__":
    ROOT = Path(__file__).resolve().parents[2]
    sys.path[:0] = [str(ROOT), str(ROOT / "scripts"), str(ROOT / "local")]
import torch

from asr.config.load import resolve
from asr.core.processes import saves_on_stop
from asr.data.manifests import dataset_conf, prepare
from asr.progress import reporter
from asr.training.plan_worker import Bench
from tests import families, tiny
from tests.dozen import ROOT
from tests.pretended_gpu import Counts, counted, on_gpu

# Clips of very unequal lengths; two, all eight of them, and one. What a clip asks for by itself is seen between them.
SECONDS = [0.7, 2.6, 1.1, 0.9, 3.1, 0.5, 1.7, 1.2]
TWO, EIGHT, ONE = [2, 3], list(range(8)), [4]
SET_UP = 3
BATCHES = [TWO, EIGHT, ONE, TWO, EIGHT, ONE, TWO]  # the last one's line is told, and its loss read

# CTC: torch's takes lengths in the host's memory, where one copy brings them all. Its CUDA kernels want them back, with
# the places of the texts: three copies in each pass, which no caller can do without (ATen/native/cuda/LossCTC.cu).
CTC = {"copy to the host": 1, "torch's _ctc_loss": 3, "torch's _ctc_loss_backward": 3}
# How many tokens are learnt, asked before anything else is launched: scores of 152,000 classes for padding as well, or
# for every frame, would take more memory than the model.
LEARNT = {"nonzero": 1}
# Synchronisations by kind, and kernels of a step of the tiny model with eight clips.
BOUNDS = {
    "paraformer": ({}, 669),
    "paraformer_lora": ({}, 669),
    "sensevoice": (CTC, 466),
    "sensevoice_lora": (CTC, 431),
    "conformer": (CTC, 816),
    "conformer_lora": (CTC, 721),
    "nano": (LEARNT, 708),
    "nano_lora": (LEARNT, 746),
}
COPIES = 4  # the batch: features, texts and the lengths of both
MORE = 1.1  # kernels over what they were before it is looked into


class Loader(list):
    """Batches as a dataloader that is its own sampler; ``seen`` has the counts before each of them."""

    def __init__(self, batches, counts):
        super().__init__(batches)
        self.counts, self.seen, self.batch_sampler = counts, [], self

    def set_epoch(self, epoch):
        pass

    def __iter__(self):
        for batch in super().__iter__():
            self.seen.append(self.counts.since())
            yield batch


def steps(folder, name, *overrides):
    """The counts of a step with two clips, with eight and with one."""
    case = families.CASES[name]
    base = case.make_model(folder / "base", tiny.TOKENS[3:-1])
    values = resolve(ROOT / case.conf, ["++train_conf.accum_grad=1", *overrides])  # an update in every step
    assert values["train_conf"]["log_interval"] > len(BATCHES)
    exp = folder / "exp"
    manifests, _ = prepare(exp, tiny.make_data(folder / "data", SECONDS), values)
    plan = {"exp": str(exp), "base": str(base), "ngpu": 0, "values": values}
    bench = Bench({**plan, "dataset_conf": dataset_conf(values, manifests)})
    trainer, batches = bench.trainer, [bench.load(torch.tensor(batch).numpy()) for batch in BATCHES]
    trainer.settings = trainer.settings.model_copy(update={"cpu": False})
    trainer.engine.device, model = "gpu:0", on_gpu(bench.model)
    with counted() as counts:
        optim = torch.optim.Adam([value for value in model.parameters() if value.requires_grad], lr=1e-5, fused=True)
        loader = Loader(batches, counts)
        trainer.engine.attach(model, optim, torch.optim.lr_scheduler.ConstantLR(optim, 1.0, 1))
        trainer.train_epoch(loader, 0)
    saves_on_stop.clear()
    assert trainer.position.total_steps == len(BATCHES)
    assert trainer.gradients.skipped == trainer.accumulator.splits == 0
    seen = loader.seen[SET_UP:]
    return [after.since(before) for before, after in itertools.pairwise(seen)]


def kinds(found):
    """Numbers by kind, without their lines."""
    total = Counter()
    for (kind, _), number in found.items():
        total[kind] += number
    return dict(total)


@pytest.fixture(autouse=True)
def terminal(tmp_path, monkeypatch):
    """Somebody watches the bar, which is drawn at every step."""
    monkeypatch.setenv("ASR_TTY", str(tmp_path / "terminal"))
    monkeypatch.setattr(reporter, "BAR_EVERY", 0.0)
    return tmp_path / "terminal"


@pytest.mark.parametrize("name", BOUNDS)
def test_a_step_synchronises_where_its_method_needs_it_and_nowhere_else(name, tmp_path, terminal):
    wanted, kernels = BOUNDS[name]
    found = steps(tmp_path, name)
    for step in found:
        assert kinds(step.synchronisations) == wanted, step.synchronisations
        assert step.copies.total() == COPIES, step.copies
        assert not step.mixed
    two, eight, _ = (step.kernels for step in found)
    assert eight <= two  # a clip more is no kernel more
    assert kernels / 2 < eight <= kernels * MORE
    assert f"step {len(BATCHES)}/{len(BATCHES)} loss " in terminal.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("name", "override"),
    [
        ("paraformer", "++model_conf.length_normalized_loss=false"),
        ("conformer", "++model_conf.length_normalized_loss=false"),
        ("paraformer_lora", "++lora_conf.targets=[q,v]"),  # the index of the adapted segments is needed
    ],
)
def test_other_settings_synchronise_no_more(name, override, tmp_path):
    for step in steps(tmp_path, name, override):
        assert kinds(step.synchronisations) == BOUNDS[name][0], step.synchronisations
        assert step.copies.total() == COPIES, step.copies
        assert not step.mixed


def test_funasrs_own_step_asks_the_more_the_more_clips_there_are(tmp_path):
    """And it is seen: a counter that finds nothing would pass all of the above."""
    two, eight, _ = steps(tmp_path, "paraformer", "++train_conf.quick_step=false")
    assert two.synchronisations.total() > 20
    assert eight.synchronisations.total() >= two.synchronisations.total() + 6 * 2
    assert eight.kernels > two.kernels + 6 * 5


def main():
    """Print a case's counts."""
    name, *overrides = sys.argv[1:]
    with tempfile.TemporaryDirectory() as folder:
        found: list[Counts] = steps(Path(folder), name, *overrides)
    for clips, step in zip((2, 8, 1), found, strict=True):
        number = step.synchronisations.total()
        print(
            f"{name}, {clips} clips: {step.kernels:,} kernels, {number} synchronisations, {step.copies.total()} copies"
        )
    for (kind, place), number in found[1].synchronisations.most_common():
        print(f"{number:6} {kind}, {place}")


if __name__ == "__main__":
    main()
