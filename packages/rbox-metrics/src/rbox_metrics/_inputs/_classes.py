"""From the classes of a detector to those of a dataset."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, overload

import numpy as np
from rbox_formats import ClassNames, Dataset, ImageRecord
from rbox_formats.errors import listed, quoted
from rbox_formats.parsing import class_mapping

from rbox_metrics._inputs._flat import FlatBoxes
from rbox_metrics.errors import MetricsError
from rbox_metrics.typing import IntsC

_DROPPED = -1


@overload
def map_classes(  # type: ignore[overload-overlap]  # a dataset is records too, and stays one
    predictions: Dataset,
    source_names: Iterable[str],
    target_names: Iterable[str],
    mapping: Mapping[str, str | None] | None = None,
) -> Dataset: ...
@overload
def map_classes(
    predictions: FlatBoxes,
    source_names: Iterable[str],
    target_names: Iterable[str],
    mapping: Mapping[str, str | None] | None = None,
) -> FlatBoxes: ...
@overload
def map_classes(
    predictions: Iterable[ImageRecord],
    source_names: Iterable[str],
    target_names: Iterable[str],
    mapping: Mapping[str, str | None] | None = None,
) -> list[ImageRecord]: ...
def map_classes(
    predictions: Dataset | FlatBoxes | Iterable[ImageRecord],
    source_names: Iterable[str],
    target_names: Iterable[str],
    mapping: Mapping[str, str | None] | None = None,
) -> Dataset | FlatBoxes | list[ImageRecord]:
    """Turn labels of a detector's classes into labels of a dataset's classes.

    A class that `mapping` does not name is mapped to the target class of the same name. Names are compared as
    `ClassNames` does: without regard to case, '-', '_' and spaces. Several classes may be mapped to the same one.

    >>> from rbox_metrics import from_arrays
    >>> found = from_arrays([[50, 40, 20, 10, 0.3], [9, 9, 4, 4, 0]], labels=[0, 1], image_index=[0, 0])
    >>> map_classes(found, ["boat", "car"], ["plane", "ship"], {"boat": "ship", "car": None}).labels.tolist()
    [1]

    Args:
        predictions: A dataset, flat boxes, or records.
        source_names: The detector's classes, in the order of the labels of `predictions`.
        target_names: The dataset's classes, in the order of the labels of the result.
        mapping: From a source class to a target class, or to None to drop the boxes of the source class.

    Returns:
        The same type as `predictions`; a list if those are records. Records of a dataset are mapped when they are read.

    Raises:
        MetricsError: If a source class has no target, `mapping` names a class that is in neither list, or a label has
            no source class.
    """
    source, target = ClassNames(source_names), ClassNames(target_names)
    table = _table(source, target, mapping or {})
    if isinstance(predictions, FlatBoxes):
        return _map_flat(predictions, table)
    if isinstance(predictions, Dataset):
        return replace(predictions, class_names=target, load=partial(_load, load=predictions.load, table=table))
    return [_map_record(record, table) for record in predictions]


def read_class_mapping(path: str | Path) -> dict[str, str | None]:
    """Read a mapping for `map_classes` from a JSON file: `{"small vehicle": "vehicle", "helipad": null}`.

    null drops the boxes of a class.

    >>> import json, tempfile
    >>> from pathlib import Path
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "classes.json")
    ...     _ = path.write_text(json.dumps({"van": "vehicle", "helipad": None}))
    ...     read_class_mapping(path)
    {'van': 'vehicle', 'helipad': None}

    Raises:
        MetricsError: If the file cannot be read, or contains something else.
    """
    return class_mapping.read(path, MetricsError)


def _table(source: ClassNames, target: ClassNames, mapping: Mapping[str, str | None]) -> IntsC:
    """Return the target's label of each source label, `_DROPPED` for those that are left out."""
    table = np.array([_DROPPED if (label := target.find(name)) is None else label for name in source], dtype=np.int64)
    without = {label for label, to in enumerate(table) if to == _DROPPED}
    named: dict[int, str] = {}
    for name, to in mapping.items():
        label = source.find(name)
        if label is None:
            raise MetricsError(
                f"expected a class of the detector to map from, among {listed(source)}, got {quoted(name)}"
            )
        if label in named:
            raise MetricsError(
                f"expected each class once in the mapping, got {quoted(named[label])} and {quoted(name)}"
            )
        named[label] = name
        found = _DROPPED if to is None else target.find(to)
        if found is None:
            raise MetricsError(
                f"expected a class of the dataset to map {quoted(name)} to, among {listed(target)}, got {quoted(to)}"
            )
        table[label] = found
    if unnamed := sorted(without - named.keys()):
        some = ", ".join(repr(source[label]) for label in unnamed)
        raise MetricsError(
            f"the dataset has no class for the detector's {some}; it has {listed(target)}",
            remedy="Map each in the class mapping to one of the dataset's classes, or to null to drop its boxes.",
        )
    return table


def _mapped(labels: Any, table: IntsC, name: str) -> Any:
    """Return the labels (N,) in the target's list, `_DROPPED` for boxes that are left out."""
    bad = (labels < 0) | (labels >= len(table))
    if bad.any():
        raise MetricsError(f"expected labels of {len(table)} classes, from 0, got {labels[bad][0]} {name}")
    return table[labels]


def _map_flat(boxes: FlatBoxes, table: IntsC) -> FlatBoxes:
    labels = _mapped(boxes.labels, table, "in the flat boxes")
    keep = labels != _DROPPED

    def pick(column: Any) -> Any:
        return None if column is None else column[keep]

    return FlatBoxes(
        boxes=boxes.boxes[keep],
        labels=labels[keep],
        image_index=boxes.image_index[keep],
        scores=pick(boxes.scores),
        difficult=boxes.difficult[keep],
        image_ids=boxes.image_ids,
        quads=pick(boxes.quads),
    )


def _map_record(record: ImageRecord, table: IntsC) -> ImageRecord:
    labels = _mapped(record.labels, table, f"on {quoted(record.image_id)}")
    if (labels == record.labels).all():
        return record
    if (labels == _DROPPED).any():
        keep = labels != _DROPPED
        record, labels = record.select(keep), labels[keep]
    return replace(record, labels=labels)


def _load(source: Any, load: Any, table: IntsC) -> ImageRecord:
    return _map_record(load(source), table)
