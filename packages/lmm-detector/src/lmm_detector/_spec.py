"""`detector.json`: what a checkpoint needs beside its weights to be a detector. It is the last file to be written.

A folder without it is not a finished checkpoint, whatever else is in it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rbox_formats import ClassNames, codecs, files

from lmm_detector._model_files import read_as
from lmm_detector.errors import ModelError

FILE_NAME = "detector.json"


@dataclass(frozen=True)
class _Values:
    """What the file holds, for pydantic."""

    class_names: list[str]
    codec: dict[str, Any]
    prompt: str
    window: int
    gap: int
    longest_answer: int | None = None


@dataclass(frozen=True)
class DetectorSpec:
    """What a detector was taught.

    Attributes:
        class_names: The classes.
        codec: The codec's name and options.
        prompt: What asks the model for boxes.
        window: Side of the windows that it saw, in pixels.
        gap: How far neighbouring windows overlap, in pixels.
        longest_answer: The tokens of the longest text that it was taught, end-of-text included. None: it is not known.
    """

    class_names: ClassNames
    codec: Mapping[str, Any]
    prompt: str
    window: int
    gap: int
    longest_answer: int | None = None

    def make_codec(self) -> codecs.Codec:
        """Return the codec itself."""
        return codecs.from_dict(self.codec)

    def save(self, folder: str | Path) -> None:
        """Write the file into a checkpoint's folder."""
        values = {**asdict(self), "class_names": list(self.class_names)}
        files.write_text(Path(folder) / FILE_NAME, json.dumps(values, indent=2, ensure_ascii=False) + "\n")

    @classmethod
    def load(cls, folder: str | Path) -> DetectorSpec:
        """Read the file from a checkpoint's folder.

        Raises:
            ModelError: If there is no such folder, or it is no detector's.
            ClassNameError: If two classes have one name.
        """
        folder = files.as_path(folder, ModelError)
        path = folder / FILE_NAME
        if folder.is_file():
            raise ModelError("expected a trained detector's folder, got a file", path=folder, remedy=_whose(folder))
        if not folder.is_dir():
            raise ModelError("expected a trained detector's folder, found none", path=folder)
        if not path.is_file():
            inside = sorted(str(p.parent) for p in folder.glob(f"*/{FILE_NAME}"))
            remedy = f"Did you mean {inside[-1]}?" if inside else "`lmm-detector train` makes one."
            raise ModelError(f"expected a trained detector, found no {FILE_NAME}", path=folder, remedy=remedy)
        found = read_as(_Values, path, "a detector's settings")
        if not 0 <= found.gap < found.window:
            raise ModelError(f"expected a gap below the window, got {found.gap} and {found.window} px", path=path)
        if found.longest_answer is not None and found.longest_answer < 1:
            raise ModelError(f"expected a longest_answer of 1 token or more, got {found.longest_answer}", path=path)
        return cls(**{**asdict(found), "class_names": ClassNames(found.class_names)})


def _whose(file: Path) -> str:
    """Return what to do with a file that is no detector of this package."""
    from rbox_formats.detection import command_of

    if command := command_of(file):
        return f"It is a checkpoint of another kind of detector: `{command} predict --model {file}`."
    return "A .pth file is a checkpoint of rbox-baselines or MMRotate: pip install rbox-baselines."
