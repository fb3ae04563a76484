"""The mean average precision of rotated boxes as a torchmetrics metric (extra "torchmetrics")."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any
from zlib import crc32

import numpy as np
from rbox_formats import LE90, ClassNames, Convention, convert

from rbox_metrics._evaluation._evaluate import evaluate
from rbox_metrics._inputs import FlatBoxes, check_iou_thresholds, check_max_dets, from_dicts
from rbox_metrics._matching import choose
from rbox_metrics.errors import MetricsError
from rbox_metrics.typing import Geometry, IntsG, IntsN, ProtocolName

try:
    import torch
    from torchmetrics import Metric
    from torchmetrics.utilities.distributed import gather_all_tensors
    from torchmetrics.utilities.prints import rank_zero_warn
except ImportError as error:
    raise ImportError(
        "RotatedMeanAveragePrecision needs torchmetrics: pip install 'rbox-metrics[torchmetrics]'"
    ) from error

# torchmetrics' defaults; the defaults of `evaluate` are MMRotate's.
_MAX_DETS = (1, 10, 100)

# A row of a state: the box, its corners, the label, and the score of a detection or whether a truth is difficult.
_BOX, _QUAD, _LABEL, _LAST = slice(0, 5), slice(5, 13), 13, 14
_COLUMNS = 15

_SOME_SCORES = "some images have scores and others do not: give scores with all boxes, or with none"
_SCORES_KEY = "Each dictionary of preds has its scores under the key 'scores'."


class RotatedMeanAveragePrecision(Metric):
    """The mean average precision of rotated boxes, and COCO's recall, with torchmetrics' input and keys.

    It is used like torchmetrics' `MeanAveragePrecision`, with rotated boxes and with any protocol of `evaluate`.

    >>> import torch
    >>> metric = RotatedMeanAveragePrecision()
    >>> boxes = torch.tensor([[50.0, 50.0, 40.0, 20.0, 0.3]])  # cx, cy, w, h, angle
    >>> preds = [{"boxes": boxes, "scores": torch.tensor([0.9]), "labels": torch.tensor([0])}]
    >>> metric.update(preds, [{"boxes": boxes, "labels": torch.tensor([0])}])
    >>> metric.compute()["map"]
    tensor(1.)
    >>> dota = RotatedMeanAveragePrecision(protocol="dota", class_names=["ship", "plane"], class_metrics=True)
    >>> dota.update(preds, [{"boxes": boxes, "labels": torch.tensor([0])}])
    >>> dota.compute()["map_per_class"]  # of each of the names; -1: there is no plane to find
    tensor([ 1., -1.])

    Each rank may have any number of images, also none. The result is that of one process with all images, to the last
    bit, whichever rank has which image. For this, images are sorted by their content before detections of equal scores
    are; torchmetrics' own metric takes these in the order of the images. IoU and recall thresholds are COCO's in
    float64; torchmetrics rounds its defaults to float32, and so may miss a recall of exactly 0.3 (this changed
    `map_medium` of 24 images by 1.4e-4).

    `compute` returns tensors: `map`, `map_50`, `map_75`, `map_per_class`, and `classes`, the labels of that list: the
    labels that were seen, or those of all `class_names`. With COCO's protocol there are also `map_small`, `map_medium`,
    `map_large`, `mar_1`, `mar_10`, `mar_100` (one for each of `max_detection_thresholds`), `mar_small`, `mar_medium`,
    `mar_large` and `mar_100_per_class`. A value is -1 if it is not defined: there is no ground truth of that size or
    class, the threshold was not asked for, or `class_metrics` is False.

    Args:
        iou_thresholds: Each above 0, up to 1. Default: the protocol's, for COCO 0.5, 0.55, ..., 0.95, else 0.5.
        max_detection_thresholds: For COCO only: rising limits on the detections of a class on an image; `map` uses the
            last. Default: 1, 10, 100.
        class_metrics: Whether to compute the metrics of each class.
        geometry: What is compared: boxes ("rbox"), or corners as given ("quad"). Default: the protocol's.
        protocol: How the average precision is computed, as in `evaluate`.
        class_names: The classes, in the order of the labels; other labels are an error. Default: any label is allowed.
        convention: How boxes of five numbers give their angle, as in `from_dicts`.
        kwargs: Options of torchmetrics' `Metric`, such as `sync_on_compute`.

    Raises:
        MetricsError: If an option is not as described.
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False
    plot_lower_bound = 0.0
    plot_upper_bound = 1.0

    images: list[torch.Tensor]
    detections: list[torch.Tensor]
    truths: list[torch.Tensor]

    def __init__(
        self,
        iou_thresholds: Sequence[float] | None = None,
        max_detection_thresholds: Sequence[int] | None = None,
        class_metrics: bool = False,
        geometry: Geometry | None = None,
        *,
        protocol: ProtocolName = "coco",
        class_names: Iterable[str] | None = None,
        convention: Convention | str = LE90,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        _, self.geometry = choose(protocol, geometry)
        self.protocol: ProtocolName = protocol
        self.iou_thresholds = None if iou_thresholds is None else check_iou_thresholds(iou_thresholds)
        if max_detection_thresholds is not None and protocol != "coco":
            raise MetricsError(f"expected max_detection_thresholds only with protocol 'coco', got {protocol!r}")
        self.max_detection_thresholds = (
            None
            if protocol != "coco"
            else check_max_dets(
                _MAX_DETS if max_detection_thresholds is None else max_detection_thresholds, "max_detection_thresholds"
            )
        )
        self.class_metrics = class_metrics
        self.class_names = None if class_names is None else ClassNames(class_names)
        self.convention = convention
        convert(np.zeros((0, 5)), convention, LE90)  # raises an error if there is no such convention
        self._has_warned = False
        # When ranks are gathered, each list becomes one tensor: torchmetrics joins a list before it gathers.
        # In a collection, metrics whose states are equal share them: those of different conventions must not. The first
        # state, since older versions of torchmetrics look at no other.
        code = torch.tensor(crc32(repr(convention).encode()))
        self.add_state("convention_code", default=code, dist_reduce_fx="max")
        self.add_state("images", default=[], dist_reduce_fx="cat")
        self.add_state("detections", default=[], dist_reduce_fx="cat")
        self.add_state("truths", default=[], dist_reduce_fx="cat")

    def update(self, preds: Sequence[Mapping[str, Any]], target: Sequence[Mapping[str, Any]]) -> None:
        """Add images.

        Args:
            preds: A dictionary for each image. `boxes` are (N, 5) as (cx, cy, w, h, angle) in pixels and radians,
                clockwise unless `convention` says otherwise, or corners (N, 4, 2) or (N, 8). `labels` are (N,) whole
                numbers of 32 bits. `scores` are (N,); every protocol ranks by them. If no image has scores, each score
                is 1, and a warning says so.
            target: A dictionary for each image, with `boxes` and `labels` of the same shapes, and optionally
                `difficult` or `iscrowd` (N,).

        Raises:
            MetricsError: If the two lists differ in length, a label is not among `class_names`, some of all added
                images have scores and others do not, or `from_dicts` refuses the input.
        """
        if len(preds) != len(target):
            raise MetricsError(f"expected as many preds as target, one per image, got {len(preds)} and {len(target)}")
        if not len(preds):
            return
        found = from_dicts(preds, convention=self.convention)
        bare = [{key: value for key, value in image.items() if key != "scores"} for image in target]
        truth = from_dicts(bare, convention=self.convention)
        scores = self._scores(found)
        for name, flat in (("preds", found), ("target", truth)):
            if self.class_names is not None and len(flat):
                out = (flat.labels < 0) | (flat.labels >= len(self.class_names))
                if out.any():
                    raise MetricsError(
                        f"expected labels of the {len(self.class_names)} class_names, from 0, got "
                        f"{flat.labels[out.argmax()]} in {name}[{flat.image_index[out.argmax()]}]"
                    )
            if len(flat) and not -(2**31) <= flat.labels.min() <= flat.labels.max() < 2**31:
                raise MetricsError("expected labels of at most 32 bits, as torchmetrics returns them, got larger ones")
        counts = [np.bincount(flat.image_index, minlength=len(preds)) for flat in (found, truth)]
        self.images.append(torch.from_numpy(np.stack(counts, axis=1)).to(self.device))
        self.detections.append(self._rows(found, scores))
        self.truths.append(self._rows(truth, truth.difficult))

    def _scores(self, found: FlatBoxes) -> np.ndarray:
        """Return the scores for a state, NaN where there are none: so they are compared with other ranks'."""
        if not len(found):
            return np.zeros(0)
        earlier = [state[0, _LAST].isnan().item() for state in self.detections if len(state)]
        if earlier and earlier[-1] != (found.scores is None):
            raise MetricsError(_SOME_SCORES, remedy=_SCORES_KEY)
        if found.scores is not None:
            return found.scores
        if not self._has_warned:
            rank_zero_warn(
                f"preds have no 'scores', by which the protocol {self.protocol!r} ranks: each score counts as 1, and "
                "metrics depend on the order of detections with equal scores. To compare detectors without scores, use "
                "mAP_nc: rbox_metrics.evaluate",
                UserWarning,
            )
            self._has_warned = True
        return np.full(len(found), np.nan)

    def plot(
        self, val: Mapping[str, torch.Tensor] | Sequence[Mapping[str, torch.Tensor]] | None = None, ax: Any = None
    ) -> Any:
        """Draw the metrics as torchmetrics' metrics are drawn; it needs matplotlib.

        Only single values are drawn: not `classes`, not the lists per class, and no value that is always -1.

        >>> import torch
        >>> boxes = torch.tensor([[50.0, 50.0, 40.0, 20.0, 0.3]])
        >>> metric = RotatedMeanAveragePrecision(protocol="voc")
        >>> image = {"boxes": boxes, "labels": torch.tensor([0])}
        >>> metric.update([image | {"scores": torch.tensor([0.9])}], [image])
        >>> figure, axes = metric.plot()
        >>> [line.get_label() for line in axes.lines]
        ['map', 'map_50']

        Args:
            val: A result of `compute` or `forward`, or a list of such results, which is drawn as lines over the steps.
                Default: the result of `compute`.
            ax: The axes of matplotlib to draw on. Default: those of a new figure.

        Returns:
            The figure of matplotlib (None if `ax` was given) and the axes.
        """  # words: figure
        given = self.compute() if val is None else val
        steps = [given] if isinstance(given, Mapping) else list(given)
        names = [name for name in (steps[0] if steps else {}) if any(_is_figure(name, step[name]) for step in steps)]
        kept = [{name: step[name] for name in names or ["map"]} for step in steps]
        return self._plot(kept[0] if isinstance(given, Mapping) else kept, ax)

    def compute(self) -> dict[str, torch.Tensor]:
        """Compute the metrics of all images; the class says which."""
        counts = _whole(self.images, 2, torch.int64)
        detections, truths = _whole(self.detections, _COLUMNS), _whole(self.truths, _COLUMNS)
        order = _by_content(counts, detections, truths)
        without = np.isnan(detections[:, _LAST])
        if without.any() and not without.all():  # on different ranks
            raise MetricsError(_SOME_SCORES, remedy=_SCORES_KEY)
        labels = np.concatenate([detections[:, _LABEL], truths[:, _LABEL]]).astype(np.int64)
        classes = np.arange(len(self.class_names or ()))
        if self.class_names is None:
            classes, labels = np.unique(labels, return_inverse=True)
        report = evaluate(
            _flat(truths, counts[:, 1], order, labels[len(detections) :], difficult=truths[:, _LAST]),
            _flat(
                detections,
                counts[:, 0],
                order,
                labels[: len(detections)],
                scores=np.where(without, 1.0, detections[:, _LAST]),
            ),
            self.class_names or [str(label) for label in classes],
            protocol=self.protocol,
            geometry=self.geometry,
            iou_thresholds=self.iou_thresholds,
            max_dets=self.max_detection_thresholds,
        )
        return self._tensors(report.figures, classes)

    def _tensors(self, figures: Mapping[str, Any], classes: IntsN) -> dict[str, torch.Tensor]:
        names, per_class = ["map", "map_50", "map_75"], ["map_per_class"]
        if self.max_detection_thresholds is not None:
            names += ["map_small", "map_medium", "map_large"]
            names += [f"mar_{limit}" for limit in self.max_detection_thresholds]
            names += ["mar_small", "mar_medium", "mar_large"]
            per_class.append(f"mar_{self.max_detection_thresholds[-1]}_per_class")
        found: dict[str, Any] = {name: figures.get(name, math.nan) for name in names}
        for name in per_class:
            found[name] = figures[name] if self.class_metrics else math.nan
        tensors = {name: torch.tensor(value, dtype=torch.float32) for name, value in found.items()}
        tensors = {name: value.nan_to_num(nan=-1.0).to(self.device) for name, value in tensors.items()}
        return {**tensors, "classes": torch.from_numpy(classes.astype(np.int32)).to(self.device)}

    def _rows(self, flat: FlatBoxes, last: np.ndarray) -> torch.Tensor:
        """Return boxes as rows of a state."""
        columns = [flat.boxes, flat.corners.reshape(-1, 8), flat.labels[:, None], last[:, None]]
        return torch.from_numpy(np.concatenate(columns, axis=1, dtype=np.float64)).to(self.device)

    def _sync_dist(self, dist_sync_fn: Callable | None = None, process_group: Any | None = None) -> None:
        """Gather the states of all ranks; a rank without images gives tensors without rows, of the same shape and type.

        torchmetrics would bring a vector of float32, which cannot be gathered with tables of float64.
        """
        for name, columns, dtype in (
            ("images", 2, torch.int64),
            ("detections", _COLUMNS, torch.float64),
            ("truths", _COLUMNS, torch.float64),
        ):
            if isinstance(getattr(self, name), list) and not getattr(self, name):
                setattr(self, name, [torch.zeros((0, columns), dtype=dtype, device=self.device)])
        super()._sync_dist(dist_sync_fn or gather_all_tensors, process_group)


def _is_figure(name: str, value: torch.Tensor) -> bool:
    return name != "classes" and not name.endswith("_per_class") and bool((value != -1).any())


def _whole(state: list[torch.Tensor] | torch.Tensor, columns: int, dtype: torch.dtype = torch.float64) -> np.ndarray:
    """Return a state's rows: a state is a list while it grows, and one tensor after the ranks have met."""
    if isinstance(state, list):
        state = torch.cat(state) if state else torch.zeros((0, columns), dtype=dtype)
    return state.cpu().numpy()


def _by_content(counts: np.ndarray, detections: np.ndarray, truths: np.ndarray) -> IntsG:
    """Return each image's place in an order that depends on the contents of the images and not on how they came."""
    rows = [
        array[np.lexsort((*array.T, np.repeat(np.arange(len(counts)), counts[:, column])))]
        for array, column in ((truths, 1), (detections, 0))
    ]
    bounds = [np.concatenate([[0], np.cumsum(counts[:, column])]) for column in (1, 0)]
    keys = [
        tuple(array[bound[i] : bound[i + 1]].tobytes() for array, bound in zip(rows, bounds, strict=True))
        for i in range(len(counts))
    ]
    places = np.empty(len(counts), dtype=np.int64)
    places[sorted(range(len(counts)), key=keys.__getitem__)] = np.arange(len(counts))
    return places


def _flat(
    rows: np.ndarray,
    counts: np.ndarray,
    order: IntsG,
    labels: np.ndarray,
    *,
    scores: np.ndarray | None = None,
    difficult: np.ndarray | None = None,
) -> FlatBoxes:
    """Return rows of a state as flat boxes, with the images numbered in the given order."""
    return FlatBoxes(
        boxes=np.ascontiguousarray(rows[:, _BOX]),
        labels=labels.astype(np.int64),
        image_index=np.repeat(order, counts),
        scores=scores,
        difficult=np.zeros(len(rows), bool) if difficult is None else difficult.astype(bool),
        quads=np.ascontiguousarray(rows[:, _QUAD]).reshape(-1, 4, 2),
    )
