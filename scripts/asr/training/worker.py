"""What torchrun runs: FunASR's ``train_ds.main`` with our Trainer, a checked base model, and nothing averaged.

The one place where ours plugs into theirs. Reads exp/<tag>/launch.json, which ``asr.train`` wrote.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import signal
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from asr.audio.unreadable import MAX_SHARE
from asr.config.schema import BLOCKS
from asr.core import errors
from asr.core.errors import RecipeError
from asr.core.processes import die_with_parent, person_asked, saves_on_stop, stop_asked
from asr.models import families
from asr.training.distributed.several_nodes import BEGUN, SAVED, STARTED_ANEW, STOPPED

LOCKS = "/dev/shm"
LOADING = ("num_workers", "prefetch_factor", "pin_memory")  # of dataset_conf: how clips are read, not which
PLAIN = ("seed", "freeze_param", "enable_tf32", "cudnn_benchmark", "optim", "optim_conf", "scheduler", "scheduler_conf")


def set_up_logging(exp: Path, rank: int) -> None:
    """FunASR's chatter, printed or logged, to train.log alone; our lines to the log and the screen."""
    form = logging.Formatter("%(asctime)s %(message)s", "%Y-%m-%d %H:%M:%S")
    root = logging.getLogger()
    root.handlers.clear()
    root.setLevel(logging.INFO if rank == 0 else logging.WARNING)
    machine = int(os.environ.get("GROUP_RANK", 0))  # appending to one file from several machines loses lines
    file = logging.FileHandler(exp / (f"train.{machine}.log" if machine else "train.log"), encoding="utf-8")
    file.setFormatter(form)
    root.addHandler(file)
    screen = logging.StreamHandler(sys.stdout)
    screen.setFormatter(logging.Formatter("%(message)s"))
    logging.getLogger("asr.progress").addHandler(screen)
    sys.stdout = file.stream


def wants_bf16(asked: bool | str, device: str) -> bool:
    """Whether to compute in bf16: never on the processor; where "auto" is asked for, if the GPU has it in hardware."""
    import torch

    if device == "cpu" or asked != "auto":
        return bool(asked) and device != "cpu"
    return torch.cuda.is_bf16_supported(including_emulation=False)


def training_kwargs(plan: dict[str, Any], device: str) -> dict[str, Any]:
    """Arguments of ``train_ds.main``: the base model's configuration, with our training blocks for the hub's."""
    from asr.models.loading import compose

    values, exp, base = plan["values"], Path(plan["exp"]), Path(plan["base"])
    kwargs = compose(base, {block: values[block] for block in BLOCKS if values.get(block)})
    weights = base / "model.pt"
    if values.get("from_scratch"):
        kwargs["init_param"] = None
    elif weights.is_file():
        kwargs["init_param"] = str(weights)
    else:
        raise RecipeError(f"{weights}: the base model's weights are not there; run stage 0 again")
    family = families.of(values["family"])
    family.configure(kwargs, values)
    train_conf = dict(values["train_conf"])
    ranking = train_conf.pop("avg_keep_nbest_models_type", family.rankings[0])
    lfr_n = (kwargs.get("frontend_conf") or {}).get("lfr_n", 1)
    train_conf |= {"ranking": ranking, "lfr_n": lfr_n, "processor": device == "cpu", "seed": values.get("seed", 0)}
    train_conf |= {"family": family.name, "adapters": "lora_conf" in values}
    train_conf["batches"] = batches(plan["dataset_conf"])
    train_conf["max_unreadable"] = values.get("max_unreadable", MAX_SHARE)
    # FunASR's early stopping forgets its count on a resume, and looks at the loss whatever ranks.
    train_conf["patience"] = train_conf.pop("early_stopping_patience", 0)
    train_conf.pop("quick_step", None)  # see plug_in
    train_conf["use_bf16"] = wants_bf16(train_conf.get("use_bf16", False), device)
    kwargs.pop("freeze_param", None)  # the base's, from a training of its own
    kwargs |= {key: values[key] for key in PLAIN if key in values}
    kwargs |= {
        "train_data_set_list": str(exp / "manifest" / "train.jsonl"),
        "valid_data_set_list": str(exp / "manifest" / "val.jsonl"),
        "output_dir": str(exp),
        "device": device,
        "backend": "gloo" if device == "cpu" else "nccl",
        "ncpu": int(os.environ.get("OMP_NUM_THREADS", os.cpu_count() or 1)),
        "dataset": values.get("dataset", "RecipeAudioDataset"),
        "dataset_conf": {**plan["dataset_conf"], "family": family.name},
        "train_conf": train_conf,
    }
    if device == "cpu":
        kwargs["dataset_conf"]["pin_memory"] = False
    return kwargs


def batches(dataset_conf: dict[str, Any]) -> str:
    """The sampler's name first, and all settings that an epoch's batches may depend on."""
    from asr.data.dataloader import DEFAULT_SAMPLER

    conf = {key: value for key, value in dataset_conf.items() if key not in LOADING}
    return " ".join([conf.pop("batch_sampler", DEFAULT_SAMPLER), json.dumps(conf, sort_keys=True)])


def check_disk(exp: Path, weights: int, trained: int, keep: int) -> None:
    """RecipeError unless the checkpoints fit: ``keep`` + 3 files of weights, and Adam's two moments three times.

    ``weights``, ``trained``: bytes of what is saved of the model, and of the parameters that are trained.
    """
    there = sum({(item := path.stat()).st_ino: item.st_size for path in exp.glob("*.pt*")}.values())  # links are one
    need = weights * (keep + 3) + 3 * 2 * trained - there
    free = shutil.disk_usage(exp).free
    if need > free:
        raise RecipeError(
            f"{exp}: {keep} checkpoints need about {need / 1e9:.1f} GB and {free / 1e9:.1f} GB are free; make room, or"
            " lower train_conf.keep_nbest_models"
        )


def bytes_of(tensors: Iterable[Any]) -> int:
    """What they take on the disk."""
    return sum(value.numel() * value.element_size() for value in tensors)


def frozen(names: str | list[str] | None) -> list[str]:
    """freeze_param as a list."""
    return names.split(",") if isinstance(names, str) else list(names or [])


def check_frozen(model: Any, names: str | list[str] | None) -> None:
    """RecipeError for a freeze_param that names nothing: FunASR would train everything without a word."""
    for name in frozen(names):
        if not any(key == name or key.startswith(f"{name}.") for key, _ in model.named_parameters()):
            parts = ", ".join(sorted({key.split(".")[0] for key, _ in model.named_parameters()}))
            raise RecipeError(f"freeze_param: the model has no part '{name}'; it has {parts}")


def check_finite(model: Any, weights: str) -> None:
    """RecipeError for a model with a number in it that is none: no step of its training would be taken."""
    import torch

    for key, value in model.state_dict().items():
        if value.is_floating_point() and not torch.isfinite(value).all():
            raise RecipeError(f"{weights}: tensor {key} is not a number (NaN); fetch the model again, or take another")


def checked_model(plan: dict[str, Any], kwargs: dict[str, Any], rank: int = 0, saves: bool = True) -> Any:
    """FunASR's AutoModel of the base, or an error where FunASR would go on from random weights.

    ``saves``: whether checkpoints will be written, for which there must be room.
    """
    from funasr import AutoModel

    from asr.models.loading import check_loaded
    from asr.models.lora import adapt, complete, trained_state
    from asr.models.training_step import count_unknown

    values = plan["values"]
    family, lora = families.of(values["family"]), values.get("lora_conf")
    built = AutoModel(**kwargs)
    count = check_loaded(built.model, kwargs["init_param"]) if kwargs.get("init_param") else 0
    if count:
        check_finite(built.model, kwargs["init_param"])
    check_frozen(built.model, kwargs.get("freeze_param"))
    family.attach(built.model, built.kwargs["tokenizer"], built.kwargs)
    adapted = adapt(built.model, family, lora) if lora is not None else 0
    if values["train_conf"].get("quick_step", True):
        family.prepare(built.model)
    count_unknown(built.model, built.kwargs["tokenizer"])
    parameters = sum(value.numel() for value in built.model.parameters())
    if rank == 0:
        if saves:
            whole = built.model.state_dict() if lora is None else trained_state(built.model)
            names = tuple(f"{name}." for name in frozen(kwargs.get("freeze_param")))
            moving = (v for k, v in built.model.named_parameters() if v.requires_grad and not f"{k}.".startswith(names))
            keep = values["train_conf"].get("keep_nbest_models", 10)
            check_disk(Path(plan["exp"]), bytes_of(whole.values()), bytes_of(moving), keep)
        origin = f"{count} tensors loaded from the base model" if count else "random weights (from_scratch)"
        if lora is not None:
            origin += f"; {adapted / 1e6:.2f} M ({adapted / parameters:.1%}) are trained: adapters"
            origin += "".join(f", {part}" for part in complete(family, lora)["also_train"])
        logging.getLogger("asr.progress").info(f"model: {parameters / 1e6:.1f} M parameters, {origin}")
    return built


def plug_in(plan: dict[str, Any], rank: int) -> Any:
    """FunASR's train_ds module with our parts in it."""
    import torch

    from asr.models.funasr_import import import_funasr

    import_funasr()
    from funasr.bin import train_ds

    import asr.data.sampler  # noqa: F401 - registers ShuffledBatchSampler
    from asr.training.trainer import RecipeTrainer

    train_ds.AutoModel = lambda **kwargs: checked_model(plan, kwargs, rank)
    train_ds.Trainer = RecipeTrainer
    if plan["values"]["train_conf"].get("use_deepspeed"):
        from asr.training.distributed.deepspeed import DeepSpeedTrainer

        train_ds.Trainer = DeepSpeedTrainer
    if plan["ngpu"] == 0:
        torch.cuda.set_device = lambda *_: None  # train_ds calls it for every rank, with or without a GPU
    train_ds.tables.print = lambda *_, **__: None  # 300 lines of registered classes
    train_ds.average_checkpoints = lambda *_, **__: None  # stage 4 averages, and it alone
    return train_ds


def explained(error: Exception, kwargs: dict[str, Any]) -> RecipeError | None:
    """In one line what torch or Python say in other words of a data worker that failed or died, or of a full disk."""
    from asr.training.checkpoints.checkpoint import FULL, unwritten

    if isinstance(error, RecipeError):  # of a data worker: torch puts its traceback in front
        line = str(error).strip().splitlines()[-1]
        return RecipeError(line.partition("RecipeError: ")[2] or line)
    lost = isinstance(error, (ConnectionError, EOFError))  # in the middle of what it was sending
    if lost or (isinstance(error, RuntimeError) and "DataLoader worker" in str(error)):
        signal_name = str(error).partition("is killed by signal: ")[2].partition(".")[0]
        workers = f"dataset_conf.num_workers (now {kwargs['dataset_conf'].get('num_workers', 4)})"
        if signal_name in ("", "Killed"):
            why = f"was killed, most likely for want of memory: close what else needs it, or lower {workers}"
        else:
            why = f"died ({signal_name}): give {workers} 0 to see why"
        return RecipeError(f"training: a data worker {why}; the same command goes on from the newest checkpoint")
    if isinstance(error, OSError) and error.errno in FULL and not error.filename:
        if not (os.path.isdir(LOCKS) and shutil.disk_usage(LOCKS).free):
            return RecipeError(
                f"training: {LOCKS} is full or not there, and processes keep the locks that they share in it: remove"
                " what lies in it, or give it room (docker: --shm-size)"
            )
        return unwritten(Path(kwargs["output_dir"]) / "train.log", error)
    return None


def train(train_ds: Any, kwargs: dict[str, Any]) -> None:
    """Run train_ds.main to its end, which may be an early one."""
    from asr.training.resume import EarlyStop

    try:
        train_ds.main(**kwargs)
    except (RuntimeError, OSError, EOFError, RecipeError) as error:
        told = explained(error, kwargs)
        if told is None:
            raise
        raise told from None
    except EarlyStop as early:
        logging.getLogger("asr.progress").info(f"stopped early: {early}")
        early.trainer.close()


def main() -> None:
    # At once, before the seconds that the imports take; then make sure that the parent had not gone before.
    die_with_parent()
    if os.getppid() == 1:
        os._exit(errors.EXIT_FAILED)
    plan = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    exp, rank = Path(plan["exp"]), int(os.environ.get("RANK", 0))
    first_here = os.environ.get("LOCAL_RANK", "0") == "0"
    if first_here:
        print(BEGUN, flush=True)
    if first_here and (restarts := int(os.environ.get("TORCHELASTIC_RESTART_COUNT", 0))):
        print(f"{STARTED_ANEW} (restart {restarts} of {os.environ['TORCHELASTIC_MAX_RESTARTS']})", flush=True)

    def stop(number: int, _: Any) -> None:
        signal.signal(number, signal.SIG_IGN)
        if number == signal.SIGINT:  # see launcher.py
            person_asked.set()
        first = not stop_asked.is_set()
        stop_asked.set()  # the trainer saves when its step is done, and stops
        if first and not saves_on_stop.is_set():
            raise KeyboardInterrupt

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    if plan["ngpu"] == 0:
        os.environ.setdefault("DS_ACCELERATOR", "cpu")  # before DeepSpeed is imported, which FunASR does
    try:
        from asr.models.loading import choose_device, quiet

        with quiet():
            train_ds = plug_in(plan, rank)
            kwargs = training_kwargs(plan, choose_device(plan["ngpu"]))
        set_up_logging(exp, rank)
        train(train_ds, kwargs)
        logging.shutdown()
        sys.stderr.flush()
        os._exit(0)  # every file is whole; see _TO_THE_END in resume.py
    except RecipeError as error:
        # At once: torch would wait for ever for a thread that reads what a worker, killed meanwhile, was sending.
        errors.report(str(error))
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(error.exit_status)
    except KeyboardInterrupt as stopped:
        saved = type(stopped) is not KeyboardInterrupt  # resume.Stopped, where there was something to save
        if first_here and (saved or person_asked.is_set()):
            print(STOPPED if person_asked.is_set() else SAVED, file=sys.__stdout__, flush=True)
        # DataLoader workers and gloo threads may hang in their own clean-up; every file is already whole.
        os._exit(errors.EXIT_INTERRUPTED)


if __name__ == "__main__":
    errors.run(main)
