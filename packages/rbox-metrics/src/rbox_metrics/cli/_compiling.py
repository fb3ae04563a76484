"""What a command waits for on its first run: which functions it is going to compile."""

from __future__ import annotations

import logging
from typing import Any, Literal

from rbox_metrics.typing import Geometry, ProtocolName

logger = logging.getLogger("rbox_metrics")

Scoring = Literal["evaluate", "sweep", "confusion", "compare"]


def say_if_compiling(command: Scoring, protocol: ProtocolName, geometry: Geometry | None) -> None:
    """Says what is about to be compiled and for how long, where an earlier run has not left it on disk.

    Args:
        command: What is computed next.
        protocol: As in `evaluate`.
        geometry: As in `evaluate`.
    """
    from rbox_metrics._jit import has_cache, uncompiled

    missing = {what: uncompiled(kernels) for what, kernels in kernels_of(command, protocol, geometry).items()}
    count = sum(map(len, missing.values()))
    if not count:
        return
    kept = all(has_cache(kernel) for kernels in missing.values() for kernel in kernels)
    logger.info(
        "compiling for this machine: %s (%s, about %s on an idle core); %s",
        ", ".join(what for what, kernels in missing.items() if kernels),
        _number(count, "function"),
        _number(round(seconds_for(count)), "second"),
        "the next run finds them on disk"
        if kept
        else "each run will, for want of a folder to keep them in: NUMBA_CACHE_DIR names one",
    )


def seconds_for(count: int) -> float:
    """Return the seconds that compiling this number of functions takes, with the start of the compiler."""
    return 1 + count / 4


def _number(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def kernels_of(command: Scoring, protocol: ProtocolName, geometry: Geometry | None = None) -> dict[str, list[Any]]:
    """What a command compiles where nothing is compiled yet and no step has nothing to do, by what it is for.

    A test holds it to what is compiled indeed. What only ten thousand boxes or more need is not among it.
    """
    from rbox_metrics._matching import _claims, _matching, choose
    from rbox_metrics._overlaps import _grid_kernels
    from rbox_metrics._scores import _averages, _error_breakdown

    chosen, geometry = choose(protocol, geometry)
    full = command == "evaluate"
    kernels: dict[str, list[Any]] = {}
    if geometry != "quad" or full:
        from rbox_metrics._overlaps import _kernels

        # Masks are searched for by the boxes around them. Errors are judged on the boxes, of quads too.
        searched = [_kernels._extents] if geometry != "quad" else []
        kernels["overlaps of boxes"] = [_kernels._shapes, _kernels._overlaps_of_pairs, *searched]
    if geometry == "quad":
        from rbox_metrics._overlaps import _quad_kernels

        kernels["overlaps of quads"] = [_quad_kernels._shapes, _quad_kernels._overlaps_of_pairs]
    grid = _grid_kernels
    kernels["the search for overlaps"] = [grid._size, grid._count_cells, grid._fill_cells, grid._scan]
    by_protocol = [_matching._greedy] if chosen.greedy else [_claims._claims]
    kernels["matching"] = [
        _matching._sort_falling,
        *{
            "evaluate": [_matching._best_truths, _matching._matches, _matching._partners, *by_protocol],
            "sweep": [_matching._best_truths, _matching._matches],
            "confusion": [_matching._partners],
            "compare": [_matching._matches, *by_protocol, *([] if chosen.greedy else [_matching._best_truths])],
        }[command],
    ]
    if command in ("evaluate", "sweep"):
        kernels["averages"] = [_claims._averages, _claims._shuffle, _averages._counts]
    if full:
        kernels["averages"].append(_averages._averages)
        kernels["errors"] = [_error_breakdown._find]
    if command == "compare":
        from rbox_metrics._evaluation import _resampling

        kernels["averages of drawn images"] = [_resampling._weighted_averages]
    return kernels
