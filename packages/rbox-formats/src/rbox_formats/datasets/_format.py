"""The description of a dataset format: two functions and, if its makers fixed one, a list of classes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from rbox_formats._records import ClassNames, Dataset, ImageRecord

# From (root, split, class names) to a dataset whose annotations are read when they are asked for; None as class names
# means those in the files.
Read: TypeAlias = Callable[..., Dataset]

# From (root, split) to the folder of the images.
Images: TypeAlias = Callable[[Path, str | None], Path]

# From (records, root, split, class names) to the folder or file written; one record at a time is held.
Write: TypeAlias = Callable[[Iterable[ImageRecord], Path, str | None, ClassNames], Path]


@dataclass(frozen=True)
class Format:
    """A dataset format.

    >>> from rbox_formats import datasets
    >>> datasets.get("dior-r").class_names[:3]
    ('airplane', 'airport', 'baseballfield')

    Attributes:
        read: The function that `rbox_formats.datasets.read` calls; None for a format that is only written.
        write: The function that `rbox_formats.datasets.write` calls.
        class_names: The list of its makers; None if each dataset has its own.
        images: A function that gives the images' folder of a written dataset; None if the format has none.
        drops_outside: Whether other readers of the format drop an image if an object has a corner outside of it.
        label_folder: Whether `read` accepts `label_folders`, names to look for instead of the format's own.
        options: The names of further arguments that `read` accepts; the format's module says what they are.
        write_options: The names of further arguments that `write` accepts.
    """

    read: Read | None
    write: Write
    class_names: ClassNames | None = None
    images: Images | None = None
    drops_outside: bool = False
    label_folder: bool = False
    options: tuple[str, ...] = ()
    write_options: tuple[str, ...] = ()
