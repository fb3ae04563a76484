"""Manifests: the shards of a run in a file, for machines that share the work of an archive."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import msgspec
from msgspec import Meta, Struct

from rbox_formats import files, images, tiling
from rbox_formats.detection import Scene
from rbox_formats.errors import FormatsError, ManifestError, quoted
from rbox_formats.progress import showing, track
from rbox_formats.sharding import _remote
from rbox_formats.sharding._remote import RemoteScene
from rbox_formats.sharding._shards import Shard, shards

VERSION = 1
PARQUET = ".parquet"
SHARD_SIZE = 256
"""Windows of a shard, by default."""

_Side = Annotated[int, Meta(ge=1, le=2**31)]
_Count = Annotated[int, Meta(ge=0, le=2**31)]


class _Header(Struct, forbid_unknown_fields=True):
    manifest_version: int
    window: _Count
    gap: _Count
    shard_windows: _Side


class _Image(Struct, forbid_unknown_fields=True):
    """An image of a manifest; `windows` are the first and one past the last of those that its shard has."""

    image_id: Annotated[str, Meta(min_length=1)]
    path: Annotated[str, Meta(min_length=1)]
    size: tuple[_Side, _Side]
    windows: tuple[_Count, _Count]


class _Line(Struct, forbid_unknown_fields=True):
    shard: str
    images: list[_Image]


class Located(NamedTuple):
    """An image of an archive.

    >>> Located("P0001", Path("scenes/P0001.tif"), None).image_id
    'P0001'

    Attributes:
        image_id: Its id.
        path: Its file, or its address as a text.
        size: (width, height) in pixels; None: it is read from the file.
    """

    image_id: str
    path: Path | str
    size: tuple[int, int] | None


@dataclass(frozen=True)
class Manifest:
    """The shards of a run, with the windows that all detectors look at.

    >>> manifest = write_manifest("archive.jsonl", ["scenes/*.tif"], window=1024)  # doctest: +SKIP
    >>> len(manifest.plan())  # doctest: +SKIP
    40

    Attributes:
        window: Side of the windows in pixels; 0: whole images.
        gap: Overlap of neighbouring windows in pixels.
        shard_windows: About how many windows a shard has.
        images: Each image's id, file (a text is an address), and size (width, height) in pixels, in order.
    """

    window: int
    gap: int
    shard_windows: int
    images: tuple[tuple[str, Path | str, tuple[int, int]], ...]

    @property
    def files(self) -> dict[str, Path]:
        """The file of each image on this machine, by its id."""
        return {image_id: path for image_id, path, _ in self.images if isinstance(path, Path)}

    def scenes(self, *, pad_whole: bool = True) -> list[Scene]:
        """Return the images as scenes, without reading them.

        Args:
            pad_whole: As in `rbox_formats.detection.Scene`.
        """
        return [
            RemoteScene(image_id, None, None, size, tuple(self._windows(*size)), pad_whole, path)
            if isinstance(path, str)
            else Scene(image_id, path, None, size, tuple(self._windows(*size)), pad_whole)
            for image_id, path, size in self.images
        ]

    def plan(self, *, pad_whole: bool = True) -> list[Shard]:
        """Return the shards.

        Args:
            pad_whole: As in `rbox_formats.detection.Scene`.
        """
        return shards(self.scenes(pad_whole=pad_whole), self.shard_windows)

    def _windows(self, width: int, height: int) -> list[tiling.Window]:
        if self.window == 0:
            return [tiling.Window(0, 0, max(width, height))]
        return tiling.windows(width, height, self.window, self.gap)


def make_manifest(
    found: Iterable[str | Path | Located],
    *,
    window: int = 1024,
    gap: int | None = None,
    shard_windows: int = SHARD_SIZE,
    progress: bool = False,
) -> Manifest:
    """Make a manifest of images; of each the header is read, unless its size is given.

    >>> make_manifest([]).plan()
    []

    Args:
        found: The images, by their files or addresses, no two of the same name, or as `read_stac` returns them.
        window: Side of the windows in pixels; 0: whole images.
        gap: Overlap of neighbouring windows in pixels. None: 200 px for windows of 1,024 px, in proportion for others.
        shard_windows: About how many windows a shard has.
        progress: Shows a progress bar on standard error.

    Raises:
        DatasetError: If two files have the same name.
        ImageError: If a file is no image.
        FormatsError: If a number is out of its range, or an address cannot be read from.
    """
    gap = tiling.default_gap(window) if gap is None else gap
    if shard_windows < 1:
        raise FormatsError(f"expected shards of one window or more, got {shard_windows}")
    if window and not 0 <= gap < window:
        raise FormatsError(f"expected a gap of 0 px or more, below the window of {window} px, got {gap}")
    items = list(found)
    urls = dict.fromkeys(each for each in items if isinstance(each, str) and _remote.is_address(each))
    paths = [each for each in items if not (isinstance(each, Located) or (isinstance(each, str) and each in urls))]
    named = images.by_id(files.as_path(each, ManifestError) for each in paths)
    located = [*(Located(name, path, None) for name, path in named.items())]
    located += [Located(_remote.id_of(url), _remote.checked(url), None) for url in urls]
    located += [each for each in items if isinstance(each, Located)]
    with showing(progress):
        sizes = _remote.sizes([(path, size) for _, path, size in located])
        sized = tuple((name, path, next(sizes)) for name, path, _ in track(located, "reading sizes"))
    return Manifest(window, gap if window else 0, shard_windows, sized)


def write_manifest(path: str | Path, manifest: Manifest) -> Path:
    """Write a manifest, whole or not at all.

    Paths are written relative to its folder where the images lie below it, so that both can be moved together.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     read_manifest(write_manifest(Path(folder) / "archive.jsonl", make_manifest([], window=512))).gap
    100

    Args:
        path: The file: JSON Lines, or Parquet where it ends in .parquet (by pyarrow).
        manifest: What to write.

    Returns:
        The file.
    """
    path = files.as_path(path, ManifestError)
    header = {
        "manifest_version": VERSION,
        "window": manifest.window,
        "gap": manifest.gap,
        "shard_windows": manifest.shard_windows,
    }
    base = path.resolve().parent
    lines = [
        {
            "shard": shard.fingerprint,
            "images": [
                {
                    "image_id": piece.scene.image_id,
                    "path": _written(piece.scene, base),
                    "size": list(piece.scene.size),
                    "windows": [piece.numbers.start, piece.numbers.stop],
                }
                for piece in shard.pieces
            ],
        }
        for shard in manifest.plan()
    ]
    if path.suffix.lower() == PARQUET:
        _write_parquet(path, header, lines)
    else:
        files.write_text(path, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in (header, *lines)))
    return path


def read_manifest(path: str | Path, *, remote: bool = False) -> Manifest:
    """Read a manifest.

    >>> read_manifest("archive.jsonl").plan()  # doctest: +SKIP

    Args:
        path: The file, as `write_manifest` writes it.
        remote: Whether images may be read from the addresses that it names; if not, one that names any is refused.

    Raises:
        ManifestError: If it is no manifest, is of another version, its shards are not those that this version makes of
            its images, or it names addresses that may not be read from.
    """
    path = files.as_path(path, ManifestError)
    header, lines = (_from_parquet if path.suffix.lower() == PARQUET else _from_lines)(path)
    if header.manifest_version != VERSION:
        raise ManifestError(f"expected manifest version {VERSION}, got {header.manifest_version}", path=path)
    base = path.resolve().parent
    found: dict[str, tuple[Path | str, tuple[int, int]]] = {}
    for line in lines:
        for image in line.images:
            is_far = _remote.is_address(image.path)
            where = _remote.checked(image.path, path) if is_far else base / image.path
            if found.setdefault(image.image_id, (where, image.size)) != (where, image.size):
                raise ManifestError(f"expected one image of each id, got two of {quoted(image.image_id)}", path=path)
    _remote.require_consent([where for where, _ in found.values() if isinstance(where, str)], path, remote=remote)
    made = tuple((name, *rest) for name, rest in found.items())
    manifest = Manifest(header.window, header.gap, header.shard_windows, made)
    try:
        plan = manifest.plan()
    except FormatsError as error:
        raise ManifestError(str(error), path=path) from error
    if [shard.fingerprint for shard in plan] != [line.shard for line in lines]:
        raise ManifestError(
            "expected the shards that this version makes of these images, got others",
            path=path,
            remedy="Make it again: rbox-formats shards.",
        )
    return manifest


def _written(scene: Scene, base: Path) -> str:
    if isinstance(scene, RemoteScene):
        return scene.url
    if scene.path is None:
        raise ManifestError("expected images in files, got one in memory")
    whole = scene.path.resolve()
    return whole.relative_to(base).as_posix() if base in whole.parents else str(whole)


def _from_lines(path: Path) -> tuple[_Header, list[_Line]]:
    try:
        first, *rest = path.read_bytes().split(b"\n")
    except OSError as error:
        raise ManifestError(f"expected a manifest, got: {error.strerror}", path=path) from error
    header = _decoded(first, _Header, path, 1)
    return header, [_decoded(line, _Line, path, number) for number, line in enumerate(rest, start=2) if line.strip()]


def _decoded(line: bytes, kind: Any, path: Path, number: int) -> Any:
    try:
        return msgspec.json.decode(line, type=kind)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise ManifestError(
            f"expected a line of a manifest, got {quoted(line[:80].decode('utf-8', errors='replace'))} ({error})",
            path=path,
            line=number,
            remedy="`rbox-formats shards` writes manifests.",
        ) from error


def _write_parquet(path: Path, header: dict[str, int], lines: Sequence[dict[str, Any]]) -> None:
    """Write a row for each image of each shard."""
    pa, pq = _pyarrow()
    columns: dict[str, list[Any]] = {name: [] for name in ("shard", *_Image.__struct_fields__)}
    for line in lines:
        for image in line["images"]:
            columns["shard"].append(line["shard"])
            for name, value in image.items():
                columns[name].append(value)
    pair = pa.list_(pa.int64(), 2)
    types = {"shard": pa.string(), "image_id": pa.string(), "path": pa.string(), "size": pair, "windows": pair}
    table = pa.table(columns, schema=pa.schema(types.items(), metadata={"manifest": json.dumps(header)}))
    with files.replacing(path) as temporary:
        pq.write_table(table, os.fspath(temporary))


def _from_parquet(path: Path) -> tuple[_Header, list[_Line]]:
    pa, pq = _pyarrow()
    try:
        table = pq.read_table(os.fspath(path))
        header = _decoded((table.schema.metadata or {}).get(b"manifest", b""), _Header, path, 1)
        lines: dict[str, _Line] = {}
        for row in table.to_pylist():
            name = row.pop("shard", None)
            lines.setdefault(name, _Line(str(name), [])).images.append(msgspec.convert(row, _Image))
    except (OSError, pa.ArrowException, msgspec.MsgspecError) as error:
        raise ManifestError(f"expected a manifest in Parquet, got: {str(error)[:200]}", path=path) from error
    return header, list(lines.values())


def _pyarrow() -> tuple[Any, Any]:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        remedy = "Install it (pip install 'rbox-formats[parquet]'), or take JSON Lines (.jsonl)."
        raise ManifestError("expected pyarrow for Parquet, found none", remedy=remedy) from error
    return pa, pq
