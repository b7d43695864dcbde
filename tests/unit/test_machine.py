"""asr.machine against machines that this one is not: a fake nvidia-smi on PATH plays the GPU and its driver."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from asr.core.errors import RecipeError
from asr.system import machine

RTX_3090 = "0, GPU-aaaa, NVIDIA GeForce RTX 3090, 24576, {driver}"


@pytest.fixture
def smi(tmp_path, monkeypatch):
    """Returns a function that installs a fake nvidia-smi with this body; without a call there is none."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))

    def install(body: str) -> None:
        program = tmp_path / "nvidia-smi"
        program.write_text(f"#!/bin/sh\n{body}\n", encoding="utf-8")
        program.chmod(0o755)

    return install


def lists(*rows: str) -> str:
    return "\n".join(f"echo '{row}'" for row in rows)


def test_no_nvidia_smi_is_no_gpu_and_says_so(smi):
    found, why = machine.query_gpus()
    assert found == []
    assert "no nvidia-smi" in why


def test_a_gpu_is_read_with_memory_and_driver(smi):
    smi(lists(RTX_3090.format(driver="580.65.06")))
    (gpu,) = machine.gpus()
    assert gpu == machine.Gpu("NVIDIA GeForce RTX 3090", 24576, "580.65.06", 0, "GPU-aaaa")
    assert str(gpu) == "NVIDIA GeForce RTX 3090, 24 GB, driver 580.65.06"


def test_a_gpu_that_shares_memory_is_still_a_gpu(smi):
    smi(lists("0, GPU-b, NVIDIA GB10, [N/A], 580.95"))
    assert [gpu.memory_mb for gpu in machine.gpus()] == [0]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("echo 'Failed to initialize NVML: Driver/library version mismatch'; exit 18", "status 18: Failed to init"),
        ("exit 0", "lists no GPU"),
        ("echo 'No devices were found'", "lists no GPU"),
    ],
)
def test_an_nvidia_smi_that_fails_says_why_there_is_no_gpu(smi, body, said):
    smi(body)
    found, why = machine.query_gpus()
    assert found == []
    assert said in why


def test_an_nvidia_smi_that_hangs_is_given_up(smi, tmp_path):
    smi(f"echo $$ >{tmp_path}/pid; exec {sys.executable} -c 'import time; time.sleep(600)'")
    found, why = machine.query_gpus(timeout=0.3)
    assert found == []
    assert "no answer in 0.3 s" in why
    pid = (tmp_path / "pid").read_text().strip() if (tmp_path / "pid").exists() else ""  # it may not have begun yet
    assert not pid or not Path(f"/proc/{pid}").exists()


@pytest.mark.parametrize(
    ("setting", "left"),
    [
        (None, [0, 1, 2]),
        ("", []),
        ("-1", []),
        ("1", [1]),
        ("2,0", [2, 0]),
        ("0,-1,2", [0]),
        ("GPU-bb", [1]),
        ("0,7", [0]),
    ],
)
def test_cuda_visible_devices_hides_gpus_as_it_does_from_torch(setting, left):
    found = [machine.Gpu("x", 1, "580", index, uuid) for index, uuid in enumerate(["GPU-aaa", "GPU-bbb", "GPU-ccc"])]
    assert [gpu.index for gpu in machine.visible(found, setting)] == left


@pytest.mark.parametrize(
    ("driver", "cuda", "said"),
    [
        ("580.65.06", "13.0", None),
        ("590.1", "13.0", None),
        ("535.183.01", "13.0", "--cuda12"),
        ("535.183.01", "12.6", None),
        ("525.60.13", "12.6", None),
        ("470.82", "12.6", "driver 525 or newer; this machine has 470.82: update the driver"),
        ("470.82", "13.0", "driver 580 or newer; this machine has 470.82: update the driver"),
        ("580.65.06", None, "without CUDA"),
        ("580.65.06", "14.1", None),
        ("[N/A]", "13.0", None),
    ],
)
def test_driver_against_cuda(driver, cuda, said):
    problem = machine.driver_problem([machine.Gpu("RTX 3090", 24576, driver)], cuda)
    assert problem is None if said is None else said in problem
    assert problem is None or "\n" not in problem


def test_a_driver_too_old_for_both_builds_is_not_sent_to_cuda12():
    assert "--cuda12" not in machine.driver_problem([machine.Gpu("GTX 1080", 8192, "470.82")], "13.0")


def test_without_a_gpu_no_driver_is_a_problem():
    assert machine.driver_problem([], "13.0") is None


def test_a_gpu_that_is_not_used_is_said(smi):
    smi(lists(RTX_3090.format(driver="580.65.06")))
    assert "NOT USED" in machine.gpu_line(0, "13.0")


def test_asking_for_a_gpu_where_there_is_none_stops(smi):
    with pytest.raises(RecipeError, match=r"--ngpu 1, but no GPU can be used: no nvidia-smi.*--ngpu 0"):
        machine.gpu_line(1, "13.0")


def test_asking_for_more_gpus_than_there_are_stops(smi):
    smi(lists(RTX_3090.format(driver="580.65.06")))
    with pytest.raises(RecipeError, match="--ngpu 2, but this machine offers 1"):
        machine.gpu_line(2, "13.0")


def test_hidden_gpus_stop_a_run_that_asks_for_one(smi, monkeypatch):
    smi(lists(RTX_3090.format(driver="580.65.06")))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with pytest.raises(RecipeError, match="CUDA_VISIBLE_DEVICES hides all 1"):
        machine.gpu_line(1, "13.0")


def test_an_old_driver_stops_a_run_that_asks_for_the_gpu(smi):
    smi(lists(RTX_3090.format(driver="535.183.01")))
    with pytest.raises(RecipeError, match=r"RTX 3090 cannot be used.*580.*535\.183\.01.*--cuda12"):
        machine.gpu_line(1, "13.0")
    assert "RTX 3090" in machine.gpu_line(1, "12.6")


@pytest.mark.parametrize("version", [(3, 9, 19), (3, 13, 0), (2, 7, 18)])
def test_python_outside_the_range_stops(version):
    with pytest.raises(RecipeError, match=r"needs 3\.10 to 3\.12"):
        machine.check_python(version)


@pytest.mark.parametrize("version", [(3, 10, 0), (3, 12, 9)])
def test_python_inside_the_range_passes(version):
    machine.check_python(version)


@pytest.fixture
def pins(tmp_path):
    """Returns a function that writes base.in and base.txt."""

    def write(direct: str, pinned: str) -> Path:
        (tmp_path / "base.in").write_text(f"# comment\n{direct}\n", encoding="utf-8")
        (tmp_path / "base.txt").write_text(f"# comment\n{pinned}\n", encoding="utf-8")
        return tmp_path

    return write


def installed(name: str) -> str:
    return machine.metadata.version(name)


def test_pins_that_are_met_are_no_problem(pins):
    assert machine.package_problems(pins("pytest", f"pytest=={installed('pytest')}")) == ([], [])


def test_a_missing_pin_is_named(pins):
    problems, _ = machine.package_problems(pins("pytest", "no-such-package-here==1.2"))
    assert problems == ["no-such-package-here 1.2 is not installed"]


def test_another_version_of_what_we_import_stops_and_of_the_rest_is_noted(pins):
    folder = pins("pytest", "pytest==0.1\npluggy==0.1")
    problems, notes = machine.package_problems(folder)
    assert problems == [f"pytest is {installed('pytest')}, pinned is 0.1"]
    assert notes == [f"pluggy is {installed('pluggy')}, pinned is 0.1"]


def test_a_pin_for_another_python_is_passed_over(pins):
    folder = pins("pytest", "no-such-package-here==1 ; python_full_version < '3'")
    assert machine.package_problems(folder) == ([], [])


def test_with_the_cuda12_build_its_own_libraries_stand_for_the_pinned_ones(pins, monkeypatch):
    monkeypatch.setattr(machine, "torch_build", lambda: ("2.11.0+cu126", "12.6"))
    assert machine.package_problems(pins("pytest", "nvidia-no-such==1\ntriton==0.0.1")) == ([], [])


def test_a_local_build_suffix_is_the_pinned_version(pins, monkeypatch):
    monkeypatch.setattr(machine.metadata, "version", lambda name: "2.11.0+cu126")
    assert machine.package_problems(pins("torch==2.11.0", "torch==2.11.0")) == ([], [])


def test_missing_packages_become_one_line_with_the_command(monkeypatch):
    monkeypatch.setattr(machine, "package_problems", lambda: ([f"p{i} 1 is not installed" for i in range(5)], []))
    with pytest.raises(RecipeError, match=r"p0 1 is not installed; .*and 2 more.*bash scripts/install\.sh"):
        machine.check_packages()


def test_the_pins_pin_everything_that_base_in_names():
    def names(file: str) -> set[str]:
        lines = (machine.REQUIREMENTS / file).read_text(encoding="utf-8").splitlines()
        return {Requirement(line).name.lower() for line in lines if line and not line.startswith("#")}

    for name in ("base", "dev", "deepspeed"):
        assert names(f"{name}.in") <= names(f"{name}.txt")


def test_too_little_disk_names_the_place(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(machine, "check_packages", list)
    monkeypatch.setattr(machine, "gpu_line", lambda ngpu, cuda: "none")
    with pytest.raises(RecipeError, match=r"not-there-yet: .* GB free, about 1e\+09 GB are needed"):
        machine.check(0, 1e9, tmp_path / "not-there-yet")
    assert "\ncpu " in capsys.readouterr().out


def test_free_disk_of_a_folder_that_is_not_made_yet(tmp_path):
    assert machine.free_disk(tmp_path / "a" / "b") == pytest.approx(machine.free_disk(tmp_path), rel=0.1)


def test_cpu_and_memory_are_plausible():
    assert f"{len(os.sched_getaffinity(0))} core" in machine.cpu()
    assert 1e7 < machine.memory_available() < 1e14


def test_a_negative_number_of_gpus_is_wrong_usage():
    with pytest.raises(RecipeError) as caught:
        machine.main(["--ngpu", "-1"])
    assert caught.value.exit_status == 2


def test_torch_is_not_imported():
    code = "import sys, asr.system.machine as m; m.torch_build(); m.cpu(); raise SystemExit('torch' in sys.modules)"
    environment = {**os.environ, "PYTHONPATH": str(machine.ROOT / "scripts")}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)


def test_several_gpus_in_a_container_with_little_shared_memory_are_told(tmp_path):
    assert machine.shared_memory_note(1, str(tmp_path / "none")) == []
    assert machine.shared_memory_note(2, str(tmp_path)) == []  # a disk, which has more
    (note,) = machine.shared_memory_note(2, str(tmp_path / "none"))
    assert "0.00 GB, which may be too little for 2 GPUs: docker --shm-size=1g" in note
