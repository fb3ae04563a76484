"""docs/slurm/train.sbatch, run with stand-ins for SLURM's commands: what it starts, and what it does with signals."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "docs" / "slurm" / "train.sbatch"

pytestmark = pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")

# srun runs what it is given once; torchrun writes down its arguments, and ends as it is told.
STAND_INS = {
    "scontrol": 'echo "scontrol $*" >> "$LOG"; if [ "$1 $2" = "show hostnames" ]; then printf "node7\\nnode8\\n"; fi',
    "srun": 'echo "srun $1" >> "$LOG"; shift; exec "$@"',
    "torchrun": 'echo "torchrun $*" >> "$LOG"; echo "threads $OMP_NUM_THREADS" >> "$LOG"; sleep $NAP; exit $CODE',
}


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    for name, text in STAND_INS.items():
        path = tmp_path / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/bash\n{text}\n")
        path.chmod(0o755)
    return {
        "PATH": f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "LOG": str(tmp_path / "log"),
        "NAP": "0",
        "CODE": "0",
        "SLURM_JOB_ID": "123456",
        "SLURM_JOB_NUM_NODES": "2",
        "SLURM_JOB_NODELIST": "node[7-8]",
        "SLURM_GPUS_ON_NODE": "8",
        "SLURM_CPUS_PER_TASK": "64",
    }


def log_of(environment: dict[str, str]) -> list[str]:
    return Path(environment["LOG"]).read_text().splitlines()


def test_it_is_bash() -> None:
    subprocess.run(["bash", "-n", SCRIPT], check=True)


def test_a_torchrun_on_each_machine(environment: dict[str, str]) -> None:
    subprocess.run(["bash", SCRIPT, "--config", "a b.yaml", "--out", "runs/x"], env=environment, check=True)
    shown, srun, torchrun, threads = log_of(environment)
    assert shown == "scontrol show hostnames node[7-8]"
    assert srun == "srun --kill-on-bad-exit=1"
    port = 20000 + 123456 % 20000
    assert torchrun == (
        f"torchrun --nnodes 2 --nproc-per-node 8 --rdzv-id 123456 --rdzv-backend c10d --rdzv-endpoint node7:{port} "
        "-m lmm_detector train --config a b.yaml --out runs/x"
    )
    assert threads == "threads 8"


@pytest.mark.parametrize("code", [0, 3])
def test_the_job_ends_as_training_does(code: int, environment: dict[str, str]) -> None:
    found = subprocess.run(["bash", SCRIPT], env={**environment, "CODE": str(code)}, check=False)
    assert found.returncode == code


@pytest.mark.slow
def test_before_its_time_ends_it_goes_back_into_the_queue(environment: dict[str, str]) -> None:
    """And training runs on until the job leaves its machines."""
    job = subprocess.Popen(["bash", SCRIPT], env={**environment, "NAP": "2", "CODE": "5"})
    end = time.monotonic() + 30
    while not (Path(environment["LOG"]).exists() and any(line.startswith("torchrun") for line in log_of(environment))):
        assert time.monotonic() < end
        time.sleep(0.05)
    job.send_signal(signal.SIGUSR1)
    assert job.wait(timeout=30) == 5
    assert log_of(environment)[-1] == "scontrol requeue 123456"


def test_outside_of_slurm(environment: dict[str, str]) -> None:
    for name in ("SLURM_GPUS_ON_NODE", "SLURM_JOB_NUM_NODES"):
        less = {key: value for key, value in environment.items() if key != name}
        found = subprocess.run(["bash", SCRIPT], env=less, capture_output=True, text=True, check=False)
        assert found.returncode != 0
        assert "expected" in found.stderr
