"""What a dataset format is: two functions and, where its makers fixed one, a list of classes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from rbox_formats._records import ClassNames, Dataset, ImageRecord

# (root, split, class names) to a dataset whose annotations are read when they are asked for; None as class names means
# those that the files themselves use.
Read: TypeAlias = Callable[..., Dataset]

# (root, split) to the folder that the images belong in.
Images: TypeAlias = Callable[[Path, str | None], Path]

# (records, root, split, class names) to the folder or file written; records go by one at a time.
Write: TypeAlias = Callable[[Iterable[ImageRecord], Path, str | None, ClassNames], Path]


@dataclass(frozen=True)
class Format:
    """A dataset format.

    >>> from rbox_formats import datasets
    >>> datasets.get("dior-r").class_names[:3]
    ('airplane', 'airport', 'baseballfield')

    Attributes:
        read: None for a format that is only written.
        write: See `rbox_formats.datasets.write`.
        class_names: The list of its makers; None where each dataset has its own.
        images: Where a dataset that was written has its images; None where the format does not say.
        drops_outside: Whether who reads the format leaves out a whole image of which an object has a corner outside.
        label_folder: Whether `read` takes `label_folders`, names to look for in the place of the format's own.
    """

    read: Read | None
    write: Write
    class_names: ClassNames | None = None
    images: Images | None = None
    drops_outside: bool = False
    label_folder: bool = False
