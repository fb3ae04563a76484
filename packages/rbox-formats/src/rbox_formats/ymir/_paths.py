"""Paths that the platform names: below its folders, whatever they say."""

from __future__ import annotations

from pathlib import Path

from rbox_formats import files
from rbox_formats.errors import DatasetError, RboxError, quoted

#: Where the platform mounts what is read.
MOUNT = "/in"


def below(text: str, root: Path, *, base: Path | None = None, error: type[RboxError] = DatasetError) -> Path:
    """Return the path that a file of the platform names: inside a folder, as far as its text goes.

    Links are not followed: the platform mounts the targets of its own.

    >>> from pathlib import Path
    >>> from rbox_formats import ymir
    >>> below = [ymir.below(text, Path("/data/in")) for text in ("/data/in/a.png", "/in/a.png", "a.png")]
    >>> {path.as_posix() for path in below}
    {'/data/in/a.png'}

    Args:
        text: An absolute path below `root`, or one that begins with `/in/`, which stands for `root`; or a relative one.
        root: The folder that it may not leave.
        base: The folder, inside `root`, that a relative path is relative to. None: `root`.
        error: The class of the error to raise.

    Raises:
        RboxError: Of the class `error`, if it leads elsewhere, has `..`, or is no path.
    """
    base = root if base is None else base
    prefixes = (f"{root.as_posix().rstrip('/')}/", f"{MOUNT}/")
    inner = next((text.removeprefix(each) for each in prefixes if text.startswith(each)), None)
    folder, name = (base, text) if inner is None else (root, inner)
    try:
        path = folder / files.safe_path("/".join(part for part in name.split("/") if part != ".") or ".", folder)
        return files.as_path(path)
    except DatasetError:
        raise error(
            f"expected a path below {root}, got {quoted(text)}",
            remedy=f"Paths are below {root}, which {MOUNT} stands for, or relative to it.",
        ) from None
