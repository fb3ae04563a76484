"""What is done to a model between its checkpoint and its training. Adapters need the same done to their base again."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from rbox_formats import files
from rbox_formats.errors import said

from lmm_detector._families._tokens import Initialisation
from lmm_detector.errors import ModelError

FILE_NAME = "base.json"


@dataclass(frozen=True)
class Preparation:
    """Where a model comes from, and how it is changed before it is trained.

    Attributes:
        model_name_or_path: A local folder, or a name on the hub.
        model_revision: On the hub: branch, tag or commit.
        image_square_length: See `Family.set_image_size`; None: as it is.
        language_model_max_length: See `Family.set_positions`; None: as many as there are.
        tokens: See `Family.add_tokens`.
        token_initialisation: Likewise.
    """

    model_name_or_path: str
    model_revision: str | None = None
    image_square_length: int | None = None
    language_model_max_length: int | None = None
    tokens: tuple[str, ...] = ()
    token_initialisation: Initialisation = "digits"

    def save(self, folder: str | Path) -> None:
        """Writes `base.json` into a folder of adapters; a local base by its absolute path."""
        values = asdict(self)
        if Path(self.model_name_or_path).exists():
            values["model_name_or_path"] = str(Path(self.model_name_or_path).resolve())
        files.write_text(Path(folder) / FILE_NAME, json.dumps(values, indent=2, ensure_ascii=False) + "\n")

    @classmethod
    def load(cls, folder: str | Path) -> Preparation:
        """Reads it back.

        Raises:
            ModelError: If there is none, or another file of that name.
        """
        path = Path(folder) / FILE_NAME
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            return cls(**{**values, "tokens": tuple(values["tokens"])})
        except FileNotFoundError as error:
            raise ModelError(
                f"expected adapters that `lmm-detector train` made, found no {FILE_NAME} beside them",
                path=folder,
                remedy="Merge others into their model with peft, and give that.",
            ) from error
        except (ValueError, TypeError, KeyError) as error:
            raise ModelError(
                f"expected a model's preparation, got {type(error).__name__}: {said(error)}", path=path
            ) from error
