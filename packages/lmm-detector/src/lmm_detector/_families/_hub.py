"""Models on the hub: what they are called there, and their files fetched to a local folder."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from rbox_formats.errors import quoted, said

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
    """The source itself, or the name under which the same weights are published in transformers' layout."""
    if Path(source).exists() or source not in NATIVE_NAMES:
        return source
    logger.info("%s: taken from %s, the same weights in transformers' layout", source, NATIVE_NAMES[source])
    return NATIVE_NAMES[source]


def fetch_file(source: str, name: str, revision: str | None = None) -> Path:
    """One file of a model.

    Raises:
        ModelError: If the source is no name of a model, or the hub cannot be reached or does not have it.
    """
    if source.count("/") != 1 or source.startswith((".", "/", "~")):
        raise ModelError(f"expected a local folder, or a name on the hub such as owner/model, got {quoted(source)}")
    import huggingface_hub

    logger.info("asking the hub for %s", source)
    with _errors(source):
        path = huggingface_hub.hf_hub_download(source, name, revision=revision, local_files_only=not _has_address())
    return Path(path)


def fetch(source: str, revision: str | None = None) -> str:
    """The folder with a model's files: the source itself, or what the hub has, fetched where it is not here yet.

    Raises:
        ModelError: If the hub cannot be reached, or does not have it.
    """
    if Path(source).is_dir():
        return source
    import huggingface_hub

    with _errors(source):
        return huggingface_hub.snapshot_download(
            source, revision=revision, allow_patterns=_FILES, local_files_only=not _has_address()
        )


def _has_address() -> bool:
    """Whether the hub's name leads anywhere from here; its client would try for half a minute before it gives up.

    Behind a proxy it need not.
    """
    from huggingface_hub import constants

    if any(os.environ.get(name) for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")):
        return True
    try:
        return bool(socket.getaddrinfo(urlsplit(constants.ENDPOINT).hostname, None))
    except OSError:
        return False


@contextmanager
def _errors(source: str) -> Iterator[None]:
    """What the hub's client raises, in words that say what to do."""
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        yield
    except LocalEntryNotFoundError as error:
        raise ModelError(
            f"expected a local folder or a model on the hub, got {source!r}: no folder, and the hub does not answer",
            remedy="Fetch the model where the hub can be reached "
            f"(`hf download {source} --local-dir FOLDER`), copy the folder here, and give its path as the model.",
        ) from error
    except (OSError, ValueError) as error:
        # The hub's own words: no such model, no such file in it, or one that needs a login.
        raise ModelError(f"expected a model on the hub, got {quoted(source)}: {said(error)}") from error
