# %% [markdown]
# # Choose what to label next
#
# Labelling is slow. A detector that exists already says which images would teach it most. This page ranks images that
# have no labels, takes the first ones into an annotation tool with boxes to correct, and needs no platform. On YMIR
# the same rankings run as an [executor](../ymir.md).
# %% [markdown]
# ## 1. Detect on images without labels
# %%
from rbox_formats import synthetic

synthetic.write_scenes("pool", None, range(300, 332), synthetic.VARIED)
# %% [bash]
# lmm-detector predict --model demo --out found.jsonl pool/images 2>/dev/null
# %% [markdown]
# ## 2. Rank them
#
# `margin` puts first what the detector might as well have called nothing; `diversity` what is unlike the images
# before. `--score-threshold` leaves out boxes with lower scores; those of this small detector are all low.
# %% [bash]
# rbox-metrics rank-images --predictions found.jsonl --algorithm margin --score-threshold 0 --limit 5 --out next.csv
# cat next.csv
# rbox-metrics rank-images --predictions found.jsonl --algorithm diversity --score-threshold 0 --limit 5 --out other.txt
# cat other.txt
# %% [markdown]
# `--labelled done.txt` leaves out what you have labelled already.
#
# ## 3. Correct, do not draw
#
# The detector's boxes become pre-annotations in Label Studio, CVAT or QGIS:
# %% [bash]
# rbox-formats convert --data found.jsonl --format predictions --image-folder pool/images --to label-studio \
#     --out tasks --images copy
# ls tasks
# %% [markdown]
# ## Next
#
# - [From other tools, and back](../tools.md): how to import them, and export what you corrected.
# - [From labels to a trained detector](from-labels.md): train again, with more labels.
