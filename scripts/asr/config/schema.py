"""Every key that a YAML in conf/ may hold, with its type: FunASR lets an unknown key vanish without a word, we do not.

A leaf is a ``Key``; a nested dict is a section. ``OPEN`` sections go into FunASR's building blocks, whose keys depend
on the base model; they are checked against it at stage 3, before the first step.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from asr.models.families import FAMILIES

OPEN = "open"


@dataclass(frozen=True)
class Key:
    """One leaf: the types it takes, an optional closed set of values, and an optional lower bound."""

    types: tuple[type, ...]
    choices: tuple[Any, ...] = ()
    minimum: float | None = None
    above: float | None = None
    maximum: float | None = None
    each: Key | None = None  # what every item of a list must be

    def problem(self, value: Any) -> str | None:
        """What is wrong with ``value``, or None."""
        if isinstance(value, bool) and bool not in self.types:
            return f"is {str(value).lower()}, not {self._wanted()}"
        if not isinstance(value, self.types):
            return f"is {value!r}, not {self._wanted()}"
        if value is None:
            return None
        if self.each and isinstance(value, list):
            return next((f"holds a value that {found}" for item in value if (found := self.each.problem(item))), None)
        if self.choices and value not in self.choices:
            return f"is {value!r}; it takes {', '.join(map(str, self.choices))}"
        if self.minimum is not None and value < self.minimum:
            return f"is {value}; it must be at least {self.minimum:g}"
        if self.maximum is not None and value > self.maximum:
            return f"is {value}; it must be at most {self.maximum:g}"
        if self.above is not None and value <= self.above:
            return f"is {value}; it must be above {self.above:g}"
        return None

    def _wanted(self) -> str:
        names = {int: "a whole number", float: "a number", bool: "true or false", str: "a word", list: "a list"}
        if float in self.types:
            return "a number"
        return " or ".join(names[item] for item in self.types if item in names)


def _count(minimum: int = 1) -> Key:
    return Key((int,), minimum=minimum)


_NUMBER = Key((int, float))
_RATE = Key((int, float), above=0)
_FLAG = Key((bool,))
_WORD = Key((str,))

RANKINGS = ("cer", "acc", "loss")
DATASETS = ("RecipeAudioDataset", "AudioDataset")
BATCH_SAMPLERS = ("ShuffledBatchSampler", "BatchSampler", "EspnetStyleBatchSampler")

SCHEMA: dict[str, Any] = {
    "base": _WORD,
    "family": Key((str,), choices=tuple(FAMILIES)),
    "from_scratch": _FLAG,
    "ngpu": _count(0),
    "cpu_processes": _count(),
    "seed": _count(0),
    "max_unreadable": Key((int, float), minimum=0, maximum=1),
    "freeze_param": Key((str, list)),
    "enable_tf32": _FLAG,
    "cudnn_benchmark": _FLAG,
    "optim": Key((str,), choices=("adam", "adamw", "sgd")),
    "optim_conf": {
        "lr": _RATE,
        "betas": Key((list,)),
        "eps": _RATE,
        "weight_decay": Key((int, float), minimum=0),
        "momentum": _NUMBER,
        "fused": _FLAG,
    },
    "scheduler": Key((str,), choices=("warmuplr",)),
    "scheduler_conf": {"warmup_steps": Key((int, float), above=0)},
    "data_conf": {"max_unknown_characters": Key((int, float), minimum=0, maximum=1)},
    "dataset": Key((str,), choices=DATASETS),
    "dataset_conf": {
        "batch_sampler": Key((str,), choices=BATCH_SAMPLERS),
        "batch_type": Key((str,), choices=("token", "example", "length")),
        "batch_size": _count(),
        "sort_size": _count(),
        "data_split_num": Key((int,), choices=(1,)),
        "num_workers": _count(0),
        "prefetch_factor": _count(),
        "pin_memory": _FLAG,
        "max_source_length": _count(),
        "min_source_length": _count(0),
        "speed_perturb": Key((list, type(None)), each=Key((int, float), minimum=0.5, maximum=2)),
        "tempo": Key((list, type(None)), each=Key((int, float), minimum=0.5, maximum=2)),
        "gain_db": Key((int, float, type(None)), minimum=0, maximum=40),
    },
    "train_conf": {
        "max_epoch": _count(),
        "log_interval": _count(),
        "resume": _FLAG,
        "validate_interval": _count(),
        "save_checkpoint_interval": _count(),
        "keep_nbest_models": _count(),
        "avg_nbest_model": _count(),
        "avg_keep_nbest_models_type": Key((str,), choices=RANKINGS),
        "early_stopping_patience": _count(0),
        "accum_grad": _count(),
        "grad_clip": Key((int, float), minimum=0),
        "use_bf16": Key((bool, str), choices=(True, False, "auto")),
        "quick_step": _FLAG,
        "use_deepspeed": _FLAG,
        "deepspeed_config": _WORD,
        "find_unused_parameters": _FLAG,
    },
    "decode_conf": {
        "batch_seconds": Key((int, float), above=0),
        "dither": Key((int, float), minimum=0),
        "cpu_processes": _count(),
        "language": Key((str,), choices=("zh", "yue", "auto")),
        "max_new_tokens": _count(),
        "method": Key((str,), choices=("ctc", "attention", "joint")),
        "beam_size": _count(),
        "ctc_weight": Key((int, float), above=0, maximum=0.9),
    },
    "report_conf": {"publish_columns": Key((list,), each=_WORD)},
    "lora_conf": {
        "rank": _count(),
        "alpha": _RATE,
        "dropout": Key((int, float), minimum=0, maximum=0.9),
        "targets": Key((list,), each=_WORD),
        "also_train": Key((list,), each=_WORD),
    },
    "model_conf": OPEN,
    "encoder_conf": OPEN,
    "decoder_conf": OPEN,
    "predictor_conf": OPEN,
    "specaug_conf": OPEN,
    "frontend_conf": OPEN,
    "ctc_conf": OPEN,
    "audio_encoder_conf": OPEN,
    "audio_adaptor_conf": OPEN,
    "llm_conf": OPEN,
}

# Sections that go into the model itself: they are part of what a run is tied to.
BLOCKS = tuple(name for name, known in SCHEMA.items() if known == OPEN)

# What each optimizer takes; another key would end in a traceback after the model is built.
OPTIMIZER_KEYS = {
    "adam": ("lr", "betas", "eps", "weight_decay", "fused"),
    "adamw": ("lr", "betas", "eps", "weight_decay", "fused"),
    "sgd": ("lr", "momentum", "weight_decay"),
}

# The command line or the stages set these; in a YAML they would fight with it.
OWNED = {
    "model": "name the base model with 'base:' or --base",
    "init_param": "name the base model with 'base:' or --base",
    "output_dir": "name the run with --tag",
    "train_data_set_list": "name the data with --data",
    "valid_data_set_list": "name the data with --data",
    "device": "choose it with --ngpu (0 is the processor)",
}

# Which stage reads what: a changed value reruns the stages that read it, and nothing else.
STAGE_FILES: dict[str, tuple[str, ...]] = {
    "base": ("base", "family", "from_scratch"),
    "data": ("data_conf",),
    "train": (
        *("family", "from_scratch", "cpu_processes", "seed", "freeze_param", "enable_tf32", "cudnn_benchmark"),
        *("optim", "optim_conf", "scheduler", "scheduler_conf", "dataset", "dataset_conf", "train_conf", "lora_conf"),
        "max_unreadable",
        *BLOCKS,
    ),
    "average": ("avg_nbest_model",),
    "decode": ("decode_conf", "max_unreadable"),
    "report": ("report_conf",),
}
