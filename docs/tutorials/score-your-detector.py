# %% [markdown]
# # Score your own detector
#
# You have boxes from a detector of your own, whatever it is. At the end of this page you have its mAP, F1 and a
# picture of what it got wrong. It takes five minutes, and needs two packages:
# [Install](../how-to/install.md). Type the blocks called Python into one session of `python`, or open the notebook.
# %% [markdown]
# ## 1. Some data
#
# Here the ground truth is drawn: 24 scenes in DOTA's layout, a folder `images` and a folder `labelTxt` for each
# split. With data of your own, only read it: `truth = datasets.read("dota", "DOTA", "val", ["ship", "car"])`, with
# the folder, the split and the classes that you have. [Dataset formats](../reference/dataset-formats.md) lists what
# stands for "dota".
# %%
from rbox_formats import datasets, synthetic

synthetic.write_scenes("data", "val", range(24))
truth = datasets.read("dota", "data", "val", synthetic.CLASS_NAMES)
record = truth[0]
print(record.image_id, record.size, record.boxes.round(2).tolist())
# %% [markdown]
# A box is its centre, width and height in pixels, and its angle in radians, clockwise on the screen.
#
# ## 2. Write your detector's boxes into one file
#
# These are the ten lines. Put your detector instead of `my_detector`: it gives boxes `(n, 5)`, labels that index the
# class names, and scores. This one knows the truth, moves each box a little, and misses every fifth.
#
# If your detector has already written DOTA's Task1 files, COCO results, or Ultralytics' folder of `save_txt save_conf`,
# leave this step out: give those as `--predictions` below.
# %%
import numpy as np
from rbox_formats import ImageRecord
from rbox_formats.predictions import Header, Writer

random = np.random.default_rng(0)


def my_detector(record):
    kept = random.random(len(record.labels)) > 0.2
    boxes = record.boxes[kept] + random.normal(0, [2, 2, 2, 1, 0.04], (kept.sum(), 5))
    return boxes, record.labels[kept], random.uniform(0.3, 1, kept.sum())


with Writer("predictions.jsonl", Header(truth.class_names, "my detector")) as writer:
    for record in truth:
        boxes, labels, scores = my_detector(record)
        writer.write(
            ImageRecord(record.image_id, boxes, labels=labels, scores=scores, width=record.width, height=record.height)
        )
# %% [markdown]
# If your boxes have another convention of angles, convert them first, as OpenCV's in degrees:
# `from rbox_formats import LE90, OC, convert`, then `convert(boxes, OC.degrees, LE90)`.
# [Angles](../explanations/angles.md) shows which one you have.
#
# ## 3. Score it
# %% [bash]
# rbox-metrics evaluate --data data --split val \
#     --predictions predictions.jsonl --out report.json --out report.md

# %% [markdown]
# `--protocol` chooses the rules of the average precision: [Protocols](../explanations/protocols.md) compares them.
# [Without scores](map-nc.md) is about detectors that give no confidence.
#
# ## 4. See what went wrong
# %%
from rbox_formats.visualization import visualize

visualize(truth, "predictions.jsonl", "pictures", limit=4)
# %% [markdown]
# ![Four scenes: right in green, wrong in red, missed in yellow](pictures/sheet.png)
#
# ## Next
#
# - Is another detector better by more than chance? `rbox-metrics compare --help` has an example.
# - [A conventional and a multimodal detector in one report](two-detectors.md)
