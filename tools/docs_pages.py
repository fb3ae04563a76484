"""Write the pages and pictures of docs that are made from the code: the reference, and what explanations show.

python tools/docs_pages.py            # writes docs/reference and docs/pictures
python tools/docs_pages.py --check    # exit code 1 and the differences, where a committed one is not that
"""

from __future__ import annotations

import argparse
import difflib
import importlib
import json
import pkgutil
import re
import shutil
import sys
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FunctionType

import click
import numpy as np
from _docs_pictures import PICTURES
from _made import same_picture
from rbox_formats import ClassNames, ImageRecord, datasets
from rbox_formats.predictions import Header, Writer, _parquet

DOCS = Path(__file__).parents[1] / "docs"
MADE = "<!-- Written by tools/docs_pages.py: change that, or the code that it is made from. -->\n\n"

#: Each package: its folder of pages, its command, and what it is for.
PACKAGES = {
    "rbox_formats": ("rbox-formats", "Boxes, text formats, datasets, windows and prediction files."),
    "rbox_metrics": ("rbox-metrics", "Overlaps, suppression and scores."),
    "lmm_detector": ("lmm-detector", "Multimodal models: fine-tune, predict, evaluate."),
    "rbox_baselines": ("rbox-baselines", "Conventional detectors: train, predict, evaluate."),
    "rbox_serve": ("rbox-serve", "Detectors over HTTP, and the page that shows and compares them."),
}
#: Public modules that the packages and their tests share: their docstrings serve who works on them.
INNER = re.compile(
    r"rbox_formats\.(archives|arrays|codecs\..*|datasets\..*|executor|files|lazy|parsing.*|progress|typing|ymir)"
    r"|rbox_metrics\.(compiling|plots\.style|tables|typing)"
)
#: The definitions of the schema that are lines of predictions.jsonl.
PREDICTION_LINES = {"header": "the detector", "image": "an image"}
#: Public names that a star import leaves out, since they need torch.
NOT_STARRED = {"rbox_metrics": ["RotatedMeanAveragePrecision", "diff_iou_rotated"]}


def public_modules(package: str) -> Iterator[str]:
    """Give a package and its public modules that hold public names, in the order of their names."""
    root = importlib.import_module(package)
    yield package
    for module in pkgutil.walk_packages(root.__path__, f"{package}."):
        private = any(part.startswith("_") for part in module.name.split("."))
        if private or ".cli" in module.name or INNER.fullmatch(module.name):
            continue
        if getattr(importlib.import_module(module.name), "__all__", None):
            yield module.name


def python_page(name: str) -> str:
    """Return the page of a module's public names: mkdocstrings' mark for each, which the site's build fills."""
    module = importlib.import_module(name)
    summary = (module.__doc__ or "").strip().split("\n\n")[0].replace("\n", " ")
    parts = [f"{MADE}# {name}\n\n{summary} Examples are run by the tests.\n"]
    publics = [*module.__all__, *NOT_STARRED.get(name, ())]
    # What is called first, constants last.
    publics.sort(key=lambda public: not isinstance(getattr(module, public), type | FunctionType))
    # A module has a page of its own.
    parts += [f"::: {name}.{public}\n" for public in publics if not isinstance(getattr(module, public), type(sys))]
    return "\n".join(parts)


def names_page() -> str:
    """Return the page that lists all public modules and names, each with its first sentence."""
    parts = [f"{MADE}# All public names\n\nEach links to its description.\n"]
    for package, (title, what) in PACKAGES.items():
        parts.append(f"## {title}\n\n{what}\n")
        for name in public_modules(package):
            module = importlib.import_module(name)
            publics = [*module.__all__, *NOT_STARRED.get(name, ())]
            links = [
                f"[`{public}`](python/{name}.md#{name}.{public})"
                for public in publics
                if not isinstance(getattr(module, public), type(sys))
            ]
            parts.append(f"[`{name}`](python/{name}.md): {', '.join(links)}\n")
    return "\n".join(parts)


def settings_page() -> str:
    """Return the page of the settings of `lmm-detector train`, from their schema."""
    schema = json.loads((DOCS / "train-config.schema.json").read_text(encoding="utf-8"))
    rows = [
        f"| `{name}` | {escaped(found.get('description', ''))} | `{json.dumps(found['default'])}` |"
        if "default" in found
        else f"| `{name}` | {escaped(found.get('description', ''))} | |"
        for name, found in schema["properties"].items()
    ]
    table = "\n".join(["| setting | what it does | default |", "|---|---|---|", *rows])
    return (
        f"{MADE}# Settings of a training\n\nThe names of a file for `lmm-detector train --config`, and of "
        "`lmm_detector.TrainConfig`. An editor completes and checks them by "
        f"[train-config.schema.json](../train-config.schema.json).\n\n{table}\n"
    )


def predictions_page() -> str:
    """Return the page of predictions.jsonl: a file that the writer made, and its fields from the schema."""
    record = ImageRecord("P0706", [[51, 40, 20, 10, 0.3]], labels=[0], scores=np.array([0.9]), width=1024, height=768)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "predictions.jsonl"
        with Writer(path, Header(ClassNames(["ship", "plane"]), "my detector")) as writer:
            writer.write(record)
        lines = path.read_text(encoding="utf-8").strip()
    schema = json.loads((DOCS / "predictions.schema.json").read_text(encoding="utf-8"))
    parts = [
        f"{MADE}# predictions.jsonl\n\nThe file in which detectors and metrics meet: a line about the detector, then a "
        f"line for each image.\n\n```json\n{lines}\n```\n\nThe rules are in "
        "[predictions.schema.json](../predictions.schema.json). `rbox_formats.predictions.Writer` writes it, as "
        "[Score your own detector](../tutorials/score-your-detector.md) shows.\n"
    ]
    for name, found in schema["$defs"].items():
        if name in PREDICTION_LINES:
            parts.append(f"## The line of {PREDICTION_LINES[name]}\n")
            parts.append("| field | type | what it is |\n|---|---|---|")
            for key, value in found["properties"].items():
                kind = value.get("type") or value.get("$ref", "").removeprefix("#/$defs/")
                kinds = " or ".join(kind) if isinstance(kind, list) else kind
                parts.append(f"| `{key}` | {kinds} | {escaped(value.get('description', ''))} |")
            parts.append("")
    layout = "\n".join(line for line in (_parquet.__doc__ or "").splitlines() if line.startswith("|"))
    parts.append(
        "## Part files\n\nA run may write several files, each with the same first line, and each image in one of them. "
        "What reads predictions takes the folder that they are in, or the files; their order changes no score:\n\n"
        "```\nrbox-metrics evaluate --data DOTA --split val --predictions parts\n"
        "rbox-metrics evaluate --data DOTA --split val --predictions part-0.jsonl --predictions part-1.jsonl\n```\n\n"
        "## Parquet\n\nThe same as columns, half the size on disk and read in less time, where a file ends in "
        "`.parquet` (`pip install rbox-formats[parquet]`). `rbox_formats.predictions.write` makes it, with all that a "
        "line holds, and so does `rbox-formats convert`, which keeps what a dataset has:\n\n"
        "```\nrbox-formats convert --data predictions.jsonl --format predictions --to predictions --out "
        f"predictions.parquet\n```\n\n{layout}\n\nThe first line of `predictions.jsonl` is in the schema's metadata, "
        "under the key `rbox_predictions`; what can be null may also be missing. The lists of an image are equally "
        "long, so that other programs make a row of each object:\n\n"
        '```python\nimport pandas\n\nnumbers = ["cx", "cy", "w", "h", "angle", "label", "score"]\n'
        'objects = pandas.read_parquet("predictions.parquet").explode(numbers)\n```\n\n'
        "```sql\nSELECT image_id, unnest(label) AS label, unnest(score) AS score FROM 'predictions.parquet'\n```\n\n"
        "For a map, `predict --geojson found.parquet` writes GeoParquet, a row for each object with its polygon, which "
        "GeoPandas opens, and QGIS where its GDAL has the Parquet driver.\n\nNext: "
        "[Score your own detector](../tutorials/score-your-detector.md).\n"
    )
    return "\n".join(parts)


def default_of(parameter: click.Option) -> str:
    """Return what an option is without being given, where its help does not say so."""
    default = parameter.default
    unset = default is None or default is False or default in ((), "") or repr(default).startswith("Sentinel")
    if callable(default) or unset or "[default" in (parameter.help or ""):
        return ""
    if parameter.is_flag and default is True:
        return f"`{parameter.opts[0]}`"
    shown = ", ".join(map(str, default)) if isinstance(default, (list, tuple)) else str(default)
    return f"`{shown}`"


def escaped(text: str) -> str:
    """Return a text for a cell of a table."""
    text = " ".join(text.replace("\b", "").split())
    return re.sub(r"([<|*_\[\]])", r"\\\1", text)


def option_row(parameter: click.Option, context: click.Context) -> str:
    """Return an option as the row of a table: its names and values, what it does, its default."""
    names = ", ".join(f"`{name}`" for name in [*parameter.opts, *parameter.secondary_opts])
    value = "" if parameter.is_flag or parameter.count else parameter.make_metavar(context)
    if isinstance(parameter.type, click.Choice) and len(parameter.type.choices) <= 10:
        value = "" if parameter.is_flag else ", ".join(map(str, parameter.type.choices))
    shown = f" {escaped(value)}" if value else ""
    needed = " **Required.**" if parameter.required else ""
    return f"| {names}{shown} | {escaped(parameter.help or '')}{needed} | {default_of(parameter)} |"


def command_section(path: str, command: click.Command) -> str:
    """Return the part of a page on one command."""
    context = click.Context(command, info_name=path)
    arguments = " ".join(p.make_metavar(context) for p in command.params if isinstance(p, click.Argument))
    text = re.sub(r"(?m)^ +", "", (command.help or "").replace("\b\n", ""))
    parts = [f"## {path}\n", text.strip() + "\n", f"```text\n{path} [OPTIONS] {arguments}".rstrip() + "\n```\n"]
    groups: dict[str, list[click.Option]] = {}
    for parameter in command.params:
        if isinstance(parameter, click.Option) and not parameter.hidden:
            groups.setdefault(getattr(parameter, "group", None) or "Other options", []).append(parameter)
    for group, options in groups.items():
        parts += [f"**{group}**\n", "| option | what it does | default |\n|---|---|---|"]
        parts.append("\n".join(option_row(option, context) for option in options) + "\n")
    if examples := getattr(command, "examples", ()):
        parts.append("```bash\n" + "\n".join(examples) + "\n```\n")
    return "\n".join(parts)


def commands_page(package: str) -> str:
    """Return the page of a package's commands, from the commands themselves."""
    title, _ = PACKAGES[package]
    group = importlib.import_module(f"{package}.cli.main").main
    context = click.Context(group, info_name=title)
    parts = [f"{MADE}# The command {title}\n\n{(group.help or '').strip()}\n"]
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if command is not None and not command.hidden:
            parts.append(command_section(f"{title} {name}", command))
    return "\n".join(parts)


def formats_page() -> str:
    """Return the page of dataset formats: what each names, from the modules that read them."""
    rows = []
    for name, found in datasets.FORMATS.items():
        read = found.read.func if isinstance(found.read, partial) else found.read
        summary = (sys.modules[read.__module__].__doc__ or "").strip().split("\n\n")[0].replace("\n", " ")
        classes = len(found.class_names) if found.class_names else 0
        rows.append(f"| `{name}` | {escaped(summary)} | {classes or 'from the data'} |")
    table = "\n".join(["| format | what it is | classes |", "|---|---|---:|", *rows])
    return (
        f"{MADE}# Dataset formats\n\nThe names that `--format` and `--to` take, in every command and in "
        "`rbox_formats.datasets`.\n\n"
        f"{table}\n\n[From other tools, and back](../tools.md) says what to export from each tool.\n"
    )


def pages() -> Mapping[str, str]:
    """Return each made page by its path under docs."""
    found = {
        "reference/dataset-formats.md": formats_page(),
        "reference/predictions.md": predictions_page(),
        "reference/train-settings.md": settings_page(),
        "reference/names.md": names_page(),
    }
    for package, (title, _) in PACKAGES.items():
        found[f"reference/{title}-commands.md"] = commands_page(package)
        found |= {f"reference/python/{name}.md": python_page(name) for name in public_modules(package)}
    return found


def write(docs: Path) -> None:
    """Write all pages and pictures under `docs`."""
    for name, text in pages().items():
        (docs / name).parent.mkdir(parents=True, exist_ok=True)
        (docs / name).write_text(text.rstrip() + "\n", encoding="utf-8")
    for name, draw in PICTURES.items():
        (docs / "pictures").mkdir(exist_ok=True)
        draw().save(docs / "pictures" / name, optimize=True)


def differences(old: Path, new: Path) -> list[str]:
    """Return what differs between the committed files and those made now."""
    found = []
    for path in sorted(path for path in new.rglob("*") if path.is_file()):
        name = path.relative_to(new)
        if not (old / name).is_file():
            found.append(f"{name} is missing")
        elif path.suffix == ".png":
            if not same_picture(old / name, path):
                found.append(f"{name} shows something else")
        else:
            texts = [(folder / name).read_text(encoding="utf-8").splitlines() for folder in (old, new)]
            found += difflib.unified_diff(*texts, str(name), "made now", lineterm="", n=1)
    for folder in ("reference", "pictures"):
        kept, made = ({path.relative_to(docs) for path in (docs / folder).rglob("*")} for docs in (old, new))
        found += [f"{name} is made by nothing" for name in sorted(kept - made)]
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description="Write the pages and pictures that are made from the code.")
    parser.add_argument("--check", action="store_true", help="write nothing, and say what is stale")
    parser.add_argument("--docs", type=Path, default=DOCS, help="the folder of the documentation")
    given = parser.parse_args()
    if not given.check:
        for folder in ("reference", "pictures"):
            shutil.rmtree(given.docs / folder, ignore_errors=True)
        write(given.docs)
        return 0
    with TemporaryDirectory() as folder:
        write(Path(folder))
        stale = differences(given.docs, Path(folder))
    if stale:
        print("\n".join(stale))
        print("stale: run python tools/docs_pages.py", file=sys.stderr)
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
