"""Every key of a recipe's YAML: type, bounds, default and a line of help, with the checks across keys beside them.

``python -m asr.config --keys`` prints them. What depends on the model family (ranking, decoding options, adapters) is
the family's and asked of it here. Keys typed as Block go into FunASR's building blocks; stage 3 checks them.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from asr.audio.unreadable import MAX_SHARE
from asr.config import deepspeed
from asr.config.dataset import DatasetConf
from asr.config.fields import (
    Block,
    Count,
    CountOrZero,
    Dropout,
    NotNegative,
    Number,
    Positive,
    Section,
    Share,
    left_out,
    option,
    unless_set,
)
from asr.core.errors import RecipeError
from asr.core.metrics import METRICS
from asr.models import families

RankingMetric = Literal[tuple(METRICS)]  # type: ignore

FAMILIES = ", ".join(families.FAMILIES)
# What each optimizer takes; another key would end in a traceback after the model is built.
OPTIMIZER_KEYS = {
    "adam": ("lr", "betas", "eps", "weight_decay", "fused"),
    "adamw": ("lr", "betas", "eps", "weight_decay", "fused"),
    "sgd": ("lr", "momentum", "weight_decay"),
}


class OptimConf(Section):
    """Arguments of the optimizer; one that is left out is torch's own default."""

    lr: Positive = Field(description="Peak learning rate, reached at the end of the warm-up.")
    betas: list[Number] | None = left_out("Adam's decay rates; unset: torch's, [0.9, 0.999].")
    eps: Positive | None = left_out("Adam's epsilon; unset: torch's, 1e-8.")
    weight_decay: NotNegative | None = left_out("Weight decay; unset: torch's, 0.01 for adamw, else 0.")
    momentum: Number | None = left_out("Momentum of sgd; unset: 0.")
    fused: bool | None = left_out(
        "Adam in one kernel, faster on a GPU; a non-finite gradient still moves the schedule."
    )


class SchedulerConf(Section):
    """Arguments of the schedule."""

    warmup_steps: Positive = option(25000, "Updates over which the learning rate rises to its peak.")


class DataConf(Section):
    """What stage 1 accepts."""

    max_unknown_characters: Share | None = option(
        None, "Share of a set's characters that the base model may lack; unset: stage 1's own limit."
    )


class TrainConf(Section):
    """How long to train, and what is kept of it."""

    max_epoch: Count = Field(description="Epochs to train.")
    log_interval: Count = option(50, "Steps between lines of progress.")
    resume: bool = option(True, "Resume from the newest resume point when the run is started again.")
    validate_interval: Count = option(5000, "Steps between validations, beside each epoch's end.")
    save_checkpoint_interval: Count = option(5000, "Steps between checkpoints: what a kill can cost.")
    keep_nbest_models: Count = option(10, "Checkpoints kept on disk, the best of the ranking.")
    avg_nbest_model: Count = option(10, "How many of them stage 4 averages.")
    avg_keep_nbest_models_type: RankingMetric | None = option(None, "What checkpoints are ranked by.")  # type: ignore
    early_stopping_patience: CountOrZero = option(0, "Stop after so many epochs without a better one.")
    accum_grad: Count = option(1, "Batches whose gradients make one update.")
    grad_clip: NotNegative = option(10.0, "Largest norm of the gradient; 0: no clipping.")
    use_bf16: Literal[True, False, "auto"] = option(False, "Compute in bfloat16; auto: if the GPU can.")
    quick_step: bool = option(True, "The recipe's training step; false is FunASR's own.")
    use_deepspeed: bool = option(False, "DeepSpeed in place of DDP, with a sharded optimizer.")
    deepspeed_config: str = option("", f"DeepSpeed's JSON: {deepspeed.FILES}.")
    find_unused_parameters: bool = option(False, "DDP's: some parts may get no gradient.")

    @model_validator(mode="after")
    def _check(self) -> TrainConf:
        validate, save, accumulate = self.validate_interval, self.save_checkpoint_interval, self.accum_grad
        if validate % save:
            raise ValueError(
                f"train_conf.validate_interval {validate} must be a multiple of save_checkpoint_interval {save}: what"
                " was validated and not saved cannot be ranked"
            )
        if save % accumulate:
            raise ValueError(
                f"train_conf.save_checkpoint_interval {save} must be a multiple of accum_grad {accumulate}: the"
                " gradients between two updates are not saved"
            )
        if (keep := self.keep_nbest_models) < (average := self.avg_nbest_model):
            raise ValueError(
                f"train_conf.keep_nbest_models is {keep}, so {average} (avg_nbest_model) can never be averaged"
            )
        return self


def _listed(value: Any) -> Any:
    """Return the sources of a language model, of which a YAML may name one, or none."""
    if value in (None, "none"):
        return []
    return [value] if isinstance(value, str) else value


class DecodeConf(Section):
    """How stages 2 and 5 decode; an option of one family is an error for another."""

    batch_seconds: Positive = option(60, "Padded audio in a batch; changes speed, never the text.")
    dither: NotNegative = option(0, "Noise in the filter bank; above 0 a clip's text may vary.")
    cpu_processes: Count = option(1, "Processes that decode where there is no GPU; never the text.")
    language: Literal["zh", "yue", "auto"] | None = left_out("Language that the model is told.")
    max_new_tokens: Count | None = left_out("Length at which a text is cut.")
    nbest_beam: CountOrZero | None = left_out("Beam searched beside the greedy text, for n-best lists; 0 for none.")
    prompt: str | None = left_out("Words that the model is told stood before each clip; empty: none.")
    method: Literal["ctc", "attention", "joint"] | None = left_out("Greedy CTC, or beam search clip by clip.")
    beam_size: Count | None = left_out("Hypotheses kept by a beam; 1 is greedy (whisper).")
    ctc_weight: Annotated[Number, Field(gt=0, le=0.9)] | None = left_out("CTC's share of the score in joint.")
    lm: Annotated[list[str], BeforeValidator(_listed)] = option(
        [], "Language model of a second text, hyp.lm.txt: none, train (the training transcripts), files."
    )
    lm_order: Annotated[int, Field(ge=1, le=5)] = option(3, "Characters of the language model's n-grams.")
    sounds_alike: bool = option(False, "Search also among characters that validation shows to be confused.")
    phrases: str = option("", "File of phrases, one a line, that the second text is to prefer; empty: none.")
    adapter: str = option(
        "", "Folder of adapters, SPEAKER/adapter.json, or one of them; the tuned model takes them on."
    )

    @property
    def has_second_text(self) -> bool:
        """Return whether hyp.lm.txt is written beside hyp.txt."""
        return bool(self.lm or self.phrases)


class ReportConf(Section):
    """What is published."""

    publish_columns: list[str] = option([], "Columns of speakers.tsv whose groups are published.")


class LoraConf(Section):
    """Low-rank adapters; where the section is left out, the whole model is trained."""

    rank: Count = option(8, "Columns of each adapter.")
    alpha: Positive = option(16, "What an adapter adds is scaled by alpha / rank.")
    dropout: Dropout = option(0.05, "Dropout of the adapters' inputs.")
    targets: list[str] | None = option(
        None, "Linear layers to adapt, by the ends of their names, * for any part; unset: the family's."
    )
    also_train: list[str] | None = option(None, "Parts trained whole; unset: the family's.")


class Recipe(Section):
    """A whole YAML."""

    base: str = Field(description="Base model: a ModelScope id or a folder.")
    family: str = Field(description=f"Kind of model: {FAMILIES}.")
    from_scratch: bool = option(False, "Train from random weights; the base has none.")
    ngpu: CountOrZero = option(1, "GPUs; 0 is the CPU.")
    cpu_processes: Count = option(1, "Processes that train where there is no GPU.")
    seed: CountOrZero = option(0, "Seed of batches, augmentation and dropout.")
    max_unreadable: Share = option(MAX_SHARE, "Share of a set's clips that may be unreadable.")
    freeze_param: list[str] = option([], "Parts of the model that are not trained.")
    train_only: Literal["encoder"] | None = unless_set("encoder: the audio encoder alone is trained.")
    freeze_encoder_blocks: CountOrZero | None = unless_set(
        "Lowest blocks of the audio encoder that are not trained, with what lies below them."
    )
    enable_tf32: bool = option(True, "TF32 in matrix products on a GPU.")
    cudnn_benchmark: bool = option(False, "Let cuDNN time its algorithms; not reproducible.")
    optim: Literal["adam", "adamw", "sgd"] = option("adam", "Optimizer.")
    optim_conf: OptimConf
    scheduler: Literal["warmuplr"] = option("warmuplr", "Warm-up, then 1 / square root of the step.")
    scheduler_conf: SchedulerConf = SchedulerConf()
    data_conf: DataConf = DataConf()
    dataset: Literal["RecipeAudioDataset", "AudioDataset"] = option(
        "RecipeAudioDataset", "The recipe's dataset, or FunASR's, which varies no clip."
    )
    dataset_conf: DatasetConf
    train_conf: TrainConf
    decode_conf: DecodeConf = DecodeConf()
    report_conf: ReportConf = ReportConf()
    lora_conf: LoraConf = left_out("Low-rank adapters.")  # not None: an empty section would train the whole model
    model_conf: Block = option({}, "Settings of the base's model class.")
    encoder_conf: Block = option({}, "… of its encoder.")
    decoder_conf: Block = option({}, "… of its decoder.")
    predictor_conf: Block = option({}, "… of its predictor (paraformer).")
    specaug_conf: Block = option({}, "… of SpecAugment.")
    frontend_conf: Block = option({}, "… of the filter bank.")
    ctc_conf: Block = option({}, "… of its CTC head.")
    audio_encoder_conf: Block = option({}, "… of its audio encoder (nano).")
    audio_adaptor_conf: Block = option({}, "… of its adaptor (nano).")
    llm_conf: Block = option({}, "… of its language model (nano).")

    @field_validator("family")
    @classmethod
    def _check_family(cls, name: str) -> str:
        if name not in families.FAMILIES:
            raise PydanticCustomError("choice", "it takes {all}", {"all": FAMILIES})
        return name

    @model_validator(mode="after")
    def _complete_from_family(self) -> Recipe:
        """The family's defaults, where the YAML gives none."""
        family, train = families.of(self.family), self.train_conf
        train.avg_keep_nbest_models_type = train.avg_keep_nbest_models_type or family.rankings[0]  # type: ignore
        if (ranking := train.avg_keep_nbest_models_type) not in family.rankings:
            raise ValueError(
                f"train_conf.avg_keep_nbest_models_type is {ranking}; {family.name} can be ranked by"
                f" {', '.join(family.rankings)}"
            )
        try:
            families.check_options(family, decode := self.decode_conf.model_dump())
        except RecipeError as error:
            raise ValueError(str(error)) from None
        self.decode_conf = self.decode_conf.model_copy(update=family.options(decode))
        if self.decode_conf.nbest_beam == 1:
            raise ValueError("decode_conf.nbest_beam is 1, which is no beam; 0 is for none, 5 for five texts")
        if self.decode_conf.has_second_text and self.decode_conf.nbest_beam == 0:
            raise ValueError("decode_conf.lm and phrases choose among a beam's texts: set decode_conf.nbest_beam, to 5")
        if self.decode_conf.sounds_alike and not self.decode_conf.lm:
            raise ValueError("decode_conf.sounds_alike needs decode_conf.lm: the sound alone cannot tell them apart")
        if lora := self.lora_conf:
            lora.targets = list(family.lora_targets) if lora.targets is None else lora.targets
            lora.also_train = list(family.also_trained) if lora.also_train is None else lora.also_train
        return self

    @model_validator(mode="after")
    def _check_adapters(self) -> Recipe:
        if partly := next((key for key in ("train_only", "freeze_encoder_blocks") if getattr(self, key)), None):
            if self.lora_conf is not None:
                raise ValueError(f"{partly}: lora_conf says itself what is trained, in targets and also_train")
            if self.from_scratch:
                raise ValueError(f"{partly} leaves parts as the base has them, and from_scratch has none")
        if (lora := self.lora_conf) is None:
            return self
        if self.from_scratch:
            raise ValueError("lora_conf adapts a base model, and from_scratch has none; take one of them away")
        if self.train_conf.use_deepspeed:
            raise ValueError("lora_conf and use_deepspeed do not go together: adapters fit one GPU")
        if not lora.targets:
            raise ValueError("lora_conf.targets is empty, so nothing would be adapted")
        family = families.of(self.family)
        for target in lora.targets if family.native_lora else ():
            if target not in family.lora_targets:
                has = ", ".join(family.lora_targets)
                raise ValueError(f"lora_conf.targets: {family.name} has no projection '{target}'; it has {has}")
        return self

    @model_validator(mode="after")
    def _check_training(self) -> Recipe:
        if self.train_conf.use_deepspeed:
            deepspeed.check(self.train_conf.model_dump())
        data = self.dataset_conf
        if self.dataset == "AudioDataset" and (key := data.own_key()):
            raise ValueError(f"dataset: AudioDataset has no dataset_conf.{key}; RecipeAudioDataset has")
        if data.specaug_time_share and not self.train_conf.quick_step:
            raise ValueError("dataset_conf.specaug_time_share is of the recipe's training step: leave out quick_step")
        for key in self.optim_conf.model_dump():
            if key not in OPTIMIZER_KEYS[self.optim]:
                raise ValueError(f"optim_conf.{key}: {self.optim} takes {', '.join(OPTIMIZER_KEYS[self.optim])}")
        return self


# Sections that go into the model itself: they are part of what a run is tied to.
BLOCKS = tuple(name for name, field in Recipe.model_fields.items() if field.annotation == Block)
