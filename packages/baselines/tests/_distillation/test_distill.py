"""Distillation with a tiny SAM: what is compared, that it learns, that a stopped run ends as one that was not."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from rbox_baselines import Distillation, distill
from rbox_baselines._distillation import _distill
from rbox_baselines._distillation._models import Pixels, Student, Teacher, difference, load_teacher
from rbox_baselines.errors import CheckpointError, ConfigError, StackError
from rbox_formats import synthetic
from rbox_formats.errors import RboxError
from torch import Tensor
from torch.nn import functional
from transformers import SamModel

from .conftest import STUDENT

CONFIG = "oriented-rcnn-rsmamba-base"
FEW = Distillation(steps=6, batch_size=3, held_out=2, evaluate_every=3, save_every=2, learning_rate=3e-3)


def weights(out: Path) -> dict[str, Tensor]:
    return torch.load(out / "backbone.pth", weights_only=True)["state_dict"]


def log(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]


def test_the_teacher_is_sams_encoder(sam: Path) -> None:
    teacher = load_teacher(sam, "cpu")
    images = torch.rand(2, 3, 64, 64) * 255
    valid = torch.ones(2, 1, 64, 64)
    mean, std = (torch.tensor(each)[:, None, None] for each in ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375)))
    model = SamModel.from_pretrained(sam).eval()
    with torch.no_grad():
        expected = model.get_image_embeddings((images - mean) / std)
        hidden = model.vision_encoder((images - mean) / std, output_hidden_states=True).hidden_states
    found = teacher(images, valid, [0, 2])
    torch.testing.assert_close(found[0], expected)
    torch.testing.assert_close(found[1], hidden[0].permute(0, 3, 1, 2))
    torch.testing.assert_close(found[2], hidden[2].permute(0, 3, 1, 2))
    assert teacher.side == 64
    assert not any(each.requires_grad for each in teacher.module.parameters())
    with pytest.raises(ConfigError, match="expected layers of the teacher from 0 to 3, got 9"):
        teacher(images, valid, [9])


def test_a_run_writes_weights_a_log_and_pictures(sam: Path, images: list[Path], tmp_path: Path) -> None:
    settings = Distillation(**{**vars(FEW), "steps": 40, "batch_size": 8, "layers": ((0, 1),), "schedule": "linear"})
    found = distill(CONFIG, sam, images, tmp_path / "out", settings, options=STUDENT, device="cpu")
    assert found == tmp_path / "out" / "backbone.pth"
    lines = log(tmp_path / "out")
    held_out = [line["held_out_loss"] for line in lines if "held_out_loss" in line]
    assert held_out[-1] < 0.8 * held_out[0]
    learnt = [line for line in lines if "loss" in line]
    assert [line["step"] for line in learnt] == [10, 20, 30, 40]
    assert learnt[-1]["mask"] == learnt[-1]["noise"] == 0
    assert learnt[0]["mask"] == pytest.approx(0.2 * (1 - 9 / 39))
    assert all(line["images_per_second"] > 0 for line in learnt)
    assert (tmp_path / "out" / "features-39.png").is_file()
    assert (tmp_path / "out" / "features-40.png").is_file()


def test_train_begins_with_the_weights(sam: Path, images: list[Path], tmp_path: Path) -> None:
    from mmrotate.registry import MODELS
    from rbox_baselines._configs import _load
    from rbox_baselines._training._train import _with_backbone

    found = distill(CONFIG, sam, images, tmp_path / "out", FEW, options=STUDENT, device="cpu")
    config = _load.load_model(CONFIG)
    config.merge_from_dict(STUDENT)
    backbone = MODELS.build(_with_backbone(config, found).model.backbone)
    backbone.init_weights()
    for name, each in backbone.state_dict().items():
        assert torch.equal(each, weights(tmp_path / "out")[name]), name


def test_a_run_that_was_stopped_ends_as_one_that_was_not(
    sam: Path, images: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped after step 5, and resumed from step 4; the random orders and the corruption are the same."""
    options = {"model.backbone": {**STUDENT["model.backbone"], "path_type": "forward_reverse_shuffle_mean"}}
    distill(CONFIG, sam, images, tmp_path / "whole", FEW, options=options, device="cpu")
    learn, steps = _distill._Run._learn, []

    def stopped(self: Any, *arguments: Any) -> float:
        if len(steps) == 5:
            raise KeyboardInterrupt
        steps.append(self._step)
        return learn(self, *arguments)

    monkeypatch.setattr(_distill._Run, "_learn", stopped)
    with pytest.raises(KeyboardInterrupt):
        distill(CONFIG, sam, images, tmp_path / "cut", FEW, options=options, device="cpu")
    assert not (tmp_path / "cut" / "backbone.pth").exists()
    with (tmp_path / "cut" / "log.jsonl").open("a") as file:
        file.write('{"step": 5, "lo')  # killed while it wrote
    monkeypatch.setattr(_distill._Run, "_learn", learn)
    distill(CONFIG, sam, images, tmp_path / "cut", FEW, options=options, device="cpu")
    for name, each in weights(tmp_path / "whole").items():
        assert torch.equal(each, weights(tmp_path / "cut")[name]), name
    assert [line["step"] for line in log(tmp_path / "cut")] == [line["step"] for line in log(tmp_path / "whole")]


@pytest.mark.slow
def test_another_run_in_the_folder_is_not_resumed(sam: Path, images: list[Path], tmp_path: Path) -> None:
    distill(CONFIG, sam, images, tmp_path, FEW, options=STUDENT, device="cpu")
    before = (tmp_path / "backbone.pth").read_bytes()
    other = Distillation(**{**vars(FEW), "mask": 0.5})
    with pytest.raises(CheckpointError, match="expected the run that is resumed to have these settings"):
        distill(CONFIG, sam, images, tmp_path, other, options=STUDENT, device="cpu")
    assert (tmp_path / "backbone.pth").read_bytes() == before
    distill(CONFIG, sam, images, tmp_path, other, options=STUDENT, device="cpu", restart=True)
    assert (tmp_path / "backbone.pth").read_bytes() != before


def test_the_cache_replaces_the_teacher_and_changes_nothing(
    sam: Path, images: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    ask = Teacher.__call__

    def counted(self: Teacher, images: Tensor, valid: Tensor, layers: Any) -> list[Tensor]:
        asked.append(len(images))
        return ask(self, images, valid, layers)

    monkeypatch.setattr(Teacher, "__call__", counted)
    settings = Distillation(**{**vars(FEW), "steps": 4, "batch_size": 4})
    distill(CONFIG, sam, images, tmp_path / "without", settings, options=STUDENT, device="cpu")
    assert sum(asked) == 1 + 4 * 4 + 2 * 2  # a blank image first; those that are held out twice
    expected = weights(tmp_path / "without")
    cache = tmp_path / "cache"
    for out, count in (("first", 1 + 10), ("second", 1)):
        asked.clear()
        distill(CONFIG, sam, images, tmp_path / out, settings, options=STUDENT, device="cpu", cache=cache)
        assert sum(asked) == count
        for name, each in expected.items():
            assert torch.equal(each, weights(tmp_path / out)[name]), name
    kept = sorted(cache.iterdir())
    assert len(kept) == 10
    damaged = kept[0].read_bytes()
    kept[0].write_bytes(damaged[:-1] + bytes([damaged[-1] ^ 1]))
    kept[1].write_bytes(b"")
    asked.clear()
    distill(CONFIG, sam, images, tmp_path / "third", settings, options=STUDENT, device="cpu", cache=cache)
    assert sum(asked) == 1 + 2
    assert kept[0].read_bytes() == damaged
    for name, each in expected.items():
        assert torch.equal(each, weights(tmp_path / "third")[name]), name


def test_the_cache_is_bounded(sam: Path, images: list[Path], tmp_path: Path) -> None:
    settings = Distillation(**{**vars(FEW), "steps": 4})
    limit = 2500  # a map of 16 x 4 x 4 halves is 512 bytes, and some hundreds for its file
    distill(CONFIG, sam, images, tmp_path / "out", settings, options=STUDENT, device="cpu", cache=tmp_path / "cache",
            cache_limit=limit)  # fmt: skip
    sizes = [path.stat().st_size for path in (tmp_path / "cache").iterdir()]
    assert sum(sizes) <= limit
    assert 1 <= len(sizes) < 10


def test_a_detector_teaches_too(checkpoint: Path, images: list[Path], tmp_path: Path) -> None:
    """Its backbone's last map has another stride and other channels, between which a projection is learnt."""
    settings = Distillation(**{**vars(FEW), "place": "image", "image_size": 64, "loss": "cosine"})
    distill(CONFIG, checkpoint, images, tmp_path / "out", settings, options=STUDENT, device="cpu")
    assert set(weights(tmp_path / "out")) == set(student()[0].backbone.state_dict())


def student(**settings: Any) -> tuple[Student, Tensor, Tensor]:
    from mmrotate.registry import MODELS

    given = {key: value for key, value in STUDENT["model.backbone"].items() if key != "_delete_"}
    torch.manual_seed(0)
    maps = [torch.zeros(1, 16, 4, 4)] * (1 + len(settings.get("layers", ())))
    made = Student(MODELS.build(given), Pixels((0, 0, 0), (1, 1, 1)), Distillation(**settings), maps, 64)
    return made.eval(), torch.rand(2, 3, 64, 64), torch.ones(2, 1, 64, 64)


def test_tokens_are_replaced_and_noise_is_added() -> None:
    made, _, _ = student()
    seen: list[Tensor] = []
    encode = made.backbone.encode
    made.backbone.encode = lambda tokens, rows, columns: (seen.append(tokens.detach()), encode(tokens, rows, columns))[
        1
    ]
    made.mask_token.data.fill_(7.0)
    large = torch.rand(40, 3, 64, 64)
    tokens = made.backbone.embed(large)[0].detach()
    for mask, noise in ((0.0, 0.0), (0.25, 0.0), (0.0, 0.5)):
        made(large, torch.ones(40, 1, 64, 64), mask, noise, [torch.Generator().manual_seed(i) for i in range(40)])
    assert torch.equal(seen[0], tokens)
    replaced = (seen[1] == 7.0).all(-1)
    assert replaced.float().mean() == pytest.approx(0.25, abs=0.06)
    assert torch.equal(seen[1][~replaced], tokens[~replaced])
    assert (seen[2] - tokens).std() == pytest.approx(0.5 * tokens.std().item(), rel=0.05)


def test_whole_patches_of_an_image_are_replaced() -> None:
    made, _, _ = student(place="image")
    seen: list[Tensor] = []
    forward = made.backbone.forward
    made.backbone.forward = lambda images: (seen.append(images), forward(images))[1]
    valid = torch.ones(40, 1, 64, 64)
    valid[..., 32:] = 0
    generators = [torch.Generator().manual_seed(i) for i in range(40)]
    made(torch.full((40, 3, 64, 64), 2.0), valid, 0.25, 0.0, generators)
    patches = functional.unfold(seen[0], 16, stride=16)
    ends = torch.stack([patches.amin(1), patches.amax(1)], dim=-1).reshape(-1, 2)
    kinds = {tuple(each) for each in ends.tolist()}
    assert kinds == {(0.0, 0.0), (2.0, 2.0)}
    assert (patches.amax(1) == 2).float().mean() == pytest.approx(0.5 * 0.75, abs=0.06)


@pytest.mark.parametrize("loss", ["l1", "l2", "cosine"])
def test_padding_does_not_count(loss: str) -> None:
    torch.manual_seed(0)
    own, other = torch.randn(1, 5, 4, 4), torch.randn(1, 5, 4, 4)
    valid = torch.zeros(1, 1, 64, 64)
    valid[..., :32, :48] = 1
    settings = Distillation(loss=loss)  # type: ignore[arg-type]
    a, b = own[0, :, :2, :3].reshape(5, -1).numpy(), other[0, :, :2, :3].reshape(5, -1).numpy()
    cosines = (a * b).sum(0) / ((a**2).sum(0) * (b**2).sum(0)) ** 0.5
    expected = {"l1": abs(a - b).mean(), "l2": ((a - b) ** 2).mean(), "cosine": (1 - cosines).mean()}[loss]
    assert difference([own], [other], valid, settings).item() == pytest.approx(expected, rel=1e-5)
    two = difference([own, own], [other, other], valid, Distillation(loss=loss, layer_weight=0.5))  # type: ignore[arg-type]
    assert two.item() == pytest.approx(1.5 * expected, rel=1e-5)
    assert difference([own], [own], valid, settings).item() == pytest.approx(0, abs=1e-6)


def test_images_are_resized_and_padded_as_sams(sam: Path, tmp_path: Path) -> None:
    """By transformers' own processor, to a rounding of a grey level."""
    from PIL import Image
    from transformers import SamImageProcessor

    pixels, _ = synthetic.scene(3, synthetic.TINY)
    Image.fromarray(pixels[:40, :60]).save(tmp_path / "a.png")
    run = object.__new__(_distill._Run)
    run._side, run._device = 64, "cpu"
    found = run._open(tmp_path / "a.png")
    batch, valid = run._stacked([found])
    processor = SamImageProcessor(size={"longest_edge": 64}, pad_size={"height": 64, "width": 64})
    expected = processor(Image.open(tmp_path / "a.png"), return_tensors="pt").pixel_values
    ours = Pixels((123.675, 116.28, 103.53), (58.395, 57.12, 57.375))(batch, valid)
    assert found.size == (43, 64)
    assert (ours - expected).abs().max() <= 1.01 / 57


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"loss": "l3"}, "expected loss to be one of l1, l2, cosine"),
        ({"mask": 1.0}, "expected mask from 0 to below 1"),
        ({"steps": 0}, "expected steps of 1 or more"),
        ({"layers": ((9, 0),)}, "expected layers of the student from 0 to 1, got 9"),
        ({"layers": ((0, 0), (2, 0))}, "expected layers of the student from 0 to 1, got 2"),
        ({"image_size": 128}, "expected images of 64 px, the teacher's own, got 128 px"),
        ({"held_out": 10}, "expected more than 10 images, which are held out, got 10"),
    ],
)
def test_settings_that_do_not_fit(
    settings: dict[str, Any], message: str, sam: Path, images: list[Path], tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=message):
        distill(CONFIG, sam, images, tmp_path, Distillation(**settings), options=STUDENT, device="cpu")


def test_what_is_no_teacher_is_named(images: list[Path], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="expected a teacher: a folder of transformers' SAM, or a detector's"):
        distill(CONFIG, tmp_path, images, tmp_path / "out", FEW, options=STUDENT, device="cpu")
    (tmp_path / "sam").mkdir()
    (tmp_path / "sam" / "config.json").write_text('{"model_type": "sam"}')
    with pytest.raises(ConfigError, match="expected transformers' SAM in"):
        distill(CONFIG, tmp_path / "sam", images, tmp_path / "out", FEW, options=STUDENT, device="cpu")
    with pytest.raises(StackError, match="expected a GPU for half precision"):
        distill(CONFIG, tmp_path, images, tmp_path / "out", FEW, options=STUDENT, device="cpu", amp=True)
    (tmp_path / "broken.png").write_bytes(b"no image")
    with pytest.raises(RboxError, match=r"broken\.png"):
        distill(CONFIG, tmp_path, [*images, tmp_path / "broken.png"], tmp_path / "out", FEW, options=STUDENT)


@pytest.mark.slow
@pytest.mark.variant
def test_two_processes_share_each_batch(sam: Path, images: list[Path], tmp_path: Path) -> None:
    """Five images, three for one and two for the other: both come to the losses and weights of one process."""
    settings: dict[str, Any] = {"batch_size": 5, "held_out": 2, "evaluate_every": 2, "save_every": 2}
    settings["learning_rate"] = 3e-3
    whole = Distillation(steps=4, **settings)
    distill(CONFIG, sam, images, tmp_path / "one", whole, options=STUDENT, device="cpu")
    backbone = json.dumps(STUDENT["model.backbone"])
    command = [
        *(sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", "29543"),
        *("-m", "rbox_baselines", "distill", CONFIG, *images, "--teacher", sam, "--device", "cpu"),
        *("--cfg-options", f"model.backbone={backbone}", "--steps", "4", "--out", tmp_path / "two"),
        *("--cache", tmp_path / "cache"),
        *(part for name, value in settings.items() for part in (f"--{name.replace('_', '-')}", value)),
    ]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count("The backbone's weights are in") == 1
    assert [line["step"] for line in log(tmp_path / "two")] == [2, 4, 4]
    for mine, other in zip(log(tmp_path / "one"), log(tmp_path / "two"), strict=True):
        for name in {"loss", "held_out_loss"} & set(mine):
            assert mine[name] == pytest.approx(other[name], rel=1e-5)
    for name, each in weights(tmp_path / "one").items():
        torch.testing.assert_close(each, weights(tmp_path / "two")[name], rtol=0, atol=1e-4)


def test_every_process_needs_an_image(
    sam: Path, images: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_distill, "place", lambda: (0, 4))
    with pytest.raises(ConfigError, match="expected an image or more for each of 4 processes in a batch, got 3"):
        distill(CONFIG, sam, images, tmp_path, FEW, options=STUDENT, device="cpu")
