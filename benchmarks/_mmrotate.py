"""MMRotate's `eval_rbbox_map` where mmrotate and a compiled mmcv are installed; importing this makes them agree.

mmdet 3.1 asks for mmcv < 2.1.0, which no longer compiles, and mmrotate for names that left `collections` in Python
3.10. Both are put right on import, since the processes that `eval_rbbox_map` starts import the script again.
"""

from __future__ import annotations

import collections
import collections.abc
from typing import Any

eval_rbbox_map: Any = None

try:
    import mmcv

    mmcv.__version__ = "2.0.1"
    for _name in ("Mapping", "Sequence", "Iterable"):
        setattr(collections, _name, getattr(collections.abc, _name))
    from mmrotate.evaluation import eval_rbbox_map  # noqa: F401
except ImportError:
    pass
