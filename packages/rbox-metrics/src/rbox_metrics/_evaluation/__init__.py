"""Everything together: from data and predictions to a report, to intervals, to a torchmetrics metric."""

from rbox_metrics._evaluation._bootstrap import Comparison, Difference, Interval, Intervals, bootstrap, compare
from rbox_metrics._evaluation._evaluate import evaluate
from rbox_metrics._evaluation._files import evaluate_file, load_pair, score_file
from rbox_metrics._evaluation._merging import merge_file
from rbox_metrics._evaluation._resampling import INTERVAL_FIGURES, Tables, draws, exchanges, figures_of, image_count
from rbox_metrics._evaluation._submissions import write_dota_submission, write_fair1m_submission

__all__ = [
    "INTERVAL_FIGURES",
    "Comparison",
    "Difference",
    "Interval",
    "Intervals",
    "Tables",
    "bootstrap",
    "compare",
    "draws",
    "evaluate",
    "evaluate_file",
    "exchanges",
    "figures_of",
    "image_count",
    "load_pair",
    "merge_file",
    "score_file",
    "write_dota_submission",
    "write_fair1m_submission",
]
