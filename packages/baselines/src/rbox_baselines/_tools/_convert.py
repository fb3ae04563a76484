"""Weights that RSPrompter and RS4D published, as checkpoints of this package.

Their modules have the same names as here, except around SAM's parts: transformers' modules are inside modules of their
own, and what belongs to SAM's decoder is in several places. Names are changed by a table, and no value is.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rbox_formats import files
from rbox_formats.errors import listed

from rbox_baselines._checkpoints import class_names_of, read_checkpoint
from rbox_baselines._configs import _classes, _load, _weights
from rbox_baselines.errors import CheckpointError

if TYPE_CHECKING:
    from torch import Tensor
else:
    Tensor = Any  # torch is imported where it is used

_ENCODER = r"^(backbone\.vision_encoder\.)"
_LAYER = _ENCODER + r"(layers\.\d+\.)"

#: What is changed in a name, in this order. {decoder} is the place of SAM's decoder: that of the head.
RENAMED: tuple[tuple[str, str], ...] = (
    (r"^module\.", ""),  # of a model on several devices
    (_ENCODER + r"base_model\.model\.", r"\1"),  # peft's wrapper
    (r"^shared_image_embedding\.shared_image_embedding\.", "{decoder}.shared_image_embedding."),
    (r"^(?:roi_head\.mask_head|panoptic_head)\.mask_decoder\.mask_decoder\.", "{decoder}.mask_decoder."),
    (r"^roi_head\.mask_head\.no_mask_embed\.", "{decoder}.no_mask_embed."),
    (r"^panoptic_head\.sam_mask_embed\.", "{decoder}.mask_embed."),
    # mmpretrain's ViT-SAM, which RSPrompter has for images of 512 px.
    (_LAYER + r"ln([12])\.", r"\1\2layer_norm\3."),
    (_LAYER + r"ffn\.layers\.0\.0\.", r"\1\2mlp.lin1."),
    (_LAYER + r"ffn\.layers\.1\.", r"\1\2mlp.lin2."),
    (_ENCODER + r"channel_reduction\.0\.", r"\1neck.conv1."),
    (_ENCODER + r"channel_reduction\.1\.", r"\1neck.layer_norm1."),
    (_ENCODER + r"channel_reduction\.2\.", r"\1neck.conv2."),
    (_ENCODER + r"channel_reduction\.3\.", r"\1neck.layer_norm2."),
)


@dataclass(frozen=True)
class Converted:
    """The checkpoint that `convert_checkpoint` wrote.

    Attributes:
        path: The file.
        weights: How many there are.
        renamed: How many have another name than before.
        is_backbone: Whether the file has a backbone alone, to train with, and no detector.
    """

    path: Path
    weights: int
    renamed: int
    is_backbone: bool


def convert_checkpoint(
    source: str | Path,
    config: str | Path,
    out: str | Path,
    *,
    class_names: Sequence[str] | None = None,
    options: Mapping[str, Any] | None = None,
) -> Converted:
    """Write weights of RSPrompter or RS4D as a checkpoint of this package.

    Every weight of the file must be one of the model's, and the reverse. Nothing in the file is run.

    >>> convert_checkpoint("rsprompter.pth", "rsprompter-anchor-sam-base-nwpu", "nwpu.pth")  # doctest: +SKIP

    Args:
        source: Their checkpoint: of a detector, or of a distilled RSMamba alone.
        config: The preset or the config of the same model; of a distilled backbone, any that has it.
        out: The checkpoint to write: of a detector, to predict with, or of a backbone, to train with.
        class_names: The classes that the labels are indices of. None: those that the file names, or the preset's.
        options: What is set in the config, by dotted names such as "model.neck.feature_aggregator.select_layers".

    Raises:
        CheckpointError: If the file is no checkpoint, or its weights are not those of the model.
        ConfigError: If there is no such config.
    """
    import torch

    saved = read_checkpoint(source)
    weights = renamed(saved["state_dict"])
    is_backbone = not any(name.startswith(("backbone.", "neck.")) for name in weights)
    found = _load.load_model(config)
    names = tuple(class_names or class_names_of(saved) or _load.preset_classes(config) or ())
    if not is_backbone and not names:
        raise CheckpointError(
            "expected a file that says its classes, got one without", path=source, remedy="Name them: --class-names."
        )
    if not is_backbone:
        _classes.set_num_classes(found.model, len(names))
    if options:
        _load.override(found, options, config)
    _check_fit(found.model.backbone if is_backbone else _weights.without_pretrained(found).model, weights, source)
    kept: dict[str, Any] = {"state_dict": {name: value.clone() for name, value in weights.items()}}
    if not is_backbone:
        kept["meta"] = {"cfg": found.pretty_text, "dataset_meta": {"classes": names}}
    buffer = io.BytesIO()
    torch.save(kept, buffer)
    with files.replacing(Path(out)) as temporary:
        temporary.write_bytes(buffer.getbuffer())
    changed = len(set(weights) - set(saved["state_dict"]))
    return Converted(Path(out), len(weights), changed, is_backbone)


def renamed(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return weights under the names that they have here.

    Args:
        weights: A state dict of RSPrompter or RS4D.
    """
    is_query = any(re.search(r"(^|\.)panoptic_head\.", name) for name in weights)
    decoder = "panoptic_head.sam" if is_query else "roi_head.mask_head.sam"
    found = {}
    for name, value in weights.items():
        for pattern, replacement in RENAMED:
            name = re.sub(pattern, replacement.format(decoder=decoder), name)
        found[name] = value
    return found


def _check_fit(settings: Any, weights: Mapping[str, Tensor], source: str | Path) -> None:
    """Check that weights are those of a part of a config: all of them, and no others.

    Raises:
        CheckpointError: If they are not.
    """
    import torch
    from mmrotate.registry import MODELS

    with torch.device("meta"):  # names and shapes alone
        model = MODELS.build(settings)
    given = {name: value.to("meta") for name, value in weights.items()}
    remedy = "Name the config of the same model, size and dataset, and by --cfg-options what differs from it."
    try:
        report = model.load_state_dict(given, strict=False)
    except RuntimeError as error:
        lines = [line.strip() for line in str(error).splitlines()[1:]]
        raise CheckpointError(
            f"expected weights in the model's shapes, got {listed(lines)}", path=source, remedy=remedy
        ) from error
    for kind, names in (("unknown to the model", report.unexpected_keys), ("missing", report.missing_keys)):
        if names:
            raise CheckpointError(
                f"expected the model's weights, got {len(names)} that are {kind}: {listed(names)}",
                path=source,
                remedy=remedy,
            )
