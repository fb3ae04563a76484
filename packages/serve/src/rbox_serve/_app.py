"""The application: its addresses, and what each answers."""

from __future__ import annotations

import io
import time
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, PlainTextResponse, Response
from fastapi.staticfiles import StaticFiles
from rbox_formats import RboxError, images, load_detector, predictions, synthetic
from rbox_formats.detection import command_of
from starlette.concurrency import run_in_threadpool

PAGE = Path(__file__).parent / "page"


def make_app(models: Any, *, demo: bool = False, device: str | None = None) -> FastAPI:
    """Make the application that serves detectors."""
    app = FastAPI(title="rbox-serve")
    detectors = {Path(path).stem: (load_detector(path, device=device), command_of(path)) for path in models}
    scenes = {}
    if demo:
        for seed in range(4):
            pixels, record = synthetic.scene(40_000_000 + seed, synthetic.VARIED, image_id=f"summer-{seed}")
            scenes[record.image_id] = (pixels, record)

    @app.exception_handler(RboxError)
    async def refuse(_: Request, error: RboxError) -> JSONResponse:
        message, _, remedy = str(error).partition("\n")
        return JSONResponse({"error": {"message": message, "remedy": remedy or None}}, 400)

    @app.get("/health")
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/v1/models")
    async def list_models() -> dict[str, Any]:
        return {
            "models": [
                {
                    "name": name,
                    "command": command,
                    "classes": list(detector.class_names),
                    "ready": True,
                    "writes_text": hasattr(detector, "codec"),
                }
                for name, (detector, command) in detectors.items()
            ]
        }

    @app.post("/v1/models/{name}/detect")
    async def detect(name: str, request: Request) -> dict[str, Any]:
        detector, _ = detectors[name]
        form = await request.form()
        content = await form["image"].read()  # type: ignore[union-attr]
        options = {
            key: kind(value)
            for key, kind in (("window", int), ("gap", int), ("score_threshold", float))
            if (value := request.query_params.get(key, form.get(key))) is not None
        }
        begin = time.perf_counter()
        from PIL import Image

        pixels = images.as_rgb(Image.open(io.BytesIO(content)))
        found = await run_in_threadpool(detector.predict, pixels, **options)
        return {
            "model": name,
            "image": {"id": found.image_id, "width": found.width, "height": found.height},
            "header": predictions.Header(detector.class_names, detector.fingerprint).to_dict(),
            "record": found.to_dict(),
            "names": found.names,
            "text": found.text,
            "spans": None,
            "seconds": time.perf_counter() - begin,
        }

    @app.get("/v1/scenes")
    async def list_scenes() -> dict[str, Any]:
        return {
            "scenes": [
                {"name": name, "width": record.width, "height": record.height, "url": f"/v1/scenes/{name}"}
                for name, (_, record) in scenes.items()
            ]
        }

    @app.get("/v1/scenes/{name}")
    async def scene(name: str) -> Response:
        from PIL import Image

        buffer = io.BytesIO()
        Image.fromarray(scenes[name][0]).save(buffer, "PNG")
        return Response(buffer.getvalue(), media_type="image/png")

    @app.get("/v1/scenes/{name}/truth")
    async def truth(name: str) -> PlainTextResponse:
        _, record = scenes[name]
        lines = [
            " ".join([*(f"{v:.2f}" for v in quad.ravel()), synthetic.CLASS_NAMES[label], "0"])
            for quad, label in zip(record.corners, record.labels, strict=True)
        ]
        return PlainTextResponse("\n".join(lines) + "\n")

    app.mount("/", StaticFiles(directory=PAGE, html=True))
    return app
