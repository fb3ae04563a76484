"""What the server counts, for Prometheus."""

from __future__ import annotations

from collections.abc import Sized

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
_WINDOWS = (1, 2, 4, 8, 16, 32, 64)


class Metrics:
    """Counters of one server."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        self._requests = Counter(
            "rbox_serve_requests", "Requests to detect, answered", ("model", "status"), registry=registry
        )
        self._seconds = Histogram(
            "rbox_serve_request_seconds",
            "From the beginning of a request to its answer",
            ("model",),
            buckets=_SECONDS,
            registry=registry,
        )
        self._active = Gauge("rbox_serve_active_requests", "Requests being answered", registry=registry)
        self._batches = Histogram(
            "rbox_serve_batch_windows", "Windows of a batch", ("model",), buckets=_WINDOWS, registry=registry
        )
        self._batch_seconds = Histogram(
            "rbox_serve_batch_seconds", "Time of the model on a batch", ("model",), buckets=_SECONDS, registry=registry
        )
        self._waiting = Gauge("rbox_serve_waiting_windows", "Windows that are not done", ("model",), registry=registry)

    def watch(self, model: str, queue: Sized) -> None:
        """Show how many windows a queue holds."""
        self._waiting.labels(model).set_function(lambda: len(queue))

    def begin_request(self) -> None:
        """Count a request that begins."""
        self._active.inc()

    def end_request(self, model: str, status: int, seconds: float) -> None:
        """Count a request that ends.

        Args:
            model: The model's name.
            status: Of HTTP.
            seconds: How long it took.
        """
        self._active.dec()
        self._requests.labels(model, str(status)).inc()
        self._seconds.labels(model).observe(seconds)

    def count_batch(self, model: str, windows: int, seconds: float) -> None:
        """Count a batch.

        Args:
            model: The model's name.
            windows: How many it had.
            seconds: How long the model took.
        """
        self._batches.labels(model).observe(windows)
        self._batch_seconds.labels(model).observe(seconds)

    def text(self) -> bytes:
        """Return all of it in Prometheus' text format."""
        return generate_latest(self._registry)
