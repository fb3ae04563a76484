"""Datasets of rbox_formats as mmengine reads them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal, get_args

from mmengine.dataset import BaseDataset
from mmrotate.registry import DATASETS
from rbox_formats import Dataset, ImageRecord, datasets
from rbox_formats.errors import DatasetError, RboxError, quoted, said
from rbox_formats.masks import Masks

from rbox_baselines._parts import _sources
from rbox_baselines.errors import ConfigError

#: How masks are given to a pipeline: as pixels, or, for its polygons (`LoadAnnotations(poly2mask=False)`), as outlines.
MaskForm = Literal["pixels", "outlines"]


@DATASETS.register_module()
class RBoxDataset(BaseDataset):
    """A dataset in any format that rbox_formats reads.

    Annotations are given as quads, for pipelines that begin with `LoadAnnotations(box_type="qbox")`, or as masks with
    the upright boxes around them. Images without a file are left out; in scoring `metainfo["records"]` has the records
    of all images, with which `RBoxMetric` compares. In training difficult objects count as others do, as in MMRotate
    (whose `diff_thr` is above every difficulty), except where masks are learnt, as COCO's crowds are not; in scoring
    they count neither way.

    Args:
        format: A name in `rbox_formats.datasets.FORMATS`.
        root: The dataset's folder or file.
        split: A part of it, where it has parts.
        metainfo: `{"classes": (...)}`, what the labels index.
        left_out: Other classes of the annotations, whose objects are passed over.
        masks: Gives masks in this form; objects without one have the pixels of their quad. None: gives quads.
        **settings: As of mmengine's BaseDataset: `pipeline`, `test_mode`, `filter_cfg`, `indices`, ...
    """

    def __init__(
        self,
        format: str,
        root: str,
        split: str | None,
        metainfo: dict[str, Any],
        left_out: Sequence[str] = (),
        masks: MaskForm | None = None,
        **settings: Any,
    ) -> None:
        if masks not in (None, *get_args(MaskForm)):
            raise ConfigError(f"expected masks as one of {', '.join(get_args(MaskForm))}, got {masks!r}")
        self._source = (format, root, split)
        self._left_out = tuple(left_out)
        self._masks = masks
        super().__init__(metainfo=metainfo, **settings)

    def load_data_list(self) -> list[dict[str, Any]]:
        """Return the images in the order of the dataset, in mmengine's form."""
        format, root, split = self._source
        found = _sources.read(format, root, split, self.metainfo["classes"], self._left_out)
        every = Dataset(found.class_names, list(found))
        if self.test_mode:
            # What a metric sees of a dataset besides its samples. Checkpoints keep that of the training data alone.
            self._metainfo["records"] = {record.image_id: record for record in every}
        return [self._item(record) for record in datasets.with_images(every)]

    def filter_data(self) -> list[dict[str, Any]]:
        """Leave images without objects out of training, where `filter_cfg` says so.

        Raises:
            DatasetError: If no image is left.
        """
        empty_too = self.test_mode or not (self.filter_cfg or {}).get("filter_empty_gt", False)
        kept = [item for item in self.data_list if empty_too or item["instances"]]
        if not kept:
            _, root, split = self._source
            raise DatasetError(f"expected images with objects in the split {quoted(split)}, got none", path=root)
        return kept

    def get_cat_ids(self, idx: int) -> list[int]:
        """Return the labels of one image, for `ClassBalancedDataset`."""
        return [instance["bbox_label"] for instance in self.get_data_info(idx)["instances"]]

    def _item(self, record: ImageRecord) -> dict[str, Any]:
        width, height = record.size
        return {
            "img_id": record.image_id,
            "img_path": str(record.file),
            "width": width,
            "height": height,
            "instances": list(self._with_quads(record) if self._masks is None else self._with_masks(record)),
        }

    def _with_quads(self, record: ImageRecord) -> Iterator[dict[str, Any]]:
        ignored = record.difficult & self.test_mode
        for quad, label, is_ignored in zip(record.corners, record.labels, ignored, strict=True):
            yield {"bbox": quad.reshape(8).tolist(), "bbox_label": int(label), "ignore_flag": int(is_ignored)}

    def _with_masks(self, record: ImageRecord) -> Iterator[dict[str, Any]]:
        masks = Masks.of_quads(record.corners) if record.masks is None else record.masks
        masks = masks.clipped(0, 0, *record.size)
        for mask, label, is_ignored in zip(masks, record.labels, record.difficult, strict=True):
            if not mask.area:
                continue
            shape = mask.to_coco(*record.size)
            if self._masks == "outlines":
                shape = [outline.ravel().tolist() for outline in mask.to_polygons()]
            yield {"bbox": [*mask.bounds], "bbox_label": int(label), "mask": shape, "ignore_flag": int(is_ignored)}


def opened(settings: Any) -> Any:
    """Open a dataset of a config, and read its list of images.

    Raises:
        RboxError: If it is not as its format says, or, where it is a class of MMRotate's own, cannot be opened.
    """
    try:
        dataset = DATASETS.build(settings)
        dataset.full_init()
    except (RboxError, OSError):
        raise
    except Exception as error:  # MMRotate's own datasets raise whatever comes
        raise ConfigError(
            f"expected the dataset that the config names, got {type(error).__name__}: {said(error)}",
            remedy="Name one: --data, and its --format and --split.",
        ) from error
    return dataset
