"""The application: its addresses, and what each answers."""

from __future__ import annotations

import re
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import FileResponse, JSONResponse, Response
from fastapi.staticfiles import StaticFiles
from rbox_formats import RboxError, files
from rbox_formats.errors import quoted
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.types import Scope

from rbox_serve import _answers, _examples, _torchserve
from rbox_serve._detecting import GONE, Detecting, GoneError
from rbox_serve._guard import Guard
from rbox_serve._metrics import Metrics
from rbox_serve._models import Model, Models
from rbox_serve._pictures import Pictures
from rbox_serve._scenes import DrawnScene, draw_scenes
from rbox_serve._settings import Settings
from rbox_serve.errors import NotFoundError

PAGE = Path(__file__).parent / "page"

_PAGE_HEADERS = {
    "Content-Security-Policy": "frame-ancestors 'none'",  # a page cannot say this of itself
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-cache",  # a browser asks whether modules have changed, so that it mixes no two versions
}

_TITLE = "rbox-serve"
_ABOUT = "Detectors of rotated boxes. A box is (cx, cy, w, h, angle), in pixels and radians, clockwise, le90."


def make_app(settings: Settings, *, on_failure: Callable[[Model], None] | None = None) -> FastAPI:
    """Make the application that serves detectors, for a server of ASGI, such as uvicorn.

    >>> import uvicorn  # doctest: +SKIP
    >>> uvicorn.run(make_app(Settings(models={"demo": "demo"})))  # doctest: +SKIP

    Args:
        settings: What it serves, and how.
        on_failure: Called, from another thread, with a model that cannot be loaded.

    Raises:
        RboxError: If a path is no detector of an installed package.
    """
    metrics = Metrics()
    models = Models(settings, metrics, on_failure)
    place = _Place()

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        with files.temporary_folder(tempfile.gettempdir()) as place.folder:
            if settings.demo:
                place.scenes = await run_in_threadpool(draw_scenes, place.folder / "scenes")
            models.open()
            yield
            await run_in_threadpool(models.close)

    app = FastAPI(
        title=_TITLE,
        version=version("rbox-serve"),
        description=_ABOUT,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
    )
    app.add_exception_handler(RboxError, _refuse)
    app.add_exception_handler(HTTPException, _refuse_plainly)
    app.add_middleware(Guard, key=settings.key, hosts=settings.hosts, origins=settings.origins)
    if settings.origins:  # it is asked first, since browsers ask it without a key
        app.add_middleware(
            CORSMiddleware, allow_origins=settings.origins, allow_methods=["GET", "POST", "PUT"], allow_headers=["*"]
        )
    _add_state(app, models, metrics)
    _add_detection(app, models, metrics, settings, place)
    _add_scenes(app, place)
    app.mount("/", _PageFiles(directory=PAGE, html=True))
    return app


class _PageFiles(StaticFiles):
    """The files of the page: in no other site's frame, taken for nothing else, and all of one version."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        """Answer with a file, and with the headers of the page."""
        response = await super().get_response(path, scope)
        response.headers.update(_PAGE_HEADERS)
        if path.endswith(".js"):  # as Windows may not say
            response.headers["Content-Type"] = "text/javascript; charset=utf-8"
        return response


class _Place:
    """Where the files of a server lie while it runs.

    Attributes:
        folder: The folder.
        scenes: The scenes of the demonstration.
    """

    folder: Path
    scenes: dict[str, DrawnScene]

    def __init__(self) -> None:
        self.scenes = {}

    def hidden(self, folders: Sequence[Path]) -> list[str]:
        """Return regular expressions of what clients need not know: where uploads lie, and the allowed folders."""
        return [
            rf"{re.escape(str(self.folder))}/[^/]+/",
            *(f"{re.escape(str(folder.resolve()))}/" for folder in folders),
        ]

    def scene(self, name: str) -> DrawnScene:
        """Return a scene.

        Raises:
            NotFoundError: If there is none of that name.
        """
        if name not in self.scenes:
            raise NotFoundError(
                f"expected a scene among {', '.join(self.scenes) or 'none'}, got {quoted(name)}",
                remedy="Scenes are drawn where the server is started with --demo.",
            )
        return self.scenes[name]


async def _refuse(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RboxError)
    status, headers = _answers.status_of(error)
    return JSONResponse(_answers.as_error(error), status, headers)


async def _refuse_plainly(request: Request, error: Exception) -> JSONResponse:
    """Answer what no address of ours was asked for."""
    assert isinstance(error, HTTPException)
    what = f"{request.method} {request.url.path}: {error.detail}"
    values = {"error": {"message": what, "remedy": "GET /openapi.json lists the addresses."}}
    return JSONResponse(values, error.status_code, error.headers)


def _add_state(app: FastAPI, models: Models, metrics: Metrics) -> None:
    """Add the addresses that say how the server is."""

    @app.get("/health", summary="Whether the process lives")
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/ping", summary="The same, as TorchServe says it")
    async def ping() -> dict[str, str]:
        return {"status": "Healthy"}

    @app.get("/ready", summary="Whether all models are loaded", responses=_examples.errors(503))
    async def ready() -> JSONResponse:
        states = {name: model.is_ready for name, model in models.by_name.items()}
        is_ready = all(states.values())
        return JSONResponse({"ready": is_ready, "models": states}, 200 if is_ready else 503)

    @app.get("/metrics", summary="Counters for Prometheus")
    async def show_metrics() -> Response:
        return Response(await run_in_threadpool(metrics.text), media_type="text/plain; version=0.0.4")

    @app.get("/v1/models", summary="The models")
    async def list_models() -> dict[str, Any]:
        return {"models": [_about(model) for model in models.by_name.values()]}


def _about(model: Model) -> dict[str, Any]:
    """Return what a client may know of a model; of one that is being loaded, the classes are not known."""
    return {
        "name": model.name,
        "command": model.command,
        "classes": list(model.detector.class_names) if model.is_ready else [],
        "convention": "le90",
        "ready": model.is_ready,
        "writes_text": model.is_ready and model.writes_text,
    }


def _add_detection(app: FastAPI, models: Models, metrics: Metrics, settings: Settings, place: _Place) -> None:
    """Add the addresses that take images."""

    async def counted(
        name: str,
        work: Callable[[], Awaitable[Response]],
        as_error: Callable[[int, dict[str, Any]], dict[str, Any]] = lambda _, error: error,
    ) -> Response:
        """Answer, and count how it went.

        Args:
            name: The model's name; of another kind of request "".
            work: Answers.
            as_error: Gives an error the shape that the client expects.
        """
        status, hidden = 500, place.hidden(settings.folders)
        begin = time.monotonic()
        metrics.begin_request()
        try:
            response = await work()
            status = response.status_code
        except GoneError:
            status = GONE
            response = Response(status_code=GONE)
        except RboxError as error:
            status, headers = _answers.status_of(error)
            response = JSONResponse(as_error(status, _answers.as_error(error, hidden)), status, headers)
        finally:
            known = name if name in models.by_name else ""
            metrics.end_request(known, status, time.monotonic() - begin)
        return response

    def detecting(name: str, request: Request) -> Detecting:
        return Detecting(request, models[name], settings, place.folder, place.hidden(settings.folders))

    @app.post(
        "/v1/models/{name}/detect",
        summary="Detect the objects on an image",
        openapi_extra=_examples.DETECT,
        responses=_examples.DETECT_RESPONSES,
    )
    async def detect(name: str, request: Request) -> Response:
        return await counted(name, lambda: detecting(name, request).answer())

    pictures = Pictures(settings, models.large)

    @app.post(
        "/v1/pictures",
        summary="Show an image as PNG or JPEG, for browsers, which decode no TIFF",
        openapi_extra=_examples.PICTURES,
        responses=_examples.PICTURES_RESPONSES,
    )
    async def show_picture(request: Request) -> Response:
        return await counted("", lambda: pictures.answer(request, place.folder))

    async def predictions(name: str, request: Request) -> Response:
        async def work() -> Response:
            return JSONResponse(await _torchserve.predictions(detecting(name, request)))

        return await counted(name, work, _torchserve.as_error)

    for path in ("/predictions/{name}", "/predictions/{name}/{version}"):
        for method in ("POST", "PUT"):
            app.add_api_route(
                path,
                predictions,
                methods=[method],
                summary="Detect, as TorchServe with MMRotate's handler does",
                operation_id=f"predictions_{method.lower()}{'_version' if 'version' in path else ''}",
                openapi_extra=_examples.TORCHSERVE,
                responses=_examples.TORCHSERVE_RESPONSES,
            )


def _add_scenes(app: FastAPI, place: _Place) -> None:
    """Add the addresses of the demonstration's scenes."""

    @app.get("/v1/scenes", summary="The scenes of the demonstration")
    async def list_scenes() -> dict[str, Any]:
        return {
            "scenes": [
                {
                    "name": name,
                    "width": scene.size[0],
                    "height": scene.size[1],
                    "url": f"/v1/scenes/{name}",
                    "truth_url": f"/v1/scenes/{name}/truth",
                }
                for name, scene in place.scenes.items()
            ]
        }

    @app.get("/v1/scenes/{name}", summary="A scene, as PNG", responses=_examples.errors(404))
    async def show_scene(name: str) -> FileResponse:
        return FileResponse(place.scene(name).image, media_type="image/png")

    @app.get("/v1/scenes/{name}/truth", summary="Its ground truth, in DOTA's format", responses=_examples.errors(404))
    async def show_truth(name: str) -> FileResponse:
        return FileResponse(place.scene(name).truth, media_type="text/plain")
