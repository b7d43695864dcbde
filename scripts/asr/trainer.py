"""FunASR's Trainer with what it lacks: CPU, checkpoints that are whole, ranking by CER, progress.

``train_ds.main`` stays in charge; the launcher puts this class in place of FunASR's. What is overridden, and why:

- ``device``: train_ds.main forces the device to LOCAL_RANK, which is a GPU.
- ``save_checkpoint``: FunASR writes every file up to three times, in place; a kill then breaks the resume.
- ``resume_checkpoint``: it brings back the old learning rate and schedule where the user has just changed them.
- ``validate_epoch``: FunASR's accuracy is measured at the reference's length and does not see length errors.
- ``log``: FunASR's line overflows on a large loss, and says nothing in an epoch shorter than log_interval.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from funasr.train_utils import trainer_ds

from asr import checkpoint
from asr.cer import ErrorCounts, align
from asr.errors import RecipeError
from asr.manifest import FRAMES_PER_SECOND
from asr.paraformer import greedy
from asr.processes import stop_asked
from asr.progress import Progress, Step

logger = logging.getLogger("asr.progress")

# What a scheduler counts, as opposed to how it is set: kept on resume while the settings follow the YAML.
SCHEDULER_STATE = ("last_epoch", "_step_count", "_last_lr", "_get_lr_called_within_step", "_is_initial")


class RecipeTrainer(trainer_ds.Trainer):
    """See the module. ``ranking`` is "cer", "acc" or "loss"; ``lfr_n`` the frontend's frame stacking stride."""

    def __init__(self, *, ranking: str = "cer", lfr_n: int = 1, processor: bool = True, **kwargs: Any) -> None:
        self.processor = processor
        self.ranking = ranking
        self.seconds_per_frame = lfr_n / FRAMES_PER_SECOND
        kwargs["avg_keep_nbest_models_type"] = "loss" if ranking == "loss" else "acc"
        super().__init__(**kwargs)
        if self.rank != 0 and self.writer is not None:
            self.writer.close()
            self.writer = None
        self.progress = Progress(self.max_epoch, self.log_interval, self.writer, self.world_size, self.rank == 0)
        if self.progress.bar is not None:  # the bar shows the steps; their lines stay in train.log
            for handler in logger.handlers:
                handler.addFilter(lambda record: not record.getMessage().startswith("epoch "))
        self.errors = ErrorCounts()
        self.audio_frames = 0
        self.first_step = 0
        self.epochs_done = 0
        self.validating = False

    @property
    def device(self) -> Any:
        return self._device

    @device.setter
    def device(self, value: Any) -> None:
        self._device = "cpu" if self.processor else value

    def warp_model(self, model: torch.nn.Module, **kwargs: Any) -> torch.nn.Module:
        """Data-parallel on the processor too, where FunASR knows only GPUs."""
        if self.processor and self.use_ddp:
            find = kwargs.get("train_conf", {}).get("find_unused_parameters", False)
            return trainer_ds.DDP(model, find_unused_parameters=find)
        return super().warp_model(model, **kwargs)

    def train_epoch(self, *args: Any, **kwargs: Any) -> None:
        """Remember the step that the epoch starts at: FunASR forgets it in a second resume and replays data."""
        self.first_step = kwargs.get("start_step") or 0
        super().train_epoch(*args, **kwargs)

    def forward_step(self, model: Any, batch: Any, loss_dict: dict[str, Any] | None = None) -> None:
        """Forward pass; in validation the clips are decoded too and their character errors counted."""
        if stop_asked.is_set():
            raise KeyboardInterrupt
        super().forward_step(model, batch, loss_dict=loss_dict)
        if not self.validating:
            self.audio_frames += int(batch["speech_lengths"].sum())
        elif self.ranking == "cer":
            self.errors = self.errors + self._decode(getattr(model, "module", model), batch)

    def _decode(self, model: Any, batch: Any) -> ErrorCounts:
        """Character errors of a batch by greedy decoding. A token counts as one character."""
        hypotheses = greedy(model, batch["speech"], batch["speech_lengths"].view(-1))
        counts = ErrorCounts()
        for ids, row, length in zip(hypotheses, batch["text"], batch["text_lengths"].view(-1).tolist(), strict=True):
            # Ids become characters of the private-use planes, so that the one edit distance serves here as well.
            reference = "".join(chr(0xF0000 + int(token)) for token in row[:length])
            counts = counts + align(reference, "".join(chr(0xF0000 + token) for token in ids)).counts
        return counts

    def validate_epoch(self, model: Any = None, dataloader_val: Any = None, epoch: Any = None, **kwargs: Any) -> None:
        """FunASR's validation, and 1 - CER in place of its accuracy where the run ranks by CER."""
        self.validating, self.errors = True, ErrorCounts()
        try:
            super().validate_epoch(model=model, dataloader_val=dataloader_val, epoch=epoch, **kwargs)
        finally:
            self.validating = False
        step = kwargs.get("step_in_epoch")
        name = f"model.pt.ep{epoch}" if step is None else f"model.pt.ep{epoch}.{step}"
        values = {"loss": self.val_loss_avg, "accuracy": self.val_acc_step_or_epoch.get(name)}
        if self.ranking == "cer":
            values["cer"] = self._corpus_cer()
            self.val_acc_step_or_epoch[name] = 1.0 - values["cer"]
        if self.rank == 0:
            self.progress.validated(name, values, self.batch_total)

    def _corpus_cer(self) -> float:
        counts = torch.tensor([self.errors.errors, self.errors.ref_len], dtype=torch.float64)
        if dist.is_initialized():
            counts = counts.to(self.device)
            dist.all_reduce(counts)
        wrong, total = counts.tolist()
        if not total:
            raise RecipeError("validation: the validation set has no reference characters, so no CER to rank by")
        return wrong / total

    def log(self, loss_dict: Any = None, tag: str = "train", **kwargs: Any) -> None:
        """One line, one bar, TensorBoard; validation is told as a whole by validate_epoch."""
        if tag != "train":
            return
        loss = float(loss_dict["loss"].detach())
        accuracy = loss_dict["stats"].get("acc")
        if self.rank == 0:
            first = self.first_step
            self.progress.update(
                Step(
                    epoch=loss_dict["epoch"],
                    step=first + loss_dict["batch_idx"] + 1,
                    steps_in_epoch=first + loss_dict["batch_num_epoch"],
                    total_steps=loss_dict["batch_total"],
                    loss=loss,
                    accuracy=None if accuracy is None else float(accuracy),
                    lr=loss_dict["lr"],
                    audio_seconds=self.audio_frames * self.seconds_per_frame,
                )
            )
        self.audio_frames = 0

    def save_checkpoint(self, epoch: Any, step: Any = None, model: Any = None, **kwargs: Any) -> None:
        """Weights under their own name, then the state to go on from, then the ranking; each whole or not there."""
        if self.use_ddp:
            dist.barrier()
        if self.rank == 0:
            self._save(epoch, step, model, **kwargs)
        if self.use_ddp:
            dist.barrier()

    def _save(
        self,
        epoch: Any,
        step: Any,
        model: Any,
        optim: Any = None,
        scheduler: Any = None,
        scaler: Any = None,
        **more: Any,
    ) -> None:
        in_epoch = None if step is None else more.get("step_in_epoch")
        name = f"model.pt.ep{epoch}" if step is None else f"model.pt.ep{epoch}.{in_epoch}"
        weights = getattr(model, "module", model).state_dict()
        folder = Path(self.output_dir)
        checkpoint.save({"state_dict": weights, "epoch": epoch, "step_in_epoch": in_epoch}, folder / name)
        pruned = self._rank(name)
        state = {
            "epoch": epoch,
            "state_dict": weights,
            "optimizer": optim.state_dict(),
            "scheduler": scheduler.state_dict(),
            **({"scaler_state": scaler.state_dict()} if scaler else {}),
            "saved_ckpts": dict(self.saved_ckpts),
            "val_acc_step_or_epoch": self.val_acc_step_or_epoch,
            "val_loss_step_or_epoch": self.val_loss_step_or_epoch,
            "best_step_or_epoch": self.best_step_or_epoch,
            "avg_keep_nbest_models_type": self.avg_keep_nbest_models_type,
            "step": None if step is None else step + self.first_step,
            "step_in_epoch": in_epoch,
            "data_split_i": more.get("data_split_i", 0),
            "data_split_num": more.get("data_split_num", 1),
            "batch_total": self.batch_total,
            "train_loss_avg": more.get("train_loss_avg", 0),
            "train_acc_avg": more.get("train_acc_avg", 0),
        }
        checkpoint.save(state, folder / checkpoint.LATEST)
        if self.best_step_or_epoch == name:
            checkpoint.link(folder / name, folder / checkpoint.BEST)
        self.epochs_done = epoch
        self._write_ranking()
        for old in pruned:
            (folder / old).unlink(missing_ok=True)

    def _rank(self, name: str) -> list[str]:
        """Take ``name`` into the ranking if it was validated; return the files that drop out of it."""
        by_loss = self.avg_keep_nbest_models_type == "loss"
        value = (self.val_loss_step_or_epoch if by_loss else self.val_acc_step_or_epoch).get(name)
        if value is None:
            logger.info(f"{name}: saved between validations, so it is not ranked")
            return []
        self.saved_ckpts[name] = value
        # Among equals the newest counts as better, as in FunASR.
        order = list(self.saved_ckpts)
        best_first = sorted(
            order, key=lambda item: (self.saved_ckpts[item] * (1 if by_loss else -1), -order.index(item))
        )
        self.best_step_or_epoch = best_first[0]
        dropped = best_first[self.keep_nbest_models :]
        for item in dropped:
            del self.saved_ckpts[item]
        return dropped

    def _write_ranking(self, finished: bool = False) -> None:
        values = dict(self.saved_ckpts)
        if self.ranking == "cer":
            values = {name: 1.0 - value for name, value in values.items()}
        checkpoint.write_ranking(self.output_dir, self.ranking, values, self.epochs_done, finished)

    def resume_checkpoint(
        self, model: Any = None, optim: Any = None, scheduler: Any = None, scaler: Any = None
    ) -> None:
        """Go on from model.pt, with the optimizer's settings and the schedule that the YAML says now."""
        latest = Path(self.output_dir) / checkpoint.LATEST
        groups = [{key: value for key, value in group.items() if key != "params"} for group in optim.param_groups]
        settings = {k: v for k, v in vars(scheduler).items() if k not in (*SCHEDULER_STATE, "optimizer")}
        super().resume_checkpoint(model=model, optim=optim, scheduler=scheduler, scaler=scaler)
        if not (self.resume and latest.is_file()):
            return
        self.epochs_done = self.start_epoch
        vars(scheduler).update(settings)
        for group, configured in zip(optim.param_groups, groups, strict=True):
            group.update(configured)
        for group, rate in zip(optim.param_groups, scheduler.get_lr(), strict=True):
            group["lr"] = rate
        if self.rank == 0:
            self._sweep()
            where = f"epoch {self.start_epoch + 1}" + (f", step {self.start_step + 1}" if self.start_step else "")
            logger.info(f"going on from {os.path.basename(self.output_dir)}/{latest.name} at {where}")

    def _sweep(self) -> None:
        """Remove checkpoints that a kill left between the writing of model.pt and the pruning, or before it."""
        for path in Path(self.output_dir).glob("model.pt.ep*"):
            if path.name not in self.saved_ckpts:
                path.unlink()

    def close(self, writer: Any = None) -> None:
        """The run is complete: say so in checkpoints.json."""
        if self.rank == 0:
            self._write_ranking(finished=True)
            self.progress.close()
        super().close(writer)
