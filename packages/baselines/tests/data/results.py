"""Makes `results-*.pkl`, as MMRotate's `tools/test.py --out` writes them, and `results.json` with what they hold.

It needs mmcv 2.1.0 compiled, as `peers.py` of rbox-metrics says, mmdet 3.1.0 and mmrotate 1.0.0rc1:

    python results.py

- `results-model.pkl`: what a small Rotated RetinaNet with random weights finds on two images of noise, by mmengine's
  DumpResults, which keeps the annotations too;
- `results-quads.pkl`: quads, as Gliding Vertex has them, by mmdet's DumpDetResults;
- `results-old.pkl`: the form of MMRotate 0.x, a list for each image with an array (N, 6) for each class, as mmcv.dump
  wrote it.

The corners in `results.json` are mmrotate's own conversion of the boxes.
"""

from __future__ import annotations

import collections
import collections.abc
import json
import pickle
from pathlib import Path

import mmcv

mmcv.__version__ = "2.0.1"
collections.Sequence = collections.abc.Sequence

import numpy as np  # noqa: E402
import torch  # noqa: E402
from mmdet.evaluation import DumpDetResults  # noqa: E402
from mmdet.models.utils import samplelist_boxtype2tensor  # noqa: E402
from mmdet.registry import MODELS  # noqa: E402
from mmdet.structures import DetDataSample  # noqa: E402
from mmdet.utils import register_all_modules as register_mmdet  # noqa: E402
from mmengine.config import Config  # noqa: E402
from mmengine.evaluator import DumpResults, Evaluator  # noqa: E402
from mmengine.structures import InstanceData  # noqa: E402
from mmrotate.structures import QuadriBoxes, RotatedBoxes  # noqa: E402
from mmrotate.utils import register_all_modules  # noqa: E402

HERE = Path(__file__).parent
CONFIGS = Path(mmcv.__file__).parent.parent / "mmrotate/.mim/configs"
NAMES = ("P0001", "P0002")
SIZE = (96, 64)  # height, width


def sample(name: str) -> DetDataSample:
    """An image with one annotation."""
    truth = InstanceData(bboxes=RotatedBoxes(torch.tensor([[30.0, 40, 20, 10, 0.5]])), labels=torch.tensor([1]))
    shape = {"img_shape": (128, 128), "ori_shape": SIZE, "scale_factor": (2.0, 2.0), "batch_input_shape": (128, 128)}
    result = DetDataSample(metainfo={"img_id": name, "img_path": f"/data/dota/val/images/{name}.png", **shape})
    result.gt_instances = truth
    result.ignored_instances = InstanceData(bboxes=RotatedBoxes(torch.zeros(0, 5)), labels=torch.zeros(0).long())
    return result


def model_samples() -> list[DetDataSample]:
    config = Config.fromfile(CONFIGS / "rotated_retinanet/rotated-retinanet-rbox-oc_r50_fpn_1x_dota.py")
    model = config.model
    model.backbone.update(depth=18, init_cfg=None)
    model.neck.update(in_channels=[64, 128, 256, 512], out_channels=16)
    model.bbox_head.update(in_channels=16, feat_channels=16, stacked_convs=1, num_classes=3)
    model.test_cfg.update(nms_pre=30, max_per_img=12, score_thr=0.0)
    torch.manual_seed(1)
    detector = MODELS.build(model)
    detector.init_weights()
    detector.eval()
    images = torch.rand(2, 3, 128, 128)
    with torch.no_grad():
        return detector.predict(images * 4 - 2, [sample(name) for name in NAMES], rescale=True)


def quad_samples() -> list[DetDataSample]:
    samples = [sample(name) for name in NAMES]
    corners = [[10.0, 10, 30, 12, 28, 30, 8, 26], [40, 50, 60, 50, 60, 70, 40, 70]]
    for one, count in zip(samples, (2, 0), strict=True):
        one.pred_instances = InstanceData(
            bboxes=QuadriBoxes(torch.tensor(corners)[:count]),
            scores=torch.tensor([0.75, 0.5])[:count],
            labels=torch.tensor([0, 2])[:count],
        )
    samplelist_boxtype2tensor(samples)
    return samples


def dump(kind: type[DumpResults], samples: list[DetDataSample], path: Path) -> None:
    evaluator = Evaluator(kind(out_file_path=str(path)))
    evaluator.dataset_meta = {"classes": ("plane", "ship", "bridge")}
    evaluator.process(samples, {})
    evaluator.evaluate(len(samples))


def corners(boxes: torch.Tensor) -> list:
    return RotatedBoxes(boxes).convert_to("qbox").tensor.reshape(-1, 4, 2).tolist()


def main() -> None:
    register_mmdet(init_default_scope=False)
    register_all_modules(init_default_scope=True)
    found = model_samples()
    dump(DumpResults, found, HERE / "results-model.pkl")
    quads = quad_samples()
    dump(DumpDetResults, quads, HERE / "results-quads.pkl")

    # One row of each angle range: oc, le90, le135; as (cx, cy, w, h, angle, score).
    rows = np.array([[30, 40, 10, 20, 1.2, 0.9], [50, 20, 20, 10, -1.2, 0.8], [20, 60, 30, 8, 2.2, 0.3]], np.float32)
    nothing = np.zeros((0, 6), np.float32)
    with (HERE / "results-old.pkl").open("wb") as file:
        pickle.dump([[nothing, rows[:2], rows[2:]], [nothing] * 3], file, protocol=2)

    kept = {
        "model": [
            {
                "image_id": each.img_id,
                "angles": each.pred_instances.bboxes[:, 4].tolist(),
                "corners": corners(each.pred_instances.bboxes),
                "scores": each.pred_instances.scores.tolist(),
                "labels": each.pred_instances.labels.tolist(),
            }
            for each in found
        ],
        "quads": [each.pred_instances.bboxes.reshape(-1, 4, 2).tolist() for each in quads],
        "old": corners(torch.from_numpy(rows[:, :5])),
    }
    (HERE / "results.json").write_text(json.dumps(kept, indent=1) + "\n")


if __name__ == "__main__":
    main()
