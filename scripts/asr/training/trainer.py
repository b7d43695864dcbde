"""FunASR's Trainer with what it lacks: CPU, checkpoints that are whole, ranking by CER, progress.

``train_ds.main`` stays in charge; the launcher puts this class in place of FunASR's. What is overridden, and why:

- ``device``: train_ds.main forces the device to LOCAL_RANK, which is a GPU.
- saving, resuming and stopping: resume.py.
- ``validate_epoch``: FunASR's accuracy is measured at the reference's length and does not see length errors.
- ``train_epoch``: epoch.py.
- ``log``: FunASR's line overflows on a large loss, and says nothing in an epoch shorter than log_interval.
"""

from __future__ import annotations

import logging
from typing import Any

import torch
import torch.distributed as dist
from funasr.train_utils import trainer_ds

from asr.audio.unreadable import MAX_SHARE, Unreadable
from asr.core.errors import RecipeError
from asr.core.manifest import FRAMES_PER_SECOND
from asr.core.out_of_memory import ran_out_of_memory
from asr.models import families
from asr.progress.reporter import Progress, Step
from asr.scoring.cer import ErrorCounts, align_all
from asr.scoring.normalize import normalize
from asr.training.epoch import EpochTrainer, normaliser, padded_frames, parts_of

logger = logging.getLogger("asr.progress")
BESIDE = ("unreadable", "blank", "target")  # what a batch holds that is not the model's


class RecipeTrainer(EpochTrainer):
    """See the module.

    Args:
        family: the model's, by its name in the YAML.
        lfr_n: the frontend's frame stacking stride.
        processor: whether there is no GPU.
        max_unreadable: share of a set's clips.
    """

    def __init__(
        self,
        *,
        ranking: str = "cer",
        family: str = "paraformer",
        lfr_n: int = 1,
        processor: bool = True,
        max_unreadable: float = MAX_SHARE,
        **kwargs: Any,
    ) -> None:
        self.processor, self.family = processor, families.of(family)
        self.hearing = self.family.options({})  # validation decodes in the family's plainest way
        self.seconds_per_frame = lfr_n / FRAMES_PER_SECOND
        kwargs["avg_keep_nbest_models_type"] = "loss" if ranking == "loss" else "acc"
        super().__init__(ranking=ranking, **kwargs)
        if self.rank != 0 and self.writer is not None:
            self.writer.close()
            self.writer = None
        self.progress = Progress(self.max_epoch, self.log_interval, self.writer, self.world_size, self.rank == 0)
        if self.progress.bar is not None:  # the bar shows the steps; their lines stay in train.log
            for handler in logger.handlers:
                handler.addFilter(lambda record: not record.getMessage().startswith("epoch "))
        self.errors = ErrorCounts()
        self.audio_frames = self.padded_frames = 0
        self.max_unreadable, self.unreadable = max_unreadable, {}

    @property
    def device(self) -> Any:
        return self._device

    @device.setter
    def device(self, value: Any) -> None:
        self._device = "cpu" if self.processor else value

    def warp_model(self, model: torch.nn.Module, **kwargs: Any) -> torch.nn.Module:
        """Data-parallel on the processor too, where FunASR knows only GPUs.

        DDP's own exchange of buffers (BatchNorm's) comes with every forward pass: one that runs out of memory and is
        begun again would exchange once more than the others do, and all wait for ever. It is done by validate_epoch.
        """
        if self.processor and self.use_ddp:
            find = kwargs.get("train_conf", {}).get("find_unused_parameters", False)
            model = trainer_ds.DDP(model, find_unused_parameters=find)
        else:
            model = super().warp_model(model, **kwargs)
        if isinstance(model, trainer_ds.DDP):
            model.broadcast_buffers = False
        return model

    def share_buffers(self, model: torch.nn.Module) -> None:
        """Have all processes validate with the first one's buffers, which are what is saved."""
        if self.use_ddp:
            for value in getattr(model, "module", model).buffers():
                dist.broadcast(value, src=0)

    def forward_step(self, model: Any, batch: Any, loss_dict: dict[str, Any] | None = None) -> None:
        """Forward pass; in validation the clips are decoded too and their character errors counted."""
        if self.validating:
            self.stop_in_validation()
            self.seed_step("validation", loss_dict["batch_idx"])  # its loss, too, is of sampled decoding
        else:
            self.seed_step(loss_dict["epoch"], self.first_step + loss_dict["batch_idx"])
        for clips, *found in batch.get("unreadable", ()):
            name = "validation" if self.validating else "training"  # a warning is logged on whichever rank it is
            new = Unreadable(name, clips, self.max_unreadable, logger.warning)
            self.unreadable.setdefault(name, new).add(*found)
        (self._validate if self.validating else self._compute)(model, batch, loss_dict)

    def _compute(self, model: Any, batch: Any, loss_dict: dict[str, Any]) -> None:
        """Forward pass. A batch of which no clip can be read weighs nothing: a step for the other processes' sake."""
        super().forward_step(model, {key: batch[key] for key in batch if key not in BESIDE}, loss_dict=loss_dict)
        if batch.get("blank"):
            loss_dict["loss"] = loss_dict["loss"] * 0
            loss_dict["stats"] = {name: value * 0 for name, value in loss_dict["stats"].items()}

    def _validate(self, model: Any, batch: Any, loss_dict: dict[str, Any]) -> None:
        """Loss, and character errors where they rank, of a batch; of its halves where memory runs out."""
        plain, clips = getattr(model, "module", model), len(batch["speech_lengths"])
        try:
            self._compute(model, batch, loss_dict)
            if self.ranking == "cer" and not batch.get("blank"):
                self.errors = self.errors + self._decode(plain, batch, bool(torch.isfinite(loss_dict["loss"])))
            return
        except RuntimeError as error:
            if not ran_out_of_memory(error):
                raise
            if clips == 1:
                said, seconds = str(error).partition("\n")[0], padded_frames(batch) * self.seconds_per_frame
                raise RecipeError(
                    f"validation: a clip of {seconds:.1f} s does not fit in memory, in a batch of its own ({said}); end"
                    " other programs that use it"
                ) from None
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        logger.warning(f"validation: out of memory with {clips} clips: begun again in halves")
        found: dict[str, Any] = {}
        for part in parts_of(batch, 2):
            done, share = dict(loss_dict), normaliser(plain, part) / normaliser(plain, batch)
            self._validate(model, part, done)
            for name, value in {"loss": done["loss"], **done["stats"]}.items():
                found[name] = found.get(name, 0.0) + share * value
        loss_dict |= {"loss": found["loss"], "stats": {name: found[name] for name in done["stats"]}}

    def heard(self, batch: Any) -> None:
        """Count the audio of a batch before it goes to the GPU, of which nobody should ask a number."""
        self.audio_frames += int(batch["speech_lengths"].sum())
        self.padded_frames += padded_frames(batch)

    def _decode(self, model: Any, batch: Any, finite: bool = True) -> ErrorCounts:
        """Character errors of a batch, decoded as ``asr.decode`` does; texts are compared as ``normalize`` has them.

        Texts, not ids: a character without a token is an error whatever the model says, and a decoded <unk> is none.
        Where the loss is no number the model has diverged: the predictor would fail, and every character counts.
        """
        lengths = batch["speech_lengths"].view(-1)
        said = batch["target"]
        texts = [""] * len(said)
        if finite:
            heard = self.family.hear(model, batch["speech"], lengths, self.hearing)
            texts = [self.family.text(self.tokenizer, ids) for ids in heard]
        pairs = zip(map(normalize, said), map(normalize, texts), strict=True)
        return ErrorCounts.total(item.counts for item in align_all(pairs))

    def validate_epoch(self, model: Any = None, dataloader_val: Any = None, epoch: Any = None, **kwargs: Any) -> None:
        """FunASR's validation, and 1 - CER in place of its accuracy where the run ranks by CER."""
        self.validating, self.errors = True, ErrorCounts()
        self.even = dataloader_val.batch_sampler.gives_all_as_many(self.world_size)
        self.share_buffers(model)
        self.tokenizer = dataloader_val.dataset.tokenizer
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
        value = values["loss"] if self.ranking == "loss" else self.val_acc_step_or_epoch.get(name)
        if value is not None:
            self.validations.append(value if self.ranking == "loss" else -value)
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
        if self.rank == 0:
            first = self.first_step
            self.progress.update(
                Step(
                    epoch=loss_dict["epoch"],
                    step=first + loss_dict["batch_idx"] + 1,
                    steps_in_epoch=first + loss_dict["batch_num_epoch"],
                    total_steps=loss_dict["batch_total"],
                    loss=loss_dict["loss"].detach(),
                    accuracy=loss_dict["stats"].get("acc"),
                    lr=loss_dict["lr"],
                    audio_seconds=self.audio_frames * self.seconds_per_frame,
                    waited=loss_dict["waited"],
                    padded_seconds=self.padded_frames * self.seconds_per_frame,
                )
            )
        self.audio_frames = self.padded_frames = 0

    def close(self, writer: Any = None) -> None:
        """The run is complete: say so in checkpoints.json."""
        if self.rank == 0:
            self.write_ranking(finished=True)
            self.progress.close()
        super().close(writer)
