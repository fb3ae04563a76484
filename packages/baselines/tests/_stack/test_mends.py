"""What is mended in MMRotate and below it: that it works, and that nothing else changes."""

from __future__ import annotations

import collections
import math
import sys
import warnings
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from rbox_baselines import enable_mmcv_ops
from rbox_baselines._stack import _mends
from rbox_baselines.errors import ConfigError


@pytest.fixture(autouse=True, scope="module")
def _mended() -> None:
    with warnings.catch_warnings():
        _mends.silence()
        enable_mmcv_ops()


def test_names_are_supplied_for_the_time_of_an_import_alone() -> None:
    import mmcv

    assert "mmrotate.models" in sys.modules
    assert not hasattr(collections, "Sequence")
    assert mmcv.__version__ in ("2.0.1", "2.1.0", "2.2.0")


def test_mending_again_changes_nothing() -> None:
    from mmrotate.models.losses import convex_giou_loss, gaussian_dist_loss_v1
    from mmrotate.models.task_modules.assigners import SASAssigner
    from mmrotate.structures.bbox import box_converters

    def state() -> list[object]:
        return [
            convex_giou_loss.BCConvexGIoULossFuction.forward,
            SASAssigner.assign,
            gaussian_dist_loss_v1.xy_wh_r_2_xy_sigma,
            gaussian_dist_loss_v1.GDLoss_v1.forward,
            box_converters.qbox2rbox,
        ]

    before = state()
    _mends.mend()
    assert state() == before


def test_the_text_of_a_config_is_laid_out_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """And is what yapf makes of it."""
    import yapf.yapflib.yapf_api
    from mmengine.config import Config

    calls = []

    def counted(text: str, **options: object) -> tuple[str, bool]:
        calls.append((text, options))
        return layout(text, **options)

    layout = yapf.yapflib.yapf_api.FormatCode
    monkeypatch.setattr(yapf.yapflib.yapf_api, "FormatCode", counted)
    config = Config({"model": {"type": "Once", "sizes": [*range(40)]}})
    texts = [config.pretty_text for _ in range(3)]
    assert len(calls) == 1
    text, options = calls[0]
    assert texts == [layout(text, **options)[0]] * 3
    assert Config({"model": {"type": "Twice"}}).pretty_text == "model = dict(type='Twice')\n"
    assert len(calls) == 2


@pytest.mark.parametrize(
    "box", [[10, -60, 40, -20], [10, 80, 40, 120], [-50, 10, -30, 40], [70, 10, 99, 40], [64, 64, 90, 90]]
)
def test_masks_of_boxes_outside_the_image_are_empty(box: list[int]) -> None:
    """mmdet's own function takes only the part of the image that boxes reach, and failed for none."""
    from mmdet.models.roi_heads.mask_heads import fcn_mask_head

    boxes = torch.tensor([box], dtype=torch.float32)
    masks, where = fcn_mask_head._do_paste_mask(torch.ones(1, 1, 28, 28), boxes, 64, 64, skip_empty=True)
    image = torch.zeros(1, 64, 64)
    image[(slice(None), *where)] = masks
    assert not image.any()


def test_masks_of_boxes_inside_are_as_before() -> None:
    from mmdet.models.roi_heads.mask_heads import fcn_mask_head

    boxes = torch.tensor([[10.0, -6, 40, 20], [20, 10, 30, 90]])
    arguments = (torch.rand(2, 1, 28, 28, generator=torch.Generator().manual_seed(0)), boxes, 64, 64, True)
    mended, where = fcn_mask_head._do_paste_mask(*arguments)
    own, places = fcn_mask_head._do_paste_mask.__wrapped__(*arguments)
    assert where == places
    assert torch.equal(mended, own)


# Warnings.

#: As PyTorch, mmcv, mmdet, pycocotools and e2cnn give them.
NOISE = (
    (DeprecationWarning, "`torch.jit.script` is deprecated. Please switch to `torch.compile` or `torch.export`."),
    (DeprecationWarning, "`torch.jit.interface` is deprecated. Please use `torch.compile` instead."),
    (ImportWarning, "``MultiScaleDeformableAttention`` has been moved to ``mmcv.ops.multi_scale_deform_attn``, ..."),
    (DeprecationWarning, '"out_size" is deprecated in `RoIAlignRotated.__init__`, please use "output_size" instead'),
    (UserWarning, "torch.meshgrid: in an upcoming release, it will be required to pass the indexing argument. (...)"),
    (UserWarning, "DeprecationWarning: `num_anchors` is deprecated, for consistency or also use ..."),
    (UserWarning, 'DeprecationWarning: anchor_generator is deprecated, please use "prior_generator" instead'),
    (UserWarning, "The `clip` function does nothing in `RotatedBoxes`."),
    (DeprecationWarning, "The 'warn' method is deprecated, use 'warning' instead"),
    (UserWarning, "Default grid_sample and affine_grid behavior has changed to align_corners=False since 1.3.0. ..."),
    (UserWarning, "This overload of addmm is deprecated:\n\taddmm(Number beta, Tensor input, ...)"),
    (UserWarning, "indexing with dtype torch.uint8 is now deprecated, please use a dtype torch.bool instead. (...)"),
    (DeprecationWarning, "__array__ implementation doesn't accept a copy keyword, so passing copy=False failed. ..."),
    (FutureWarning, "`torch.cuda.amp.autocast(args...)` is deprecated. Please use `torch.amp.autocast('cuda', ...)`"),
    (DeprecationWarning, '"dropout" is deprecated in `FFN.__init__`, please use "ffn_drop" instead'),
    (
        DeprecationWarning,
        "The arguments `dropout` in MultiheadAttention has been deprecated, now you can separately...",
    ),
    (UserWarning, "To copy construct from a tensor, it is recommended to use sourceTensor.detach().clone() or ..."),
    (UserWarning, 'DeprecationWarning: pos_bboxes is deprecated, please use "pos_priors" instead'),
)


def test_warnings_of_the_old_packages_are_left_out_and_each_row_is_needed() -> None:
    for number in range(len(_mends.NOISE) + 1):
        left = list(_mends.NOISE)
        del left[number : number + 1]
        with warnings.catch_warnings(record=True) as shown, pytest.MonkeyPatch.context() as patch:
            warnings.simplefilter("always")
            patch.setattr(_mends, "NOISE", tuple(left))
            _mends.silence()
            for category, message in NOISE:
                warnings.warn(message, category, stacklevel=1)
        assert bool(shown) == (number < len(_mends.NOISE)), number


@pytest.mark.parametrize("category", [UserWarning, DeprecationWarning, FutureWarning])
def test_other_warnings_are_shown(category: type[Warning]) -> None:
    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("always")
        _mends.silence()
        warnings.warn("the learning rate is 0, and so torch.meshgrid: will not help", category, stacklevel=1)
    assert len(shown) == 1


# Packages.


def test_configs_with_a_base_in_another_package_are_read_without_pkg_resources(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mmdet
    from mmengine.config import Config

    monkeypatch.setitem(sys.modules, "pkg_resources", None)
    path = tmp_path / "config.py"
    path.write_text("_base_ = 'mmdet::_base_/schedules/schedule_1x.py'\ntrain_cfg = dict(max_epochs=3)\n")
    found = Config.fromfile(path)
    plain = Config.fromfile(
        Path(mmdet.__file__).parent / ".mim" / "configs" / "_base_" / "schedules" / "schedule_1x.py"
    )
    assert found.train_cfg.max_epochs == 3
    assert plain.train_cfg.max_epochs == 12
    assert found.optim_wrapper.optimizer.lr == plain.optim_wrapper.optimizer.lr
    assert found.param_scheduler[1].milestones == plain.param_scheduler[1].milestones
    path.write_text("_base_ = 'mmpose::_base_/default_runtime.py'\n")
    with pytest.raises(ModuleNotFoundError, match="mmpose is not installed"):
        Config.fromfile(path)


def test_packages_go_by_either_name() -> None:
    import mmdet

    assert _mends.is_installed("mmdet")
    assert not _mends.is_installed("mmsegmentation")  # whose module is mmseg
    assert Path(_mends.installed_path("mmdet")) == Path(mmdet.__file__).parent
    with pytest.raises(ConfigError, match="pip install mmsegmentation"):
        _mends.installed_path("mmsegmentation")


# SASM RepPoints.


def test_the_loss_of_sasm_on_a_cpu_is_as_by_hand() -> None:
    """Points that are the object's corners, the others in its middle: GIoU 1, all distances 0."""
    from mmrotate.models.losses.convex_giou_loss import BCConvexGIoULoss

    corners = [(30.0, 10.0), (50.0, 30.0), (40.0, 40.0), (20.0, 20.0)]
    points = torch.tensor([[*corners, *[(35.0, 25.0)] * 5]]).reshape(1, 18).requires_grad_()
    loss = BCConvexGIoULoss()(points, torch.tensor([corners]).reshape(1, 8), torch.ones(1))
    # 1 - (1 - 2 w) where w = exp(-ratio / 4); the sides are 2 : 1.
    assert loss.item() == pytest.approx(2 * math.exp(-0.5), rel=1e-4)
    loss.backward()
    assert torch.isfinite(points.grad).all()
    assert "cuda" not in vars(torch.Tensor)


def test_sasm_assigns_on_images_with_few_points_as_with_so_few_candidates() -> None:
    from mmengine.structures import InstanceData
    from mmrotate.models.task_modules.assigners import SASAssigner

    rng = np.random.default_rng(5)
    centres = np.concatenate(
        [np.mgrid[step / 2 : 64 : step, step / 2 : 64 : step].reshape(2, -1).T for step in (8, 16, 32)]
    )
    points = (centres[:, None] + rng.uniform(-12, 12, (len(centres), 9, 2))).reshape(-1, 18)
    priors = InstanceData(priors=torch.as_tensor(points, dtype=torch.float32))
    objects = torch.tensor([[8.0, 8, 40, 8, 40, 30, 8, 30], [30.0, 30, 60, 34, 56, 60, 28, 56]])
    truth = InstanceData(bboxes=objects, labels=torch.tensor([1, 0]))
    clamped, plain = SASAssigner(topk=9), SASAssigner(topk=4)
    found, expected = (assigner.assign(priors, [64, 16, 4], truth) for assigner in (clamped, plain))
    assert torch.equal(found.gt_inds, expected.gt_inds)
    assert set(found.gt_inds.tolist()) == {0, 1, 2}
    assert clamped.topk == 9
    more = SASAssigner(topk=9).assign(priors, [64, 20], truth)  # no level with fewer
    assert not torch.equal(more.gt_inds, expected.gt_inds)


# Rotated FCOS with KLD.


def _kld(pred: np.ndarray, target: np.ndarray) -> float:
    """1 - 1 / (1 + log(1 + 2 KL)) of Gaussians of sides / 2 (Yang et al., 2021, equation 7), by numpy in float64."""

    def gaussian(box: np.ndarray) -> np.ndarray:
        c, s = np.cos(box[4]), np.sin(box[4])
        turn = np.array([[c, -s], [s, c]])
        return turn @ np.diag(box[2:4] ** 2 / 4) @ turn.T

    p, t, d = gaussian(pred), gaussian(target), pred[:2] - target[:2]
    twice = d @ np.linalg.inv(t) @ d + np.trace(np.linalg.inv(t) @ p) + np.log(np.linalg.det(t) / np.linalg.det(p)) - 2
    return float(1 - 1 / (1 + np.log1p(max(twice, 1e-6))))


def _loss(pred: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    from mmrotate.models.losses.gaussian_dist_loss_v1 import GDLoss_v1

    return GDLoss_v1("kld", fun="log1p", tau=1)(pred, target)


def test_kld_of_ordinary_boxes_is_as_the_paper_has_it() -> None:
    rng = np.random.default_rng(3)
    pred = np.c_[rng.uniform(-1, 1, (20, 2)), rng.uniform(0.05, 6, (20, 2)), rng.uniform(-1.5, 1.5, 20)]
    target = np.c_[rng.uniform(-1, 1, (20, 2)), rng.uniform(0.5, 6, (20, 2)), rng.uniform(-1.5, 1.5, 20)]
    found = _loss(torch.as_tensor(pred, dtype=torch.float32), torch.as_tensor(target, dtype=torch.float32))
    expected = [_kld(*pair) for pair in zip(pred, target, strict=True)]
    np.testing.assert_allclose(found.numpy().ravel(), expected, atol=2e-4)


@pytest.mark.parametrize(
    "sides", [(0.0, 0.0), (0.0, 5.0), (5.0, 0.0), (0.0, 60.0), (1e-9, 60.0), (1e-4, 1e-4), (1e-3, 1)]
)
@pytest.mark.parametrize("angle", [0.0, 0.7])
def test_kld_is_finite_for_boxes_without_width_or_height(sides: tuple[float, float], angle: float) -> None:
    pred = torch.tensor([[1.0, 2.0, *sides, angle]], requires_grad=True)
    loss = _loss(pred, torch.tensor([[1.0, 1.0, 60.0, 40.0, 0.3]]))
    loss.sum().backward()
    assert 0 < loss.item() < 1
    assert torch.isfinite(pred.grad).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_losses_of_gaussians_are_in_single_precision_under_autocast(dtype: torch.dtype) -> None:
    """PyTorch has no determinants in half precision. The boxes are numbers that half precision has, too."""
    from mmrotate.models.losses import GDLoss, GDLoss_v1, KFLoss

    boxes = torch.tensor([[16.0, 8.0, 12.0, 6.0, 0.5], [40.0, 24.0, 10.0, 20.0, -0.25]])
    other = boxes + torch.tensor([1.0, -1.0, 2.0, 0.5, 0.125])
    for loss, named in (
        (GDLoss("gwd"), {}),
        (GDLoss("kld"), {}),
        (GDLoss_v1("kld"), {}),
        (GDLoss_v1("bcd"), {}),
        (KFLoss(), {"pred_decode": boxes, "targets_decode": other}),
    ):
        expected = loss(boxes, other, **named)
        halves = {name: value.to(dtype) for name, value in named.items()}
        with torch.autocast("cpu", dtype):
            found = loss(boxes.to(dtype), other.to(dtype), **halves)
        assert found.dtype == torch.float32
        assert torch.equal(found, expected)
        assert (found > 0).all()


def test_quads_in_bfloat16_become_boxes() -> None:
    from mmdet.structures.bbox import convert_box_type
    from mmrotate.models.task_modules.coders import delta_midpointoffset_rbbox_coder as coder
    from mmrotate.structures.bbox import qbox2rbox

    quads = torch.tensor([[8.0, 8.0, 24.0, 8.0, 24.0, 16.0, 8.0, 16.0]])
    expected = qbox2rbox(quads)
    for convert in (
        qbox2rbox,
        coder.qbox2rbox,
        lambda boxes: convert_box_type(boxes, src_type="qbox", dst_type="rbox"),
    ):
        found = convert(quads.bfloat16())
        assert found.dtype == torch.bfloat16
        torch.testing.assert_close(found.float(), expected, rtol=0.01, atol=0)
        assert torch.equal(convert(quads), expected)


def test_a_file_that_cannot_be_written_leaves_the_old_one(mmrotate: ModuleType, tmp_path: Path) -> None:
    from mmengine.fileio.backends import LocalBackend

    path = tmp_path / "run" / "epoch_1.pth"
    LocalBackend().put(b"whole", path)
    with pytest.raises(TypeError):
        LocalBackend().put("not bytes", path)  # type: ignore[arg-type]
    assert [each.name for each in path.parent.iterdir()] == ["epoch_1.pth"]
    assert path.read_bytes() == b"whole"


def test_points_are_looked_for_where_they_are(mmrotate: ModuleType) -> None:
    from mmcv.ops import points_in_polygons

    square = torch.tensor([[0.0, 0, 2, 0, 2, 2, 0, 2]])
    assert points_in_polygons(torch.tensor([[1.0, 1], [3, 1]]), square).tolist() == [[1], [0]]
