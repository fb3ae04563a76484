"""Matching of detections and ground truth, and the protocols that define it.

In this room, a truth is one object of the ground truth.
"""

from rbox_metrics._matching._claims import Claims, claim, claimed_averages, claims_by_iou, claims_by_score, shuffled
from rbox_metrics._matching._matching import (
    ANY_SCORE,
    FALSE_POSITIVE,
    IGNORED,
    TRUE_POSITIVE,
    best_truths,
    by_falling,
    match_greedily,
    match_once,
    partners,
    tied_runs,
)
from rbox_metrics._matching._paired import Paired, pair
from rbox_metrics._matching._protocols import (
    AREA,
    AREA_RANGES,
    ELEVEN_RECALLS,
    HUNDRED_AND_ONE_RECALLS,
    PROTOCOLS,
    Protocol,
    choose,
)

__all__ = [
    "ANY_SCORE",
    "AREA",
    "AREA_RANGES",
    "ELEVEN_RECALLS",
    "FALSE_POSITIVE",
    "HUNDRED_AND_ONE_RECALLS",
    "IGNORED",
    "PROTOCOLS",
    "TRUE_POSITIVE",
    "Claims",
    "Paired",
    "Protocol",
    "best_truths",
    "by_falling",
    "choose",
    "claim",
    "claimed_averages",
    "claims_by_iou",
    "claims_by_score",
    "match_greedily",
    "match_once",
    "pair",
    "partners",
    "shuffled",
    "tied_runs",
]
