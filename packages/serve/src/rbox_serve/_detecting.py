"""One request to detect, from its image to its answer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from rbox_formats import RboxError, tiling
from rbox_formats.codecs import StreamDecoder, StreamedBox
from rbox_formats.detection import Prediction, Scene
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from rbox_serve import _answers
from rbox_serve._models import Model
from rbox_serve._options import CONTENT_TYPES, Options
from rbox_serve._queue import Job
from rbox_serve._settings import Settings
from rbox_serve._uploads import Upload, received
from rbox_serve.errors import SlowError

T = TypeVar("T")

#: What a client that has gone away is answered; nobody reads it.
GONE = 499


class GoneError(Exception):
    """The client has gone away."""


@dataclass
class Detecting:
    """A request to detect, while it holds its place.

    Attributes:
        request: The request.
        model: The model.
        settings: The server's settings.
        folder: Where uploaded files lie.
        hidden: What errors leave out (`_answers.as_error`).
        begin: When it began (`time.monotonic`).
    """

    request: Request
    model: Model
    settings: Settings
    folder: Path
    hidden: Sequence[str] = ()
    begin: float = field(default_factory=time.monotonic)

    @property
    def seconds(self) -> float:
        """How long it has taken until now."""
        return time.monotonic() - self.begin

    async def answer(self) -> Response:
        """Detect, and return the answer.

        Raises:
            RboxError: If the request cannot be answered; with the status that says why.
        """
        async with AsyncExitStack() as stack:
            upload = await stack.enter_async_context(self.image(("image",)))
            query = self.request.query_params.multi_items()
            options = Options.of([*upload.fields, *query], self.request.headers.get("accept", ""))
            options.labels(self.model.detector.class_names)
            if options.format == "events":
                scene = await self.in_time(run_in_threadpool(self.model.scene, upload.path, options))
                return EventResponse(self, scene, options, stack.pop_all())
            content = await self.detected(upload.path, options, lambda found: self._written(found, options))
            return Response(content, media_type=CONTENT_TYPES[options.format])

    @asynccontextmanager
    async def image(self, names: Sequence[str]) -> AsyncIterator[Upload]:
        """Hold a place, and receive the image, as long as the block lasts.

        Args:
            names: The fields of a form that may hold it.
        """
        settings = self.settings
        async with AsyncExitStack() as stack:
            stack.enter_context(self.model.place())
            receiving = received(self.request, self.folder, settings.folders, settings.limits.bytes, names)
            yield await self.in_time(stack.enter_async_context(receiving))

    async def detected(self, path: Path, options: Options, write: Callable[[Prediction], T]) -> T:
        """Return what is made of the objects that are detected on an image.

        Args:
            path: The image.
            options: How to detect.
            write: Makes it, in a thread of its own.

        Raises:
            GoneError: If the client goes away meanwhile.
            SlowError: If it takes too long.
        """
        job = await self._begun(path, options)
        try:
            await self.in_time(self.while_there(_settled(job)))
        finally:
            self.model.end(job)
        labels = options.labels(self.model.detector.class_names)
        finishing = self.model.finish(job, lambda found: write(_answers.wanted(found, labels)))
        return await self.in_time(asyncio.wrap_future(finishing))

    async def _begun(self, path: Path, options: Options) -> Job:
        """Put an image into the queue; it leaves the queue again if nobody waits for that any more."""
        beginning = asyncio.ensure_future(run_in_threadpool(self.model.begin, path, options))
        try:
            return await self.in_time(asyncio.shield(beginning))
        except (SlowError, asyncio.CancelledError):
            beginning.add_done_callback(self._forget)
            raise

    def _forget(self, beginning: asyncio.Future[Job]) -> None:
        if not beginning.cancelled() and beginning.exception() is None:
            self.model.end(beginning.result())

    async def in_time(self, work: Awaitable[T]) -> T:
        """Wait for something, as long as the request may last.

        Raises:
            SlowError: If that is too short.
        """
        limit = self.settings.limits.seconds
        try:
            return await asyncio.wait_for(work, max(limit - self.seconds, 0.001))
        except TimeoutError as error:
            raise SlowError(
                f"the answer took longer than {limit:g} s",
                remedy="Send a smaller image, or try again when there is less to do.",
            ) from error

    async def while_there(self, work: Awaitable[T]) -> T:
        """Wait for something, as long as the client does.

        Raises:
            GoneError: If it goes away.
        """
        task, gone = asyncio.ensure_future(work), asyncio.ensure_future(_gone(self.request))
        try:
            await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                return task.result()
            raise GoneError
        finally:
            for each in (task, gone):
                each.cancel()
            await asyncio.wait({task, gone})

    def result(self, found: Prediction, options: Options) -> dict[str, Any]:
        """Return the answer as plain values."""
        return _answers.as_json(found, self.model.header(options), self.model.name, self.seconds)

    def _written(self, found: Prediction, options: Options) -> bytes:
        if options.format == "png":
            with self.model.reading(found.size):
                return _answers.as_png(found)
        is_map = options.format == "geojson"
        return _answers.dumped(_answers.as_geojson(found, options.crs) if is_map else self.result(found, options))


async def _settled(job: Job) -> None:
    """Wait until a job is done, without a hand in it."""
    loop = asyncio.get_running_loop()
    waiter: asyncio.Future[None] = loop.create_future()

    def wake() -> None:
        if not waiter.done():
            waiter.set_result(None)

    job.future.add_done_callback(lambda _: loop.call_soon_threadsafe(wake))
    await waiter


async def _gone(request: Request) -> None:
    """Wait until the client goes away."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


class EventResponse(Response):
    """Server-sent events: a model's text and its boxes while it writes them, and then the answer.

    Args:
        detecting: The request.
        scene: The image.
        options: What is asked for.
        stack: What the request holds, to be let go at the end.
    """

    def __init__(self, detecting: Detecting, scene: Scene, options: Options, stack: AsyncExitStack) -> None:
        super().__init__(media_type=CONTENT_TYPES["events"], headers={"Cache-Control": "no-cache"})
        del self.headers["content-length"]
        self._detecting, self._scene, self._options, self._stack = detecting, scene, options, stack

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the events as they come."""
        async with self._stack:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            try:
                await self._detecting.while_there(self._events(send))
            except GoneError:
                return
            except RboxError as error:
                await _send(send, "error", _answers.as_error(error, self._detecting.hidden))
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _events(self, send: Send) -> None:
        detecting, scene = self._detecting, self._scene
        told: asyncio.Queue[tuple[int, str | None] | None] = asyncio.Queue()
        observer = _Observer(asyncio.get_running_loop(), told)
        image = {"id": scene.image_id, "width": scene.size[0], "height": scene.size[1]}
        windows = [list(window[:3]) for window in scene.windows]
        job = detecting.model.start(scene, self._options, observer)
        job.future.add_done_callback(lambda _: observer.on_end())
        decoders: dict[int, StreamDecoder | None] = {}
        labels = self._options.labels(detecting.model.detector.class_names)
        try:
            await _send(send, "start", {"model": detecting.model.name, "image": image, "windows": windows})
            while (news := await detecting.in_time(told.get())) is not None:
                number, piece = news
                if piece is None:
                    await _send(send, "window", {"window": number})
                    continue
                await _send(send, "text", {"window": number, "text": piece})
                if number not in decoders:
                    decoders[number] = job.steps.stream(scene, number)
                decoder = decoders[number]
                for box in [] if decoder is None else decoder.feed(piece):
                    if labels is None or box.label in labels:
                        await _send(send, "box", self._box(number, box))
            results = job.future.result()
        finally:
            detecting.model.end(job)

        def result() -> dict[str, Any]:
            joined = job.steps.join(scene, results)
            return detecting.result(_answers.wanted(joined, labels), self._options)

        await _send(send, "result", await run_in_threadpool(result))

    def _box(self, number: int, box: StreamedBox) -> dict[str, Any]:
        window = self._scene.windows[number]
        quad = None if box.quad is None else tiling.to_image(box.quad[None], window)[0].tolist()
        return {
            "window": number,
            "box": tiling.to_image(box.box[None], window)[0].tolist(),
            "quad": quad,
            "label": box.label,
            "name": self._detecting.model.detector.class_names[box.label],
            "span": [int(box.number_spans[:, 0].min()), int(box.number_spans[:, 1].max())],
        }


class _Observer:
    """What hands news from the model's thread to the event loop: a window's number with a text, or that it is done."""

    def __init__(self, loop: asyncio.AbstractEventLoop, told: asyncio.Queue[tuple[int, str | None] | None]) -> None:
        self._loop, self._told = loop, told

    def on_text(self, number: int, piece: str) -> None:
        self._tell((number, piece))

    def on_window(self, number: int) -> None:
        self._tell((number, None))

    def on_end(self) -> None:
        self._tell(None)

    def _tell(self, news: tuple[int, str | None] | None) -> None:
        with suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(self._told.put_nowait, news)


async def _send(send: Send, event: str, values: Any) -> None:
    body = b"event: %b\ndata: %b\n\n" % (event.encode(), _answers.dumped(values))
    await send({"type": "http.response.body", "body": body, "more_body": True})
