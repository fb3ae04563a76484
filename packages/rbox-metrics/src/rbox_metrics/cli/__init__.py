"""What commands that score detections share, of this package and of the detectors'.

The command `rbox-metrics` itself is in `main`, with a file for each subcommand.
"""

from rbox_metrics.cli._compiling import say_if_compiling
from rbox_metrics.cli._scoring import (
    check_matplotlib,
    check_outputs,
    convention_option,
    output_options,
    plots_option,
    report_option,
    score,
    scoring_options,
)

__all__ = [
    "check_matplotlib",
    "check_outputs",
    "convention_option",
    "output_options",
    "plots_option",
    "report_option",
    "say_if_compiling",
    "score",
    "scoring_options",
]
