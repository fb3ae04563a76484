"""MMRotate's stack on today's Python and PyTorch: mmcv's operators supplied, and what else had to be mended."""
