"""Zips of detections as the servers of DOTA and FAIR1M take them.

Both are written whole or not at all, and the same detections give the same bytes. Coordinates have six decimals: more
than any annotation, and enough that no overlap of boxes of a pixel changes by 1e-6. Scores have all their digits, so
that different scores stay different.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from rbox_formats import ClassNames, ImageRecord, files
from rbox_formats.errors import quoted

from rbox_metrics._inputs import check_indices, check_quads, check_scores
from rbox_metrics.errors import MetricsError

_DECIMALS = 6

# What FAIR1M's annotations, and results in public repositories, say about their source.
_FAIR1M_FIELDS = {
    "source/origin": "GF2/GF3",
    "research/version": "1.0",
    "research/provider": "unknown",
    "research/author": "unknown",
    "research/pluginname": "FAIR1M",
    "research/pluginclass": "object detection",
    "research/time": "2021-03",
}


def write_dota_submission(path: str | Path, predictions: Iterable[ImageRecord], class_names: Iterable[str]) -> Path:
    """Write a zip for DOTA's server (Task 1, oriented boxes).

    The zip has a file `Task1_<class>.txt` for every class, also for those without detections. The file has a line for
    each detection, `image score x1 y1 x2 y2 x3 y3 x4 y4`, in the order of the images. Spaces in a class name become
    '-'.

    >>> import tempfile
    >>> import numpy as np
    >>> from rbox_formats import ImageRecord
    >>> from rbox_metrics import read_predictions
    >>> found = [ImageRecord("P1", np.array([[50, 40, 20, 10, 0]]), np.array([0]), scores=np.array([0.9]))]
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = write_dota_submission(f"{folder}/out.zip", found, ["ship"])
    ...     [(record.image_id, record.boxes.tolist()) for record in read_predictions(path)]
    [('P1', [[50.0, 40.0, 20.0, 10.0, 0.0]])]

    Args:
        path: The zip to write.
        predictions: The records; they are iterated once. A record's quads are written if it has them, else the corners
            of its boxes. Detections without scores get the score 1.
        class_names: The classes, in the order of the labels.

    Returns:
        The path of the zip.

    Raises:
        RboxError: If an image comes twice or its id has a space, a label is out of range, or a number is not finite.
    """
    from rbox_formats.parsing.lines import one_field, shortest

    names = ClassNames(class_names)
    lines: list[list[str]] = [[] for _ in names]
    for record, quads, scores in _checked(predictions, names):
        if len(record.image_id.split()) != 1:
            raise MetricsError(f"expected an image id without spaces, got {quoted(record.image_id)}")
        rows = quads.reshape(-1, 8).tolist()
        for label, score, numbers in zip(record.labels.tolist(), scores.tolist(), rows, strict=True):
            lines[label].append(" ".join([record.image_id, *map(shortest, (score, *numbers))]))
    folder = Path("Task1")
    members = {
        files.safe_name(f"Task1_{one_field(name)}.txt", folder): "".join(f"{line}\n" for line in of_class).encode()
        for name, of_class in zip(names, lines, strict=True)
    }
    return _write_zip(files.as_path(path, MetricsError), members.items())


def write_fair1m_submission(
    path: str | Path,
    predictions: Iterable[ImageRecord],
    class_names: Iterable[str],
    *,
    details: Mapping[str, str] | None = None,
) -> Path:
    """Write a zip for FAIR1M's server: `test/<image_id>.xml`, one per image, also where nothing was found.

    The XML is that of FAIR1M's annotations (see `rbox_formats.datasets.fair1m`) with a `<probability>`. The server's
    page is no longer public; the layout is the one that public writers of such results agree on (forks of MMRotate with
    a FAIR1MDataset, JDet's `dota_to_fair`).

    >>> import tempfile
    >>> import numpy as np
    >>> from rbox_formats import ImageRecord
    >>> from rbox_metrics import read_predictions
    >>> found = [ImageRecord("7", np.array([[50, 40, 20, 10, 0]]), np.array([0]), scores=np.array([0.9]))]
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = write_fair1m_submission(f"{folder}/test.zip", found, ["Boeing737"])
    ...     [(record.image_id, record.boxes.tolist()) for record in read_predictions(path, class_names=["Boeing737"])]
    [('7', [[50.0, 40.0, 20.0, 10.0, 0.0]])]

    Args:
        path: The zip to write; the writers named above call it `test.zip`.
        predictions: The records, as in `write_dota_submission`; the zip has a file for each.
        class_names: The classes, in the order of the labels.
        details: What the files say about the sender: "provider", "author", and the other elements of `<research>`.

    Returns:
        The path of the zip.

    Raises:
        RboxError: As `write_dota_submission`, or if `details` has another key.
    """
    from rbox_formats import datasets

    names = ClassNames(class_names)
    known = [field.removeprefix("research/") for field in _FAIR1M_FIELDS if field.startswith("research/")]
    given = dict(details or {})
    if unknown := sorted(given.keys() - set(known)):
        raise MetricsError(f"expected details among {', '.join(known)}, got {', '.join(unknown)}")

    def completed() -> Iterator[ImageRecord]:
        for record, quads, scores in _checked(predictions, names):
            metadata = {**_FAIR1M_FIELDS, **record.metadata}
            metadata |= {f"research/{key}": value for key, value in given.items()}
            yield replace(record, quads=quads, scores=scores, metadata=metadata)

    path = files.as_path(path, MetricsError)
    with files.reaching(path, "a place to write to"):
        path.parent.mkdir(parents=True, exist_ok=True)
    with files.temporary_folder(path.parent) as scratch:
        folder = datasets.write("fair1m", completed(), scratch, None, names)
        found = sorted(folder.glob("*.xml"), key=lambda file: file.name)
        return _write_zip(path, ((f"test/{file.name}", file.read_bytes()) for file in found))


def _checked(predictions: Iterable[ImageRecord], names: ClassNames) -> Iterator[tuple[ImageRecord, Any, Any]]:
    """Yield each record with its corners (N, 4, 2), rounded, and its scores (N,)."""
    seen: set[str] = set()
    for record in predictions:
        if record.image_id in seen:
            raise MetricsError(f"expected each image once, got {quoted(record.image_id)} again")
        seen.add(record.image_id)
        n, image = len(record), f"image {quoted(record.image_id)}"
        scores = np.ones(n) if record.scores is None else record.scores
        check_indices(record.labels, n, f"the labels of {image}", below=len(names))
        quads = check_quads(record.corners, f"the corners on {image}")
        check_scores(scores, n, lambda index: f"box {index} of {image}")  # noqa: B023  # called at once
        yield record, np.round(quads, _DECIMALS) + 0.0, scores  # plus zero: -0 is 0


def _write_zip(path: Path, members: Iterable[tuple[str, bytes]]) -> Path:
    with files.replacing(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for name, content in members:
            # The same time and rights for all: the bytes depend on the detections alone.
            info = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
            info.create_system, info.external_attr = 3, 0o644 << 16
            archive.writestr(info, content, compress_type=zipfile.ZIP_DEFLATED)
    return path
