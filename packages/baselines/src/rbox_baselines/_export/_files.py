"""The files of exported detectors, and what they say of themselves."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from rbox_formats import files
from rbox_formats.errors import quoted

from rbox_baselines._export._program import program_of
from rbox_baselines.errors import ExportError

if TYPE_CHECKING:
    import torch

#: What a file may end in.
SUFFIXES = (".onnx", ".pt2")
_INSTALL = "pip install 'rbox-baselines[export]'"
_VERSION = "1"


@dataclass(frozen=True)
class Description:
    """What an exported file says of itself; in ONNX each field is an entry of `metadata_props`, as JSON.

    Attributes:
        class_names: The classes that labels are indices of.
        config: The part of the config that says how images are prepared, as Python assignments of plain values.
        nms: Whether the program suppresses its last boxes.
        nms_iou_threshold: The IoU above which a box with a better one of its class is dropped.
        max_detections: The most boxes that stay on an image.
        is_padded: Whether the program pads images; else their sides must be multiples of 32 px.
    """

    class_names: tuple[str, ...]
    config: str
    nms: bool
    nms_iou_threshold: float
    max_detections: int
    is_padded: bool

    #: For users of other programs.
    _SAID: ClassVar[dict[str, str]] = {
        "rbox_baselines": _VERSION,
        "input": "image: (1, 3, height, width) float32, RGB, 0 to 255",
        "boxes": "cx, cy, w, h in pixels of the input; angle in radians, clockwise on the screen; w >= h; from "
        "-pi/2 up to but not including pi/2 (le90). With 8 columns: x, y of the corners.",
    }

    def to_texts(self) -> dict[str, str]:
        """Return the entries of the file."""
        fields = ("class_names", "config", "nms", "nms_iou_threshold", "max_detections", "is_padded")
        return {**self._SAID, **{name: json.dumps(getattr(self, name)) for name in fields}}

    @classmethod
    def of_texts(cls, texts: dict[str, str], path: Path) -> Description:
        """Read the entries of a file.

        Raises:
            ExportError: If they are not those that this version writes.
        """
        if texts.get("rbox_baselines") != _VERSION:
            raise ExportError(
                "expected a file that `rbox-baselines export` wrote, got one without its description", path=path
            )
        kinds: dict[str, Any] = {
            "class_names": list,
            "config": str,
            "nms": bool,
            "nms_iou_threshold": float,
            "max_detections": int,
            "is_padded": bool,
        }
        found = {}
        for name, kind in kinds.items():
            try:
                value = json.loads(texts.get(name, ""))
            except ValueError:
                value = None
            if not isinstance(value, kind):
                raise ExportError(
                    f"expected {name} in the file to be a {kind.__name__}, got {quoted(texts.get(name))}", path=path
                )
            found[name] = value
        names = found["class_names"]
        if not names or not all(isinstance(name, str) for name in names):
            raise ExportError(f"expected class_names in the file to be names, got {quoted(names)}", path=path)
        return cls(**{**found, "class_names": tuple(names)})


def write(model: Any, description: Description, side: int, path: Path) -> None:
    """Write a model as ONNX (.onnx), or as a program of PyTorch (.pt2).

    Args:
        model: A detector of mmdet or MMRotate.
        description: What the file says of itself.
        side: Side of the images that the model is meant for, px.
        path: The file; it is there whole or not at all.

    Raises:
        ExportError: If the model cannot be exported, the suffix is another, or what writes ONNX is not installed.
    """
    if path.suffix not in SUFFIXES:
        raise ExportError(f"expected a file ending in {' or '.join(SUFFIXES)}, got {quoted(path.name)}")
    if path.suffix == ".onnx":
        require("onnx", "onnxscript")
    program = program_of(model, side, description.nms)
    with files.replacing(path) as temporary:
        (_write_onnx if path.suffix == ".onnx" else _write_program)(program, description, temporary)


def require(*modules: str) -> None:
    """Check that what the extra `export` brings is installed.

    Raises:
        ExportError: If a module is not there.
    """
    from importlib.util import find_spec

    for name in modules:
        if find_spec(name) is None:
            raise ExportError(f"expected {name} to be installed, found none", remedy=_INSTALL)


def _write_program(program: torch.export.ExportedProgram, description: Description, path: Path) -> None:
    import torch

    torch.export.save(program, path, extra_files=description.to_texts())


def _write_onnx(program: torch.export.ExportedProgram, description: Description, path: Path) -> None:
    import torch

    from rbox_baselines._export._onnx import translations
    from rbox_baselines._export._program import quiet

    with quiet():
        found = torch.onnx.export(
            program,
            dynamo=True,
            verbose=False,
            opset_version=18,
            custom_translation_table=translations(),
            input_names=["image"],
            output_names=["boxes", "scores", "labels"],
        )
    assert found is not None  # it is only where a file is named
    found.model.metadata_props.update(description.to_texts())
    found.save(path, external_data=False)
