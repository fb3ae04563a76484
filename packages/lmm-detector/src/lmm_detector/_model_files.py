"""The files of a model's folder, read as data: whatever is in them, the worst is an error that names the file."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from rbox_formats import files
from rbox_formats.errors import quoted, said

from lmm_detector.errors import ModelError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

# In the order in which they are looked for.
_WHOLE = ("model.safetensors", "pytorch_model.bin")
_LARGEST = 200_000_000  # bytes of a JSON file; the largest of a real model, a tokenizer, has a tenth

#: The detectors that come with the package, by their names.
SHIPPED = {"demo": Path(__file__).parent / "_demo" / "weights"}

T = TypeVar("T", bound="DataclassInstance")


def shipped(path: str | Path) -> str | Path:
    """Return the folder of a detector that comes with the package, if its name is given; anything else unchanged.

    If there is a model's folder of that name, the name means that folder.
    """
    folder = SHIPPED.get(str(path))
    return path if folder is None or (Path(path) / "config.json").exists() else folder


def read_object(path: Path) -> dict[str, Any]:
    """Return a JSON object from a file.

    Raises:
        ModelError: If there is none.
    """
    text = _text(path)
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ModelError(f"expected JSON, got {said(error) or type(error).__name__}", path=path) from error
    if not isinstance(found, dict):
        raise ModelError(f"expected a JSON object, got {type(found).__name__}", path=path)
    return found


def read_as(kind: type[T], path: Path, what: str) -> T:
    """Return an object of a dataclass, its fields checked, from a JSON file.

    Args:
        kind: The dataclass.
        path: The file.
        what: How errors call it.

    Raises:
        ModelError: If there is none, a field is missing or of another type, or there are others.
    """
    from pydantic import TypeAdapter, ValidationError

    values = read_object(path)
    if unknown := sorted(values.keys() - {field.name for field in fields(kind)}):
        raise ModelError(f"expected {what}, got {quoted(unknown[0])} in it", path=path)
    try:
        # As JSON again: in it an array may be a tuple, and a number is not a text.
        return TypeAdapter(kind).validate_json(json.dumps(values), strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        expected = first["msg"].removeprefix("Input should be ")
        raise ModelError(f"expected {what}, got {place}: {expected}", path=path) from error
    except (ValueError, RecursionError) as error:  # half a surrogate pair, which no text may have
        raise ModelError(f"expected {what}, got {type(error).__name__}: {said(error)}", path=path) from error


def weight_files(folder: Path) -> list[Path]:
    """Return the files of a checkpoint's weights: one, or the shards of an index; safetensors are taken first.

    Raises:
        ModelError: If there is none, or one that the index names is missing.
        DatasetError: If the index names a file outside the folder.
    """
    for name in _WHOLE:
        if (folder / name).is_file():
            return [folder / name]
        index = folder / f"{name}.index.json"
        if index.is_file():
            shards = read_object(index).get("weight_map")
            if not isinstance(shards, dict) or not shards:
                raise ModelError("expected an index with a weight_map, got none", path=index)
            found = [folder / files.safe_name(str(shard), folder) for shard in sorted(set(map(str, shards.values())))]
            for path in found:
                if not path.is_file():
                    raise ModelError(f"expected the shard {path.name} beside its index, found none", path=index)
            return found
    raise ModelError(f"expected weights ({' or '.join(_WHOLE)}, or their index), found none", path=folder)


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > _LARGEST:
            raise ModelError(f"expected at most {_LARGEST} bytes, got {path.stat().st_size}", path=path)
        return path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise ModelError(f"expected a file {path.name}, found none", path=path.parent) from error
    except (OSError, UnicodeDecodeError) as error:
        raise ModelError(f"expected a text in UTF-8, got {type(error).__name__}", path=path) from error
