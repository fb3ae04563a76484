# %% [markdown]
# # Choose a text format for your object sizes
#
# A multimodal model writes coordinates as text, and most formats round them. On a large image that rounding can cost
# a small object its match. This page finds out, for your own dataset, which formats are fine enough.
# %% [markdown]
# ## 1. Your dataset
#
# Here: drawn scenes of 512 px with small objects. Any dataset does; `datasets.read` takes its format and folder.
# %%
import numpy as np
from rbox_formats import codecs, datasets, synthetic
from rbox_metrics import box_iou_rotated

look = synthetic.SceneConfig(size=512, min_objects=5, max_objects=20, min_scale=0.02, max_scale=0.08)
synthetic.write_scenes("data", "train", range(40), look)
dataset = datasets.read("dota", "data", "train", synthetic.CLASS_NAMES)
sides = np.concatenate([record.boxes[:, 2:4] for record in dataset])
print(f"{len(sides)} objects; long side: 5 % below {np.quantile(sides.max(1), 0.05):.0f} px, half below ", end="")
print(f"{np.median(sides.max(1)):.0f} px; short side: 5 % below {np.quantile(sides.min(1), 0.05):.1f} px")
# %% [markdown]
# ## 2. Write each object as text, read it back, and compare
#
# The overlap (IoU) of an object with what came back is the best that a model which answers without a mistake can
# reach. Scores count a detection from an IoU of 0.5 on; the share of objects above 0.75 says how much room is left
# for mistakes.
# %%
print("format      median IoU   above 0.5   above 0.75   characters a box")
for name in ("florence2", "rscovlm", "geochat", "allseeing", "plain"):
    codec = codecs.get(name)
    overlaps, length = [], 0
    for record in dataset:
        for box, label in zip(record.boxes, record.labels, strict=True):
            text = codec.encode(box[None], [label], dataset.class_names, record.size)
            back = codec.decode(text, dataset.class_names, record.size).boxes
            overlaps.append(box_iou_rotated(box[None], back).max(initial=0))
            length += len(text)
    overlaps = np.array(overlaps)
    shares = f"{np.median(overlaps):10.2f} {(overlaps > 0.5).mean():10.1%} {(overlaps > 0.75).mean():11.1%}"
    print(f"{name:11} {shares} {length / len(overlaps):14.0f}")
# %% [markdown]
# A format that is too coarse is not lost: train and predict on windows. On a window of half the side, a step is half
# as many pixels. `lmm-detector train --window 512` cuts them.
#
# ## 3. The chart for all formats and sizes
#
# [What a round trip costs](../codecs.md#what-a-round-trip-costs) has the same measurement for every format, for
# images from 512 to 4,096 px: look up the long side of your small objects in the column of your image's size.
#
# ## Next
#
# - A model that was trained on a format knows it already: the [text formats](../codecs.md) say which is whose.
# - [Fine-tune a model](fine-tune.md) with `--response-format`.
