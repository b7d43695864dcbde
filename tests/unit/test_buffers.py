"""Buffers under DDP: a forward pass that is begun again exchanges nothing that the other processes do not expect."""

import subprocess
import sys

import pytest

from tests.patience import PATIENCE

PROGRAM = """
import copy, json, os, sys, torch
import torch.distributed as dist
from asr.training.trainer import Trainer

dist.init_process_group("gloo")
rank, folder = dist.get_rank(), sys.argv[1]


class Normed(torch.nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.norm, self.out, self.calls = torch.nn.BatchNorm1d(4), torch.nn.Linear(4, 1), 0

    def forward(self, speech, speech_lengths, text_lengths):
        self.calls += 1
        if rank == int(sys.argv[2]) and self.calls in (2, 3):
            raise torch.OutOfMemoryError("CUDA out of memory")
        loss = (self.out(self.norm(speech.flatten(0, 1))) ** 2).mean()
        return loss, {"loss": loss.detach()}, torch.tensor(1)


trainer = Trainer(output_dir=folder, rank=rank, world_size=2, grad_clip=5)
model = trainer.warp_model(Normed())
optim = torch.optim.SGD(model.parameters(), lr=0.1)
schedule = torch.optim.lr_scheduler.ConstantLR(optim, 1.0, 1)
trainer.engine.attach(model, optim, schedule)
torch.manual_seed(rank)
for number in range(4):
    speech = torch.randn(8, 3, 4)
    lengths = torch.full((8,), 3)
    trainer.accumulator.add({"speech": speech, "speech_lengths": lengths, "text_lengths": lengths}, True)
    trainer.engine.step()
    optim.zero_grad()
own = model.module.norm.running_mean.clone()
trainer.engine.share_buffers()
state = torch.cat([value.flatten().double() for value in model.state_dict().values()])
states = [torch.empty_like(state) for _ in range(2)]
dist.all_gather(states, state)
if rank == 0:
    kept = torch.equal(own, model.module.norm.running_mean)
    print(json.dumps([trainer.accumulator.splits, torch.equal(*states), kept]))
dist.barrier()
os._exit(0)
"""


@pytest.mark.parametrize("rank", [0, 1])
def test_a_forward_pass_that_is_begun_again_waits_for_nobody(tmp_path, rank):
    (tmp_path / "program.py").write_text(PROGRAM)
    words = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    words += [str(tmp_path / "program.py"), str(tmp_path), str(rank)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr[-2000:]
    # The first process's buffers stay what they were, and are everyone's.
    assert done.stdout.splitlines()[-1] == f"[{2 if rank == 0 else 0}, true, true]"
