"""Pictures of images that browsers do not decode, such as TIFF."""

from __future__ import annotations

import asyncio
import json
import threading
from contextlib import nullcontext
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

from rbox_formats import images
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from rbox_serve._answers import map_place
from rbox_serve._models import Places, checked_size, is_large
from rbox_serve._settings import Limits, Settings
from rbox_serve._uploads import received
from rbox_serve.errors import SlowError

#: What browsers decode at once: pixels, and pixels a side.
_MOST_PIXELS, _MOST_SIDE = 10**8, 2**15 - 1
_STRIP = 2**10  # rows that are read at a time
_WAIT = 2.0  # seconds after which a client may ask again


class Picture(NamedTuple):
    """A picture of an image.

    Attributes:
        content: The file: a PNG; of a large image a JPEG, which is written and sent in a fraction of the time.
        media_type: Its kind.
        size: (width, height) of the image in pixels; the picture may have fewer.
        map: Where the image lies on the map (`_answers.map_place`).
    """

    content: bytes
    media_type: str
    size: tuple[int, int]
    map: dict[str, Any] | None


def picture_of(path: Path, most_pixels: int = _MOST_PIXELS) -> Picture:
    """Return an image as browsers show it.

    Args:
        path: The image.
        most_pixels: A larger image becomes smaller, by a power of 2, so that sides of tiles stay whole numbers.

    Raises:
        ImageError: If it is broken.
    """
    from PIL import Image as PillowImage

    with images.open_rows(path) as rows:
        step = 1
        while rows.width * rows.height > most_pixels * step**2 or max(rows.width, rows.height) > _MOST_SIDE * step:
            step *= 2
        picture = PillowImage.new("RGB", (-(-rows.width // step), -(-rows.height // step)))
        strip = max(_STRIP, step)  # a multiple of the step, which is a power of 2 too
        for top in range(0, rows.height, strip):
            part = PillowImage.fromarray(rows.read(top, min(top + strip, rows.height)))
            picture.paste(part.reduce(step) if step > 1 else part, (0, top // step))
        size = (rows.width, rows.height)
    buffer = BytesIO()
    if is_large(size):
        picture.save(buffer, "JPEG", quality=92, subsampling=0)
        kind = "image/jpeg"
    else:
        picture.save(buffer, "PNG", compress_level=1)
        kind = "image/png"
    return Picture(buffer.getvalue(), kind, size, map_place(path))


class Pictures:
    """Answers requests for pictures.

    Args:
        settings: The server's settings.
        large: How many large images are read at a time.
    """

    def __init__(self, settings: Settings, large: threading.Semaphore) -> None:
        self._settings, self._large = settings, large
        self._places = Places(settings.limits.requests, "requests for pictures")

    async def answer(self, request: Request, folder: Path) -> Response:
        """Answer a request.

        Args:
            request: The request, with an image as in requests to detect.
            folder: Where uploaded files lie.

        Raises:
            RboxError: If it cannot be answered; with the status that says why.
        """
        settings, limits = self._settings, self._settings.limits
        try:
            with self._places.hold(lambda: _WAIT):
                async with (
                    asyncio.timeout(limits.seconds),
                    received(request, folder, settings.folders, limits.bytes) as upload,
                ):
                    made = await run_in_threadpool(self._made, upload.path, limits)
        except TimeoutError as error:
            raise SlowError(
                f"the picture took longer than {limits.seconds:g} s",
                remedy="Send a smaller image, or try again when there is less to do.",
            ) from error
        width, height = made.size
        headers = {"X-Image-Width": str(width), "X-Image-Height": str(height), "X-Image-Map": json.dumps(made.map)}
        return Response(made.content, headers=headers, media_type=made.media_type)

    def _made(self, path: Path, limits: Limits) -> Picture:
        size = checked_size(path, limits)
        with self._large if is_large(size) else nullcontext():
            return picture_of(path)
