"""A run of another machine, or of the hub, brought here to be gone on with."""

from __future__ import annotations

import logging
from dataclasses import asdict
from pathlib import Path

from rbox_formats import files

from lmm_detector._families import fetch_run
from lmm_detector._training import _config, _run_folder
from lmm_detector._training._config import PLACES, TrainConfig
from lmm_detector.errors import RunError

logger = logging.getLogger("lmm_detector")


def bring(config: TrainConfig) -> None:
    """Copy the newest checkpoint, and the best, of `config.resume_from` into `config.out`, with settings and texts.

    Settings that name places are those of this machine; that the data are the same, the texts show.

    Raises:
        ModelError: If the hub cannot be reached, or does not have it.
        RunError: If there is no checkpoint, or one is not as `train` leaves it.
    """
    if config.resume_from is None or _run_folder.has_begun(Path(config.out)):
        return
    out = Path(config.out)
    source = Path(fetch_run(config.resume_from, [f"checkpoints/*/{name}" for name in _run_folder.CHECKPOINT_FILES]))
    if not _run_folder.finished_checkpoints(source / "checkpoints"):
        raise RunError(
            "expected a run with a checkpoint, found none",
            path=config.resume_from,
            remedy="On the hub it is where it was pushed with one: lmm-detector push RUN owner/name --checkpoint",
        )
    settings = asdict(_config.load(source / "settings.yaml", {"out": config.out}))
    here = asdict(config)
    settings |= {name: here[name] for name in PLACES}
    files.write_text(out / "texts.jsonl", (source / "texts.jsonl").read_text(encoding="utf-8"))
    files.write_text(out / "settings.yaml", _config.to_yaml(TrainConfig(**settings)))
    newest = _run_folder.copy_checkpoints(source, out, out)  # last: from then on the run has begun
    logger.info("resuming from step %d of %s", _run_folder.checkpoint_step(newest), config.resume_from)
