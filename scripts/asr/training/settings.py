"""The trainer's settings: train_conf and what train_ds.main and the launcher add to it."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, Field

from asr.audio.unreadable import MAX_SHARE
from asr.core.manifest import FRAMES_PER_SECOND


class Settings(BaseModel, frozen=True):
    """See docs/configuration.md for those of the YAML. What else is given is FunASR's, and has no effect here.

    Attributes:
        cpu: whether there is no GPU.
        lfr_n: the frontend's frame stacking stride.
        ranking: a name in asr.core.metrics.
        patience: of early stopping, in validations; 0 for none.
        adapters: whether the model is adapted, so that what is saved is what was trained (asr.models.lora).
        batches: what an epoch's batches are made by; different where the batches are.
    """

    exp: Path = Field(alias="output_dir")
    rank: int = 0
    world_size: int = 1
    cpu: bool = True
    family: str = "paraformer"
    lfr_n: int = 1
    seed: int = 0
    ranking: str = "cer"
    patience: int = 0
    adapters: bool = False
    batches: str = ""
    max_unreadable: float = MAX_SHARE
    resume: bool = True
    max_epoch: int = 100
    log_interval: int = 50
    validate_interval: int = 5000
    save_checkpoint_interval: int = 5000
    keep_nbest_models: int = 500
    accum_grad: int = 1
    grad_clip: float = 10.0
    use_bf16: bool = False
    find_unused_parameters: bool = False
    deepspeed_config: str = ""

    @property
    def several(self) -> bool:
        """Return whether several processes train together."""
        return self.world_size > 1

    @property
    def seconds_per_frame(self) -> float:
        """Return the length of a frame of the model's input."""
        return self.lfr_n / FRAMES_PER_SECOND
