"""FAIR1M's submissions: the XML files of its annotations with a `<probability>`, in a folder or a zip.

There is one file per image, named after it, directly in the folder, or in its folder `test` or `labelXml`; in a zip, in
any folder. `rbox_formats.datasets.fair1m` says what is in them. A file without objects is an image without detections.
A file's own values for the image's name and size are not read: writers leave placeholders there.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from rbox_formats import ClassNames, ImageRecord
from rbox_formats.datasets import Annotation, fair1m
from rbox_formats.parsing import xml_elements
from rbox_formats.parsing.xml_elements import Element

from rbox_metrics._inputs.predictions._members import members
from rbox_metrics._inputs.predictions._source import Predictions, Source
from rbox_metrics.errors import MetricsError

FOLDERS = ("test", "labelXml")
_NOT_READ = ("size/width", "size/height", "source/filename")


def read(source: Source) -> Predictions:
    """Read a submission; see `read_predictions`. By default the classes are FAIR1M's."""
    names = source.context.class_names or fair1m.CLASS_NAMES
    records = [_record(path, names) for path in members(source.path, ".xml", FOLDERS)]
    if not records:
        raise MetricsError("expected XML files, one per image, found none", path=source.path)
    return Predictions.of(names, records, "fair1m-results", has_empty_images=True)


def _record(path: Path, names: ClassNames) -> ImageRecord:
    found = xml_elements.read(path, partial(_parse, names=names))
    return ImageRecord(path.stem, found.boxes, found.labels, quads=found.quads, scores=found.scores)


def _parse(root: Element, names: ClassNames) -> Annotation:
    # The element is emptied and not removed: errors find its line by its place among all elements.
    for element in (element for path in _NOT_READ for element in root.iterfind(path)):
        element.text = None
    return fair1m.parse(root, names)
