"""The machine a run stands on: Python, the pinned packages, CPU, memory, disk, GPU and its driver.

Stage 0 calls ``python -m asr.machine``, which prints a short table and stops with one line if the run cannot work
here; provenance calls the functions. torch is not imported: the answer comes in well under a second.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import platform
import re
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

from asr.core.errors import RecipeError, UsageError
from asr.core.files import free_disk
from asr.core.processes import cores

GB = 1e9
PYTHONS = ((3, 10), (3, 12))
ROOT = Path(__file__).resolve().parents[3]
REQUIREMENTS = ROOT / "scripts" / "requirements"
INSTALL = "bash scripts/install.sh"
# The oldest driver for each CUDA major version, and what to say instead (NVIDIA, "CUDA Compatibility").
OLDEST_DRIVER = {13: 580, 12: 525}
SMI_FIELDS = ("index", "uuid", "name", "memory.total", "driver_version")
# With PyTorch's CUDA 12 build these pins of base.txt give way to that build's own (see scripts/install.sh --cuda12).
CUDA_BUILD = re.compile(r"^(triton|cuda-.*|nvidia-.*)$")


@dataclasses.dataclass(frozen=True)
class Gpu:
    """One NVIDIA GPU as nvidia-smi lists it; ``memory_mb`` in MiB, ``driver`` such as ``580.65.06``."""

    name: str
    memory_mb: int
    driver: str
    index: int = 0
    uuid: str = ""

    def __str__(self) -> str:
        return f"{self.name}, {self.memory_mb / 1024:.0f} GB, driver {self.driver}"


def query_gpus(timeout: float = 20.0) -> tuple[list[Gpu], str | None]:
    """Return (GPUs that a run may use, why there are none or None).

    Asks nvidia-smi; ``CUDA_VISIBLE_DEVICES`` hides GPUs here as it does from torch.
    """
    command = ["nvidia-smi", f"--query-gpu={','.join(SMI_FIELDS)}", "--format=csv,noheader,nounits"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=timeout, stdin=subprocess.DEVNULL)
    except FileNotFoundError:
        return [], "no nvidia-smi, so no NVIDIA driver, is installed"
    except subprocess.TimeoutExpired:
        return [], f"nvidia-smi gave no answer in {timeout:g} s"
    if answer.returncode != 0:
        output = " ".join(f"{answer.stdout} {answer.stderr}".split())[:200]
        return [], f"nvidia-smi failed with status {answer.returncode}: {output or 'without a message'}"
    rows = [[field.strip() for field in line.split(",")] for line in answer.stdout.splitlines()]
    listed = [
        # GPUs that share the machine's memory report "[N/A]"
        Gpu(name, int(memory) if memory.isdigit() else 0, driver, int(index), uuid)
        for index, uuid, name, memory, driver in (row for row in rows if len(row) == len(SMI_FIELDS))
    ]
    if not listed:
        return [], "nvidia-smi lists no GPU"
    usable = visible(listed, os.environ.get("CUDA_VISIBLE_DEVICES"))
    return usable, None if usable else f"CUDA_VISIBLE_DEVICES hides all {len(listed)}"


def gpus() -> list[Gpu]:
    """Return the NVIDIA GPUs that a run may use; none where nvidia-smi is missing, fails or hangs."""
    return query_gpus()[0]


def visible(listed: list[Gpu], setting: str | None) -> list[Gpu]:
    """Return the GPUs that a value of CUDA_VISIBLE_DEVICES leaves, in its order; all where it is not set.

    As in CUDA, an entry that names no GPU ends the list.
    """
    if setting is None:
        return listed
    usable: list[Gpu] = []
    for entry in (part.strip() for part in setting.split(",")):
        by_uuid = [gpu for gpu in listed if entry.startswith("GPU-") and gpu.uuid.startswith(entry)]
        by_index = [gpu for gpu in listed if entry == str(gpu.index)]
        if not by_uuid and not by_index:
            break
        usable += by_uuid[:1] or by_index
    return usable


def driver_problem(gpus: list[Gpu], torch_cuda_version: str | None) -> str | None:
    """Return why this driver cannot run torch's CUDA build (``13.0``; None: a CPU build), in a line; else None."""
    if not gpus:
        return None
    if torch_cuda_version is None:
        return f"torch is a build without CUDA, which cannot use the {gpus[0].name}: reinstall with {INSTALL}"
    major = int(torch_cuda_version.split(".")[0])
    need = OLDEST_DRIVER.get(major, max(OLDEST_DRIVER.values()))
    have = re.match(r"\d+", gpus[0].driver)
    if have is None or int(have.group()) >= need:
        return None
    problem = f"torch's build for CUDA {major} needs NVIDIA driver {need} or newer; this machine has {gpus[0].driver}"
    if major > 12 and int(have.group()) >= OLDEST_DRIVER[12]:
        return f"{problem}: update the driver, or install the CUDA 12 build by {INSTALL} --cuda12"
    return f"{problem}: update the driver"


def torch_build() -> tuple[str | None, str | None]:
    """Return torch's version and the CUDA version it was built for, from torch/version.py, without importing it."""
    try:
        installed = metadata.distribution("torch")
    except metadata.PackageNotFoundError:
        return None, None
    text = Path(str(installed.locate_file("torch/version.py"))).read_text(encoding="utf-8")
    cuda = re.search(r"^cuda\b[^=]*=\s*'([^']+)'", text, re.MULTILINE)
    return installed.version, cuda[1] if cuda else None


def cpu() -> str:
    """Return the CPU's model name and the number of cores that this process may use."""
    text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    model = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    name = " ".join(model[1].split()) if model else platform.machine()
    return f"{name}, {cores()} core{'s' if cores() > 1 else ''}"


def memory_available() -> int:
    """Return the bytes of memory that a run may still take: the kernel's estimate, or less in a container."""
    kilobytes = re.findall(r"^MemAvailable:\s*(\d+) kB", Path("/proc/meminfo").read_text(), re.MULTILINE)
    available = int(kilobytes[0]) * 1024
    try:
        limit = Path("/sys/fs/cgroup/memory.max").read_text(encoding="ascii").strip()
        used = int(Path("/sys/fs/cgroup/memory.current").read_text(encoding="ascii"))
    except OSError:
        return available
    return available if limit == "max" else max(0, min(available, int(limit) - used))


def memory_of(ngpu: int) -> float:
    """Return the first GPU's memory in units of 2^30 bytes; where ``ngpu`` is 0, the machine's that is available."""
    if ngpu == 0:
        return memory_available() / 2**30
    usable = gpus()
    if not usable or not usable[0].memory_mb:
        raise RecipeError("no GPU whose memory nvidia-smi reports; give --memory-gb, or --ngpu 0 for the CPU")
    return usable[0].memory_mb / 1024


def package_problems(requirements: Path = REQUIREMENTS) -> tuple[list[str], list[str]]:
    """Compare what is installed with base.txt; return (what stops a run, what is only worth a note).

    A missing package stops a run, and so does another version of one that base.in names. Another version of what
    those merely need is left to the user, whose own environment this may be.
    """
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name
    from packaging.version import Version

    def read(name: str) -> list[Requirement]:
        lines = (requirements / name).read_text(encoding="utf-8").splitlines()
        return [Requirement(line) for line in lines if line.strip() and not line.startswith("#")]

    ours = {canonicalize_name(wanted.name) for wanted in read("base.in")}
    cuda12 = (torch_build()[1] or "").startswith("12.")
    problems, notes = [], []
    for wanted in read("base.txt"):
        elsewhere = wanted.marker is not None and not wanted.marker.evaluate()
        if elsewhere or (cuda12 and CUDA_BUILD.match(wanted.name)):
            continue
        pin = str(wanted.specifier).removeprefix("==")
        try:
            have = metadata.version(wanted.name)
        except metadata.PackageNotFoundError:
            problems.append(f"{wanted.name} {pin} is not installed")
            continue
        if Version(have).public != Version(pin).public:
            target = problems if canonicalize_name(wanted.name) in ours else notes
            target.append(f"{wanted.name} is {have}, pinned is {pin}")
    return problems, notes


def check_python(version: tuple[int, ...] = tuple(sys.version_info[:3])) -> None:
    """Stop on a Python outside the range that the pins serve."""
    if not PYTHONS[0] <= version[:2] <= PYTHONS[1]:
        low, high = (".".join(map(str, bound)) for bound in PYTHONS)
        have = ".".join(map(str, version))
        raise RecipeError(f"Python {have} ({sys.executable}): needs {low} to {high}; {INSTALL} --python FILE")


def check_packages() -> list[str]:
    """Stop where pinned packages are missing or differ; return notes about harmless differences."""
    try:
        problems, notes = package_problems()
    except ModuleNotFoundError as error:
        problems, notes = [f"{error.name} is not installed"], []
    if problems:
        more = f" (and {len(problems) - 3} more)" if len(problems) > 3 else ""
        how = INSTALL if sys.prefix == str(ROOT / ".venv") else f"{INSTALL} (or --active for this environment)"
        raise RecipeError(f"{'; '.join(problems[:3])}{more} in {sys.prefix}: {how}")
    return notes


def gpu_line(ngpu: int, cuda: str | None) -> str:
    """Return the table's line about GPUs. RecipeError where ``ngpu`` of them are asked for and cannot be had."""
    usable, why_none = query_gpus()
    if ngpu == 0:
        if not usable:
            return f"none ({why_none}); the run uses the CPU"
        return f"{'; '.join(map(str, usable))}: NOT USED, the run uses the CPU (--ngpu 0)"
    if len(usable) < ngpu:
        if not usable:
            raise RecipeError(f"--ngpu {ngpu}, but no GPU can be used: {why_none}; --ngpu 0 runs on the CPU, slowly")
        raise RecipeError(f"--ngpu {ngpu}, but this machine offers {len(usable)}: --ngpu {len(usable)}")
    if problem := driver_problem(usable, cuda):
        raise RecipeError(f"the {usable[0].name} cannot be used: {problem}")
    return "; ".join(map(str, usable[:ngpu]))


def shared_memory_note(ngpu: int, where: str = "/dev/shm") -> list[str]:
    """Return a line where several GPUs may not find room to exchange gradients, which NCCL does in shared memory.

    1 GB is what NVIDIA gives Docker ("NCCL User Guide", Troubleshooting). Clips and features do not go through it.
    """
    room = shutil.disk_usage(where).total / GB if os.path.isdir(where) else 0.0
    if ngpu < 2 or room >= 1:
        return []
    return [f"{where} has {room:.2f} GB, which may be too little for {ngpu} GPUs: docker --shm-size=1g, or --ipc=host"]


def check(ngpu: int, need_disk_gb: float, directory: Path) -> None:
    """Print the table. RecipeError at the first thing that a run cannot do without."""
    check_python()
    print(f"python      {platform.python_version()}  {sys.prefix}")
    notes = check_packages()
    torch_version, cuda = torch_build()
    print(f"torch       {torch_version} ({f'CUDA {cuda}' if cuda else 'no CUDA'})")
    print(f"funasr      {metadata.version('funasr')}")
    print(f"cpu         {cpu()}")
    print(f"memory      {memory_available() / GB:.1f} GB available")
    free = free_disk(directory) / GB
    print(f"disk        {free:.1f} GB free at {directory}")
    print(f"gpu         {gpu_line(ngpu, cuda)}")
    for note in [*notes, *shared_memory_note(ngpu)]:
        print(f"note        {note}")
    if free < need_disk_gb:
        raise RecipeError(f"{directory}: {free:.1f} GB free, about {need_disk_gb:g} GB are needed: make room there")


def main(argv: list[str] | None = None) -> int:
    """Command line of the environment check."""
    parser = argparse.ArgumentParser(prog="python -m asr.machine", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--ngpu", type=int, default=0, help="GPUs that the run will use; 0: CPU (default)")
    parser.add_argument("--need-disk-gb", type=float, default=0, help="stop when less is free at --dir")
    parser.add_argument("--dir", type=Path, default=Path("exp"), help="where the run will write (default: exp)")
    parser.add_argument("--packages", action="store_true", help="check the pinned packages only")
    parser.add_argument("--driver-for", metavar="CUDA", help="only say whether the driver is too old for this CUDA")
    options = parser.parse_args(argv)
    if options.ngpu < 0:
        raise UsageError(f"--ngpu {options.ngpu}: 0 or more")
    if options.driver_for:
        print(driver_problem(gpus(), options.driver_for) or "")
        return 0
    if options.packages:
        check_packages()
        return 0
    check(options.ngpu, options.need_disk_gb, options.dir)
    return 0
