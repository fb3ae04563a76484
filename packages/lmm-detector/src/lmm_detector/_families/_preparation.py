"""What is done to a model between its checkpoint and its training. Adapters need the same done to their base again."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from rbox_formats import files

from lmm_detector._families._fingerprints import fingerprint
from lmm_detector._families._tokens import Initialisation
from lmm_detector._model_files import read_as
from lmm_detector.errors import ModelError

FILE_NAME = "base.json"


@dataclass(frozen=True)
class Preparation:
    """Where a model comes from, and how it is changed before it is trained.

    Attributes:
        model_name_or_path: A local folder, or a name on the hub.
        model_revision: On the hub: branch, tag or commit.
        image_square_length: See `Family.set_image_size`; None: unchanged.
        language_model_max_length: See `Family.set_positions`; None: as many as there are.
        tokens: See `Family.add_tokens`.
        token_initialisation: See `initialisation` of `Family.add_tokens`.
        model_commit: On the hub: the commit that was fetched.
        fingerprint: A hash of the model's weights and of these settings, except of where the model is. None: unknown.
    """

    model_name_or_path: str
    model_revision: str | None = None
    image_square_length: int | None = None
    language_model_max_length: int | None = None
    tokens: tuple[str, ...] = ()
    token_initialisation: Initialisation = "digits"
    model_commit: str | None = None
    fingerprint: str | None = None

    @property
    def revision(self) -> str | None:
        """What is fetched from the hub: the commit of then, where it is known."""
        return self.model_commit or self.model_revision

    def identified(self, folder: str | Path) -> Preparation:
        """Return it with fingerprint, and commit, of the model that a folder holds.

        Raises:
            ModelError: If its weights cannot be read.
        """
        folder = Path(folder)
        below = Preparation.load(folder).fingerprint if (folder / FILE_NAME).is_file() else None  # adapters on others
        changes = [self.image_square_length, self.language_model_max_length, self.tokens, self.token_initialisation]
        known = json.dumps([fingerprint(folder), below, changes])
        return replace(
            self,
            model_commit=folder.name if folder.parent.name == "snapshots" else None,  # in the hub's cache
            fingerprint=f"sha256:{hashlib.sha256(known.encode()).hexdigest()}",
        )

    def save(self, folder: str | Path) -> None:
        """Write `base.json` into a folder of adapters; a local base by its absolute path."""
        values = asdict(self)
        if Path(self.model_name_or_path).exists():
            values["model_name_or_path"] = str(Path(self.model_name_or_path).resolve())
        files.write_text(Path(folder) / FILE_NAME, json.dumps(values, indent=2, ensure_ascii=False) + "\n")

    @classmethod
    def load(cls, folder: str | Path) -> Preparation:
        """Read it back.

        Raises:
            ModelError: If there is none, or another file of that name.
        """
        path = Path(folder) / FILE_NAME
        if not path.is_file():
            raise ModelError(
                f"expected adapters that `lmm-detector train` made, found no {FILE_NAME} beside them",
                path=folder,
                remedy="Merge others into their model with peft, and give that.",
            )
        return read_as(cls, path, "a model's preparation")
