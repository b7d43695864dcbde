"""docs/slurm.sh with stand-ins for Slurm's own commands: a job that is stopped, requeued, and goes on; two machines."""

import os
import signal
import subprocess

import pytest

from asr.core.run_records import read_resume_points
from tests import dozen
from tests.patience import PATIENCE, wait_until
from tests.recipe import Recipe

SCONTROL = """#!/bin/sh
case $1 in
  requeue) echo "$2" >>"$SLURM_SUBMIT_DIR/requeued" ;;
  show) echo 127.0.0.1 ;;
esac
"""
# Each machine's task, here both at once; a signal goes to both, as srun passes it on.
SRUN = """#!/usr/bin/env bash
[[ $1 == --kill-on-bad-exit=1 ]] && shift
set -m
pids=()
for node in $(seq 0 $((SLURM_JOB_NUM_NODES - 1))); do
  SLURM_NODEID=$node "$@" &
  pids+=($!)
done
trap 'for pid in "${pids[@]}"; do kill -TERM -- "-$pid"; done' TERM
status=0
for pid in "${pids[@]}"; do
  wait "$pid" || { status=$?; wait "$pid" || status=$?; }
done
exit "$status"
"""


class Cluster(Recipe):
    """A copy of the repository, submitted as a job."""

    def submit(self, nodes: int, *words: str, restarts: int = 0) -> subprocess.Popen:
        """The job's script on its first machine, its output in slurm.log."""
        tools = self.root / "slurm"
        tools.mkdir(exist_ok=True)
        for name, text in (("scontrol", SCONTROL), ("srun", SRUN)):
            (tools / name).write_text(text)
            (tools / name).chmod(0o755)
        variables = {
            "SLURM_SUBMIT_DIR": str(self.root),
            "SLURM_JOB_ID": f"{os.getpid()}",
            "SLURM_RESTART_COUNT": str(restarts),
            "SLURM_JOB_NUM_NODES": str(nodes),
            "SLURM_JOB_NODELIST": "here",
            "SLURM_GPUS_ON_NODE": "0",
            "GLOO_SOCKET_IFNAME": "lo",
            "OMP_NUM_THREADS": "1",
        }
        environment = {**self.environment, "PATH": f"{tools}:{self.environment['PATH']}", **variables}
        with open(self.root / "slurm.log", "ab") as log:
            return subprocess.Popen(
                ["bash", "docs/slurm.sh", *words],
                cwd=self.root,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def said(self) -> str:
        """All that the jobs have said."""
        return (self.root / "slurm.log").read_text(encoding="utf-8", errors="replace")


SHORT = ("--conf", "conf/mini.yaml", "--base", "mini/base", "++cpu_processes=1", "++train_conf.max_epoch=6")
SHORT = (*SHORT, "++train_conf.validate_interval=4", "++train_conf.save_checkpoint_interval=2")


@pytest.mark.parametrize("nodes", [1, 2])
def test_a_job_whose_time_is_up_saves_is_requeued_and_goes_on(tmp_path, nodes):
    cluster = Cluster(tmp_path)
    exp = cluster.root / "exp/job"
    corpus, _ = dozen.lay_out(cluster, dozen.OFTEN)  # few clips to decode, and time enough for a stop in training
    words = ("--tag=job", "--corpus", str(corpus), "--split", "own", "--data", "data/job", *SHORT)
    job = cluster.submit(nodes, *words)
    wait_until(lambda: (exp / "saves.json").exists() or job.poll() is not None, "a save")
    assert job.poll() is None, cluster.said()
    job.send_signal(signal.SIGTERM)  # Slurm's --signal=B:TERM is the script's alone
    assert job.wait(timeout=PATIENCE) == 143, cluster.said()
    assert "stopped; the same command resumes from the newest checkpoint" in cluster.said()
    assert (cluster.root / "requeued").read_text().split() == [str(os.getpid())]
    assert read_resume_points(exp)[0].damage(exp) is None
    assert not (exp / "stamps/stage3").exists()
    job = cluster.submit(nodes, *words, restarts=1)
    assert job.wait(timeout=PATIENCE) == 0, cluster.said()
    assert "resumed from job/model.pt.ep" in cluster.said()
    assert (exp / "RESULTS.md").is_file()


def test_a_tag_is_needed(tmp_path):
    cluster = Cluster(tmp_path)
    assert cluster.submit(1, "--conf", "conf/mini.yaml").wait(timeout=PATIENCE) == 2
    assert "error: give --tag NAME" in cluster.said()
