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
from pathlib import Path
from typing import Any

from asr import errors
from asr.errors import RecipeError
from asr.processes import die_with_parent, saves_on_stop, stop_asked
from asr.schema import BLOCKS

PLAIN = ("seed", "freeze_param", "enable_tf32", "cudnn_benchmark", "optim", "optim_conf", "scheduler", "scheduler_conf")


def set_up_logging(exp: Path, rank: int) -> None:
    """FunASR's chatter, printed or logged, to train.log alone; our lines to the log and the screen."""
    form = logging.Formatter("%(asctime)s %(message)s", "%Y-%m-%d %H:%M:%S")
    root = logging.getLogger()
    root.handlers.clear()
    root.setLevel(logging.INFO if rank == 0 else logging.WARNING)
    file = logging.FileHandler(exp / "train.log", encoding="utf-8")
    file.setFormatter(form)
    root.addHandler(file)
    screen = logging.StreamHandler(sys.stdout)
    screen.setFormatter(logging.Formatter("%(message)s"))
    logging.getLogger("asr.progress").addHandler(screen)
    sys.stdout = file.stream


def training_kwargs(plan: dict[str, Any], device: str) -> dict[str, Any]:
    """Arguments of ``train_ds.main``: the base model's configuration, with our training blocks for the hub's."""
    from asr.funasr_model import compose

    values, exp, base = plan["values"], Path(plan["exp"]), Path(plan["base"])
    kwargs = compose(base, {block: values[block] for block in BLOCKS if values.get(block)})
    weights = base / "model.pt"
    if values.get("from_scratch"):
        kwargs["init_param"] = None
    elif weights.is_file():
        kwargs["init_param"] = str(weights)
    else:
        raise RecipeError(f"{weights}: the base model's weights are not there; run stage 0 again")
    train_conf = dict(values["train_conf"])
    ranking = train_conf.pop("avg_keep_nbest_models_type", "cer")
    lfr_n = (kwargs.get("frontend_conf") or {}).get("lfr_n", 1)
    train_conf |= {"ranking": ranking, "lfr_n": lfr_n, "processor": device == "cpu", "seed": values.get("seed", 0)}
    # FunASR's early stopping forgets its count on a resume, and looks at the loss whatever ranks.
    train_conf["patience"] = train_conf.pop("early_stopping_patience", 0)
    if device == "cpu":
        train_conf.pop("use_bf16", None)
    kwargs |= {key: values[key] for key in PLAIN if key in values}
    kwargs |= {
        "train_data_set_list": str(exp / "manifest" / "train.jsonl"),
        "valid_data_set_list": str(exp / "manifest" / "val.jsonl"),
        "output_dir": str(exp),
        "device": device,
        "backend": "gloo" if device == "cpu" else "nccl",
        "ncpu": int(os.environ.get("OMP_NUM_THREADS", os.cpu_count() or 1)),
        "dataset": values.get("dataset", "RecipeAudioDataset"),
        "dataset_conf": plan["dataset_conf"],
        "train_conf": train_conf,
    }
    if device == "cpu":
        kwargs["dataset_conf"]["pin_memory"] = False
    return kwargs


def check_disk(exp: Path, model: Any, keep: int) -> None:
    """RecipeError unless the checkpoints fit: ``keep`` + 3 files of weights, and Adam's two moments three times."""
    weights = sum(value.numel() * value.element_size() for value in model.state_dict().values())
    there = sum({(item := path.stat()).st_ino: item.st_size for path in exp.glob("*.pt*")}.values())  # links are one
    need = weights * (keep + 3) + 3 * 2 * weights - there
    free = shutil.disk_usage(exp).free
    if need > free:
        raise RecipeError(
            f"{exp}: {keep} checkpoints need about {need / 1e9:.1f} GB and {free / 1e9:.1f} GB are free; make room, or"
            " lower train_conf.keep_nbest_models"
        )


def check_frozen(model: Any, names: str | list[str] | None) -> None:
    """RecipeError for a freeze_param that names nothing: FunASR would train everything without a word."""
    names = names.split(",") if isinstance(names, str) else names or []
    for name in names:
        if not any(key == name or key.startswith(f"{name}.") for key, _ in model.named_parameters()):
            parts = ", ".join(sorted({key.split(".")[0] for key, _ in model.named_parameters()}))
            raise RecipeError(f"freeze_param: the model has no part '{name}'; it has {parts}")


def plug_in(plan: dict[str, Any], rank: int) -> Any:
    """FunASR's train_ds module with our parts in it."""
    import torch
    from funasr import AutoModel
    from funasr.bin import train_ds

    import asr.samplers  # noqa: F401 - registers ShuffledBatchSampler
    from asr.funasr_model import check_loaded
    from asr.trainer import RecipeTrainer

    def checked_model(**kwargs: Any) -> Any:
        """The base model, or an error where FunASR would go on from random weights."""
        built = AutoModel(**kwargs)
        count = check_loaded(built.model, kwargs["init_param"]) if kwargs.get("init_param") else 0
        check_frozen(built.model, kwargs.get("freeze_param"))
        parameters = sum(value.numel() for value in built.model.parameters())
        if rank == 0:
            check_disk(Path(plan["exp"]), built.model, plan["values"]["train_conf"].get("keep_nbest_models", 10))
            origin = f"{count} tensors loaded from the base model" if count else "random weights (from_scratch)"
            logging.getLogger("asr.progress").info(f"model: {parameters / 1e6:.1f} M parameters, {origin}")
        return built

    train_ds.AutoModel = checked_model
    train_ds.Trainer = RecipeTrainer
    if plan["ngpu"] == 0:
        torch.cuda.set_device = lambda *_: None  # train_ds calls it for every rank, with or without a GPU
    train_ds.tables.print = lambda *_, **__: None  # 300 lines of registered classes
    train_ds.average_checkpoints = lambda *_, **__: None  # stage 4 averages, and it alone
    return train_ds


def train(train_ds: Any, kwargs: dict[str, Any]) -> None:
    """Run train_ds.main to its end, which may be an early one."""
    from asr.resume import EarlyStop

    try:
        train_ds.main(**kwargs)
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

    def stop(*_: Any) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        stop_asked.set()  # the trainer saves when its step is done, and stops
        if not saves_on_stop.is_set():
            raise KeyboardInterrupt

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    try:
        from asr.funasr_model import choose_device, quiet

        with quiet():
            train_ds = plug_in(plan, rank)
            kwargs = training_kwargs(plan, choose_device(plan["ngpu"]))
        set_up_logging(exp, rank)
        train(train_ds, kwargs)
        logging.shutdown()
        sys.stderr.flush()
        os._exit(0)  # every file is whole; see _TO_THE_END in resume.py
    except KeyboardInterrupt:
        if rank == 0:
            (exp / "interrupted").touch()
        # DataLoader workers and gloo threads may hang in their own clean-up; every file is already whole.
        os._exit(errors.EXIT_INTERRUPTED)


if __name__ == "__main__":
    errors.run(main)
