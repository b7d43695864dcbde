"""What a training step of each family asks of a GPU, counted on the pretended one: the trainer's own loop, its real parts.

The epoch's loop is ``EpochTrainer.train_epoch``: the batch's copy to the device, forward and backward pass, clipping of
the gradient, the look at the last step's norm, a fused optimizer's step and logging between two lines. Steps are
counted once the first of them have set up what stays.
"""

import torch

from asr.config import resolve
from asr.plan_worker import Bench
from asr.processes import saves_on_stop
from asr.training_data import dataset_conf, prepare
from tests import families, tiny
from tests.dozen import ROOT
from tests.pretended_gpu import Counts, counted, on_gpu

# Clips of very unequal lengths, one clip, and as many as make a clip's own launches seen.
SECONDS = [0.7, 2.6, 1.1, 0.9, 3.1, 0.5, 1.7, 1.2]
BATCHES = [[0, 1, 2], [0, 1, 2, 3, 4, 5, 6, 7], [2, 3], [4], [0, 1, 2, 3, 4, 5, 6, 7], [4, 5], [0, 1]]
SET_UP = 2  # steps


class Loader(list):
    """A dataloader of an epoch, which is itself its sampler; ``seen`` has the counts before each step and at the end."""

    def __init__(self, batches, counts):
        super().__init__(batches)
        self.counts, self.seen, self.batch_sampler = counts, [], self

    def set_epoch(self, epoch):
        pass

    def __iter__(self):
        for batch in super().__iter__():
            self.seen.append(
                Counts(
                    self.counts.kernels,
                    *map(
                        type(self.counts.copies), (self.counts.synchronisations, self.counts.copies, self.counts.mixed)
                    ),
                )
            )
            yield batch


def steps(folder, name, quick=True):
    """The counts of each step after the first ones."""
    case = families.CASES[name]
    base = case.make_model(folder / "base", tiny.TOKENS[3:-1])
    values = resolve(ROOT / case.conf, [] if quick else ["++train_conf.quick_step=false"])
    values["dataset_conf"]["num_workers"] = 0
    exp = folder / "exp"
    manifests, _ = prepare(exp, tiny.make_data(folder / "data", SECONDS), values)
    plan = {"exp": str(exp), "base": str(base), "ngpu": 0, "values": values, "memory_gb": 1000}
    bench = Bench({**plan, "dataset_conf": dataset_conf(values, manifests)})
    batches = [bench.load(torch.tensor(batch).numpy()) for batch in BATCHES]
    trainer, model = bench.trainer, on_gpu(bench.model)
    trainer.processor, trainer.device = False, "gpu:0"
    trained = [value for value in model.parameters() if value.requires_grad]
    with counted() as counts:
        optim = torch.optim.Adam(trained, lr=1e-5, fused=True)
        schedule = torch.optim.lr_scheduler.ConstantLR(optim, 1.0, 1)
        loader = Loader(batches, counts)
        trainer.train_epoch(model, optim, schedule, None, loader, 0)
    saves_on_stop.clear()
    return [
        Counts(
            after.kernels - before.kernels,
            after.synchronisations - before.synchronisations,
            after.copies - before.copies,
            after.mixed - before.mixed,
        )
        for before, after in zip(loader.seen[SET_UP:], loader.seen[SET_UP + 1 :])
    ]


if __name__ == "__main__":
    import sys
    import tempfile
    from pathlib import Path

    for name in sys.argv[1:]:
        for step in steps(Path(tempfile.mkdtemp()), name, not name.endswith("manual")):
            print(name, step.kernels, sum(step.synchronisations.values()), sum(step.copies.values()), dict(step.mixed))
        for k, v in step.synchronisations.most_common():
            print("   S", v, k)
        for k, v in step.copies.most_common():
            print("   C", v, k)
