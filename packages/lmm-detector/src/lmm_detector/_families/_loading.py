"""Finding a model's files and reading them, with errors that say what to do."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

from lmm_detector.errors import ModelError

logger = logging.getLogger("lmm_detector")

# Microsoft's own repositories hold the weights under the names of their remote code, which is not run here; the same
# weights in transformers' layout are published under these names.
NATIVE_NAMES = {
    f"microsoft/Florence-2-{size}": f"florence-community/Florence-2-{size}"
    for size in ("base", "base-ft", "large", "large-ft")
}


def resolve(source: str) -> str:
    """The source itself, or the name under which the same weights are published in transformers' layout."""
    if Path(source).exists() or source not in NATIVE_NAMES:
        return source
    logger.info("%s: taken from %s, the same weights in transformers' layout", source, NATIVE_NAMES[source])
    return NATIVE_NAMES[source]


def read_config(source: str) -> dict[str, Any]:
    """The model's config.json, from a local folder or the hub.

    Raises:
        ModelError: If there is none, or the hub cannot be reached.
    """
    folder = Path(source)
    if folder.is_dir():
        path = folder / "config.json"
        if not path.is_file():
            inside = sorted(p.parent.name for p in folder.glob("*/config.json"))
            remedy = f"Did you mean {folder / inside[-1]}?" if inside else None
            raise ModelError("expected a model's folder, found no config.json in it", path=folder, remedy=remedy)
    else:
        path = Path(_download(source, "config.json"))
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise ModelError(f"expected JSON, got: {error}", path=path) from error


def _download(source: str, name: str) -> str:
    if source.count("/") != 1 or source.startswith((".", "/", "~")):
        raise ModelError(f"expected a local folder, or a name on the hub such as owner/model, got {source!r}")
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    logger.info("asking the hub for %s", source)
    try:
        return hf_hub_download(source, name)
    except LocalEntryNotFoundError as error:
        raise ModelError(
            f"expected a local folder or a model on the hub, got {source!r}: no folder, and the hub does not answer",
            remedy="Fetch the model where the hub can be reached "
            f"(`hf download {source} --local-dir FOLDER`), copy the folder here, and give its path as the model.",
        ) from error
    except (OSError, ValueError) as error:
        # The hub's own words: no such model, no such file in it, or one that needs a login.
        raise ModelError(f"expected a model on the hub, got {source!r}: {str(error).splitlines()[0]}") from error
