"""`rbox-formats decode`."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rbox_formats._records import ClassNames
from rbox_formats.cli._command import PATH, Listing, command, option
from rbox_formats.cli._locking import writes
from rbox_formats.cli._options import codec_options, input_size_option, named_classes_option
from rbox_formats.errors import counted, listed, quoted
from rbox_formats.progress import track

if TYPE_CHECKING:
    from rbox_formats import ImageRecord
    from rbox_formats.codecs import Codec


@dataclass(frozen=True)
class Answer:
    """A line of texts: what a model wrote of an image, perhaps of one class only.

    Attributes:
        image_id: The image's name.
        text: What it wrote.
        size: (width, height) of the image in pixels.
        input_size: (width, height) of what the model saw, None for the image's own.
        asked: The class that was asked for, where the text does not say.
    """

    image_id: str
    text: str
    size: tuple[int, int]
    input_size: tuple[int, int] | None
    asked: str | None


@command(
    "rbox-formats decode answers.jsonl --class-names plane,ship --out predictions.jsonl",
    "rbox-formats decode answers.jsonl --class-names dota --codec qwen2.5-vl --out p.jsonl",
    cls=Listing,
)
@click.argument("texts", type=PATH)
@named_classes_option("The classes that a text may name: NAMES that has a list.", group="Text format")
@codec_options
@input_size_option(
    "The image size that the model saw, in pixels, for codecs that count in pixels. [default: the image's own size]",
    group="Text format",
)
@option(
    "--near-match",
    type=click.FloatRange(0, 1),
    help="Replace an unknown class name by the most similar class, if they are at least this similar (0 to 1). "
    "[default: unknown names are dropped]",
    group="Text format",
)
@option("--out", type=PATH, required=True, help="The predictions file to write.", group="Output")
@writes("out")
def decode(
    texts: Path,
    class_names: ClassNames | None,
    codec: str,
    codec_options: dict[str, Any],
    input_size: tuple[int, int] | None,
    near_match: float | None,
    out: Path,
) -> None:
    """Read boxes from TEXTS, the answers of any model.

    TEXTS is a file of JSON lines with image_id, width, height and text. An image may have several lines, such as one
    for each class that the model was asked for ("class"). A line may have its own "input_size". If the predictions file
    has some of the images already, the command resumes after them.
    """
    from rbox_formats import codecs, files, predictions
    from rbox_formats.errors import CodecError

    if class_names is None:
        raise click.UsageError("Give --class-names: the texts do not say which classes there are.")
    chosen = codecs.get(codec, **codec_options)
    try:
        content = texts.read_bytes()
    except FileNotFoundError as error:
        raise CodecError("expected a file of texts, found none", path=texts) from error
    answers: dict[str, list[Answer]] = {}
    for number, line in enumerate(content.decode("utf-8-sig", errors="replace").split("\n"), start=1):
        if line.strip():
            answer = _answer(line, chosen, class_names, input_size, texts, number)
            of_image = answers.setdefault(answer.image_id, [])
            of_image.append(answer)
            if answer.size != of_image[0].size:
                what = (
                    f"expected the size of {quoted(answer.image_id)} as before, {of_image[0].size}, got {answer.size}"
                )
                raise CodecError(what, path=texts, line=number)
    header = predictions.Header(
        class_names,
        fingerprint=f"sha256:{hashlib.sha256(content).hexdigest()}",
        codec=chosen.to_dict(),
        generation={"near_match": near_match, "input_size": input_size and list(input_size)},
    )
    rejected, taken = 0, {}
    with predictions.Writer(files.not_an_input(out, texts), header) as writer:
        done = frozenset(writer.done)
        for image_id, of_image in track(list(answers.items()), "decoding"):
            if image_id not in done:
                record, near = _record(of_image, chosen, class_names, near_match)
                taken.update(near)
                rejected += sum(len(piece["rejected"]) for piece in record.metadata["windows"])
                writer.write(record)
    count = sum(map(len, answers.values()))
    click.echo(f"The boxes of {counted(count, 'text')} are in {out}; {counted(rejected, 'piece')} of text gave none.")
    for written, name in sorted(taken.items()):
        click.echo(f"Took {quoted(written)} for {quoted(name)}.")


def _record(
    answers: list[Answer], codec: Codec, class_names: ClassNames, near_match: float | None
) -> tuple[ImageRecord, dict[str, str]]:
    """One image's boxes out of what was written of it, and the names that were taken for a class's."""
    import numpy as np

    from rbox_formats import ImageRecord, codecs

    parts, labels, pieces = [], [], []
    for answer in answers:
        names = class_names if answer.asked is None else ClassNames([answer.asked])
        found = codec.decode(
            answer.text, names, answer.size, answer.input_size, on_invalid="ignore", near_match=near_match
        )
        parts.append(found)
        labels.append(found.labels if answer.asked is None else found.labels * 0 + class_names.index(answer.asked))
        piece = {
            "window": [0, 0, max(answer.size)],
            "text": answer.text,
            "status": found.status,
            "rejected": [list(entry) for entry in found.rejected],
        }
        pieces.append(piece if answer.asked is None else {**piece, "class": answer.asked})
    quads = [part.quads for part in parts if part.quads is not None]
    width, height = answers[0].size
    near = dict(pair for part in parts for pair in part.near_matches)
    record = ImageRecord(
        image_id=answers[0].image_id,
        boxes=np.concatenate([part.boxes for part in parts]),
        quads=np.concatenate(quads) if quads else None,
        labels=np.concatenate(labels),
        width=width,
        height=height,
        metadata={"status": codecs.joined_status(part.status for part in parts), "windows": pieces},
    )
    return record, near


def _answer(
    line: str, codec: Codec, class_names: ClassNames, input_size: tuple[int, int] | None, path: Path, number: int
) -> Answer:
    from rbox_formats.errors import CodecError

    try:
        values = json.loads(line)
    except (ValueError, RecursionError):
        values = None
    wrong = "no JSON object" if not isinstance(values, dict) else _what_is_wrong(values)
    if wrong:
        message = f"expected a JSON object with image_id, width, height and text, got {wrong}: {quoted(line)}"
        raise CodecError(message, path=path, line=number)
    image_id, width, height, seen = (values.get(key) for key in ("image_id", "width", "height", "input_size"))
    # What JSON can escape but no file can hold, half a character, is replaced.
    text = values["text"].encode("utf-8", errors="replace").decode()
    seen = input_size if seen is None else seen
    asked = values.get("class", class_names[0] if len(class_names) == 1 else None) if codec.one_class else None
    label = class_names.find(asked) if isinstance(asked, str) else None
    if codec.one_class and label is None:
        what = f"expected the class that was asked for ('class'), among {listed(class_names)}, got {quoted(asked)}"
        raise CodecError(what, path=path, line=number, remedy=f"Texts of {quoted(codec.name)} do not name the class.")
    return Answer(
        image_id=image_id,
        text=text,
        size=(width, height),
        input_size=None if seen is None else (seen[0], seen[1]),
        asked=None if label is None else class_names[label],
    )


def _what_is_wrong(values: dict[str, Any]) -> str | None:
    """What a line lacks, None where nothing is."""

    def is_size(value: Any) -> bool:
        return isinstance(value, int) and not isinstance(value, bool) and value >= 1

    for key in ("image_id", "text"):
        if not isinstance(values.get(key), str):
            return f"no text as {quoted(key)}"
    if not values["image_id"].isprintable():
        return "an 'image_id' that cannot be shown"
    for key in ("width", "height"):
        if not is_size(values.get(key)):
            return f"no number of pixels as {quoted(key)}"
    seen = values.get("input_size")
    if seen is not None and not (isinstance(seen, list) and len(seen) == 2 and all(map(is_size, seen))):
        return "no [width, height] as 'input_size'"
    return None
