"""Rank the images of a predictions file of any kind."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from rbox_formats import ImageRecord, files
from rbox_formats.errors import quoted, said

from rbox_metrics._inputs.predictions import read_predictions
from rbox_metrics.errors import MetricsError
from rbox_metrics.mining._diversity import described
from rbox_metrics.mining._rank import algorithm_of, order_of, rank_images

#: How a ranking's file may end.
WRITTEN = (".csv", ".json", ".txt")


class Ranked(NamedTuple):
    """An image's place in a ranking.

    >>> from rbox_metrics.mining import Ranked
    >>> Ranked("P0001", 0.5).score
    0.5

    Attributes:
        image_id: The image.
        score: What it was ranked by.
    """

    image_id: str
    score: float


def rank_file(
    predictions_path: str | Path,
    algorithm: str = "entropy",
    *,
    others: Sequence[str | Path] = (),
    features: str | Path | None = None,
    labelled: Sequence[str] = (),
    limit: int | None = None,
    score_threshold: float = 0.1,
    seed: int = 0,
    **reading: Any,
) -> list[Ranked]:
    """Rank the images of a predictions file by how much a detector would learn from their labels.

    >>> from rbox_metrics.mining import rank_file
    >>> rank_file("predictions.jsonl", "margin", limit=20)  # doctest: +SKIP

    Args:
        predictions_path: A file, a zip or a folder of any kind that `rbox_metrics.read_predictions` reads.
        algorithm: A name in `ALGORITHMS`.
        others: Other predictions of the same images, of the same kind and in the coordinates of the images, for
            algorithms that compare looks at an image. An image that one of them leaves out has nothing there.
        features: A .npz file with `image_ids` (N,) and `features` (N, D), for "diversity". None: what was detected
            describes an image.
        labelled: The ids of images that are labelled already. They are not ranked, and "diversity" stays away from
            them.
        limit: How many images to return. None: all.
        score_threshold: Detections of this score or less do not count.
        seed: Random seed of "random".
        **reading: As of `rbox_metrics.read_predictions`.

    Returns:
        The images, the first to be labelled first.

    Raises:
        RboxError: If a file cannot be read, the algorithm is unknown, or an image has no features.
    """
    chosen = algorithm_of(algorithm)
    every = list(read_predictions(predictions_path, **reading))
    done = set(labelled)
    records = [record for record in every if record.image_id not in done]
    views = []
    if chosen.needs == "views":
        views = [_aligned(read_predictions(path, **reading), records) for path in others]
    rows, known = None, None
    if chosen.needs == "features":
        by_id = _described(every) if features is None else _read_features(Path(features))
        rows = _of([record.image_id for record in records], by_id, features or predictions_path)
        known = _of([name for name in labelled if features is not None or name in by_id], by_id, features or "")
    scores = rank_images(
        records,
        algorithm,
        views=views,
        features=rows,
        labelled=known,
        score_threshold=score_threshold,
        seed=seed,
    )
    return [Ranked(records[place].image_id, float(scores[place])) for place in order_of(scores)[:limit]]


def write_ranking(path: str | Path, ranking: Sequence[Ranked]) -> Path:
    """Write a ranking: a table (.csv), a list of objects (.json), or the images' ids, one a line (.txt).

    >>> from tempfile import TemporaryDirectory
    >>> from rbox_metrics.mining import Ranked, write_ranking
    >>> with TemporaryDirectory() as folder:
    ...     write_ranking(f"{folder}/next.csv", [Ranked("P0001", 0.5)]).read_text().split()
    ['image_id,score', 'P0001,0.5']

    Args:
        path: The file.
        ranking: What `rank_file` returned.

    Raises:
        MetricsError: If the file has another ending.
    """
    path = files.as_path(path, MetricsError)
    check_ending(path)
    if path.suffix == ".txt":
        text = "".join(f"{each.image_id}\n" for each in ranking)
    elif path.suffix == ".json":
        text = json.dumps([each._asdict() for each in ranking], indent=1, ensure_ascii=False) + "\n"
    else:
        stream = io.StringIO(newline="")
        rows = csv.writer(stream, lineterminator="\n")
        rows.writerows([Ranked._fields, *ranking])
        text = stream.getvalue()
    files.write_text(path, text)
    return path


def check_ending(path: str | Path) -> None:
    """Check how the file of a ranking ends.

    >>> from rbox_metrics.mining import check_ending
    >>> check_ending("next.csv")

    Raises:
        MetricsError: If it ends otherwise.
    """
    if Path(path).suffix not in WRITTEN:
        raise MetricsError(f"expected a file ending in {', '.join(WRITTEN)}", path=path)


def _aligned(view: Any, records: Sequence[ImageRecord]) -> list[ImageRecord]:
    by_id = {record.image_id: record for record in view}
    return [by_id.get(record.image_id, ImageRecord(record.image_id, np.zeros((0, 5)), [])) for record in records]


def _described(records: Sequence[ImageRecord]) -> dict[str, np.ndarray]:
    return dict(zip((record.image_id for record in records), described(records), strict=True))


def _of(names: Sequence[str], by_id: Mapping[str, np.ndarray], path: str | Path) -> np.ndarray | None:
    missing = [name for name in names if name not in by_id]
    if missing:
        raise MetricsError(f"expected features of every image, got none of {quoted(missing[0])}", path=path)
    return np.stack([by_id[name] for name in names]) if names else None


def _read_features(path: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as found:
            names, rows = found["image_ids"], found["features"]
    except (OSError, ValueError, KeyError, EOFError) as error:
        raise MetricsError(
            f"expected a .npz file with image_ids and features, got: {said(error)}", path=path
        ) from error
    if names.ndim != 1 or rows.ndim != 2 or len(names) != len(rows):
        raise MetricsError(f"expected image_ids (N,) and features (N, D), got {names.shape}, {rows.shape}", path=path)
    return dict(zip((str(name) for name in names), rows, strict=True))
