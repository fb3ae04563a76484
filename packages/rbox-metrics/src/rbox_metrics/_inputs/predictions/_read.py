"""`read_predictions`, and what kinds of files there are."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path

from rbox_formats import ClassNames, Convention, Dataset, archives, datasets, files, predictions

from rbox_metrics._inputs.predictions import _members
from rbox_metrics._inputs.predictions._source import Context, Predictions, Source, convention_of
from rbox_metrics.errors import MetricsError


@dataclass(frozen=True)
class Kind:
    """A kind of predictions file.

    Attributes:
        module: The module that reads it, loaded when it is needed.
        text: What it is, for an error's remedy.
    """

    module: str
    text: str

    @property
    def read(self) -> Callable[[Source], Predictions]:
        """The function that reads this kind."""
        return import_module(f"rbox_metrics._inputs.predictions.{self.module}").read


KINDS: dict[str, Kind] = {
    "predictions": Kind("_jsonl", "predictions.jsonl, as lmm-detector and rbox-baselines write it, or Parquet"),
    "dota-task1": Kind("_task1", "DOTA's Task1_<class>.txt, in a folder or a zip"),
    "coco-results": Kind("_coco", "COCO's results, a JSON array"),
    "ultralytics": Kind("_ultralytics", "what Ultralytics' predict save_txt save_conf writes, a folder"),
    "fair1m-results": Kind("_fair1m", "FAIR1M's XML with <probability>, in a folder or a zip"),
}
"""The kinds that are recognised by their content. Any dataset format can be named instead."""


_PICKLES = (".pkl", ".pickle")


def read_predictions(
    path: str | Path | Sequence[str | Path],
    truth: Dataset | None = None,
    *,
    class_names: Iterable[str] | None = None,
    format: str | None = None,
    split: str | None = None,
    annotations: str | Path | None = None,
    convention: Convention | str | None = None,
) -> Predictions:
    """Read detections from a file or folder of any known kind.

    >>> import json, tempfile
    >>> from pathlib import Path
    >>> entry = {"image_id": "P0706", "category_id": 0, "bbox": [50, 40, 20, 10, 0], "score": 0.9}
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "results.json")
    ...     _ = path.write_text(json.dumps([entry]))
    ...     found = read_predictions(path, class_names=["ship"])
    >>> [(record.image_id, record.boxes.tolist()) for record in found], found.angles
    ([('P0706', [[50.0, 40.0, 20.0, 10.0, 0.0]])], 'degrees-counter-clockwise')

    Args:
        path: A file, a zip or a folder; or a list of the files of one run, of the kind "predictions".
        truth: The ground truth with which the detections will be compared. COCO results take the names of images from
            it, Ultralytics' files the sizes of images, and both the names of classes if these are not given otherwise.
            Other kinds contain all this themselves.
        class_names: The detector's classes, in the order of the labels. Give them if they are not those of the ground
            truth; `map_classes` maps one to the other. Default: the classes that the file names (the header of
            predictions.jsonl, the names of Task1 files in alphabetical order, the classes of a dataset format), or
            FAIR1M's classes.
        format: The kind: "predictions", "dota-task1", "coco-results", "fair1m-results", "ultralytics", or a dataset
            format in `rbox_formats.datasets.FORMATS`, with or without scores. Default: recognised by the content,
            except for dataset formats.
        split: The split of a dataset, if `format` is a dataset format.
        annotations: The ground truth's COCO file, which says what the numbers of images and classes in COCO results
            mean.
        convention: How COCO results give the angles of `bbox`: a convention, the name of one in
            `rbox_formats.CONVENTIONS`, or degrees-counter-clockwise, degrees-clockwise, radians-counter-clockwise or
            radians-clockwise. Default: degrees, counter-clockwise, as in COCO ground truth; if the angles may as well
            be radians, this is an error. Other kinds have one convention each.

    Returns:
        A dataset with a record for each image that the file names; its attribute `kind` is the kind of the file.

    Raises:
        RboxError: If there is no such file, its kind is not clear, or something in it does not fit the kind. The error
            has the file, the line or place, what was expected, and what to do.
    """
    several = paths_of(path)
    for one in several:
        if not one.exists():
            raise MetricsError("expected a predictions file or folder, found none", path=one)
    path = several[0]
    kind = kind_of(path) if format is None else format
    if len(several) > 1 and kind != "predictions":
        raise MetricsError(f"expected one file or folder of the kind {kind}, got {len(several)}", path=several[1])
    if annotations is not None and kind != "coco-results":
        raise MetricsError(f"expected COCO results, since a COCO file of annotations is given, got {kind}", path=path)
    if convention is not None:
        convention = convention_of(convention)
        if kind != "coco-results":
            raise MetricsError(f"expected COCO results, since a convention of angles is given, got {kind}", path=path)
    if isinstance(kind, str) and kind in KINDS:
        names = None if class_names is None else ClassNames(class_names)
        context = Context(class_names=names, convention=convention, split=split)
        if kind == "coco-results":
            context = _with_ids(context, truth, annotations)
        if kind == "ultralytics" and truth is not None:
            context = _with_sizes(context, truth)
        return KINDS[kind].read(Source(path, context, tuple(several)))
    return _read_dataset(kind, path, split, class_names)


def paths_of(path: str | Path | Sequence[str | Path]) -> list[Path]:
    """Return the one path or the several that are given.

    Raises:
        MetricsError: If there is none, or one is no path.
    """
    given = path if isinstance(path, Sequence) and not isinstance(path, str) else [path]
    if not given:
        raise MetricsError("expected predictions files, got an empty list")
    return [files.as_path(one, MetricsError) for one in given]


def _read_dataset(format: str, path: Path, split: str | None, class_names: Iterable[str] | None) -> Predictions:
    from rbox_formats import datasets

    if not isinstance(format, str) or format not in datasets.FORMATS:
        raise MetricsError(
            f"expected a kind of predictions among {', '.join(KINDS)}, or a dataset format among "
            f"{', '.join(datasets.FORMATS)}, got {format!r}"
        )
    found = datasets.read(format, path, split, class_names)
    return Predictions(found.class_names, found.sources, found.load, kind=format, has_empty_images=True)


def kind_of(path: Path) -> str:
    """Return the kind of a file or folder, by its content.

    Raises:
        MetricsError: If it is not clear.
    """
    if path.is_dir():
        names = [file.name for folder in (path, path / "test", path / "labelXml") for file in _visible(folder)]
    elif archives.is_archive(path):
        names = _members.names(path)
    else:
        return _kind_of_file(path)
    if any(name.startswith("Task1_") and name.lower().endswith(".txt") for name in names):
        return "dota-task1"
    if any(name.lower().endswith(".xml") for name in names):
        return "fair1m-results"
    if path.is_dir() and _has_shares(path):
        return "ultralytics"
    if path.is_dir() and predictions.parts(path):
        return "predictions"
    raise _unclear(path)


def _has_shares(path: Path) -> bool:
    """Return whether the first text file of a folder with a line in it is one of Ultralytics'."""
    from rbox_metrics._inputs.predictions import _ultralytics

    for folder in (*(path / name for name in _ultralytics.FOLDERS), path):
        for file in _visible(folder):
            if file.suffix.lower() == ".txt" and file.is_file() and file.stat().st_size:
                return _ultralytics.looks_like(file)
    return False


def _visible(folder: Path) -> list[Path]:
    from rbox_formats import files

    return files.visible(folder)


def _kind_of_file(path: Path) -> str:
    if path.suffix.lower() == ".xml":
        return "fair1m-results"
    if path.name.startswith("Task1_"):
        return "dota-task1"
    with path.open("rb") as file:
        start = file.read(4096).removeprefix(b"\xef\xbb\xbf").lstrip()
    if start.startswith(b"\x80") or path.suffix.lower() in _PICKLES:
        raise MetricsError(
            "pickles, such as MMRotate's tools/test.py --out writes, are not read here",
            path=path,
            remedy="rbox-baselines reads it without running what is in it: rbox-baselines results "
            f"{shlex.quote(str(path))} --data DATASET --out predictions.jsonl",
        )
    if start.startswith(b"["):
        return "coco-results"
    if path.suffix.lower() == ".zip":
        raise MetricsError("expected a zip, got a file that is no zip, or one that is cut short", path=path)
    if start.startswith(b"PAR1"):
        return "predictions"
    # An empty file is left when a run is stopped at once; the reader of predictions.jsonl says so.
    if not start or b'"schema_version"' in start or path.suffix.lower() == ".jsonl":
        return "predictions"
    raise _unclear(path)


def _unclear(path: Path) -> MetricsError:
    kinds = "; ".join(f"{name}: {kind.text}" for name, kind in KINDS.items())
    inside = [file.name for file in _visible(path)[:3]] if path.is_dir() else []
    got = f"a folder with {', '.join(inside) or 'nothing'} in it" if path.is_dir() else "a file of another"
    looks = datasets.guess(path) if path.is_dir() else None
    like = "" if looks is None else f"It looks like a dataset: --predictions-format {looks.format}\n"
    return MetricsError(
        f"expected predictions whose kind can be recognised by the content, got {got}",
        path=path,
        remedy=f"{like}Name the kind (--predictions-format, in Python format=). "
        f"Kinds are {kinds}; or any dataset format, such as dota or coco.",
    )


def _with_ids(context: Context, truth: Dataset | None, annotations: str | Path | None) -> Context:
    """Add to the context what the numbers in COCO results mean."""
    if annotations is not None:
        image_ids, categories = _ids_of_file(Path(annotations))
        return replace(context, image_ids=image_ids, categories=categories)
    if truth is None:
        return context
    names = truth.class_names if context.class_names is None else context.class_names
    return replace(context, class_names=names, image_ids=_ids_of_truth(truth))


def _with_sizes(context: Context, truth: Dataset) -> Context:
    """Add to the context the sizes of the ground truth's images, and its classes."""
    sizes = {
        record.image_id: (record.width, record.height)
        for record in truth
        if record.width is not None and record.height is not None
    }
    return replace(context, sizes=sizes, truth_names=truth.class_names)


def _ids_of_file(path: Path) -> tuple[dict[int, str], dict[int, str]]:
    """Return the images and the categories of a COCO file by their ids; image names are those of `datasets.read`."""
    from rbox_formats.datasets import coco
    from rbox_formats.parsing import json_values

    document = json_values.read(path)
    return coco.image_ids_of(document), coco.categories_of(document)


def _ids_of_truth(truth: Dataset) -> dict[int, str]:
    """Return the ground truth's images by the ids in the metadata of COCO datasets, or by names that are numbers."""
    by_id: dict[int, str] = {}
    by_name: dict[int, list[str]] = {}
    for record in truth:
        number = record.metadata.get("id")
        if isinstance(number, int) and not isinstance(number, bool):
            by_id[number] = record.image_id
        if record.image_id.isascii() and record.image_id.isdecimal():
            by_name.setdefault(int(record.image_id), []).append(record.image_id)
    # Names such as 7 and 007 are the same number: neither is chosen.
    return by_id or {number: names[0] for number, names in by_name.items() if len(names) == 1}
