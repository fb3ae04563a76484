"""Tasks of the platform YMIR on drawn scenes, and the rules by which it and its verifier read the results."""

from __future__ import annotations

import json
import math
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from rbox_formats import datasets, synthetic, ymir

NAMES = synthetic.CLASS_NAMES


class Task(NamedTuple):
    """A task's two folders."""

    root: Path

    @property
    def env_file(self) -> Path:
        """Return the file that names all others."""
        return self.root / "in" / "env.yaml"

    @property
    def out(self) -> Path:
        """Return the folder of the results."""
        return self.root / "out"

    def monitor(self) -> tuple[str, float, int, int]:
        """Return task, share, state and code, by the rules of the platform's `parse_percent_log`."""
        lines = (self.out / "monitor.txt").read_text().splitlines()
        fields = lines[0].split("\t")
        assert len(fields) >= 4, fields
        float(fields[1])
        assert 0 <= float(fields[2]) <= 1
        return fields[0], float(fields[2]), int(fields[3]), int(fields[4])


def make(
    root: Path, *tasks: str, train: int = 4, val: int = 2, size: int = 64, format: str = "ymir", **parameters: Any
) -> Task:
    """Write what the platform mounts as /in.

    Args:
        root: The folder to hold `in` and `out`.
        tasks: Among "training", "mining" and "infer".
        train: How many images there are to train on.
        val: How many to score on; also the candidates.
        size: The sides of the images in pixels.
        format: The dataset's format: "ymir", "ymir-voc" or "ymir-coco".
        **parameters: Of config.yaml.
    """
    import yaml

    task = Task(root)
    scenes, folder = root / "scenes", root / "in"
    config = replace(synthetic.TINY, size=size)
    first = 0
    for split, count in (("train", train), ("val", val)):
        (folder / "assets" / split).mkdir(parents=True)
        if count:
            synthetic.write_scenes(scenes, split, range(first, first + count), config)
            records = list(datasets.read("dota", scenes, split, NAMES))
            datasets.write(format, records, folder, split, NAMES)
            for record in records:
                shutil.copy(record.file, folder / "assets" / split)
        else:
            (folder / f"{split}-index.tsv").write_text("")
        first += 100
    # As on the platform: absolute paths.
    for split in ("train", "val"):
        index = folder / f"{split}-index.tsv"
        index.write_text(index.read_text().replace(f"{ymir.MOUNT}/", f"{folder}/"))
    assets = sorted((folder / "assets" / "val").iterdir())
    (folder / "candidate-index.tsv").write_text("".join(f"{path}\n" for path in assets))
    (folder / "models").mkdir()
    task.out.mkdir()
    env: dict[str, Any] = {"task_id": "t1", "protocol_version": "1.1.0"}
    env |= {f"run_{name}": name in tasks for name in ("training", "mining", "infer")}
    training = "training" in tasks
    env["input"] = {
        "root_dir": str(folder),
        "assets_dir": str(folder / "assets"),
        "config_file": "config.yaml",
        "training_index_file": str(folder / "train-index.tsv") if training else "",
        "val_index_file": str(folder / "val-index.tsv") if training else "",
        "candidate_index_file": "" if training else str(folder / "candidate-index.tsv"),
    }
    env["output"] = {"root_dir": str(task.out), "models_dir": "models"}
    task.env_file.write_text(yaml.safe_dump(env))
    values = {"class_names": list(NAMES), "gpu_id": "", "gpu_count": 0, "object_type": 2, "task_id": "t1", **parameters}
    (folder / "config.yaml").write_text(yaml.safe_dump(values))
    return task


def give_model(task: Task, *models: Path, key: str = "model_params_path") -> None:
    """Put a stage's files where the platform does, and name them in config.yaml."""
    import yaml

    folder = task.root / "in" / "models" / "stage"
    folder.mkdir(parents=True, exist_ok=True)
    config = task.root / "in" / "config.yaml"
    values = yaml.safe_load(config.read_text())
    values[key] = [str(shutil.copy(path, folder)) for path in models]
    config.write_text(yaml.safe_dump(values))


def check_training(task: Task) -> dict[str, Any]:
    """Check what the verifier checks of a training, and what the platform's `ModelStorage` asks for; return it."""
    import yaml

    models = task.out / "models"
    found = yaml.safe_load((models / "result.yaml").read_text())
    stages = found["model_stages"]
    assert stages
    for name, stage in stages.items():
        assert name == stage["stage_name"]
        assert name.isidentifier()
        assert type(stage["timestamp"]) is int
        assert type(stage["mAP"]) is float
        assert 0 <= stage["mAP"] <= 1
        assert stage["files"]
        for file in stage["files"]:
            assert "/" not in file
            path = next(path for path in (models / name / file, models / file) if path.exists())
            assert path.is_file()
            assert not path.is_symlink()
    best = max(stages.values(), key=lambda stage: (stage["mAP"], stage["timestamp"]))
    assert found["best_stage_name"] == best["stage_name"]
    assert found["mAP"] == best["mAP"]
    assert any(path.is_file() for path in (task.out / "tensorboard").rglob("*"))
    return dict(found)


def check_infer(task: Task, *, rotated: bool = True) -> dict[str, Any]:
    """Check the boxes as the platform's protobuf reads them, and that they are of all candidates; return them."""
    found = json.loads((task.out / "infer-result.json").read_text())["detection"]
    assert set(found) == {path.name for path in candidates(task)}
    for entry in found.values():
        for each in entry["boxes"]:
            assert set(each) == {"class_name", "score", "box"}
            assert each["class_name"] in NAMES
            assert 0 <= each["score"] <= 1
            box = dict(each["box"])
            if rotated:
                assert math.isfinite(box.pop("rotate_angle"))
            assert set(box) == {"x", "y", "w", "h"}
            assert all(type(value) is int for value in box.values())
            assert box["w"] > 0
            assert box["h"] > 0
    return dict(found)


def check_mining(task: Task) -> list[tuple[str, float]]:
    """Check the ranking: all candidates, by falling score; return it."""
    lines = [line.split("\t") for line in (task.out / "result.tsv").read_text().splitlines()]
    found = [(path, float(score)) for path, score in lines]
    assert {path for path, _ in found} == {str(path) for path in candidates(task)}
    assert len(found) == len(candidates(task))
    scores = [score for _, score in found]
    assert scores == sorted(scores, reverse=True)
    return found


def candidates(task: Task) -> list[Path]:
    """Return the images of mining and inference."""
    return [Path(line) for line in (task.root / "in" / "candidate-index.tsv").read_text().splitlines()]
