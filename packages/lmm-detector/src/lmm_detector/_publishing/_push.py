"""A run pushed to the hub: its detector, a card, and what another machine needs to resume it."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import yaml
from rbox_formats import files
from rbox_formats.errors import quoted, said

from lmm_detector._families import Preparation, is_adapter
from lmm_detector._publishing._card import model_card, without_places
from lmm_detector._spec import FILE_NAME
from lmm_detector._training import _run_folder
from lmm_detector._training._config import load
from lmm_detector._training._following import LOGS, PICTURE
from lmm_detector.errors import ModelError

_NAME = re.compile(r"\w[\w.-]{0,95}", re.ASCII)


def push_to_hub(run: str | Path, repository: str, *, public: bool = False, checkpoint: bool = False) -> str:
    """Upload a run's detector to the hub, with a model card made from the run.

    Nothing else in this package sends anything anywhere. You must be logged in there (`hf auth login`).

    Args:
        run: The run's folder.
        repository: Its name on the hub, owner/name; it is made where there is none.
        public: Whether a repository that is made is for everybody to see.
        checkpoint: Uploads the newest and the best checkpoint too, with optimiser and schedule, for `resume_from`. Of a
            run that is not finished, the newest is the detector.

    Returns:
        The repository's address.

    Raises:
        ModelError: If the run has no detector, its adapters stand on a local model, or the hub refuses.
    """
    import huggingface_hub

    _require_name(repository)
    run = files.as_path(run, ModelError)
    _detector(run, checkpoint=checkpoint)
    with files.temporary_folder(run) as folder:
        stage(run, folder / "all", repository, checkpoint=checkpoint)
        api = huggingface_hub.HfApi()
        try:
            address = api.create_repo(repository, private=not public, exist_ok=True)
            api.upload_folder(repo_id=repository, folder_path=str(folder / "all"), commit_message="Push a detector")
        except Exception as error:  # of the hub's client, or of what it asks by: they are no family
            raise ModelError(
                f"expected the hub to take {quoted(repository)}, got: {said(error)}",
                remedy="Log in (`hf auth login`) as somebody who may write there, where the hub can be reached.",
            ) from error
    return str(address)


def stage(run: Path, out: Path, repository: str, *, checkpoint: bool) -> list[str]:
    """Make the folder that is uploaded.

    Args:
        run: The run's folder.
        out: The folder to make.
        repository: As in `push_to_hub`.
        checkpoint: As in `push_to_hub`.

    Returns:
        The names of its files.

    Raises:
        ModelError: As `push_to_hub`.
    """
    model = _detector(run, checkpoint=checkpoint)
    if is_adapter(model) and Path(base := Preparation.load(model).model_name_or_path).exists():
        raise ModelError(
            f"expected adapters on a model of the hub, got some on {base}, which nobody else has",
            path=model,
            remedy=f"Merge them first: lmm-detector merge {model} OUT, then replace {model} by OUT.",
        )
    shutil.copytree(model, out, ignore=_run_folder.without_training, copy_function=_link)
    files.write_text(out / "README.md", model_card(run, model, repository))
    settings = without_places(vars(load(run / "settings.yaml", {})))
    files.write_text(out / "settings.yaml", yaml.safe_dump(settings, sort_keys=False, allow_unicode=True))
    for name in (*LOGS, PICTURE):
        if (run / name).is_file():
            _link(run / name, out / name)
    if checkpoint:
        _run_folder.copy_checkpoints(run, out, Path())
        _link(run / "texts.jsonl", out / "texts.jsonl")
    return sorted(path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file())


def _detector(run: Path, *, checkpoint: bool) -> Path:
    if (run / "model" / FILE_NAME).is_file():
        return run / "model"
    if checkpoint and (found := _run_folder.finished_checkpoints(run / "checkpoints")):
        return found[-1]
    raise ModelError(
        "expected a finished run, with a detector in model/, found none",
        path=run,
        remedy="Resume it: `lmm-detector train` with the run's settings; or push its checkpoints with --checkpoint.",
    )


def _link(source: str | Path, target: str | Path) -> None:
    """Link a file under another name, or copy it where the file system has no such links."""
    try:
        Path(target).hardlink_to(source)
    except OSError:
        shutil.copyfile(source, target)


def _require_name(repository: str) -> None:
    owner, _, name = repository.partition("/")
    if not (_NAME.fullmatch(owner) and _NAME.fullmatch(name)):
        raise ModelError(f"expected a name on the hub such as owner/name, got {quoted(repository)}")
