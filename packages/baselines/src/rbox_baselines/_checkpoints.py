"""Checkpoints of mmengine, read without running what is in them, and whether they are of these classes."""

from __future__ import annotations

import pickle
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from rbox_formats import ClassNames, archives, files
from rbox_formats.detection import command_of
from rbox_formats.errors import listed

from rbox_baselines._stack import _mends
from rbox_baselines.errors import CheckpointError


class _Layer(NamedTuple):
    """A layer that tells classes apart.

    Attributes:
        beside: The layer with the boxes of as many anchors, or None where there is one for each place.
        others: How many of its rows are of no class.
    """

    beside: str | None
    others: int = 0


# By their names in mmdet's and MMRotate's heads; in ROI heads the background has a row of its own.
_CLASS_LAYERS = {
    "fc_cls": _Layer(None, others=1),
    "retina_cls": _Layer("retina_reg"),
    "atss_cls": _Layer("atss_reg"),
    "odm_cls": _Layer("odm_reg"),
    "conv_cls": _Layer(None),
    "rtm_cls": _Layer(None),
    "reppoints_cls_out": _Layer(None),
}
_BOX = 5  # numbers for a box, with its angle; also where a layer of its own classifies angles


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """Read a checkpoint onto the CPU: tensors, arrays and plain values alone.

    Args:
        path: A file of mmengine's Runner, of mmcv's (MMRotate 0.x), a published one, or one of bare weights.

    Returns:
        What is in it: "state_dict", "meta", and while training "optimizer", "message_hub" and others. Bare weights come
        as "state_dict".

    Raises:
        CheckpointError: If there is no such file, it is no checkpoint, or it asks for anything but tensors, arrays and
            plain values. The message names what it asks for; none of it is run.
    """
    import torch

    path = files.as_path(path, CheckpointError)
    if not path.is_file():
        found = "a folder" if path.is_dir() else "none"
        command = command_of(path)
        remedy = f"It is a detector of another kind: `{command} predict --model {path}`." if command else None
        raise CheckpointError(f"expected a checkpoint file, got {found}", path=path, remedy=remedy)
    archives.check(path, CheckpointError)
    _mends.allow_checkpoints()
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise _refused(str(error), path) from error
    except OSError:
        raise
    except Exception as error:  # what is wrong with a broken file shows in any way
        raise _no_checkpoint(f"a file that cannot be read ({type(error).__name__})", path) from error
    checkpoint = found if isinstance(found, dict) and "state_dict" in found else {"state_dict": found}
    weights = checkpoint["state_dict"]
    if not isinstance(weights, dict) or not weights or not all(map(torch.is_tensor, weights.values())):
        raise _no_checkpoint("a file without weights ('state_dict')", path)
    return checkpoint


def class_names_of(checkpoint: Mapping[str, Any]) -> tuple[str, ...] | None:
    """Return the classes that a checkpoint names, in the order of its labels, or None.

    mmengine has them in `meta["dataset_meta"]["classes"]` (once "CLASSES"), mmcv in `meta["CLASSES"]`.
    """
    meta = checkpoint.get("meta")
    meta = meta if isinstance(meta, dict) else {}
    for place in (meta.get("dataset_meta"), meta):
        for key in ("classes", "CLASSES"):
            names = place.get(key) if isinstance(place, dict) else None
            if isinstance(names, str):
                return (names,)
            if isinstance(names, list | tuple) and names:
                return tuple(map(str, names))
    return None


def number_of_classes(weights: Mapping[str, Any]) -> tuple[str, int] | None:
    """Return the layer that classifies, and its number of classes, from weights; None where no such layer is known."""
    for name in weights:
        parts = name.split(".")
        if parts[-1] != "weight":
            continue
        place = len(parts) - (3 if parts[-2].isdigit() else 2)
        layer = _CLASS_LAYERS.get(parts[place])
        if layer is None:
            continue
        rows = weights[name].shape[0] - layer.others
        anchors = 1
        if layer.beside is not None:
            boxes = ".".join([*parts[:place], layer.beside, *parts[place + 1 :]])
            if boxes not in weights:
                continue
            anchors = weights[boxes].shape[0] // _BOX
        if anchors and rows > 0 and rows % anchors == 0:
            return ".".join(parts[:-1]), rows // anchors
    return None


def without_classes(checkpoint: Mapping[str, Any]) -> dict[str, Any]:
    """Return a checkpoint without the layers that tell classes apart, to begin with for other classes.

    Args:
        checkpoint: The contents of a checkpoint, from `read_checkpoint`.
    """
    kept = {
        name: value for name, value in checkpoint["state_dict"].items() if not _CLASS_LAYERS.keys() & {*name.split(".")}
    }
    return {"state_dict": kept, "meta": {}}


def check_classes(checkpoint: Mapping[str, Any], class_names: Sequence[str], *, path: str | Path | None = None) -> None:
    """Make sure that a checkpoint is of a dataset's classes, in their order.

    The names that it has are compared, without regard to case, '-' and '_'; where it has none, their number, by the
    rows of the layer that tells classes apart. A checkpoint that has neither, such as a backbone's, fits all.

    Args:
        checkpoint: The contents of a checkpoint, from `read_checkpoint`.
        class_names: The dataset's.
        path: The checkpoint's file, for the error's text.

    Raises:
        CheckpointError: If they differ.
    """
    remedy = (
        "Name the checkpoint's classes in its order (--class-names), or the dataset that it was trained on (--format); "
        "for new classes, begin with a checkpoint of these, or with a backbone."
    )
    wanted = ClassNames(class_names)
    found = class_names_of(checkpoint)
    if found is not None:
        if len(found) != len(wanted) or any(wanted.find(name) != label for label, name in enumerate(found)):
            order = ", in another order" if sorted(map(str, found)) == sorted(wanted) else ""
            raise CheckpointError(
                f"expected a checkpoint of the {len(wanted)} classes {listed(wanted)}; got one of the {len(found)} "
                f"classes {listed(found)}{order}",
                path=path,
                remedy=remedy,
            )
        return
    counted = number_of_classes(checkpoint["state_dict"])
    if counted is not None and counted[1] != len(wanted):
        layer, count = counted
        raise CheckpointError(
            f"expected a checkpoint of the {len(wanted)} classes {listed(wanted)}; got one of {count} classes "
            f"without names, by its layer {layer}",
            path=path,
            remedy=remedy,
        )


def _refused(message: str, path: Path) -> CheckpointError:
    name = re.search(r"GLOBAL (\S+)", message)
    if name is None:
        return _no_checkpoint("a file that cannot be read", path)
    return CheckpointError(
        f"expected a checkpoint of tensors and plain values, got one that asks for {name[1]}",
        path=path,
        remedy="Nothing of it was run. Where you trust the file, load and save it without what is neither.",
    )


def _no_checkpoint(found: str, path: Path) -> CheckpointError:
    return CheckpointError(
        f"expected a checkpoint, got {found}",
        path=path,
        remedy="Checkpoints are what train, publish and MMRotate write.",
    )
