# %% [markdown]
# # Detect in a large scene
#
# A satellite image is far larger than what a model sees at once. The commands cut it into windows that overlap,
# detect in each, and join what two windows saw. Here a drawn scene of 384 px stands for your GeoTIFF, since the small
# detector that comes with the packages sees 96 px at once; the commands are the same for 20,000 px.
# %% [markdown]
# ## 1. A scene that lies on a map
#
# With a GeoTIFF of your own, leave this out. The world file, `scene.pgw`, says how large a pixel is and where the
# first one lies, here half a metre a pixel.
# %%
from pathlib import Path

from PIL import Image
from rbox_formats import synthetic

look = synthetic.SceneConfig(size=384, min_objects=16, max_objects=20, min_scale=0.06, max_scale=0.11)
pixels, truth = synthetic.scene(5, look)
Image.fromarray(pixels).save("scene.png")
Path("scene.pgw").write_text("0.5\n0\n0\n-0.5\n500000.25\n5999999.75\n")
print(len(truth.boxes), "objects")
# %% [markdown]
# ## 2. Detect, draw, and write a map layer
# %% [bash]
# lmm-detector predict --model demo --window 96 --gap 48 --out found.jsonl --pictures pictures --geojson found.geojson \
#     scene.png 2>/dev/null
# ls pictures
# head -c 400 found.geojson
# %% [markdown]
# ![The scene with what was found](pictures/scene.png)
#
# `--window` is the side of a window in pixels of the scene, and `--gap` how far neighbours overlap: let it be at
# least as long as your largest objects, so that each lies whole in some window. Drag `found.geojson` into QGIS, over
# the scene.
#
# ## 3. Count what was found and missed
# %%
from dataclasses import replace

from rbox_formats import predictions
from rbox_metrics import evaluate

truth = replace(truth, image_id="scene")  # as the file is named
figures = evaluate([truth], predictions.read("found.jsonl"), synthetic.CLASS_NAMES).figures
print(f"precision {figures['precision_micro']:.2f}, recall {figures['recall_micro']:.2f}")
# %% [markdown]
# A scene that does not fit into memory is read window by window, with `pip install 'rbox-formats[geo]'`. Both
# detectors take the same options; `rbox-baselines predict --model checkpoint.pth` is the other one.
#
# ## Next
#
# - A whole folder, and several GPUs: [Training on several machines](../training-on-several-machines.md)
# - [From labels in QGIS to a trained detector](from-labels.md)
