"""Cut a dataset into windows: their images, and their annotations in any format that can be written.

    <out>                       the dataset of windows, in its format's own layout
    <out>/.split/<split>        the settings, and during the run the images that are done

Each image is one task, in one of several processes. The images of its windows are written whole or not at all, then a
note of its annotations; when all images have one, the annotations are written in the chosen format, one at a time. So a
run that is killed at any instant resumes when it is started again, and ends with the same files as one that was not
killed.

Windows are named as in MMRotate (`tiling.window_name`), and `tiling.parse_window_name` reads such a name.
`tiling.to_image` converts detections of a window to its image, and `rbox_metrics.merge_windows` merges those of several
windows.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

from rbox_formats import datasets, files
from rbox_formats._records import Dataset, ImageRecord
from rbox_formats.datasets._folders import images_by_split
from rbox_formats.errors import DatasetError, FormatsError, RboxError, counted, quoted
from rbox_formats.progress import Advance, progress_bar, showing
from rbox_formats.splitting import _workers
from rbox_formats.splitting._folder import Done, Folder, fingerprint
from rbox_formats.splitting._image import split_image
from rbox_formats.splitting._settings import SplitSettings

__all__ = ["SplitSettings", "Summary", "split", "split_image"]

# The number of failures that a message lists.
_NAMED = 10


class Summary(NamedTuple):
    """The counts of a split.

    Attributes:
        images: The number of images that were split.
        without_image: The number of annotations that were left out, since they have no image.
        windows: The number of windows that were stored.
        objects: The number of objects on the images.
        unseen: The number of objects that are in no window, or below the threshold in each.
    """

    images: int
    without_image: int
    windows: int
    objects: int
    unseen: int


def split(
    dataset: Dataset,
    out: str | Path,
    settings: SplitSettings | None = None,
    *,
    format: str = "dota",
    part: str | None = None,
    workers: int = 1,
    progress: bool = False,
) -> Summary:
    """Cut the images of a dataset into windows, and write these as a dataset of its own.

    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> from rbox_formats import datasets, splitting, synthetic
    >>> with TemporaryDirectory() as folder:
    ...     scenes = synthetic.write_scenes(Path(folder) / "data", None, [0], synthetic.SceneConfig(size=256))
    ...     dataset = datasets.read("dota", Path(folder) / "data", class_names=synthetic.SceneConfig().class_names)
    ...     done = splitting.split(dataset, Path(folder) / "windows", splitting.SplitSettings(size=128, gap=0))
    >>> done.images, done.windows
    (1, 4)

    Args:
        dataset: The dataset; records without an image are left out.
        out: The folder of the new dataset: empty, or with the same split, finished or stopped, or with other parts.
        settings: How images are cut, and what is stored of each window.
        format: The format of the annotations, a name in `datasets.FORMATS`.
        part: The split to write, such as "train"; None: the dataset has no parts.
        workers: The number of processes. They are spawned: a script that uses more than one guards its own beginning by
            `if __name__ == "__main__"`.
        progress: Whether to show a progress bar on standard error.

    Returns:
        The counts of the whole split.

    Raises:
        FormatsError: If a worker was killed.
        DatasetError: If `out` holds something else or a split with other settings, or no record has an image. If some
            images or annotations cannot be read, it is raised at the end, and names them.
    """
    if workers < 1:
        raise FormatsError(f"expected one worker or more, got {workers}")
    settings, out = settings or SplitSettings(), files.as_path(out)
    images = (datasets.get(format).images or images_by_split)(out, part)
    failures: list[str] = []
    found, without_image = _survey(dataset, failures)
    if not found and not failures:
        raise DatasetError(f"nothing to split: none of the {len(dataset)} annotations has an image")
    values = {"format": format, "class_names": list(dataset.class_names), **asdict(settings), "gap": settings.overlap}
    folder = Folder(out, part, images, values)
    whole = hashlib.sha256("".join(source.fingerprint for source in found.values()).encode()).hexdigest()
    with showing(progress), progress_bar("splitting", len(dataset)) as advance:
        advance(len(dataset) - len(found))
        total = folder.finished(whole)
        if total is not None:
            advance(len(found))
        else:
            total = _run(dataset, found, settings, folder, workers, failures, advance)
            datasets.write(format, folder.read(list(found)), out, part, dataset.class_names)
            folder.finish(whole, total)
    return Summary(len(found), without_image, *total)


class _Source(NamedTuple):
    """An image's index in its dataset, and the hash of what its windows are made of."""

    place: int
    fingerprint: str


def _survey(dataset: Dataset, failures: list[str]) -> tuple[dict[str, _Source], int]:
    """Return the images by their ids, and how many annotations have none; unreadable ones are added to the failures."""
    found: dict[str, _Source] = {}
    without_image = 0
    for index in range(len(dataset)):
        try:
            record = dataset[index]
        except RboxError as error:
            failures.append(str(error))
            continue
        if record.path is None:
            without_image += 1
        elif record.image_id in found:
            failures.append(f"{record.path}: expected each image id once, got {quoted(record.image_id)} again")
        else:
            found[record.image_id] = _Source(index, fingerprint(record))
    return found, without_image


def _run(
    dataset: Dataset,
    found: Mapping[str, _Source],
    settings: SplitSettings,
    folder: Folder,
    workers: int,
    failures: list[str],
    advance: Advance,
) -> Done:
    """Split the images that are not yet done.

    Raises:
        DatasetError: At the end, if there are failures.
    """
    folder.begin()
    before = {image_id: folder.done(image_id, source.fingerprint) for image_id, source in found.items()}
    done = [entry for entry in before.values() if entry is not None]
    todo = [image_id for image_id, entry in before.items() if entry is None]
    advance(len(done))
    tasks = ((dataset[found[name].place], found[name].fingerprint, settings, folder) for name in todo)
    with closing(_workers.run(_split_one, tasks, max(1, min(workers, len(todo))))) as results:
        for result in results:
            if isinstance(result, str):
                failures.append(result)
            else:
                done.append(result)
            advance(1)
    if failures:
        lines = [
            f"{counted(len(failures), 'image or annotation', 'images or annotations')} cannot be read:",
            *sorted(failures)[:_NAMED],
        ]
        lines += [f"... and {len(failures) - _NAMED} more"] if len(failures) > _NAMED else []
        remedy = f"Mend them, or take them out; then give the command again: the {len(done)} others are done and kept."
        raise DatasetError("\n".join(lines), remedy=remedy)
    return Done(*(sum(column) for column in zip(*done, strict=True)))


def _split_one(record: ImageRecord, source: str, settings: SplitSettings, folder: Folder) -> Done | str:
    """Split one image, in a worker process; return what was done, or the reason why it could not be."""
    try:
        windows, unseen = split_image(record, settings, folder.images, folder.temporary, _workers.check_stop)
        folder.write(record.image_id, source, windows, len(record), unseen)
    except RboxError as error:
        return str(error)
    return Done(len(windows), len(record), unseen)
