# %% [markdown]
# # Score a detector without scores
#
# A model that writes boxes as text often gives no confidence. Average precision needs an order of the detections, so
# papers give every box the score 1 and call the result **mAP_nc** (no confidence). This page shows how much of that
# number is the order in which the boxes happen to be written, and what to report beside it.
# %% [markdown]
# ## 1. A detector that is right in half of its boxes
#
# One image, one class, 20 objects. The detector finds ten of them, and draws ten boxes where nothing is.
# %%
import numpy as np
from rbox_metrics import evaluate, from_arrays

objects = np.array([[60.0 * n, 40, 40, 12, 0.3] for n in range(20)])
right = objects[:10]
wrong = objects[10:] + np.array([0, 300, 0, 0, 0])
truth = from_arrays(objects, labels=[0] * 20, image_index=[0] * 20)


def report(boxes):
    return evaluate(truth, from_arrays(boxes, labels=[0] * 20, image_index=[0] * 20), ["ship"]).figures


# %% [markdown]
# ## 2. The same boxes in three orders
# %%
mixed = np.stack([right, wrong], 1).reshape(-1, 5)
for name, boxes in {"right first": [*right, *wrong], "in turns": mixed, "wrong first": [*wrong, *right]}.items():
    figures = report(np.array(boxes))
    print(
        f"{name:12} mAP_nc {figures['map_nc']:.3f}   tied {figures['map_nc_tied']:.3f}   "
        f"random orders {figures['map_nc_random']:.3f} ± {figures['map_nc_spread']:.3f}   F1 {figures['f1_macro']:.3f}"
    )
# %% [markdown]
# The boxes are the same, and mAP_nc is not: it follows the order. Three numbers do not:
#
# - **`map_nc_tied`** treats all boxes of a class as one step of the curve: precision times the share of the recalls
#   reached. - **`map_nc_random`** is the mean over ten random orders, and **`map_nc_spread`** their standard
#   deviation: how far chance alone moves mAP_nc.
# - **F1** counts right and wrong boxes, and knows no order.
#
# ## 3. Compare with a detector that has scores
#
# Such a detector gains from writing many unsure boxes last; without scores it cannot. So LMMRotate keeps the boxes
# above a threshold, gives them all the score 1, and takes the best threshold. `rbox-metrics sweep` does this for a
# whole range:
# %% [bash]
# python - <<'END'
# from rbox_formats import synthetic
# synthetic.write_scenes("data", "val", range(900_000, 900_040), synthetic.VARIED)
# END
# lmm-detector predict --model demo --data data --split val --out found.jsonl 2>/dev/null
# rbox-metrics sweep --data data --split val --predictions found.jsonl --score-threshold 0 --score-threshold 0.05 \
#     --score-threshold 0.06 --score-threshold 0.07
# %% [markdown]
# The scores of this small detector are all below 0.1: they are good for an order, and are no probabilities. Each row
# keeps the boxes above its threshold.
#
# ## What to report
#
# Give `map_nc` for comparison with papers, `map_nc_random` with its spread, and F1. If two detectors differ by less
# than the spread, the order may be the whole difference: `rbox-metrics compare` tests it.
#
# ## Next
#
# [Where scores of a multimodal model come from](../explanations/scores.md)
