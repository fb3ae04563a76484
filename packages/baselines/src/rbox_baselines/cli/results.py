"""`rbox-baselines results`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rbox_formats.cli import class_names_option, dataset_options, show_messages, writes
from rbox_formats.progress import track
from rbox_metrics.cli import check_outputs, score, scoring_options

if TYPE_CHECKING:
    from rbox_formats import ClassNames


@click.command()
@click.argument("pickle", type=Path)
@dataset_options()
@class_names_option
@click.option(
    "--image-ids",
    type=Path,
    help="A file with an image's id on each line, for results of MMRotate 0.x, which do not name their images.",
)
@click.option("--out", type=Path, help="The predictions file (predictions.jsonl) to write.")
@click.option(
    "--report",
    type=Path,
    multiple=True,
    help="A file for the report, by its ending JSON, Markdown (.md) or CSV; more than one may be given.",
)
@click.option("--plots", type=Path, help="A folder for the report's pictures.")
@scoring_options
@writes("out", "report", "plots")
def results(
    pickle: Path,
    data: Path,
    format: str,
    split: str | None,
    class_names: ClassNames | None,
    image_ids: Path | None,
    out: Path | None,
    report: tuple[Path, ...],
    plots: Path | None,
    **options: Any,
) -> None:
    """Score the detections in PICKLE, which MMRotate's tools/test.py --out wrote.

    They are written as predictions.jsonl, too. Tensors, arrays and plain values are read, and nothing in the file is
    run: one that asks for more is refused. The report has the sweep over score thresholds: the best mAP_nc and F1.
    """
    import tempfile

    from rbox_formats import Dataset, datasets, files

    from rbox_baselines._tools._results import check_images, load_results, write_predictions

    show_messages("rbox_metrics", "rbox_formats")
    check_outputs(report, pickle, image_ids, archives=(out,), pictures=plots)
    ids = None if image_ids is None else image_ids.read_text(encoding="utf-8-sig").split()
    opened = datasets.read(format, data, split, class_names)
    detections = load_results(pickle, opened.class_names, image_ids=ids)
    records = list(track(opened, "reading annotations"))
    check_images(detections, (record.image_id for record in records), pickle)
    description = {"format": format, "data": str(data), "split": split}
    with files.temporary_folder(tempfile.gettempdir()) as folder:
        path = out or folder / files.safe_name(f"{pickle.stem}.jsonl", folder)
        write_predictions(detections, opened.class_names, path, source=pickle, dataset=description)
        if out is not None:
            click.echo(f"The predictions are in {out}.")
        truth = Dataset(opened.class_names, records, lambda record: record)
        score(truth, path, out=report, plots=plots, **options)
