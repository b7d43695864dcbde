"""What is trained, built and checked: FunASR's ``train_ds`` with our parts in it, its arguments, and the base model."""

from __future__ import annotations

import functools
import json
import logging
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

import asr.data.sampler  # noqa: F401 - registers the sampler
from asr.config.schema import BLOCKS
from asr.core.errors import RecipeError
from asr.core.run_folder import RunFolder
from asr.data.dataloader import RecipeDataloader
from asr.models import families
from asr.models.family import Family
from asr.models.loading import check_loaded, compose
from asr.models.lora import adapt, parameters_of, trained_state
from asr.models.training_step import count_unknown, limit_time_masks
from asr.training.trainer import Trainer

LOADING = ("num_workers", "prefetch_factor", "pin_memory")  # of dataset_conf: how clips are read, not which
PLAIN = ("seed", "enable_tf32", "cudnn_benchmark", "optim", "optim_conf", "scheduler", "scheduler_conf", "dataset")


def plug_in(plan: dict[str, Any]) -> Any:
    """Return FunASR's train_ds module with our parts in it."""
    from funasr.bin import train_ds

    def auto_model(**kwargs: Any) -> Any:
        built = checked_model(plan, kwargs)
        check_disk(plan, built.model)
        return built

    train_ds.Trainer = Trainer
    if plan["values"]["train_conf"]["use_deepspeed"]:
        from asr.training.distributed.deepspeed import DeepSpeedEngine

        train_ds.Trainer = functools.partial(Trainer, engine=DeepSpeedEngine)
    train_ds.AutoModel = auto_model
    if plan["ngpu"] == 0:
        torch.cuda.set_device = lambda *_: None  # train_ds calls it for every rank, with or without a GPU
    train_ds.tables.print = lambda *_, **__: None  # 300 lines of registered classes
    train_ds.average_checkpoints = lambda *_, **__: None  # stage 4 averages, and it alone
    return train_ds


def training_kwargs(plan: dict[str, Any], device: str) -> dict[str, Any]:
    """Return the arguments of ``train_ds.main``: the base model's configuration, with our blocks in place of its."""
    values, exp, base = plan["values"], Path(plan["exp"]), Path(plan["base"])
    kwargs = compose(base, {block: values[block] for block in BLOCKS if values[block]})
    weights = base / "model.pt"
    if not values["from_scratch"] and not weights.is_file():
        raise RecipeError(f"{weights}: the base model's weights are missing; run stage 0 again")
    kwargs["init_param"] = None if values["from_scratch"] else str(weights)
    family = families.of(values["family"])
    family.patch_training_config(kwargs, values)
    kwargs.pop("freeze_param", None)  # the base's, from a training of its own; ours is applied by checked_model
    kwargs |= {key: values[key] for key in PLAIN}
    kwargs |= {
        "train_data_set_list": str(RunFolder(exp).manifests / "train.jsonl"),
        "valid_data_set_list": str(RunFolder(exp).manifests / "val.jsonl"),
        "output_dir": str(exp),
        "device": device,
        "backend": "gloo" if device == "cpu" else "nccl",
        "ncpu": int(os.environ.get("OMP_NUM_THREADS", os.cpu_count() or 1)),
        "dataset_conf": {**plan["dataset_conf"], "family": family.name},
        "train_conf": trainer_conf(plan, device, (kwargs.get("frontend_conf") or {}).get("lfr_n", 1)),
    }
    if device == "cpu":
        kwargs["dataset_conf"]["pin_memory"] = False
    return kwargs


def trainer_conf(plan: dict[str, Any], device: str, lfr_n: int) -> dict[str, Any]:
    """Return train_conf as training.settings.Settings has it."""
    values, conf = plan["values"], dict(plan["values"]["train_conf"])
    bf16 = conf["use_bf16"]
    if bf16 == "auto" and device != "cpu":
        bf16 = torch.cuda.is_bf16_supported(including_emulation=False)  # in hardware
    batches = {key: value for key, value in plan["dataset_conf"].items() if key not in LOADING}
    # FunASR's early stopping forgets its count on a resume, and looks at the loss whatever ranks.
    patience = conf.pop("early_stopping_patience")
    return {
        **conf,
        "ranking": conf["avg_keep_nbest_models_type"],
        "patience": patience,
        "use_bf16": device != "cpu" and bf16,
        "lfr_n": lfr_n,
        "cpu": device == "cpu",
        "seed": values["seed"],
        "family": values["family"],
        "adapters": "lora_conf" in values,
        "batches": " ".join([batches.pop("batch_sampler"), json.dumps(batches, sort_keys=True)]),
        "max_unreadable": values["max_unreadable"],
    }


def check_disk(plan: dict[str, Any], model: torch.nn.Module) -> None:
    """RecipeError unless the checkpoints fit: those kept and 3 more files of weights, and thrice Adam's two moments."""
    exp, keep = Path(plan["exp"]), plan["values"]["train_conf"]["keep_nbest_models"]
    saved = trained_state(model) if "lora_conf" in plan["values"] else model.state_dict()
    weights = sum(value.nbytes for value in saved.values())
    moments = 2 * sum(value.nbytes for value in model.parameters() if value.requires_grad)
    sizes = {status.st_ino: status.st_size for status in (path.stat() for path in exp.glob("*.pt*"))}  # links are one
    need = weights * (keep + 3) + 3 * moments - sum(sizes.values())
    free = shutil.disk_usage(exp).free
    if need > free:
        raise RecipeError(
            f"{exp}: {keep} checkpoints need about {need / 1e9:.1f} GB and {free / 1e9:.1f} GB are free; make room, or"
            " lower train_conf.keep_nbest_models"
        )


def freeze(model: torch.nn.Module, family: Family, values: Mapping[str, Any]) -> None:
    """Freeze what freeze_param, train_only and freeze_encoder_blocks say. RecipeError where the model has no such part.

    Shor et al. (Interspeech 2019) tune some layers of a recogniser on impaired speech and leave the others.
    """
    frozen = [value for part in values["freeze_param"] for value in parameters_of(model, part, "freeze_param")]
    if values.get("train_only"):
        own = {id(value) for value in parameters_of(model, family.encoder, "train_only")}
        frozen += [value for value in model.parameters() if id(value) not in own]
    if count := values.get("freeze_encoder_blocks"):
        frozen += lower_blocks(model, family, count)
    for value in frozen:
        value.requires_grad_(False)
    if not any(value.requires_grad for value in model.parameters()):
        raise RecipeError("freeze_param, train_only and freeze_encoder_blocks together leave nothing to train")


def lower_blocks(model: torch.nn.Module, family: Family, count: int) -> list[torch.nn.Parameter]:
    """Return the parameters of the lowest ``count`` blocks of the encoder and of what turns features into their input.

    RecipeError where it has fewer.
    """
    encoder = model.get_submodule(family.encoder)
    blocks = [block for name in family.blocks for block in getattr(encoder, name, ())]
    if count > len(blocks):
        raise RecipeError(f"freeze_encoder_blocks: {count} of the {len(blocks)} that the model's {family.encoder} has")
    below = [part for name in family.below if isinstance(part := getattr(encoder, name, None), torch.nn.Module)]
    return [value for part in (*below, *blocks[:count]) for value in part.parameters()]


def check_finite(model: torch.nn.Module, weights: str) -> None:
    """RecipeError for weights that contain NaN or Inf: no step of their training would be taken."""
    for key, value in model.state_dict().items():
        if value.is_floating_point() and not torch.isfinite(value).all():
            raise RecipeError(f"{weights}: tensor {key} contains NaN or Inf; fetch the model again, or take another")


def checked_model(plan: dict[str, Any], kwargs: dict[str, Any]) -> Any:
    """Return FunASR's AutoModel of the base; RecipeError where FunASR would go on from random weights."""
    from funasr import AutoModel

    values, weights = plan["values"], kwargs["init_param"]
    family, lora = families.of(values["family"]), values.get("lora_conf")
    built = AutoModel(**kwargs)
    model, tokenizer = built.model, built.kwargs["tokenizer"]
    origin = "random weights (from_scratch)"
    if weights:
        origin = f"{check_loaded(model, weights)} tensors loaded from the base model"
        check_finite(model, weights)
    family.bind_tokenizer(model, tokenizer, built.kwargs)
    adapted = adapt(model, family, lora) if lora is not None else 0
    freeze(model, family, values)
    if values["train_conf"]["quick_step"]:
        family.optimise_for_training(model)
    if share := plan["dataset_conf"].get("specaug_time_share"):
        limit_time_masks(model, share)
    count_unknown(model, tokenizer)
    parameters = sum(value.numel() for value in model.parameters())
    if lora is not None:
        parts = ", ".join(["adapters", *lora["also_train"]])
        origin += f"; {adapted / 1e6:.2f} M ({adapted / parameters:.1%}) are trained: {parts}"
    elif values.get("train_only") or values.get("freeze_encoder_blocks"):
        trained = sum(value.numel() for value in model.parameters() if value.requires_grad)
        origin += f"; {trained / 1e6:.2f} M ({trained / parameters:.1%}) are trained"
    logging.getLogger("asr.progress").info(f"model: {parameters / 1e6:.1f} M parameters, {origin}")
    return built


def build(plan: dict[str, Any], device: str) -> tuple[Trainer, RecipeDataloader]:
    """Return a trainer and its dataloader, as ``train_ds.main`` builds them in one process; nothing is saved."""
    kwargs = training_kwargs(plan, device)
    torch.backends.cuda.matmul.allow_tf32 = kwargs["enable_tf32"]
    torch.backends.cudnn.benchmark = kwargs["cudnn_benchmark"]
    torch.backends.cudnn.deterministic = True
    built = checked_model(plan, kwargs)
    trainer = Trainer(**{**kwargs["train_conf"], "output_dir": plan["exp"], "resume": False})
    model = trainer.warp_model(built.model)
    conf = {key: value for key, value in kwargs.items() if key != "model"}  # the name of its class
    trainer.resume_checkpoint(*trainer.warp_optim_scheduler(model, **conf))
    parts = {"frontend": built.kwargs["frontend"], "tokenizer": built.kwargs["tokenizer"]}
    return trainer, RecipeDataloader(**{**kwargs, **parts})
