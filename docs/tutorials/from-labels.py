# %% [markdown]
# # From labels in QGIS to a trained detector and GeoJSON
#
# You drew polygons in QGIS over your images. At the end of this page a detector has learnt from them, and what it
# finds lies as a layer on your map. It takes some minutes without a GPU, since the model here is very small; step 4
# has the command for photographs. [Install](../how-to/install.md) rbox-formats, rbox-metrics and lmm-detector.
# %% [markdown]
# ## 1. What to have: a folder with a layer and `images`
#
# Save the layer as GeoJSON or GeoPackage, with a text field `class`, into a folder `qgis` that has a subfolder
# `images`: GeoTIFFs, or images with world files. GeoTIFFs and GeoPackages need the extra `geo`: from a checkout,
# `pip install 'packages/rbox-formats[geo]'`.
#
# A fifth of the images is for scoring: move it into `qgis-val/images`, and copy the layer into `qgis-val`. Each folder
# takes the polygons that lie on its own images.
#
# With labels of your own, continue with step 2. What follows here draws 96 scenes and 16 for scoring, gives each a
# place on a map, and writes a layer, as one drawn by hand would be.
# %%
from dataclasses import replace
from pathlib import Path

from rbox_formats import datasets, synthetic

look = replace(synthetic.WINTER, class_names=synthetic.CLASS_NAMES)
for split, seeds in {"train": range(96), "val": range(500, 516)}.items():
    synthetic.write_scenes("drawn", split, seeds, look)
    scenes = datasets.read("dota", "drawn", split, look.class_names)
    for number, record in enumerate(scenes):
        east, north = 500_000.25 + 100 * number, 5_999_999.75
        Path(record.file).with_suffix(".pgw").write_text(f"0.5\n0\n0\n-0.5\n{east}\n{north}\n")
# %% [bash]
# rbox-formats convert --data drawn --split train --class-names plane,ship,small-vehicle,storage-tank \
#     --to geojson-map --out qgis --out-split '' --images copy
# rbox-formats convert --data drawn --split val --class-names plane,ship,small-vehicle,storage-tank \
#     --to geojson-map --out qgis-val --out-split '' --images copy
# %%
import json

for folder in ("qgis", "qgis-val"):
    features = []
    for path in sorted(Path(folder).glob("*.geojson")):
        layer = json.loads(path.read_text())
        features += [{**each, "properties": {"class": each["properties"]["class"]}} for each in layer["features"]]
        path.unlink()
    Path(folder, "labels.geojson").write_text(json.dumps({**layer, "features": features}))
    print(folder, sorted(path.name for path in Path(folder).iterdir()), len(features), "polygons")
# %% [markdown]
# ## 2. Convert to a layout that every command reads
# %% [bash]
# rbox-formats convert --data qgis --format geojson-map --to dota --out data --out-split train --images copy
# rbox-formats convert --data qgis-val --format geojson-map --to dota --out data --out-split val --images copy
# %% [markdown]
# `convert` says which of your classes DOTA does not have. Choose one order of all your classes, and give it as
# `--class-names` in all that follows, for training and for scoring.
#
# From another tool only this step differs. Each reads the tool's own export:
#
# | tool | `--format` | what to export |
# |---|---|---|
# | Label Studio | `label-studio` | JSON |
# | CVAT | `cvat` | CVAT for images 1.1 |
# | X-AnyLabeling, labelme | `labelme` | the JSON files beside the images |
#
# [From other tools, and back](../tools.md) has the details of each, and the way back.
#
# ## 3. Look at what you have
# %% [bash]
# rbox-formats inspect --data data --split train --class-names plane,ship,small-vehicle,storage-tank \
#     --out looked-at | head -30
# %% [markdown]
# ## 4. Train
#
# `--model demo` starts from the small detector that comes with lmm-detector. It knows these classes in summer; the
# scenes are of winter. A longer run finds more: `hatch run demo` has 512 scenes and 400 steps.
#
# On photographs, and with a GPU, the command is
# `lmm-detector train --data data --split train --class-names ship,car --out run`: it fetches Florence-2-large (1.5 GB),
# and shows it windows of 1024 px. All other commands are the same.
# %% [bash]
# lmm-detector train --model demo --codec plain --object-order position --data data --split train \
#     --class-names plane,ship,small-vehicle,storage-tank --window 96 --gap 0 --steps 100 \
#     --batch-size 16 --device-batch-size 16 --learning-rate 0.002 --workers 0 \
#     --augmentation horizontal_flip=0.5 --augmentation vertical_flip=0.5 --out run 2>/dev/null
# ls run
# %% [markdown]
# A command that was stopped is resumed by giving it again. `training.png` is drawn where matplotlib is installed, and
# `tensorboard` written where TensorBoard is; nothing else needs them.
#
# ## 5. Score it on scenes that it has not seen
# %% [bash, varies]
# lmm-detector predict --model run/model --data data --split val --out found.jsonl 2>/dev/null
# lmm-detector evaluate --data data --split val --predictions found.jsonl --out report.json | head -13
# lmm-detector visualize --data data --split val --predictions found.jsonl --out pictures --limit 6 >/dev/null
# %% [markdown]
# ![Held-out scenes: right in green, wrong in red, missed in yellow](pictures/sheet.png)
#
# ## 6. Back to the map
#
# `--geojson` writes the boxes in the coordinates of the images, for QGIS. Each has its class and score.
# %% [bash, varies]
# lmm-detector predict --model run/model --out on-the-map.jsonl --geojson found.geojson qgis-val/images 2>/dev/null
# head -c 600 found.geojson
# %% [markdown]
# ## Next
#
# - Few labels? [Choose what to label next](active-learning.md).
# - Large images: [Detect in a large scene](large-scenes.md).
# - A model for photographs: [Fine-tune a multimodal model](fine-tune.md).
