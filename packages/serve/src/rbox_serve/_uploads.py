"""The image of a request: uploaded, or a file below a folder that the server may read."""

from __future__ import annotations

import base64
import json
import re
import shutil
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path, PureWindowsPath
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from rbox_formats.errors import quoted
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import Message

from rbox_serve.errors import ForbiddenError, NotFoundError, RequestError, TooLargeError

_LARGEST_JSON, _LARGEST_TEXT = 2**16, 2**25  # bytes
_SMALL = 2**20  # bytes
_LONGEST_NAME = 80
#: How files begin that may say where they lie on a map.
_ON_MAPS = {
    b"II*\0": ".tif",
    b"MM\0*": ".tif",
    b"II+\0": ".tif",  # of more than 4 GiB, as is the next one
    b"MM\0+": ".tif",
    b"\0\0\0\x0cjP  ": ".jp2",
}
_FORMS = ("multipart/form-data", "application/x-www-form-urlencoded")


class Upload(NamedTuple):
    """The image of a request.

    Attributes:
        path: The file. Its name without the suffix is the image's id.
        fields: What else the body holds: options.
    """

    path: Path
    fields: list[tuple[str, Any]]


@asynccontextmanager
async def received(
    request: Request, folder: Path, allowed: Sequence[Path], limit: int, names: Sequence[str] = ("image",)
) -> AsyncIterator[Upload]:
    """Receive the image of a request, as long as the block lasts.

    Args:
        request: The request, its body not read.
        folder: Where uploaded files lie for that time.
        allowed: The folders whose files may be asked for.
        limit: The most bytes of the body.
        names: The fields of a form that may hold the image.

    Raises:
        RequestError: If there is no image, or the body is of no kind that is known.
        TooLargeError: If the body is too large.
        ForbiddenError: If the file is in none of the folders.
        NotFoundError: If there is no such file.
    """
    given = request.headers.get("content-length", "")
    if given.isdigit() and int(given) > limit:
        raise _too_large(limit)
    request = Request(request.scope, _counted(request.receive, limit))
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    with TemporaryDirectory(dir=folder) as place:
        if kind in _FORMS:
            yield await _of_form(request, Path(place), names)
        elif kind == "application/json":
            yield await _of_json(request, allowed)
        else:
            path = Path(place) / "image"
            with path.open("wb") as file:
                async for chunk in request.stream():
                    file.write(chunk)
            if not path.stat().st_size:
                raise RequestError(
                    "expected an image, got a request without a body",
                    remedy="Send it as the field `image` of a form, or as the body itself with its Content-Type.",
                )
            yield Upload(_with_suffix(path), [])


def resolve(name: str, allowed: Sequence[Path]) -> Path:
    """Return the file that a request names, below one of the folders that the server may read.

    Args:
        name: The path below a folder.
        allowed: The folders.

    Raises:
        ForbiddenError: If it is not below one, by links either.
        NotFoundError: If there is no such file.
    """
    if not allowed:
        raise ForbiddenError("this server reads no files", remedy="Upload the image, or start it with --images FOLDER.")
    parts = PureWindowsPath(name).parts  # which divides at both kinds of slashes
    is_odd = not name or "\0" in name or len(name) > 1000
    if is_odd or PureWindowsPath(name).anchor or ".." in parts:
        raise ForbiddenError(
            f"expected a path below a folder that the server may read, got {quoted(name)}",
            remedy="Give the path from that folder on, without '..'.",
        )
    for folder in allowed:
        try:
            path = (folder / name).resolve()
            if path.is_relative_to(folder.resolve()) and path.is_file():
                return path
        except (OSError, RuntimeError):  # a name that is too long, a circle of links
            continue
    raise NotFoundError(f"expected a file below the folders that the server may read, found no {quoted(name)}")


async def _of_json(request: Request, allowed: Sequence[Path]) -> Upload:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > _LARGEST_JSON:
            raise _too_large(_LARGEST_JSON)
    try:
        values = json.loads(bytes(body))
    except (ValueError, RecursionError) as error:
        raise RequestError(f"expected JSON, got: {error}") from error
    if not isinstance(values, dict) or not isinstance(values.get("path"), str):
        raise RequestError('expected JSON with a path, as in {"path": "P0706.png"}, got none')
    path = await run_in_threadpool(resolve, values.pop("path"), allowed)
    return Upload(path, list(values.items()))


async def _of_form(request: Request, place: Path, names: Sequence[str]) -> Upload:
    try:
        form = await request.form(max_files=1, max_fields=100, max_part_size=_LARGEST_TEXT)
    except HTTPException as error:
        raise RequestError(f"expected a form, got: {error.detail}") from error
    try:
        image = next((form[name] for name in names if name in form), None)
        fields = [(name, value) for name, value in form.multi_items() if isinstance(value, str) and name not in names]
        if image is None:
            raise RequestError(
                f"expected a file in the field `{names[0]}` of the form, got none",
                remedy=f"With curl: -F {names[0]}=@scene.png",
            )
        path = place / _safe("" if isinstance(image, str) else image.filename or "")
        if isinstance(image, str) or (image.size or 0) <= _SMALL:
            _store(image, path)  # it takes less time than to wait for a thread
        else:
            await run_in_threadpool(_store, image, path)
    finally:
        await form.close()
    return Upload(_with_suffix(path), fields)


def _with_suffix(path: Path) -> Path:
    """Give a file without a suffix that of its content, by which a place on the map is looked for; return its path."""
    if path.suffix:
        return path
    with path.open("rb") as file:
        begin = file.read(8)
    suffix = next((suffix for magic, suffix in _ON_MAPS.items() if begin.startswith(magic)), "")
    return path.rename(path.with_suffix(suffix))


def _store(image: UploadFile | str, path: Path) -> None:
    """Write the image of a form to a file; one that is text is in base 64."""
    with path.open("wb") as file:
        if isinstance(image, str):
            try:
                file.write(base64.b64decode(image, validate=True))
            except ValueError as error:
                raise RequestError("expected a file, or an image in base 64, in the form, got another text") from error
        else:
            shutil.copyfileobj(image.file, file)


def _safe(name: str) -> str:
    """Return a name for an uploaded file: what is left of the client's."""
    last = re.sub(r"[^\w.\-]+", "_", re.split(r"[/\\]", name)[-1]).lstrip(".")
    stem, dot, suffix = last.rpartition(".")
    if not dot:
        stem, suffix = suffix, ""
    return f"{stem[:_LONGEST_NAME] or 'image'}{dot}{suffix[:8]}"


def _counted(receive: Callable[[], Any], limit: int) -> Callable[[], Any]:
    """Return what receives a body, up to a limit of bytes."""
    count = 0

    async def counted() -> Message:
        nonlocal count
        message: Message = await receive()
        count += len(message.get("body", b""))
        if count > limit:
            raise _too_large(limit)
        return message

    return counted


def _too_large(limit: int) -> TooLargeError:
    return TooLargeError(
        f"expected a body of at most {limit:,} bytes, got a larger one",
        remedy="Send a smaller image, or start the server with a higher --max-bytes.",
    )
