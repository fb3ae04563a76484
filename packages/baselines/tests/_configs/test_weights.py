from __future__ import annotations

from mmengine.config import Config
from rbox_baselines._configs._weights import without_pretrained


def test_pretrained_weights_are_left_out_wherever_they_are_and_nothing_else() -> None:
    pretrained = {"type": "Pretrained", "checkpoint": "torchvision://resnet50"}
    normal = {"type": "Normal", "std": 0.01}
    config = Config(
        {
            "load_from": "coco.pth",
            "model": {
                "type": "FCOS",
                "init_cfg": None,
                "backbone": {"type": "ResNet", "frozen_stages": 1, "init_cfg": pretrained},
                "neck": {"type": "FPN", "init_cfg": [pretrained]},
                "heads": [{"type": "A", "init_cfg": [normal, pretrained]}, {"type": "B", "init_cfg": normal}],
            },
        }
    )
    before = config.to_dict()
    assert without_pretrained(config).to_dict() == {
        "load_from": None,
        "model": {
            "type": "FCOS",
            "init_cfg": None,
            "backbone": {"type": "ResNet", "frozen_stages": 1},
            "neck": {"type": "FPN"},
            "heads": [{"type": "A", "init_cfg": [normal]}, {"type": "B", "init_cfg": normal}],
        },
    }
    assert config.to_dict() == before
