from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType

import pytest
import torch
from rbox_baselines._tools._info import Info, image_size, measure, multiply_adds, peak_memory
from rbox_baselines.errors import ConfigError
from rbox_testing.small_retinanet import SMALL, ZOO_NAME


@pytest.fixture(scope="module")
def small(mmrotate: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small model as a config file."""
    from rbox_baselines import load_config

    path = tmp_path_factory.mktemp("config") / "small.py"
    load_config(ZOO_NAME, image_size=64, options=SMALL).dump(path)
    return path


def test_multiply_adds_by_hand() -> None:
    """A layer of each kind, each number of the result a sum of as many products as its kernel has weights."""
    net = torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 3, padding=1),  # (8, 10, 12): 8 * 10 * 12 sums of 3 * 3 * 3
        torch.nn.BatchNorm2d(8),
        torch.nn.ReLU(),
        torch.nn.Conv2d(8, 8, 3, stride=2, padding=1, groups=4),  # (8, 5, 6) sums of 2 * 3 * 3
        torch.nn.ConvTranspose2d(8, 4, 2, stride=2),  # each of (8, 5, 6) is multiplied by 4 * 2 * 2 weights
        torch.nn.Flatten(),
        torch.nn.Linear(4 * 10 * 12, 5, bias=False),
    )
    by_hand = 8 * 10 * 12 * 27 + 8 * 5 * 6 * 18 + 8 * 5 * 6 * 16 + 480 * 5
    image = torch.zeros(1, 3, 10, 12)
    with torch.no_grad():
        assert multiply_adds(lambda: net(image)) == by_hand


def test_multiply_adds_as_published(mmrotate: ModuleType) -> None:
    """ResNet-50 at 224x224 has 4.09 G (fvcore's and timm's figure), the last layer's 2048 x 1000 among them."""
    from mmdet.models.backbones import ResNet

    with torch.device("meta"), torch.no_grad():
        backbone = ResNet(50)
        image = torch.zeros(1, 3, 224, 224)
        found = multiply_adds(lambda: backbone(image)) + 2048 * 1000
    assert found == pytest.approx(4.089e9, rel=1e-3)


def test_multiply_adds_of_a_detector_as_mmdet_counts_them(mmrotate: ModuleType) -> None:
    """mmdet's documentation (useful_tools.md, model complexity) has 239.32 G for RetinaNet R50 at 1280x800.

    Its counter has normalisation and activations as well, which are 0.3 % here.
    """
    import mmdet
    from mmdet.registry import MODELS
    from mmengine.config import Config

    config = Config.fromfile(Path(mmdet.__file__).parent / ".mim/configs/retinanet/retinanet_r50_fpn_1x_coco.py")
    config.model.backbone.init_cfg = None
    with torch.device("meta"), torch.no_grad():
        model = MODELS.build({**config.model, "_scope_": "mmdet"}).eval()
        image = torch.zeros(1, 3, 800, 1280)
        found = multiply_adds(lambda: model.bbox_head(model.neck(model.backbone(image))))
    assert found == pytest.approx(239.32e9, rel=0.005)


def test_memory_is_the_growth_while_it_runs() -> None:
    grown = []

    def run() -> None:
        values = torch.ones(2**25)  # 128 MiB, more than what the process may have freed and kept
        grown.append(float(values.sum()))

    found, kind = peak_memory(run, "cpu")
    assert kind == "growth of the process"
    assert found is not None
    assert 110 * 2**20 < found < 300 * 2**20
    assert len(grown) == 1


def test_a_model_of_the_zoo(small: Path) -> None:
    found = measure(str(small), size=(96, 64), device="cpu", rounds=3)
    # No stage of it is frozen.
    assert found.parameters == found.trainable > 0
    assert found.size == (96, 64)
    assert found.multiply_adds > 0
    assert found.flops == 2 * found.multiply_adds
    assert len(found.seconds) == 3
    assert list(found.seconds) == sorted(found.seconds)
    assert not found.trained
    # Twice the area, twice the convolutions, but for what padding to a multiple of 32 px adds.
    twice = measure(str(small), size=(192, 64), device="cpu", rounds=1)
    assert twice.multiply_adds == pytest.approx(2 * found.multiply_adds, rel=0.02)
    assert twice.parameters == found.parameters


def test_a_checkpoint_s_model(small: Path, checkpoint: Path) -> None:
    found = measure(str(small), checkpoint=checkpoint, device="cpu", rounds=1)
    assert found.trained
    assert found.size == (64, 64)  # to which the config resizes
    saved = torch.load(checkpoint, weights_only=True)["state_dict"]
    counted = sum(
        value.numel() for name, value in saved.items() if "running_" not in name and "num_batches" not in name
    )
    assert found.parameters == counted


def test_the_size_of_a_config(mmrotate: ModuleType) -> None:
    from mmengine.config import Config

    def config(*steps: dict) -> Config:
        return Config({"test_dataloader": {"dataset": {"pipeline": list(steps)}}})

    assert image_size(config({"type": "Load"}, {"type": "mmdet.Resize", "scale": (800, 512)})) == (800, 512)
    assert image_size(config({"type": "mmdet.Resize", "scale": [(800, 512), (1, 1)]})) == (1024, 1024)
    assert image_size(config({"type": "mmdet.Resize", "scale_factor": 2.0})) == (1024, 1024)
    assert image_size(Config({})) == (1024, 1024)


@pytest.mark.parametrize("device", ["cuda:99", "nonsense"])
def test_a_device_that_is_not_there(small: Path, device: str) -> None:
    with pytest.raises(ConfigError, match=f"expected a device such as cpu or cuda:0, got '{device}'"):
        measure(str(small), device=device)


def test_what_is_written() -> None:
    found = Info(2_000_000, 1_500_000, (64, 32), 5 * 10**9, (0.1, 0.2, 0.4), 3 * 2**20, "growth", "cpu", True)
    values = json.loads(json.dumps(found.to_dict()))
    assert values["flops"] == 10**10
    assert values["images_per_second"] == {"median": 5, "slowest": 2.5, "fastest": 10, "rounds": 3}
    rows = dict(found.rows())
    assert rows["FLOPs"] == "10.00 G"
    assert rows["images per second, median of 3"] == "5.00 (2.50 to 10.00)"
    assert rows["peak memory, growth"] == "3 MiB"
    assert rows["weights"] == "of the checkpoint"
