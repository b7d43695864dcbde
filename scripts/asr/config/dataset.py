"""dataset_conf: which clips are trained on, how they are varied and put into batches."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from asr.config.fields import (
    Count,
    CountOrZero,
    Decibels,
    NotNegative,
    Number,
    Section,
    Semitones,
    Share,
    Speed,
    Warp,
    option,
    unless_set,
)


def _rising(limits: list[Number]) -> list[Number]:
    if limits[0] > limits[1]:
        raise PydanticCustomError("range", "the smaller number must come first")
    return limits


Range = Annotated[list[NotNegative], Field(min_length=2, max_length=2), AfterValidator(_rising)]
Ratios = Annotated[list[Number], Field(min_length=2, max_length=2), AfterValidator(_rising)]


class Rooms(Section):
    """Room responses of a folder."""

    dir: str = Field(description="Folder with responses of rooms, one a file.")
    probability: Share = option(0.5, "Share of the clips, in each epoch, that are heard in one.")


class Noise(Section):
    """Noise of a folder."""

    dir: str = Field(description="Folder with recordings of noise.")
    snr_db: Ratios = option([5, 20], "Speech above noise, from and to.")
    probability: Share = option(0.5, "Share of the clips, in each epoch, that get some.")


class Extra(Section):
    """More to train on."""

    manifest: str = Field(description="JSONL of stage 1.")
    weight: Annotated[Number, Field(gt=0, le=100)] = option(1, "How often each clip is in an epoch.")


class DatasetConf(Section):
    """Which clips are trained on, how they are varied and put into batches. Frames are of 10 ms."""

    batch_sampler: Literal["ShuffledBatchSampler", "BatchSampler", "EspnetStyleBatchSampler"] = option(
        "ShuffledBatchSampler", "The recipe's, with batches in a new order every epoch, or one of FunASR's."
    )
    batch_type: Literal["token", "example", "length"] = option(
        "token", "What batch_size counts: padded frames (token), or clips (example)."
    )
    batch_size: Count = Field(description="Size of a batch, in each process; memory grows with it.")
    sort_size: Count | None = option(None, "Clips sorted together; unset: enough for 100 batches.")
    data_split_num: Literal[1] = option(1, "Parts in which the manifest is read: all of it at once.")
    num_workers: CountOrZero = option(4, "Processes that read audio and compute features.")
    prefetch_factor: Count = option(2, "Batches that each of them prepares ahead.")
    pin_memory: bool = option(True, "Page-locked memory for batches on their way to a GPU.")
    max_source_length: Count | None = option(None, "Frames; longer clips are left out, by name.")
    min_source_length: CountOrZero = option(0, "Frames; shorter clips are left out, by name.")
    speed_perturb: list[Speed] | None = option(None, "Training clips' speeds, e.g. [0.9, 1.0, 1.1].")
    tempo: list[Speed] | None = option(None, "Training clips' tempos, pitch unchanged.")
    gain_db: Decibels | None = option(0, "Training clips' level is varied by up to ± this.")
    pitch_semitones: Semitones | None = unless_set("Training clips' pitch is moved by up to ± this; formants stay.")
    formant_shift: Warp | None = unless_set("Training clips' formants are moved by up to ± this share; pitch stays.")
    vtlp: Warp | None = unless_set("Frequencies in training clips' filter bank are warped by up to ± this share.")
    pauses_s: Range | None = unless_set("Seconds of pauses put into a training clip, from and to, e.g. [0, 0.6].")
    rooms: Rooms = unless_set("Responses of rooms that training clips are heard in.")
    noise: Noise = unless_set("Noise that is added to training clips.")
    extra: list[Extra] | None = unless_set("Other manifests to train on as well: [{manifest: FILE, weight: 0.5}].")
    specaug_time_share: Share | None = unless_set("Share of a clip's frames that one SpecAugment mask may hide.")

    @model_validator(mode="after")
    def _sort_for_funasr(self) -> DatasetConf:
        """FunASR's samplers, without a sort_size, take the clips as they come, long beside short."""
        if self.batch_sampler != "ShuffledBatchSampler" and self.sort_size is None:
            self.sort_size = 1024
        return self

    def own_key(self) -> str | None:
        """Return a key that is set and that FunASR's dataset does not have."""
        keys = ("speed_perturb", "tempo", "gain_db", "pitch_semitones", "formant_shift", "vtlp", "pauses_s", "rooms")
        return next((key for key in (*keys, "noise") if getattr(self, key)), None)
