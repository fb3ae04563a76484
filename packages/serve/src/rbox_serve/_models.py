"""The models that are served: each loaded once, with a queue and a thread of its own."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

from rbox_formats import RboxError, images
from rbox_formats.detection import Prediction, Scene, SceneWindow, StepwiseDetector, command_of, load_detector
from rbox_formats.errors import quoted, said
from rbox_formats.predictions import Header

from rbox_serve._metrics import Metrics
from rbox_serve._options import Options
from rbox_serve._queue import Batch, Job, Observer, WindowQueue
from rbox_serve._settings import Limits, Settings
from rbox_serve.errors import ModelError, NotFoundError, NotReadyError, OverloadedError, TooLargeError

logger = logging.getLogger("rbox_serve")

T = TypeVar("T")

# Of larger images, a few at a time are read, whatever the number of requests: their pixels are in memory meanwhile.
_LARGE, _LARGE_AT_A_TIME = 2**22, 2
_LOADING = 5.0  # seconds after which a client may ask again


class Model:
    """A detector, its queue, and the thread that it detects in.

    Args:
        name: The name under which it is served.
        path: What `load_detector` loads.
        settings: The server's settings.
        metrics: Where the server counts.
        large: How many large images are read at a time, in all models.

    Attributes:
        command: The command of its package.
        error: Why it could not be loaded.
    """

    def __init__(self, name: str, path: str, settings: Settings, metrics: Metrics, large: threading.Semaphore) -> None:
        self.name, self.path, self.command = name, path, command_of(path)
        self.error: Exception | None = None
        self._settings, self._metrics, self._large = settings, metrics, large
        self._detector: Any = None
        self._queue: WindowQueue | None = None
        self._thread = threading.Thread(target=self._work, name=f"model {name}", daemon=True)
        self._threads = ThreadPoolExecutor(settings.limits.requests, thread_name_prefix=f"requests to {name}")
        self._places = Places(settings.limits.requests, f"requests to {name}")
        # A detector is not made for two threads at a time: its tokenizer refuses. Who wants it holds the door, so that
        # the model's thread, which wants it again at once, lets others in.
        self._door, self._use = threading.Lock(), threading.Lock()
        self._steps = lru_cache(maxsize=64)(self._make_steps)

    # What a client may know of it.

    @property
    def is_ready(self) -> bool:
        """Whether it is loaded."""
        return self._queue is not None

    @property
    def detector(self) -> Any:
        """The detector.

        Raises:
            NotReadyError: If it is not loaded yet.
        """
        self._loaded_queue()
        return self._detector

    def _loaded_queue(self) -> WindowQueue:
        if self._queue is None:
            raise NotReadyError(
                f"the model {self.name} is being loaded", remedy="Try again in some seconds.", retry_after=_LOADING
            )
        return self._queue

    @property
    def writes_text(self) -> bool:
        """Whether it is a multimodal model."""
        return getattr(self.detector, "codec", None) is not None

    def header(self, options: Options) -> Header:
        """Return the first line of a predictions file with what it detects."""
        detector = self.detector
        codec = getattr(detector, "codec", None)
        return Header(
            detector.class_names,
            str(getattr(detector, "fingerprint", self.name)),
            None if codec is None else codec.to_dict(),
            {**options.generation, **images.shown_by()},
        )

    # Its life.

    def load(self) -> None:
        """Load the detector and begin to answer; `error` says why, where that fails."""
        begin = time.monotonic()
        try:
            detector = load_detector(self.path, device=self._settings.device)
            if not isinstance(detector, StepwiseDetector):
                raise ModelError(
                    f"expected a detector that detects in steps, got {type(detector).__name__} of {self.command}",
                    remedy="Its class needs the method `steps` of rbox_formats.detection.StepwiseDetector.",
                )
            size = detector.steps(batch_size=self._settings.batch_size).batch_size
        except Exception as error:
            logger.error("%s: %s", self.name, error)
            self.error = error
            return
        self._detector = detector
        self._queue = WindowQueue(size, self._settings.wait)
        self._metrics.watch(self.name, self._queue)
        self._thread.start()
        logger.info("%s is ready, after %.1f s: %r", self.name, time.monotonic() - begin, detector)

    def close(self) -> None:
        """Finish what is in the queue, and end."""
        if self._queue is not None:
            self._queue.close()
            self._thread.join()
        self._threads.shutdown(cancel_futures=True)

    # What a request does.

    @contextmanager
    def place(self) -> Iterator[None]:
        """Hold one of the places that the model has for requests.

        Raises:
            NotReadyError: If the model is being loaded.
            OverloadedError: If all are taken.
        """
        with self._places.hold(self._loaded_queue().expected_wait):
            yield

    def start(self, scene: Scene, options: Options, observer: Observer | None = None) -> Job:
        """Put the windows of a scene into the queue, each when it is read.

        Args:
            scene: Of `scene`.
            options: How to detect.
            observer: What gets the news of the request, or None.

        Raises:
            NotReadyError: If the server is about to stop.
        """
        queue = self._loaded_queue()
        job = Job(self.steps(options), scene, exact=self._settings.exact or options.exact, observer=observer)
        queue.add(job)
        if queue.has_room(job) and not is_large(scene.size):
            self._read(job)  # which waits for nothing
        else:
            self._threads.submit(self._read, job)
        return job

    def begin(self, path: Path, options: Options) -> Job:
        """Put the windows of an image file into the queue; see `scene` and `start`."""
        return self.start(self.scene(path, options), options)

    def finish(self, job: Job, write: Callable[[Prediction], T]) -> Future[T]:
        """Make of a job's results what is answered, in a thread of its own."""

        def finished() -> T:
            return write(job.steps.join(job.scene, job.future.result()))

        return self._threads.submit(finished)

    def end(self, job: Job) -> None:
        """Take a request out of the queue that nobody waits for any more."""
        self._loaded_queue().end(job)

    def steps(self, options: Options) -> Any:
        """Return how the detector detects with these options.

        Raises:
            RboxError: If it cannot.
        """
        return self._steps(options.window, options.gap, options.score_threshold)

    def _make_steps(self, window: int | None, gap: int | None, score_threshold: float | None) -> Any:
        options = {"window": window, "gap": gap, "score_threshold": score_threshold}
        with self._door, self._use:
            return self.detector.steps(**options, batch_size=self._settings.batch_size)

    def scene(self, path: Path, options: Options) -> Scene:
        """Return an image file with its windows, from its header.

        Raises:
            ImageError: If it is no image.
            TooLargeError: If it has too many pixels, or windows.
        """
        limits = self._settings.limits
        width, height = checked_size(path, limits)
        _check(options.least_windows(width, height), limits.windows, "windows", "--max-windows")
        scene: Scene = self.steps(options).scene(path)
        _check(len(scene.windows), limits.windows, "windows", "--max-windows")
        return scene

    def _read(self, job: Job) -> None:
        """Read the windows of a request."""
        queue = self._loaded_queue()
        try:
            with self.reading(job.scene.size):
                for number, pixels in job.scene.crops():
                    window = SceneWindow(job.scene, number, pixels)
                    if not queue.offer(job, window):
                        return
            queue.finish_reading(job)
        except Exception as error:
            queue.end(job, error)

    @contextmanager
    def reading(self, size: tuple[int, int]) -> Iterator[None]:
        """Wait until an image of this size may be in memory."""
        with self._large if is_large(size) else nullcontext():
            yield

    # What the thread does.

    def _work(self) -> None:
        queue = self._loaded_queue()
        while (batch := queue.take()) is not None:
            self._detect(queue, batch)

    def _detect(self, queue: WindowQueue, batch: Batch) -> None:
        """Detect on a batch; where that fails, on each request's part alone, so that one does not spoil others."""
        begin = time.monotonic()
        try:
            with self._door:
                pass
            with self._use:
                found = batch.detect()
        except Exception as error:
            jobs = batch.jobs
            if len(jobs) > 1:
                for job in jobs:
                    self._detect(queue, batch.of(job))
                return
            if not isinstance(error, RboxError):
                logger.exception("%s failed", self.name)
                error = ModelError(
                    f"the model {self.name} failed: {type(error).__name__}: {said(error)}",
                    remedy="The server's log has the place.",
                )
            queue.end(jobs[0], error)
            return
        seconds = time.monotonic() - begin
        self._metrics.count_batch(self.name, len(batch), seconds)
        queue.done(batch, found, seconds)


class Places:
    """The places of requests that wait or are being answered.

    Args:
        most: How many there are.
        requests: What the requests are, for errors.
    """

    def __init__(self, most: int, requests: str) -> None:
        self._most, self._requests = most, requests
        self._active = 0
        self._lock = threading.Lock()

    @contextmanager
    def hold(self, wait: Callable[[], float]) -> Iterator[None]:
        """Hold a place.

        Args:
            wait: Gives the seconds after which a client may ask again.

        Raises:
            OverloadedError: If all are taken.
        """
        with self._lock:
            if self._active >= self._most:
                raise OverloadedError(
                    f"{self._most} {self._requests} are waiting already, which is as many as the server takes",
                    remedy="Try again after the time in Retry-After, or start the server with a higher --max-requests.",
                    retry_after=wait(),
                )
            self._active += 1
        try:
            yield
        finally:
            with self._lock:
                self._active -= 1


def is_large(size: tuple[int, int]) -> bool:
    """Return whether few images of this size are read at a time."""
    return size[0] * size[1] > _LARGE


def checked_size(path: Path, limits: Limits) -> tuple[int, int]:
    """Return the (width, height) of an image, from its header.

    Raises:
        ImageError: If it is no image.
        TooLargeError: If it has too many pixels.
    """
    width, height = images.read_size(path)
    _check(width * height, limits.pixels, f"pixels ({width} x {height})", "--max-pixels")
    return width, height


def _check(count: int, limit: int, what: str, option: str) -> None:
    if count > limit:
        raise TooLargeError(
            f"expected an image of at most {limit:,} {what.partition(' ')[0]}, got {count:,} {what}",
            remedy=f"Cut it, or take larger windows; or start the server with a higher {option}.",
        )


class Models:
    """All models of a server, loaded one after the other in the background.

    Args:
        settings: The server's settings.
        metrics: Where the server counts.
        on_failure: Called with the model that cannot be loaded.

    Attributes:
        by_name: The models by their names.
        large: How many large images are read at a time.
    """

    def __init__(self, settings: Settings, metrics: Metrics, on_failure: Callable[[Model], None] | None = None) -> None:
        self.large = threading.Semaphore(_LARGE_AT_A_TIME)
        self.by_name: Mapping[str, Model] = {
            name: Model(name, path, settings, metrics, self.large) for name, path in settings.models.items()
        }
        self._on_failure = on_failure
        self._is_closed = False
        self._loader = threading.Thread(target=self._load, name="loading", daemon=True)

    def __getitem__(self, name: str) -> Model:
        """Return a model.

        Raises:
            NotFoundError: If there is none of that name.
        """
        if name not in self.by_name:
            known = ", ".join(self.by_name)
            raise NotFoundError(
                f"expected a model among {known}, got {quoted(name)}", remedy="GET /v1/models lists them."
            )
        return self.by_name[name]

    def open(self) -> None:
        """Begin to load them."""
        self._loader.start()

    def close(self) -> None:
        """Finish what is in their queues, and end; what is being loaded is not waited for long."""
        self._is_closed = True
        self._loader.join(_LOADING)
        for model in self.by_name.values():
            model.close()

    def _load(self) -> None:
        for model in self.by_name.values():
            if self._is_closed:
                return
            model.load()
            if self._is_closed:
                model.close()
            if model.error is not None and self._on_failure is not None:
                self._on_failure(model)
