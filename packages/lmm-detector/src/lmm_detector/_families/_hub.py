"""Models on the hub: what they are called there, and their files fetched to a local folder."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from rbox_formats import files
from rbox_formats.errors import quoted, said

from lmm_detector._model_files import shipped
from lmm_detector.errors import ModelError

logger = logging.getLogger("lmm_detector")

# Microsoft's own repositories hold the weights under the names of their remote code, which is not run here; the same
# weights in transformers' layout are published under these names.
NATIVE_NAMES = {
    f"microsoft/Florence-2-{size}": f"florence-community/Florence-2-{size}"
    for size in ("base", "base-ft", "large", "large-ft")
}

# What a model consists of: settings, tokenizer, template, weights that hold no code.
_FILES = ["*.json", "*.txt", "*.model", "*.jinja", "*.safetensors"]


def resolve(source: str) -> str:
    """Return the source itself, the folder of a model of the package, or where the weights are in native layout."""
    source = str(shipped(source))
    if Path(source).exists() or source not in NATIVE_NAMES:
        return source
    logger.info("%s: taken from %s, the same weights in transformers' layout", source, NATIVE_NAMES[source])
    return NATIVE_NAMES[source]


def fetch_file(source: str, name: str, revision: str | None = None) -> Path:
    """Return one file of a model.

    Raises:
        ModelError: If the source is no name of a model, or the hub cannot be reached or does not have it.
    """
    _require_name(source)
    import huggingface_hub

    logger.info("asking the hub for %s", source)
    with _errors(source):
        path = huggingface_hub.hf_hub_download(source, name, revision=revision, local_files_only=not _has_address())
    return Path(path)


def fetch(source: str, revision: str | None = None, what: str = "model") -> str:
    """Return the folder with a model's files: the source itself, or what the hub has, fetched where it is not here yet.

    Raises:
        ModelError: If the hub cannot be reached, or does not have it.
    """
    if Path(source).is_dir():
        return source
    import huggingface_hub

    with _errors(source, what):
        return huggingface_hub.snapshot_download(
            source, revision=revision, allow_patterns=_FILES, local_files_only=not _has_address()
        )


def fetch_run(source: str, patterns: Sequence[str]) -> str:
    """Return the folder of a run: the source itself, or what the hub has of it.

    Args:
        source: A local folder, or owner/name on the hub, or owner/name@revision.
        patterns: Its files that are wanted beside settings and texts.

    Raises:
        ModelError: If the hub cannot be reached, or does not have it.
    """
    if Path(source).is_dir():
        return source
    import huggingface_hub

    name, _, revision = source.partition("@")
    _require_name(name)
    logger.info("asking the hub for %s", source)
    with _errors(name, "run"):
        return huggingface_hub.snapshot_download(
            name,
            revision=revision or None,
            allow_patterns=["settings.yaml", "texts.jsonl", *patterns],
            local_files_only=not _has_address(),
        )


def fetch_detector(source: str | Path) -> Path:
    """The folder of a detector: the source itself, one that comes with the package, or what the hub has as owner/name.

    A name whose first half is a folder here is a path, and the hub is not asked.

    Raises:
        ModelError: If the hub cannot be reached, or does not have it.
    """
    path = files.as_path(shipped(files.as_path(source, ModelError)), ModelError)
    if len(path.parts) != 2 or path.is_absolute() or Path(path.parts[0]).exists():
        return path
    _require_name(str(source))
    logger.info("asking the hub for %s", source)
    return Path(fetch(str(source), what="trained detector"))


def _require_name(source: str) -> None:
    if source.count("/") != 1 or source.startswith((".", "/", "~")):
        raise ModelError(f"expected a local folder, or a name on the hub such as owner/model, got {quoted(source)}")


def _has_address() -> bool:
    """Return whether the hub's name can be resolved here; its client would try for half a minute before it gives up.

    With a proxy it need not be resolved.
    """
    from huggingface_hub import constants

    if any(os.environ.get(name) for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")):
        return True
    try:
        return bool(socket.getaddrinfo(urlsplit(constants.ENDPOINT).hostname, None))
    except OSError:
        return False


@contextmanager
def _errors(source: str, what: str = "model") -> Iterator[None]:
    """What the hub's client raises, in words that say what to do."""
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        yield
    except LocalEntryNotFoundError as error:
        raise ModelError(
            f"expected a {what} here or on the hub, found no folder of that name, and the hub does not answer",
            path=source,
            remedy=f"Fetch it where the hub can be reached (`hf download {source} --local-dir FOLDER`), copy the "
            f"folder here, and give its path as the {what}.",
        ) from error
    except (OSError, ValueError) as error:
        # The hub's own words: no such model, no such file in it, or one that needs a login.
        raise ModelError(f"expected a {what} on the hub, got {quoted(source)}: {said(error)}") from error
