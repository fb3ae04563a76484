"""`rbox-formats decode`."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import click

from rbox_formats._records import ClassNames
from rbox_formats.cli import class_names_option, codec_options, track


@click.command()
@click.argument("texts", type=Path)
@class_names_option
@codec_options
@click.option(
    "--near-match",
    type=click.FloatRange(0, 1),
    help="Take unknown names for the nearest class from this similarity (0..1).",
)
@click.option("--out", type=Path, required=True, help="The predictions file to write.")
def decode(
    texts: Path,
    class_names: ClassNames | None,
    codec: str,
    codec_options: dict[str, Any],
    near_match: float | None,
    out: Path,
) -> None:
    """Read boxes from TEXTS, any model's answers: JSON lines with image_id, width, height and text."""
    from rbox_formats import ImageRecord, codecs, files, predictions
    from rbox_formats.errors import CodecError

    if class_names is None:
        raise click.UsageError("Give --class-names: the texts do not say which classes there are.")
    chosen = codecs.get(codec, **codec_options)
    try:
        content = texts.read_bytes()
    except FileNotFoundError as error:
        raise CodecError("expected a file of texts, found none", path=texts) from error
    answers = [
        _answer(line, texts, number)
        for number, line in enumerate(content.decode("utf-8", errors="replace").split("\n"), start=1)
        if line.strip()
    ]
    header = predictions.Header(
        class_names,
        fingerprint=f"sha256:{hashlib.sha256(content).hexdigest()}",
        codec=chosen.to_dict(),
        generation={"near_match": near_match},
    )
    rejected = 0
    with predictions.Writer(files.not_an_input(out, texts), header) as writer:
        done = frozenset(writer.done)
        for image_id, text, size in track(answers, "decoding"):
            if image_id in done:
                continue
            found = chosen.decode(text, class_names, size, on_invalid="ignore", near_match=near_match)
            rejected += len(found.rejected)
            piece = {
                "window": [0, 0, max(size)],
                "text": text,
                "status": found.status,
                "rejected": [list(entry) for entry in found.rejected],
            }
            writer.write(
                ImageRecord(
                    image_id=image_id,
                    boxes=found.boxes,
                    quads=found.quads,
                    labels=found.labels,
                    width=size[0],
                    height=size[1],
                    metadata={"status": found.status, "windows": [piece]},
                )
            )
    click.echo(f"The boxes of {len(answers)} texts are in {out}; {rejected} pieces of text gave none.")


def _answer(line: str, path: Path, number: int) -> tuple[str, str, tuple[int, int]]:
    from rbox_formats.errors import CodecError

    try:
        values = json.loads(line)
        image_id, text, width, height = (values[key] for key in ("image_id", "text", "width", "height"))
        if not (isinstance(image_id, str) and isinstance(text, str) and int(width) >= 1 and int(height) >= 1):
            raise ValueError("an id or a text that is none, or an image without pixels")
        return image_id, text, (int(width), int(height))
    except (ValueError, KeyError, TypeError) as error:
        message = f"expected a JSON object with image_id, width, height and text, got {line[:80]!r} ({error})"
        raise CodecError(message, path=path, line=number) from error
