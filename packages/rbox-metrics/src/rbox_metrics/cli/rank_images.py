"""`rbox-metrics rank-images`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
from rbox_formats import files
from rbox_formats.cli import PATH, Known, command, option, show_messages, split_option, writes
from rbox_formats.errors import counted

from rbox_metrics.cli._scoring import annotations_option, class_names_of_files, convention_option, format_of_files

if TYPE_CHECKING:
    from rbox_formats import ClassNames


def _algorithms() -> list[str]:
    from rbox_metrics.mining import ALGORITHMS

    return list(ALGORITHMS)


@command(
    "rbox-metrics rank-images --predictions found.jsonl --algorithm margin --limit 20 --out next.csv",
    "rbox-metrics rank-images --predictions a.jsonl --other b.jsonl --algorithm cald --out next.txt",
)
@option(
    "--predictions",
    "predictions_path",
    type=PATH,
    required=True,
    help="The predictions: predictions.jsonl, DOTA's Task1 files or FAIR1M's XML (a file, a folder or a zip), COCO "
    "results, or a dataset.",
    group="Predictions",
)
@format_of_files
@split_option
@class_names_of_files
@annotations_option("of the images")
@convention_option
@option(
    "--other",
    "others",
    type=PATH,
    multiple=True,
    help="Other predictions on the same images, to compare with: of another detector, or of mirrored images, mirrored "
    "back. Repeat it for more.",
    group="Predictions",
)
@option(
    "--algorithm",
    type=Known("mining algorithm", _algorithms),
    default="entropy",
    help="What to rank by: random, entropy, entropy-image, entropy-class, margin, least-confidence, diversity; with "
    "--other: aldd, cald.",
    group="Scoring",
)
@option(
    "--score-threshold",
    type=click.FloatRange(0, 1),
    default=0.1,
    help="Predictions with this score or less do not count.",
    group="Scoring",
)
@option(
    "--features",
    type=PATH,
    help="A .npz file with image_ids and features, for diversity. [default: what was predicted describes an image]",
    group="Scoring",
)
@option(
    "--labelled",
    type=PATH,
    help="A text file with the ids of images that are labelled already, one a line. They are not ranked.",
    group="Scoring",
)
@option("--seed", type=int, default=0, help="Random seed of random.", group="Scoring")
@option("--limit", type=click.IntRange(min=1), help="How many images to list. [default: all]", group="Output")
@option(
    "--out",
    type=PATH,
    required=True,
    help="The ranking: .csv, .json, or .txt for the images' ids alone.",
    group="Output",
)
@writes("out")
def rank_images(
    predictions_path: Path,
    predictions_format: str | None,
    split: str | None,
    class_names: ClassNames | None,
    annotations: Path | None,
    convention: str | None,
    others: tuple[Path, ...],
    algorithm: str,
    score_threshold: float,
    features: Path | None,
    labelled: Path | None,
    seed: int,
    limit: int | None,
    out: Path,
) -> None:
    """Rank images by what is to be learnt from their labels.

    The images that a detector is least sure of come first: label these next, and train again.
    """
    from rbox_formats.parsing.lines import read_text, split_lines

    from rbox_metrics.mining import check_ending, rank_file, write_ranking

    show_messages("rbox_metrics", "rbox_formats")
    files.not_an_input(out, predictions_path, annotations, features, labelled, *others)
    check_ending(out)
    files.require_writable_file(out)
    done = [] if labelled is None else [line.strip() for line in split_lines(read_text(labelled)) if line.strip()]
    ranking = rank_file(
        predictions_path,
        algorithm,
        others=others,
        features=features,
        labelled=done,
        limit=limit,
        score_threshold=score_threshold,
        seed=seed,
        format=predictions_format,
        split=split,
        class_names=class_names,
        annotations=annotations,
        convention=convention,
    )
    write_ranking(out, ranking)
    click.echo(f"The ranking of {counted(len(ranking), 'image')} by {algorithm} is in {out}.")
