"""Mends of MMRotate and what it stands on, for today's Python, PyTorch and numpy: each a function with its reason.

The versions are mmcv 2.0.1 to 2.2.0, mmengine 0.10.7, mmdet 3.1.0 to 3.3.0 and mmrotate 1.0.0rc1; none of them is made
any more. `mend` is called by `enable_mmcv_ops`, after the operators are in place.
"""

from __future__ import annotations

import ast
import collections
import collections.abc
import functools
import importlib
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from importlib.util import find_spec
from pathlib import Path
from pickle import UnpicklingError
from types import ModuleType, SimpleNamespace
from typing import Any, NamedTuple

from rbox_formats.errors import said

from rbox_baselines.errors import ConfigError, StackError


class Noise(NamedTuple):
    """A warning of the old packages that is of no use to their users.

    Attributes:
        message: A regular expression of its beginning, without a colon, which would end it in pytest's warning filters.
        category: The class of the warning.
        reason: Where the warning comes from, and why nothing need be done.
    """

    message: str
    category: type[Warning]
    reason: str


#: `DeprecationWarning` stands in the text of some of mmdet's UserWarnings.
NOISE: tuple[Noise, ...] = (
    Noise(r"`torch\.jit\.\w+` is deprecated", DeprecationWarning, "PyTorch of itself, when mmengine is imported."),
    Noise("``MultiScaleDeformableAttention`` has been moved", ImportWarning, "mmcv of itself, when it is imported."),
    Noise(
        r'"(out_size|sample_num)" is deprecated', DeprecationWarning, "MMRotate's RoI extractors, old names of mmcv."
    ),
    Noise(
        "torch.meshgrid. in an upcoming release", UserWarning, "mmdet and MMRotate; they mean the order that is used."
    ),
    Noise(
        r"`torch\.cuda\.amp\.\w+\(args\.\.\.\)` is deprecated",
        FutureWarning,
        "mmdet and mmengine, an older name of torch.amp's.",
    ),
    Noise(
        "DeprecationWarning. `?(num_anchors|anchor_generator)`? is deprecated",
        UserWarning,
        "MMRotate, old names of mmdet.",
    ),
    Noise(
        "The `clip` function does nothing in `RotatedBoxes`", UserWarning, "MMRotate, at each image that is resized."
    ),
    Noise("The 'warn' method is deprecated", DeprecationWarning, "mmdet's Swin, an older name of logging's."),
    Noise("This overload of addmm is deprecated", UserWarning, "mmcv's masked convolution; it means what is done."),
    Noise("indexing with dtype torch.uint8", UserWarning, "e2cnn, which ReDet is built on; it means what is done."),
    Noise('"dropout" is deprecated in `FFN', DeprecationWarning, "mmdet's transformers, older names of mmcv."),
    Noise("The arguments `dropout` in Multihead", DeprecationWarning, "mmdet's transformers, older names of mmcv."),
    Noise("To copy construct from a tensor", UserWarning, "mmdet's mask heads; it means what is done."),
    Noise("DeprecationWarning. pos_bboxes is deprecated", UserWarning, "mmdet's PointRend, of its own older name."),
    Noise("__array__ implementation doesn't accept a copy", DeprecationWarning, "pycocotools of itself, with numpy 2."),
    Noise(
        "Default grid_sample and affine_grid", UserWarning, "Oriented RepPoints, written for what is the default now."
    ),
)


def mend() -> None:
    """Apply all mends. This imports mmdet and mmrotate; calling it again changes nothing."""
    with warnings.catch_warnings():
        silence()  # some come when mmengine is imported
        look_for_points_anywhere()
        import_with_old_names()
        allow_checkpoints()
        find_packages()
        write_whole_files()
        format_configs_once()
        find_backbones()
        score_in_this_process()
        run_sasm_anywhere()
        keep_gaussians_regular()
        keep_gaussians_in_single_precision()
        turn_quads_in_bfloat16()
        paste_masks_outside()


def silence() -> None:
    """Leave the warnings of `NOISE` out for the rest of the process; all others are shown as before.

    Some come when mmengine is imported: it is called before `enable_mmcv_ops`.
    """
    for noise in NOISE:
        warnings.filterwarnings("ignore", noise.message, noise.category)


def import_with_old_names() -> None:
    """Import mmdet and mmrotate.

    `mmrotate/models/detectors/refine_single_stage.py` takes `Sequence` from `collections`, which Python 3.10 took away:
    it is there for the time of the import. mmdet 3.1.0 refuses mmcv 2.1.0, mmdet 3.3.0 refuses mmcv 2.2.0, and mmrotate
    refuses any mmdet above 3.1.0; they work with them, and each reads another version for the time of its import.
    """
    import mmcv

    with (
        _supplied(collections, "Sequence", collections.abc.Sequence),
        _supplied(mmcv, "__version__", _lowered(mmcv.__version__, "2.0.1")),
    ):
        mmdet = _imported("mmdet")
        with _supplied(mmdet, "__version__", _lowered(mmdet.__version__, "3.1.0")):
            _imported("mmrotate.models")


def _lowered(version: str, newest: str) -> str:
    """Return a version, or the newest accepted one if the version is newer than that."""
    from mmengine.utils import digit_version

    return newest if digit_version(version) > digit_version(newest) else version


def _imported(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except (AssertionError, ImportError) as error:
        raise StackError(
            f"expected {name.partition('.')[0]} to be importable on this stack, got: {said(error)}",
            remedy="rbox-baselines works with mmdet 3.1.0 to 3.3.0 and mmrotate 1.0.0rc1, or forks made for the same "
            "versions. In a new environment: pip install rbox-baselines.",
        ) from error


def allow_checkpoints() -> None:
    """Let `torch.load` read mmengine's checkpoints.

    Since PyTorch 2.6 it reads tensors and plain values alone unless more is allowed by name, and mmengine keeps its
    history of losses as arrays in a class of its own, with the functions of that class that make a mean of them. Such a
    function is written as a call of `getattr`, for which a function stands that gives these alone.
    """
    import numpy as np
    import torch
    from mmengine.logging.history_buffer import HistoryBuffer

    dtypes = [type(np.dtype(kind)) for kind in (np.float32, np.float64, np.int32, np.int64, np.bool_)]
    reconstruct: Any = np.array(0).__reduce__()[0]
    scalar: Any = np.float64(0).__reduce__()[0]
    # Arrays pickled before numpy 2 name the module by its older name.
    old = [(reconstruct, "numpy.core.multiarray._reconstruct"), (scalar, "numpy.core.multiarray.scalar")]
    function = (_function_of_history, "builtins.getattr")
    torch.serialization.add_safe_globals(
        [HistoryBuffer, np.ndarray, np.dtype, reconstruct, scalar, *dtypes, *old, function]
    )


def _function_of_history(owner: object, name: object) -> Any:
    """Return what a checkpoint may ask of `getattr`.

    Raises:
        UnpicklingError: If it asks for anything but a function of mmengine's HistoryBuffer.
    """
    from mmengine.logging.history_buffer import HistoryBuffer

    functions: dict[object, Any] = {each: getattr(HistoryBuffer, each) for each in ("min", "max", "current", "mean")}
    if owner is not HistoryBuffer or name not in functions:
        raise UnpicklingError(f"expected a function of HistoryBuffer, got GLOBAL getattr of {name!r}")
    return functions[name]


def find_packages() -> None:
    """Let mmengine read configs whose `_base_` is in another package, as `mmdet::_base_/default_runtime.py`.

    It looks for the package with `pkg_resources`, which setuptools took away in version 82.
    """
    from mmengine.config import config

    config.is_installed = is_installed
    config.get_installed_path = installed_path


def is_installed(package: str) -> bool:
    """Return whether a package of OpenMMLab's, by its name on PyPI or in Python, can be imported."""
    return find_spec(_module_of(package)) is not None


def installed_path(package: str) -> str:
    """Return the folder of such a package.

    Raises:
        ConfigError: If it is not installed.
    """
    spec = find_spec(_module_of(package))
    if spec is None or not spec.submodule_search_locations:
        raise ConfigError(
            f"expected the package {package!r}, which the config names, to be installed, found none",
            remedy=f"pip install {package}",
        )
    return str(Path(next(iter(spec.submodule_search_locations))))


def _module_of(package: str) -> str:
    from mmengine.config.utils import MODULE2PACKAGE

    return {package: module for module, package in MODULE2PACKAGE.items()}.get(package, package)


def write_whole_files() -> None:
    """Make mmengine write checkpoints whole or not at all.

    It opens the file and fills it, so that a run that is killed meanwhile leaves half a checkpoint under a good name.
    """
    from mmengine.fileio.backends import LocalBackend
    from rbox_formats.files import replacing

    def put(self: Any, obj: bytes, filepath: str | Path) -> None:
        with replacing(filepath) as temporary:
            temporary.write_bytes(obj)

    LocalBackend.put = put


def format_configs_once() -> None:
    """Have yapf lay out the text of a config once.

    mmengine writes it into the log, into a file and into each checkpoint, and has it laid out again each time.
    """
    from mmengine.config import config

    config.FormatCode = lambda text, **options: _formatted(text, repr(options))


@functools.lru_cache(maxsize=32)
def _formatted(text: str, options: str) -> tuple[str, bool]:
    from mmengine.config import config

    return config.yapf.yapflib.yapf_api.FormatCode(text, **ast.literal_eval(options))


def find_backbones() -> None:
    """Let configs begin with torchvision's weights where torchvision is not installed.

    mmengine imports it to learn its version, and then takes the addresses from a file of its own.
    """
    import json

    import mmengine
    from mmengine.runner import checkpoint

    if find_spec("torchvision") is None:
        path = Path(mmengine.__file__).parent / "hub" / "torchvision_0.12.json"
        checkpoint.get_torchvision_models = lambda: json.loads(path.read_text(encoding="utf-8"))


def look_for_points_anywhere() -> None:
    """Let mmcv's `points_in_polygons` run on a CPU: it makes room for the answer on the GPU, whatever it is given.

    MMRotate's `SASAssigner` takes the function when it is imported, which comes later.
    """
    import mmcv.ops

    function = mmcv.ops.points_in_polygons

    def points_in_polygons(points: Any, polygons: Any) -> Any:
        with _staying(points):
            return function(points, polygons)

    if not hasattr(function, "__wrapped__"):
        mmcv.ops.points_in_polygons = functools.wraps(function)(points_in_polygons)


def _staying(tensor: Any) -> AbstractContextManager[None]:
    """Make `cuda` leave tensors on the CPU as long as the block lasts, if this tensor is there."""
    import torch

    return nullcontext() if tensor.is_cuda else _supplied(torch.Tensor, "cuda", lambda tensor: tensor)


def score_in_this_process() -> None:
    """Let MMRotate's `DOTAMetric` score without processes of its own.

    New processes import mmrotate without our operators and fail, and the metric waits for them without end. Where
    mmcv is compiled, new processes have its operators, and the metric is not changed.
    """
    from mmrotate.evaluation.functional import mean_ap

    operators = sys.modules["mmcv._ext"].__spec__
    if operators is not None and operators.loader is not None:  # a compiled module
        return
    mean_ap.get_context = lambda _method=None: SimpleNamespace(Pool=_Here)


class _Here:
    """What `eval_rbbox_map` asks of a pool of processes, done in this one."""

    def __init__(self, _count: int | None = None) -> None:
        pass

    def starmap(self, function: Callable[..., Any], arguments: Iterable[tuple[Any, ...]]) -> list[Any]:
        """Call a function with each of several lists of arguments."""
        return [function(*each) for each in arguments]

    def close(self) -> None:
        """Do nothing: there is no process."""


def run_sasm_anywhere() -> None:
    """Let SASM RepPoints learn on a CPU, and on images under 384 px.

    `BCConvexGIoULoss` moves numbers to the GPU whatever the others are on. The assigner takes the 9 points nearest to
    an object from each level; where the smallest level has fewer it takes as many from each as that level has. Larger
    images are dealt with as before.
    """
    from mmrotate.models.losses.convex_giou_loss import BCConvexGIoULossFuction as Loss  # its own spelling
    from mmrotate.models.task_modules.assigners import SASAssigner

    def forward(ctx: Any, pred: Any, *others: Any) -> Any:
        with _staying(pred):
            return loss(ctx, pred, *others)

    def assign(self: Any, pred_instances: Any, num_level_priors: list[int], *others: Any, **named: Any) -> Any:
        with _supplied(self, "topk", min(self.topk, *num_level_priors)):
            return assigner(self, pred_instances, num_level_priors, *others, **named)

    loss, assigner = Loss.forward, SASAssigner.assign
    if not hasattr(assigner, "__wrapped__"):
        Loss.forward = staticmethod(functools.wraps(loss)(forward))
        SASAssigner.assign = functools.wraps(assigner)(assign)


def keep_gaussians_regular() -> None:
    """Keep `GDLoss_v1`, of Rotated FCOS with KLD, finite for predicted boxes without width or height.

    FCOS cuts sides off at 0. The loss takes the logarithm of the determinant of the box's Gaussian, which in single
    precision is then 0, or below it by rounding, or so small that the gradient overflows. A side is taken as at least a
    thousandth of the other and of the level's stride, the unit of FCOS's boxes here: no object comes near that.
    """
    import torch
    from mmrotate.models.losses import gaussian_dist_loss_v1 as losses

    def gaussian(boxes: Any) -> Any:
        sides = boxes[..., 2:4]
        sides = sides.clamp(min=sides.detach().amax(-1, keepdim=True).clamp(min=1) * 1e-3)
        return upstream(torch.cat([boxes[..., :2], sides, boxes[..., 4:]], -1))

    upstream = losses.xy_wh_r_2_xy_sigma
    if not hasattr(upstream, "__wrapped__"):
        losses.xy_wh_r_2_xy_sigma = functools.wraps(upstream)(gaussian)


def keep_gaussians_in_single_precision() -> None:
    """Compute the losses that see boxes as Gaussians (GWD, KLD, KFIoU and their kin) in float32 under autocast, too.

    They ask for determinants of matrices, which PyTorch has in no half precision: the first step of a run with AMP
    failed.
    """
    from mmrotate.models.losses import gaussian_dist_loss, gaussian_dist_loss_v1, kf_iou_loss

    from rbox_baselines._ops._check import outside_autocast

    for kind in (gaussian_dist_loss.GDLoss, gaussian_dist_loss_v1.GDLoss_v1, kf_iou_loss.KFLoss):
        if not hasattr(kind.forward, "__wrapped__"):
            kind.forward = functools.wraps(kind.forward)(outside_autocast(_in_single_precision(kind.forward)))


def _in_single_precision(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a function float32 where it is given half precision."""
    import torch

    def single(value: Any) -> Any:
        half = isinstance(value, torch.Tensor) and value.dtype in (torch.float16, torch.bfloat16)
        return value.float() if half else value

    return lambda *args, **named: function(*map(single, args), **{name: single(each) for name, each in named.items()})


def turn_quads_in_bfloat16() -> None:
    """Let `qbox2rbox` take bfloat16, in which Oriented R-CNN's regions come to it under autocast on a CPU.

    It gives the quads to OpenCV as a numpy array, and numpy has no such type. MMRotate's modules hold the function
    under its name, and mmdet holds it in a table of conversions.
    """
    import torch
    from mmdet.structures.bbox import box_type
    from mmrotate.structures.bbox import box_converters

    def qbox2rbox(boxes: Any) -> Any:
        if boxes.dtype != torch.bfloat16:
            return upstream(boxes)
        return upstream(boxes.float()).to(boxes.dtype)

    upstream = box_converters.qbox2rbox
    if not hasattr(upstream, "__wrapped__"):
        wrapped = functools.wraps(upstream)(qbox2rbox)
        loaded = [vars(module) for name, module in sys.modules.items() if name.partition(".")[0] == "mmrotate"]
        for names in (*loaded, box_type.box_converters):
            for name in [name for name, value in names.items() if value is upstream]:
                names[name] = wrapped


def paste_masks_outside() -> None:
    """Let models of masks predict boxes that lie outside the image, as untrained ones do; their masks are empty.

    On a CPU mmdet pastes the masks of a group of boxes into the part of the image that they reach, and fails where that
    is none.
    """
    from mmdet.models.roi_heads.mask_heads import fcn_mask_head as heads

    def paste(masks: Any, boxes: Any, img_h: int, img_w: int, skip_empty: bool = True) -> Any:
        reached = bool((boxes[:, :2].amin(0) - 1 < boxes.new_tensor([img_w, img_h])).all() and
                       (boxes[:, 2:].amax(0) + 1 > 0).all())  # fmt: skip
        return upstream(masks, boxes, img_h, img_w, skip_empty and reached)

    upstream = heads._do_paste_mask
    if not hasattr(upstream, "__wrapped__"):
        heads._do_paste_mask = functools.wraps(upstream)(paste)


@contextmanager
def _supplied(place: Any, name: str, value: object) -> Iterator[None]:
    """Set an attribute of a module or an object for as long as the block lasts."""
    missing = object()
    before = vars(place).get(name, missing)
    setattr(place, name, value)
    try:
        yield
    finally:
        if before is missing:
            delattr(place, name)
        else:
            setattr(place, name, before)
