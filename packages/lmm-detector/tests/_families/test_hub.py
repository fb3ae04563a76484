"""Models on the hub, which is not asked here."""

from __future__ import annotations

import shutil
import socket
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub.errors import LocalEntryNotFoundError
from lmm_detector import _families
from lmm_detector._families import _hub
from lmm_detector.errors import ModelError


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError("Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    "source, error, found",
    [
        (
            "owner/model",
            LocalEntryNotFoundError("offline"),
            r"the hub does not answer\nFetch .*`hf download owner/model",
        ),
        ("owner/model", OSError("401"), "expected a model on the hub, got 'owner/model': 401"),
        ("runs/dota/model", AssertionError("must not be asked"), "expected a local folder, or a name on the hub"),
        ("nowhere", AssertionError("must not be asked"), "expected a local folder, or a name on the hub"),
    ],
)
def test_models_that_cannot_be_had(source: str, error: Exception, found: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def download(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("huggingface_hub.hf_hub_download", download)
    with pytest.raises(ModelError, match=found):
        _families.load(source)


def test_a_model_that_is_not_here_takes_no_half_minute_to_say_so() -> None:
    """The client itself looks into its cache, and asks nobody: that would be refused loudly."""
    with pytest.raises(ModelError, match="the hub does not answer"):
        _families.load("nobody/such-a-model-is-in-no-cache")


@pytest.mark.parametrize("is_reachable", [False, True])
def test_a_revision_and_what_is_fetched(
    is_reachable: bool, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Settings first, and only then, when the family is known, the rest; files that could hold code never."""
    asked: list[tuple[str, str, Any, bool]] = []

    def one(source: str, name: str, *, revision: str, local_files_only: bool) -> str:
        asked.append((source, name, revision, local_files_only))
        return str(tiny_model / name)

    def all_of_it(source: str, *, revision: str, allow_patterns: list[str], local_files_only: bool) -> str:
        asked.append((source, "all", revision, local_files_only))
        assert not any(pattern.endswith((".py", ".bin", ".pt", ".pkl", "*")) for pattern in allow_patterns)
        return shutil.copytree(tiny_model, tmp_path / "cache", dirs_exist_ok=True)

    monkeypatch.setattr("huggingface_hub.hf_hub_download", one)
    monkeypatch.setattr("huggingface_hub.snapshot_download", all_of_it)
    if is_reachable:
        monkeypatch.setenv("HTTPS_PROXY", "http://proxy:3128")
    family = _families.load("microsoft/Florence-2-base", revision="v1")
    assert family.name == "florence2"
    name = "florence-community/Florence-2-base"
    assert asked == [(name, "config.json", "v1", not is_reachable), (name, "all", "v1", not is_reachable)]


def test_microsofts_names_lead_to_the_same_weights_in_transformers_layout() -> None:
    assert _hub.resolve("microsoft/Florence-2-large") == "florence-community/Florence-2-large"
    assert _hub.resolve("someone/else") == "someone/else"
