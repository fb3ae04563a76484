"""Writes docs/codecs.md: every text format, an example of each made by its codec, and what a round trip costs a box.

python tools/codecs_page.py            # measures (a minute); writes the page, docs/codecs/*.csv and *.png
python tools/codecs_page.py --check    # exit code 1 and the differences, where the committed page is not that
"""

from __future__ import annotations

import difflib
import html
import inspect
import math
import re
import sys
from collections.abc import Iterable, Sequence
from itertools import groupby
from pathlib import Path

import click
import numpy as np
from _round_trip_pictures import draw
from _round_trips import COUNT, INPUT, OBJECT_SIZES, VARIANTS, Group, Row, Size, Variant, grouped, measure, read, stale
from _round_trips import write as write_table
from rbox_formats import ClassNames, files
from rbox_formats.codecs import Codec
from rbox_formats.codecs._coordinates import Scaled

DOCS = Path(__file__).parents[1] / "docs"
PAGE, TABLE = "codecs.md", "codecs/round_trip.csv"
PICTURES = {"rotated": "codecs/round_trip_rotated.png", "upright": "codecs/round_trip_upright.png"}

#: The image whose numbers are on the page.
SHOWN: Size = (1024, 1024)

NAMES = ClassNames(["small-vehicle", "ship"])
SIZE: Size = (1024, 768)
#: (class, cx, cy, w, h, degrees)
EXAMPLE = ((1, 512, 384, 240, 60, 30), (0, 200, 150, 48, 24, -45), (1, 800, 600, 120, 40, 10))

INTRO = f"""\
<!-- Written by tools/codecs_page.py: change that, or the codecs. -->

# Text formats

A codec turns the boxes of an image into the text that a model is taught to write, and such a text back into boxes:

```python
from rbox_formats import codecs

codec = codecs.get("rscovlm", shape="obb")
text = codec.encode(boxes, labels, class_names, image_size)
decoded = codec.decode(text, class_names, image_size)
```

Three questions decide which format can hold your objects:

1. **Do they lie at an angle?** A format that does not hold rotation writes the upright box around an object.
2. **How small are they in their image?** Coordinates are rounded, most often to a share of the image's side. The
   columns "IoU" below, and [what a round trip costs](#what-a-round-trip-costs), say how much of an object is left.
   Where a format is too coarse, train and predict on windows of the image: a step is then fewer pixels.
3. **How many are in one image?** A model stops at its longest answer: count the tokens of a box.

A model that was trained on a format knows it already, which may decide as well.

## All formats

- **Step**: what coordinates are multiples of; angles are whole degrees. `input_size` is what the model sees.
- **Class**: where its name stands; formats with one class a text are asked for one class at a time.
- **Added tokens**: what a tokenizer must hold as one token each.
- **Tokens a box**: roughly, with one for each added token, digit, word and run of signs; tokenizers that join digits
  need fewer.
- **IoU 0.5, 0.75 from**: the least long side in pixels from which on every box that was tried keeps that IoU, in an
  image of {SHOWN[0]:,} x {SHOWN[1]:,} px; in formats without rotation, that of the upright box around the object.
"""

ROUND_TRIP = f"""
## What a round trip costs

{COUNT:,} random boxes of each size are encoded and decoded, and each is compared with what came back by the exact
intersection over union (IoU). The size is that of the long side; the sides are 1:1 to 1:8, at any angle, anywhere
inside the image. The smallest IoU is that of the thinnest boxes: one of 1:8 and 16 px is 2 px wide. Evaluations count
a detection from an IoU of 0.5 on, some from 0.75. Formats with the same numbers share a line, and options that change
nothing are not named.

Formats in pixels of what the model sees (`input_size`) are measured twice: at the image's own size, and with images
brought to at most {INPUT:,} px a side.

All numbers, smallest and median, for images from 512 to 4,096 px: [round_trip.csv](codecs/round_trip.csv).

### Formats that hold rotation

The smallest and the median IoU of an object before and after, by its long side, in an image of {SHOWN[0]:,} x
{SHOWN[1]:,} px (rounded down):
"""

ANGLES = """
An angle that is half a degree off leaves 0.965 of a box of 1:8, whatever its size, and one that is a whole degree off,
as rscovlm's may be, 0.932.
"""

PICTURE = """
The smallest by object and image size, in hundredths:

![Smallest IoU by object size and image size, a panel for each format]({path})
"""

UPRIGHT_ROUND_TRIP = f"""
### Formats that do not hold rotation

The smallest and the median IoU of the **upright box around the object** before and after, by the object's long side, in
an image of {SHOWN[0]:,} x {SHOWN[1]:,} px (rounded down):
"""

LOST = """
What is left of **the object itself**: the smallest and the median IoU of the turned box with the upright one that came
back, in the same image. No resolution mends it: of an object of 1:8 that lies at 45° the upright box is 16/81 = 0.20.
"""

BOXES = f"""
## The formats one by one

Each begins with the notes of its module. The examples are these boxes in an image of {SIZE[0]:,} x {SIZE[1]:,} px that
the model sees at that size; formats whose texts do not name the class hold all three as `{NAMES[0]}`.
"""


# Tables and text.


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Return a Markdown table, with an empty line before and after it."""
    lines = [f"| {' | '.join(cells)} |" for cells in (header, ["---"] * len(header), *rows)]
    return ["", *lines, ""]


def cell(text: str) -> str:
    """Return text for a table; code that Markdown would take for its own signs becomes HTML."""
    if "```" in text or "\n" in text:
        return f"<code>{html.escape(text, quote=False)}</code>"
    code = re.compile(r"`([^`]*\|[^`]*)`")
    return code.sub(lambda match: f"<code>{html.escape(match[1]).replace('|', '&#124;')}</code>", text)


def fenced(text: str) -> list[str]:
    """Return a block of code, its fence longer than any inside."""
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", text)), default=0))
    return [f"{fence}text", text, fence, ""]


def down(value: float) -> str:
    """Return a number with two decimals, rounded down, so that 0.50 is at least 0.5."""
    return f"{math.floor(value * 100 + 1e-9) / 100:.2f}"


def overview(rows: list[Row]) -> list[str]:
    """Return a line for each format, and for each option that changes something in it."""
    lines: dict[tuple[str, ...], list[Variant]] = {}
    for variant in VARIANTS:
        facts, tokens = variant.codec.facts(), len(variant.codec.added_tokens)
        characters, words = per_box(variant.codec)
        cells = (
            "yes" if variant.codec.holds_rotation else "no",
            step(variant.codec),
            facts["class name"] if not variant.codec.one_class else "one a text",
            f"{tokens:,}" if tokens else "none",
            f"{characters:.0f}",
            f"{words:.0f}",
            *(least(rows, variant.measured_as, iou) for iou in (0.5, 0.75)),
        )
        lines.setdefault((variant.codec.name, *cells), []).append(variant)
    header = "format, rotation, step, class, added tokens, characters a box, tokens a box, IoU 0.5 from, IoU 0.75 from"
    return table(header.split(", "), ([linked(variants), *map(cell, key[1:])] for key, variants in lines.items()))


def step(codec: Codec) -> str:
    """Return what a coordinate is a multiple of."""
    if not isinstance(codec.coordinates, Scaled):
        return codec.facts()["scale"].split(",")[0]
    decimals = re.search(r"%\.([0-9])f", codec.syntax.box)
    parts = codec.coordinates.scale * 10 ** int(decimals[1] if decimals else 0)
    return {
        "sides": f"1/{parts:,.0f} of each side",
        "longer side": f"1/{parts:,.0f} of the longer side",
        "input pixels": "1 px of `input_size`",
    }[codec.coordinates.frame]


def linked(variants: list[Variant]) -> str:
    """Return a codec's name, linked to its part of the page, and the options of a line."""
    name = variants[0].codec.name
    link = f"[{name}](#{re.sub('[^a-z0-9-]', '', name)})"
    if len(variants) == sum(variant.codec.name == name for variant in VARIANTS):
        return link
    return f"{link} {' or '.join(f'`{variant.named}`' for variant in variants)}"


def per_box(codec: Codec) -> tuple[float, float]:
    """Return the characters and words that a further box of a class costs in a text."""
    boxes = np.column_stack([np.linspace(100, 900, 20), np.linspace(200, 500, 20), np.tile([80.0, 30, 0.6], (20, 1))])
    texts = [codec.encode(boxes[:n], np.zeros(n, dtype=np.int64), ClassNames(["ship"]), SIZE) for n in (10, 20)]
    added = "|".join(re.escape(token) for token in sorted(codec.added_tokens, key=len, reverse=True))
    word = re.compile(f"{added}|[0-9]|[A-Za-z]+|[^A-Za-z0-9\\s]+" if added else r"[0-9]|[A-Za-z]+|[^A-Za-z0-9\s]+")
    few, many = ((len(text), len(word.findall(text))) for text in texts)
    return (many[0] - few[0]) / 10, (many[1] - few[1]) / 10


def least(rows: list[Row], label: str, iou: float) -> str:
    """Return the least object from which on a format keeps that IoU in the image shown."""
    [*_, row] = [row for row in rows if row.format == label and row.input in ("", "as the image") and shown(row)]
    kept = f"above {OBJECT_SIZES[-1]}"
    if min(row.smallest) >= iou:
        return f"{OBJECT_SIZES[0]} or less"
    for size, smallest in reversed(list(zip(OBJECT_SIZES, row.smallest, strict=True))):
        if smallest < iou:
            break
        kept = str(size)
    return kept


def shown(row: Row) -> bool:
    """Return whether its numbers are on the page."""
    return (row.width, row.height) == SHOWN


def costs(rows: list[Row]) -> list[str]:
    """Return what a round trip costs."""
    parts, header = split(rows), ["format", *(f"{size} px" for size in OBJECT_SIZES)]

    def cells(row: Row) -> list[str]:
        return [f"{down(least)} / {down(middle)}" for least, middle in zip(row.smallest, row.median, strict=True)]

    tables = {
        kind: table(header, ([group.label, *cells(group.rows[SHOWN])] for group in groups))
        for kind, groups in parts.items()
    }
    return [
        *[ROUND_TRIP, *tables["rotated"], ANGLES, PICTURE.format(path=PICTURES["rotated"])],
        *[UPRIGHT_ROUND_TRIP, *tables["upright"], PICTURE.format(path=PICTURES["upright"])],
        *[LOST, *tables["lost"]],
    ]


def split(rows: list[Row]) -> dict[str, list[Group]]:
    """Split formats into those that hold rotation, and others by the upright box and by the object."""
    upright = [row for row in rows if row.against == "upright box"]
    without = {row.format for row in upright}
    return {
        "rotated": grouped(row for row in rows if row.format not in without),
        "upright": grouped(upright),
        "lost": grouped(row for row in rows if row.format in without and row.against == "object"),
    }


# The formats one by one.


def example_boxes() -> list[str]:
    """Return the boxes of the examples."""
    header = ["class", "cx", "cy", "w", "h", "angle, clockwise"]
    return table(header, ([NAMES[label], *map(str, box), f"{angle}°"] for label, *box, angle in EXAMPLE))


def section(variants: list[Variant]) -> list[str]:
    """Return a codec: what its source says, and what it writes under each of its options."""
    default = variants[0].codec
    notes = inspect.getdoc(sys.modules[type(default).__module__]) or ""
    lines = [f"### {default.name}", "", notes, "", "Prompt:", "", *fenced(default.question(names_for(default)))]
    for variant in variants:
        first = variant is variants[0]
        if variant.options:
            lines += [f"#### `{variant.named}`{', the default' if first else ''}", ""]
        facts = facts_of(variant.codec).items() - (set() if first else facts_of(default).items())
        if facts:
            ordered = [[topic, cell(fact)] for topic, fact in facts_of(variant.codec).items() if (topic, fact) in facts]
            lines += table(["topic", "fact" if first else "fact, where it differs"], ordered)[1:]
        for title, text in texts_of(variant.codec).items():
            if first or text != texts_of(default)[title]:
                lines += [f"{title}:", "", *fenced(text)] if text else [f"{title}: no text of its own.", ""]
    return lines


def names_for(codec: Codec) -> ClassNames:
    """Return the classes of the examples."""
    return ClassNames(NAMES[:1]) if codec.one_class else NAMES


def facts_of(codec: Codec) -> dict[str, str]:
    """Return the facts of a codec, except its empty answer, which is shown as a text."""
    return {topic: fact for topic, fact in codec.facts().items() if topic != "empty answer"}


def texts_of(codec: Codec) -> dict[str, str | None]:
    """Return the example, the answer where there is nothing, and the grammar, by their titles."""
    rows = np.array(EXAMPLE, dtype=np.float64)
    boxes = np.column_stack([rows[:, 1:5], np.radians(rows[:, 5])])
    labels = np.zeros(len(rows), dtype=np.int64) if codec.one_class else rows[:, 0].astype(np.int64)
    return {
        "Example": codec.encode(boxes, labels, names_for(codec), SIZE, SIZE),
        "Without objects": codec.empty_answer,
        "Grammar": shortened(codec.grammar(names_for(codec))),
    }


def shortened(grammar: str) -> str:
    """Return a grammar: the expressions of numbers that it repeats have names, and repeated pieces are counted."""
    found = re.findall(r"\(\?:[^()]*\[[^()]*\)", grammar)
    numbers = [number for number in dict.fromkeys(found) if found.count(number) > 1]
    for i, number in enumerate(numbers, 1):
        grammar = grammar.replace(number, f"«{i}»")
    grammar = re.sub(r"([^\\()|\n]{3,20}?)\1{2,}", lambda run: f"(?:{run[1]}){{{len(run[0]) // len(run[1])}}}", grammar)
    return "\n".join([grammar, *(f"«{i}» = {cut(number)}" for i, number in enumerate(numbers, 1))])


def cut(expression: str, most: int = 200) -> str:
    """Return the beginning of a text, if it is long."""
    if len(expression) <= most:
        return expression
    return f"{expression[:most]}... ({len(expression):,} characters)"


def page(rows: list[Row]) -> str:
    """Return the whole page, from the numbers of the table."""
    by_codec = groupby(VARIANTS, key=lambda variant: variant.codec.name)
    sections = (line for _, variants in by_codec for line in section(list(variants)))
    lines = [INTRO, *overview(rows)[1:], *costs(rows), BOXES, *example_boxes()[1:], *sections]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(line.rstrip(" ") for line in lines)).strip() + "\n"


@click.command()
@click.option("--check", is_flag=True, help="Compare what is committed with what the code does; write nothing.")
@click.option("--docs", type=click.Path(path_type=Path), default=DOCS, help="The folder of the page; default: docs.")
def main(check: bool, docs: Path) -> None:
    """Write the page of the text formats, or check that it is what the code makes.

    The check makes the page again from the committed numbers, and measures those of 1024 x 1024 px images.
    """
    if not check:
        rows = list(measure())
        write_table(rows, docs / TABLE)
        for kind, picture in PICTURES.items():
            draw(split(rows)[kind], docs / picture)
        with files.replacing(docs / PAGE) as temporary:
            temporary.write_text(page(rows), encoding="utf-8")
        return
    rows = read(docs / TABLE)
    old, new = (docs / PAGE).read_text(encoding="utf-8").splitlines(), page(rows).splitlines()
    differences = [*difflib.unified_diff(old, new, "committed", "made by the code", lineterm="")]
    differences = differences or stale(filter(shown, rows), measure([SHOWN]))
    for line in differences:
        click.echo(line)
    if differences:
        raise click.ClickException(f"{docs / PAGE} is not what the code makes: run python tools/codecs_page.py")


if __name__ == "__main__":
    main()
