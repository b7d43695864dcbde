"""onnxruntime-web, the runtime of deploy/web/: from npm once, by its digest, and then from .cache/."""

from __future__ import annotations

import base64
import hashlib
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

from asr.core.errors import RecipeError

VERSION = "1.30.0"
SHA512 = "q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ=="  # npm's integrity
# What the page needs, and what it is called there: to some web servers .mjs is no JavaScript, and browsers refuse it.
FILES = {
    "ort.wasm.min.js": "ort.wasm.min.js",
    "ort-wasm-simd-threaded.mjs": "ort-wasm-simd-threaded.js",
    "ort-wasm-simd-threaded.wasm": "ort-wasm-simd-threaded.wasm",
}
CACHE = Path(__file__).resolve().parents[3] / ".cache"
SECONDS = 300  # for 30 MB
_NAME = f"onnxruntime-web-{VERSION}.tgz"


class NotOfferedError(RecipeError):
    """A target that cannot be made of this model, or on this machine; the message says why."""


def unpack(into: Path, cache: Path = CACHE) -> None:
    """Put the runtime's FILES into a folder. NotOfferedError where they are neither in ``cache`` nor to be had."""
    package = cache / _NAME
    if not package.is_file():
        _fetch(package)
    if _digest(package) != SHA512:
        raise NotOfferedError(f"{package}: is not onnxruntime-web {VERSION} as npm has it; remove it, and export again")
    with tarfile.open(package) as archive:
        for name, ours in FILES.items():
            source = archive.extractfile(f"package/dist/{name}")
            assert source, name  # the digest is right
            with source, open(into / ours, "wb") as target:
                shutil.copyfileobj(source, target)


def _fetch(package: Path) -> None:
    by_hand = f"or put it there yourself: npm pack onnxruntime-web@{VERSION} --pack-destination {package.parent}"
    npm = shutil.which("npm")
    if not npm:
        raise NotOfferedError(f"{package} is not there, and npm, which would fetch it, is not installed; install npm")
    package.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=package.parent) as beside:
        # By itself npm tries for more than a minute where there is no network.
        patience = ["--fetch-retries", "1", "--fetch-retry-mintimeout", "2000"]
        command = [
            npm,
            "pack",
            f"onnxruntime-web@{VERSION}",
            "--ignore-scripts",
            "--pack-destination",
            beside,
            *patience,
        ]
        try:
            done = subprocess.run(command, capture_output=True, text=True, cwd=beside, timeout=SECONDS)
        except subprocess.TimeoutExpired:
            raise NotOfferedError(
                f"npm has not fetched onnxruntime-web in {SECONDS} s; export again, {by_hand}"
            ) from None
        fetched = Path(beside) / _NAME
        if done.returncode or not fetched.is_file():
            lines = [line for line in done.stderr.splitlines() if "npm" in line and "code" in line]
            why = lines[0].split("code")[-1].strip() if lines else f"exit status {done.returncode}"
            raise NotOfferedError(
                f"npm could not fetch onnxruntime-web {VERSION} ({why}); export again online, {by_hand}"
            )
        fetched.replace(package)


def _digest(path: Path) -> str:
    with open(path, "rb") as stream:
        digest = hashlib.sha512()
        while block := stream.read(1 << 20):
            digest.update(block)
    return base64.b64encode(digest.digest()).decode()
