"""Images on other machines: their addresses, read through fsspec where a user has asked for it.

A whole image is copied into a temporary folder when its turn comes, and removed when its windows are cut. So the
pixels are those of a local file, by the same code, and a process holds one such file at a time.
"""

from __future__ import annotations

import os
import re
import tempfile
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any, TypeAlias, TypeVar
from urllib.parse import unquote

from rbox_formats import files, images
from rbox_formats.detection import Scene
from rbox_formats.errors import FormatsError, ImageError, ManifestError, listed, quoted, said
from rbox_formats.typing import Image

T = TypeVar("T")

#: What gives the pixels of an image's windows: `Scene.crops`.
Crops: TypeAlias = Callable[[range | None], Iterator[tuple[int, Image]]]

PAUSES = (0.5, 1.0, 2.0, 4.0)
"""Seconds before each further try to reach a machine."""

# What fsspec has a reader for; "memory" is this process's own, for tests. "file" is not among them: it is a path.
_PROTOCOLS = ("https", "http", "s3", "gs", "az", "memory")
_WEB = ("https", "http")
_ADDRESS = re.compile(r"([a-zA-Z][a-zA-Z0-9+.-]*)://([^/\\]*)(.*)", re.DOTALL)
_HOST, _BUCKET = re.compile(r"[^@:]+(:[0-9]+)?"), re.compile(r"[^@:]*")
_OPEN = re.compile(r".*@|:.*", re.DOTALL)  # what is not repeated of a machine's name
_QUERY = re.compile(r"\?[^\s'\"<>)]+")

_LIST = ".txt"
_CHUNK = 2**20
_BLOCK = 2**18  # what is read ahead of a header; the least that Google's reader takes

# A file is refused that is longer than its pixels can be: 64 bytes each, and as much again for the rest as a header.
_BYTES_A_PIXEL, _HEADER_BYTES = 64, 2**26
# The same where the number of pixels is not known.
_LONGEST = 2**32


class _NeedsAllError(Exception):
    """The header cannot be read by itself: the server sends whole files alone, or the format has no header."""


def is_address(text: str) -> bool:
    """Return whether a text is an address such as "s3://bucket/P0001.tif", and no path."""
    return "://" in text


def checked(url: str, path: Path | None = None) -> str:
    """Return an address that may be read from.

    Args:
        url: The address.
        path: The file that names it.

    Raises:
        ManifestError: If it is of a protocol that is not read, several in one (`zip::https://...`), or holds a
            password. The password is not repeated.
    """
    found = _ADDRESS.match(url)
    expected = f"expected an address of an image ({', '.join(f'{each}://' for each in _PROTOCOLS)})"
    if found is None or not url.isprintable() or "::" in url:
        raise ManifestError(f"{expected}, got {quoted(_QUERY.sub('', url.split('@')[-1]))}", path=path)
    protocol, place, _ = found.groups()
    if protocol not in _PROTOCOLS:
        remedy = "Give its path, without file://." if protocol == "file" else None
        raise ManifestError(f"{expected}, got one of {quoted(protocol)}", path=path, remedy=remedy)
    if not (_HOST if protocol in _WEB else _BUCKET).fullmatch(place):
        raise ManifestError(
            f"expected a machine or a bucket without a password, got one on {quoted(_OPEN.sub('...', place))}",
            path=path,
            remedy="fsspec reads passwords and keys from its own settings, or from those of the object store.",
        )
    return url


def shown(url: str) -> str:
    """Return an address as messages show it: without its query, which may be a signature."""
    return url.partition("?")[0] if url.startswith(_WEB) else url


def id_of(url: str) -> str:
    """Return the id of an image by its address: the name of its file without suffix."""
    name = PurePosixPath(shown(url)).name
    name = unquote(name) if url.startswith(_WEB) else name
    return PurePosixPath(files.safe_name(name, Path(shown(url)))).stem


def require_consent(urls: Collection[str], path: Path, *, remote: bool) -> None:
    """Make sure that a user has asked for images to be read from the addresses that a file names.

    Raises:
        ManifestError: If not; it names the machines and buckets.
    """
    if urls and not remote:
        places = sorted({_place(url) for url in urls})
        raise ManifestError(
            f"expected files on this machine, got addresses on {listed(places)}",
            path=path,
            remedy="Nothing is fetched unasked: download the images, or, if you trust these places, give --remote.",
        )


def _place(url: str) -> str:
    return "/".join(url.split("/")[:3])


def find_scenes(sources: str | Path | Iterable[str | Path], *, remote: bool = False) -> list[Path | str]:
    """Find images by their names, on this machine or, through fsspec, on others.

    >>> find_scenes(["s3://bucket/scenes/", "scenes/*.tif"])  # doctest: +SKIP
    ['s3://bucket/scenes/P0001.tif', PosixPath('scenes/P0002.tif')]

    Args:
        sources: As in `rbox_formats.images.find_images`; or addresses: of images, of a folder ("s3://bucket/scenes/",
            with the slash), a pattern ("s3://bucket/**/*.tif"), or a list that has addresses alone.
        remote: Whether a list may have addresses. Others were named by the caller.

    Returns:
        The files, and the addresses, each once.

    Raises:
        DatasetError: If a source, or a line of a list, names no image.
        ManifestError: If an address cannot be read from.
        FormatsError: If a folder or pattern cannot be listed.
    """
    if isinstance(sources, str | Path) or not isinstance(sources, Iterable):
        sources = [sources]
    found: dict[Path | str, None] = {}
    for source in sources:
        urls = _expanded(source) if isinstance(source, str) and is_address(source) else _in_list(source, remote=remote)
        found |= dict.fromkeys(urls or images.find_images(source))
    return list(found)


def _in_list(source: str | Path, *, remote: bool) -> list[str]:
    """Return the addresses of a list; none where it is no list, or one of files, which others read."""
    text = str(source)
    path = Path(text[1:] if text.startswith("@") else text)
    if not text.startswith("@") and path.suffix.lower() != _LIST:
        return []
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines()]
    except (OSError, UnicodeDecodeError):
        return []
    lines = [line for line in lines if line and not line.startswith("#")]
    if not any(map(is_address, lines)):
        return []
    urls = [checked(line, path) for line in lines]
    require_consent(urls, path, remote=remote)
    return urls


def _expanded(url: str) -> list[str]:
    """Return the images that an address stands for."""
    checked(url)
    if not url.endswith("/") and ("*" not in url or url.startswith(_WEB)):
        return [url]
    if url.startswith(_WEB):
        raise ManifestError(
            f"expected the address of an image, got a folder: {quoted(shown(url))}",
            remedy="Web servers do not say what is in a folder: give the addresses of its images in a list.",
        )
    protocol = url.partition("://")[0]
    filesystem = _filesystem(url)
    names: list[str] = _tried(lambda: filesystem.glob(url) if "*" in url else filesystem.ls(url, detail=False), url)
    found = sorted(name for name in names if name.lower().endswith(images.SUFFIXES))
    if not found:
        raise ManifestError(f"expected images ({', '.join(images.SUFFIXES)}), found none at {quoted(url)}")
    return [checked(f"{protocol}://{name.removeprefix(f'{protocol}://').lstrip('/')}") for name in found]


def read_size(url: str) -> tuple[int, int]:
    """Read the (width, height) of an image at an address, from its header alone where that can be had.

    Raises:
        ImageError: If there is no image.
        FormatsError: If it cannot be reached.
    """
    filesystem = _filesystem(url)

    def header() -> tuple[int, int]:
        with filesystem.open(url, "rb", block_size=_BLOCK) as file:
            source = _Watched(file, shown(url))
            try:
                return images.read_size(source)
            finally:
                if source.failed is not None:  # which Pillow may have taken for a broken image, or for no note
                    raise source.failed

    try:
        return _tried(header, url)
    except _NeedsAllError:
        with _copied(url, _LONGEST) as path, _renamed(path, url):
            return images.read_size(path)


class _Watched:
    """A file on another machine while its header is read; it keeps the error of the network, if there is one.

    Args:
        file: The file.
        name: What messages call it.
    """

    def __init__(self, file: images.OpenFile, name: str) -> None:
        self._file, self._name, self._room = file, name, _HEADER_BYTES
        self.failed: Exception | None = None

    def read(self, size: int = -1) -> bytes:
        """Read some bytes, or all."""
        if size > self._room:
            return self._done(self._too_much)
        data = self._done(lambda: self._file.read(self._room + 1 if size < 0 else size))
        self._room -= len(data)
        return self._done(self._too_much) if self._room < 0 else data

    def seek(self, offset: int, whence: int = 0) -> int:
        """Go to a place."""
        self._done(lambda: self._file.seek(offset, whence))
        return self.tell()

    def tell(self) -> int:
        """Return the place."""
        return self._file.tell()

    def _too_much(self) -> bytes:
        raise _NeedsAllError

    def _done(self, what: Callable[[], T]) -> T:
        try:
            return what()
        except ValueError as error:  # fsspec's, where the server cannot begin in the middle
            self.failed = _NeedsAllError()
            raise OSError from error
        except Exception as error:
            self.failed = error
            raise OSError from error

    def __str__(self) -> str:
        return self._name


@dataclass(frozen=True, eq=False)
class RemoteScene(Scene):
    """An image on another machine.

    Attributes:
        url: Its address.
    """

    url: str = ""

    def crops(self, numbers: range | None = None) -> Iterator[tuple[int, Image]]:
        """Yield the number and the pixels of each window, as `Scene.crops` does."""
        with near(self) as crops:
            yield from crops(numbers)


@contextmanager
def near(scene: Scene) -> Iterator[Crops]:
    """Yield what gives the pixels of an image's windows; an image on another machine is copied for as long.

    Raises:
        ImageError: If there is no such image, or not of the size that it should have.
        FormatsError: If it cannot be reached.
    """
    if not isinstance(scene, RemoteScene):
        yield scene.crops
        return
    url, (width, height) = scene.url, scene.size
    with _copied(url, _BYTES_A_PIXEL * width * height + _HEADER_BYTES) as path:
        with _renamed(path, url):
            found = images.read_size(path)
        if found != scene.size:
            raise ImageError(
                f"expected an image of {width}x{height}, as the manifest says, got {found[0]}x{found[1]}",
                path=shown(url),
                remedy="Make the manifest again: rbox-formats shards. A PNG that notes after its pixels that it is to "
                "be turned has to be stored turned.",
            )
        here = Scene(scene.image_id, path, None, scene.size, scene.windows, scene.pad_whole)

        def crops(numbers: range | None = None) -> Iterator[tuple[int, Image]]:
            with _renamed(path, url):
                yield from here.crops(numbers)

        yield crops


@contextmanager
def _renamed(path: Path, url: str) -> Iterator[None]:
    """Have errors name the address instead of its copy."""
    try:
        yield
    except ImageError as error:
        raise ImageError(str(error).replace(str(path), shown(url))) from error


@contextmanager
def _copied(url: str, most: int) -> Iterator[Path]:
    """Yield the path of a copy of what is at an address, of a number of bytes at most."""
    filesystem = _filesystem(url)
    # One stream, with nothing asked before: no server is too simple for that.
    options = {"block_size": 0, "size": 1} if url.startswith(_WEB) else {}
    suffix = PurePosixPath(shown(url)).suffix.lower()
    with files.temporary_folder(tempfile.gettempdir()) as folder:
        path = folder / f"image{suffix if suffix in images.SUFFIXES else ''}"

        def copy() -> None:
            left = most
            with filesystem.open(url, "rb", **options) as source, path.open("wb") as target:
                while chunk := source.read(_CHUNK):
                    if (left := left - len(chunk)) < 0:
                        raise ImageError(
                            f"expected an image file of at most {most:,} bytes, got a longer one", path=shown(url)
                        )
                    _write(target.write, chunk)

        _tried(copy, url)
        yield path


def _write(write: Callable[[bytes], object], chunk: bytes) -> None:
    try:
        write(chunk)
    except OSError as error:
        remedy = "The environment variable TMPDIR names another folder for copies of images."
        raise FormatsError(
            f"expected room for a copy of an image, got: {error.strerror}", path=tempfile.gettempdir(), remedy=remedy
        ) from error


def _tried(what: Callable[[], T], url: str) -> T:
    """Do what needs the network, a few times where it fails for a while.

    Raises:
        ImageError: If there is nothing at the address.
        FormatsError: If it cannot be read: the image may be whole, and must not be left out as a broken one.
    """
    pauses = iter(PAUSES)
    while True:
        try:
            return what()
        except (FormatsError, _NeedsAllError):
            raise
        except Exception as raised:  # of any class: each protocol has its own
            error = raised
            if isinstance(error, FileNotFoundError) and isinstance(error.__cause__, Exception):
                error = error.__cause__  # fsspec takes all that goes wrong with a header for this one
            if isinstance(error, FormatsError | _NeedsAllError):
                raise error from None
            status = getattr(error, "status", None)
            text = f"status {status}" if isinstance(status, int) else _QUERY.sub("", said(error))
            if status in (404, 410) or isinstance(error, FileNotFoundError | IsADirectoryError):
                remedy = "Put it there, or leave it out."
                raise ImageError("expected an image, found no file", path=shown(url), remedy=remedy) from None
            pause = None if _is_lasting(error, status) else next(pauses, None)
            if pause is None:
                raise FormatsError(
                    f"expected to read an image, got: {text}",
                    path=shown(url),
                    remedy="What is done stays: give the same command again when it can be read.",
                ) from None
            time.sleep(pause)


def _is_lasting(error: Exception, status: Any) -> bool:
    """Return whether another try would fail as well."""
    if isinstance(status, int):
        return 400 <= status < 500 and status not in (408, 425, 429)
    return isinstance(error, PermissionError | ValueError | NotImplementedError)


def _filesystem(url: str) -> Any:
    """Return fsspec's reader for an address.

    Raises:
        FormatsError: If fsspec, or what it needs for this protocol, is not installed.
    """
    return _of_protocol(url.partition("://")[0], os.getpid())  # none of them outlives a fork


@cache
def _of_protocol(protocol: str, process: int) -> Any:
    try:
        import fsspec
    except ImportError as error:
        remedy = "Install it: pip install 'rbox-formats[remote]'."
        raise FormatsError(f"expected fsspec to read from {protocol}://, found none", remedy=remedy) from error
    try:
        options = _for_web(fsspec.config.conf.get(protocol, {})) if protocol in _WEB else {}
        return fsspec.filesystem(protocol, **options)
    except ImportError as error:
        remedy = f"Install what fsspec reads it with: pip install 'fsspec[{protocol}]'."
        raise FormatsError(f"expected to read from {protocol}://, got: {said(error)}", remedy=remedy) from error


def _for_web(settings: dict[str, Any]) -> dict[str, Any]:
    """Return how web servers are read: slowly if need be, and not as they like.

    Args:
        settings: The user's own for fsspec.
    """
    import aiohttp

    async def on_redirect(session: Any, context: Any, found: Any) -> None:
        old = found.response.url
        new = old.join(type(old)(found.response.headers.get("Location", "")))
        is_safer = (old.scheme, new.scheme) == ("http", "https") and old.host == new.host
        if new.origin() != old.origin() and not is_safer:
            raise ManifestError(
                f"expected an image, got sent on to {quoted(str(new.origin()))}",
                path=shown(str(old)),
                remedy="If you trust that place, name the image's address there.",
            )

    class Response(aiohttp.ClientResponse):
        async def read(self) -> bytes:
            """Read what should be a part of a file; a server may send more than was asked for."""
            found = bytearray()
            async for chunk in self.content.iter_chunked(_CHUNK):
                found += chunk
                if len(found) > _HEADER_BYTES:
                    raise _NeedsAllError
            return bytes(found)

    tracing = aiohttp.TraceConfig()
    tracing.on_request_redirect.append(on_redirect)
    client = {
        "timeout": aiohttp.ClientTimeout(
            total=None, sock_connect=30, sock_read=60
        ),  # 5 minutes in all are few for 5 GB
        **settings.get("client_kwargs", {}),
        "trace_configs": [tracing],
        "response_class": Response,
    }
    return {"client_kwargs": client}


def sizes(items: Sequence[tuple[Path | str, tuple[int, int] | None]]) -> Iterator[tuple[int, int]]:
    """Yield the sizes of images in order, where they are not known from their headers.

    Args:
        items: The file or the address of each, and its size.
    """
    from concurrent.futures import ThreadPoolExecutor

    def size(item: tuple[Path | str, tuple[int, int] | None]) -> tuple[int, int]:
        where, known = item
        return known or (read_size(where) if isinstance(where, str) else images.read_size(where))

    if not any(isinstance(where, str) and known is None for where, known in items):
        yield from map(size, items)
        return
    with ThreadPoolExecutor(8) as pool:  # a header is a few answers to wait for
        yield from pool.map(size, items)
