"""What mmengine's registries must know of ours: dataset, reader of images, metric, hooks, backbones, a neck."""

from __future__ import annotations


def register() -> None:
    """Make MMRotate's parts, and ours, known to mmengine's registries. Doing it again changes nothing."""
    from mmdet.utils import register_all_modules as register_mmdet
    from mmrotate.utils import register_all_modules as register_mmrotate

    register_mmdet(init_default_scope=False)
    register_mmrotate(init_default_scope=False)

    # They register themselves; backbones and necks for checkpoints, whose config says no more of them.
    from rbox_baselines._parts import (  # noqa: F401
        _convnext,
        _dataset,
        _loading,
        _metric,
        _progress,
        _repeatable,
        _rolling,
        _rsfpn,
        _rsmamba,
        _rsprompter,
        _sam,
    )
