"""Which images to label next: a ranking by what a detector says of them.

`rank_images` and `rank_file` rank by detections that are there already, `mine` runs a detector for it. `ALGORITHMS` has
every way to rank, and what each needs to know. Higher scores are labelled first.
"""

from rbox_metrics.mining._algorithms import ALGORITHMS, Algorithm, Need
from rbox_metrics.mining._files import Ranked, check_ending, rank_file, write_ranking
from rbox_metrics.mining._mine import Describing, mine
from rbox_metrics.mining._rank import order_of, rank_images

__all__ = [
    "ALGORITHMS",
    "Algorithm",
    "Describing",
    "Need",
    "Ranked",
    "check_ending",
    "mine",
    "order_of",
    "rank_file",
    "rank_images",
    "write_ranking",
]
