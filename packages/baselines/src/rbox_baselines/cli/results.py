"""`rbox-baselines results`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rbox_formats.cli import PATH, class_names_option, command, dataset_options, option, show_messages, writes
from rbox_formats.progress import track
from rbox_metrics.cli import check_outputs, plots_option, score, scoring_options

if TYPE_CHECKING:
    from rbox_formats import ClassNames


@command(
    "rbox-baselines results results.pkl --data DOTA --split val --out report.json",
    "rbox-baselines results results.pkl --data DOTA --split val --out val.jsonl",
)
@click.argument("pickle", type=PATH)
@dataset_options()
@class_names_option
@option(
    "--image-ids",
    type=PATH,
    help="A file with an image's id on each line, for results of MMRotate 0.x, which do not name their images.",
    group="Predictions",
)
@option(
    "--out",
    type=PATH,
    multiple=True,
    old="--report",
    help="A file for the report: .json, .md (Markdown) or .csv; or for the predictions: .jsonl. Repeat it for more.",
    group="Output",
)
@plots_option
@scoring_options
@writes("out", "plots")
def results(
    pickle: Path,
    data: Path,
    format: str,
    split: str | None,
    class_names: ClassNames | None,
    image_ids: Path | None,
    out: tuple[Path, ...],
    plots: Path | None,
    **options: Any,
) -> None:
    """Score predictions that MMRotate's test.py wrote.

    PICKLE is the file that tools/test.py --out wrote. Its predictions can be written as predictions.jsonl too. Tensors,
    arrays and plain values are read, and nothing in the file is run: one that asks for more is refused. The report has
    the sweep over score thresholds: the best mAP_nc and F1.
    """
    import tempfile

    from rbox_formats import Dataset, datasets, files

    from rbox_baselines._tools._results import check_images, load_results, write_predictions

    show_messages("rbox_metrics", "rbox_formats")
    reports = tuple(path for path in out if path.suffix.lower() != ".jsonl")
    written = [path for path in out if path not in reports]
    if len(written) > 1:
        raise click.BadParameter(
            f"expected one .jsonl file for the predictions, got {len(written)}", param_hint="--out"
        )
    check_outputs(reports, pickle, image_ids, archives=tuple(written), pictures=plots)
    ids = None if image_ids is None else image_ids.read_text(encoding="utf-8-sig").split()
    opened = datasets.read(format, data, split, class_names)
    detections = load_results(pickle, opened.class_names, image_ids=ids)
    records = list(track(opened, "reading annotations"))
    check_images(detections, (record.image_id for record in records), pickle)
    description = {"format": format, "data": str(data), "split": split}
    with files.temporary_folder(tempfile.gettempdir()) as folder:
        path = written[0] if written else folder / files.safe_name(f"{pickle.stem}.jsonl", folder)
        write_predictions(detections, opened.class_names, path, source=pickle, dataset=description)
        if written:
            click.echo(f"The predictions are in {path}.")
        truth = Dataset(opened.class_names, records, lambda record: record)
        score(truth, path, out=reports, plots=plots, **options)
