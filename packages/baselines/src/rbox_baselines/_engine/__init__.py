"""What mmengine trains and scores with: the dataset, the metric, the run."""

from __future__ import annotations


def register() -> None:
    """Makes MMRotate's parts, and ours, known to mmengine's registries. Doing it again changes nothing."""
    from mmdet.utils import register_all_modules as register_mmdet
    from mmrotate.utils import register_all_modules as register_mmrotate

    register_mmdet(init_default_scope=False)
    register_mmrotate(init_default_scope=False)

    from rbox_baselines._configs import _convnext  # noqa: F401  # for checkpoints, whose config says no more of it
    from rbox_baselines._engine import _dataset, _metric, _progress  # noqa: F401  # they register themselves
