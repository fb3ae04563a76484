"""What in a config depends on the classes: how many heads tell apart, and which are treated in a way of their own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

# Settings that count classes: of heads, and of mmdet's heads that tell objects from regions.
_COUNTS = ("num_classes", "num_things_classes")
# Settings that list labels: classes whose boxes have no angle, or are upright.
_LABELS = ("square_classes", "rotation_agnostic_classes", "rect_obj_labels")


def set_num_classes(model: Any, count: int) -> None:
    """Set the number of classes of every head of a model's config."""
    if isinstance(model, Mapping):
        for name, value in model.items():
            if name in _COUNTS:
                model[name] = count  # type: ignore[index]
            elif name == "class_weight" and isinstance(value, list | tuple) and len(set(value[:-1])) == 1:
                model[name] = [value[0]] * count + [value[-1]]  # type: ignore[index]  # of all classes, and of none
            elif name != "rpn_head":  # which tells objects from background only
                set_num_classes(value, count)
    elif isinstance(model, list | tuple):
        for value in model:
            set_num_classes(value, count)


def relabel(settings: Any, before: Sequence[str] | None, after: Sequence[str]) -> None:
    """Renumber lists of labels for other classes, by the classes' names; labels of classes that are gone are left out.

    Args:
        settings: A config, or a part of it.
        before: The classes that it was written for. None: nobody knows, and no class is treated in a way of its own.
        after: The classes that it gets.
    """
    from rbox_formats import ClassNames

    if isinstance(settings, Mapping):
        for name, value in settings.items():
            if name in _LABELS and value:
                names = [] if before is None else [before[label] for label in value if label < len(before)]
                found = [ClassNames(after).find(each) for each in names]
                settings[name] = [label for label in found if label is not None] or None  # type: ignore[index]
            else:
                relabel(value, before, after)
    elif isinstance(settings, list | tuple):
        for value in settings:
            relabel(value, before, after)
