"""Adapters added into the weights of their base: a model of its own, as fast as one without."""

from __future__ import annotations

from pathlib import Path

from lmm_detector import _families
from lmm_detector._runtime._folders import appearing, check_new
from lmm_detector._spec import DetectorSpec
from lmm_detector.errors import ModelError


def merge_adapters(source: str | Path, out: str | Path, *, dtype: str | None = None) -> Path:
    """Make a detector with whole weights out of one with adapters.

    Args:
        source: The detector's folder; its base must be where it was when it was trained, or on the hub.
        out: The folder to make. It appears when all is written, or not at all.
        dtype: What the weights are held in: "float32", "bfloat16" or "float16". None: what the base was published in.

    Returns:
        The new folder.

    Raises:
        ModelError: If the source has no adapters, its base cannot be had, or the new folder has files in it.
    """
    source, out = _families.fetch_detector(source), Path(out)
    spec = DetectorSpec.load(source)
    check_new(out, source)
    family = _families.load(str(source), dtype=dtype or _families.published_dtype(str(source)))
    if family.preparation is None:
        raise ModelError("expected a detector with adapters, got whole weights", path=source)
    with appearing(out) as folder:
        _families.merged(family).save(folder)
        spec.save(folder)
    return out
