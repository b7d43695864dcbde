"""Stage 0's base model: a hub id or a folder becomes ``exp/<tag>/base``, checked, with a digest of what is in it.

The digest is what a run is tied to: training goes on from a checkpoint only while its base model is the same.
"""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

from asr.core.digests import sha256_file, sha256_text
from asr.core.errors import RecipeError
from asr.core.made_by import RUN, mark_of
from asr.core.run_folder import RunFolder
from asr.models import families, hub
from asr.models.model_folder import is_inside, named_files, read_config, read_metas

# Files that belong to a FunASR model folder. Weights come apart from the rest because they are large.
WEIGHTS = "model.pt"
CONFIGURATION = ("config.yaml", "configuration.json", "tokens.json", "tokens.txt", "am.mvn", "seg_dict", "bpe.model")


def looks_like_a_path(name: str) -> bool:
    """Return whether a folder is meant: ``./x``, ``/x``, ``~/x``, ``a/b/c``, or ``a/b`` where ``a`` is one here."""
    return name.startswith((".", "/", "~")) or name.count("/") != 1 or Path(name.split("/")[0]).is_dir()


def resolve(name: str, from_scratch: bool = False, family: str = "paraformer") -> Path:
    """Return the absolute folder of a base model: itself, else a cache's, else fetched from ModelScope.

    RecipeError when the folder is not there or the hub does not answer: FunASR would print a line and go on.
    """
    folder = Path(name).expanduser()
    if folder.is_dir():
        return hub.snapshot(folder).absolute()
    if folder.is_file() and families.of(family).is_source(folder):
        return folder.absolute()
    if looks_like_a_path(name):
        raise RecipeError(f"{name}: no such base model folder; give --base a folder or a ModelScope id like iic/NAME")
    for cached in hub.cached(name):
        try:
            folder = hub.snapshot(cached)
            if not families.of(family).is_source(folder):
                check(folder, from_scratch, family)
        except RecipeError as error:
            print(f"not taken from the cache: {error}")
        else:
            print(f"{name}: taken from the cache, {folder} (without it the newest is fetched)")
            return folder
    return hub.fetch(name)


def check(folder: Path, from_scratch: bool = False, family: str = "paraformer") -> None:
    """Raise RecipeError unless ``folder`` holds a whole FunASR model of the family (without weights from scratch).

    FunASR itself passes over a file that configuration.json names and that is not there, and the texts change.
    """
    if (run := RunFolder(folder)).conf.joinpath(mark_of(RUN)).is_file():
        raise RecipeError(f"{folder}: is a run, not a model; give --base {run.model}, which its stage 4 makes")
    model, kind = read_config(folder).get("model"), families.of(family)
    if model not in kind.models:
        raise RecipeError(f"{folder}: is a {model}, and family {family} covers {', '.join(kind.models)}")
    about, metas = folder / "configuration.json", read_metas(folder)
    if metas.get("config") != "config.yaml":
        raise RecipeError(f"{about}: file_path_metas.config must be config.yaml, which FunASR else does not read")
    for name in named_files(metas) if about.is_file() else ():
        if not is_inside(name):
            raise RecipeError(f"{about}: names {name}, which is not in {folder}; move it there and name it so")
        if not (folder / name).exists() and not (from_scratch and name == WEIGHTS):
            raise RecipeError(f"{folder / name}: named in configuration.json and not there; fetch the model again")
    kind.check_folder(folder, from_scratch)
    if not from_scratch:
        _check_weights(folder / WEIGHTS)


def _check_weights(weights: Path) -> None:
    """RecipeError unless the file is there and whole, as far as its length and a zip archive's end say."""
    if not weights.is_file():
        others = ", ".join(sorted(path.name for path in weights.parent.glob("*.safetensors")))
        other = f" ({others} is Transformers' form of them)" if others else ""
        raise RecipeError(f"{weights}: the base model's weights are not there{other}; fetch the model again")
    with open(weights, "rb") as stream:
        zipped = stream.read(2) == b"PK"
    if weights.stat().st_size < 1024 or (zipped and not zipfile.is_zipfile(weights)):
        raise RecipeError(f"{weights}: truncated ({weights.stat().st_size} bytes); fetch the model again")


def small_files(folder: Path) -> list[str]:
    """Return the names, below ``folder``, of the files that make the model what it is, but for its weights."""
    names = {*CONFIGURATION, *named_files(read_metas(folder)), *families.of_folder(folder).more_files(folder)}
    return sorted(name for name in names - {WEIGHTS} if (folder / name).is_file())


def digest(folder: Path) -> dict[str, str]:
    """Return the sha256 of each file that makes the model what it is, and ``digest`` over them all, names included."""
    files = {name: sha256_file(folder / name) for name in (*small_files(folder), WEIGHTS) if (folder / name).is_file()}
    total = sha256_text("".join(f"{name} {value}\n" for name, value in sorted(files.items())))
    return {"digest": total, **files}


def link(folder: Path, exp: Path) -> None:
    """Make ``exp/base`` a symbolic link to ``folder``, replacing an older one in one step."""
    exp.mkdir(parents=True, exist_ok=True)
    temporary = exp / ".base.new"
    temporary.unlink(missing_ok=True)  # of a run that was killed here
    temporary.symlink_to(folder)
    os.replace(temporary, RunFolder(exp).base)
