# %% [markdown]
# # Fine-tune a multimodal model
#
# First a run of some minutes without a GPU, with every file that a real one writes; then the command for Florence-2 on
# DOTA, and what it takes. [Install](../how-to/install.md) rbox-formats, rbox-metrics and lmm-detector.
# %% [markdown]
# ## 1. A small run
#
# A dataset in DOTA's layout, and the small Florence-2 that comes with lmm-detector:
# %%
from rbox_formats import synthetic

synthetic.write_scenes("data", "train", range(64), synthetic.WINTER)
synthetic.write_scenes("data", "val", range(700, 708), synthetic.WINTER)
print(", ".join(synthetic.WINTER.class_names))
# %% [bash]
# lmm-detector train --model demo --codec plain --object-order position --data data --split train \
#     --class-names plane,ship,small-vehicle,storage-tank,large-vehicle --window 96 --gap 0 --steps 40 --batch-size 16 \
#     --device-batch-size 16 --learning-rate 0.002 --workers 0 --eval-split val --eval-every 20 --out run 2>/dev/null
# ls run
# %% [markdown]
# | file | what |
# |---|---|
# | `settings.yaml` | all settings; `--config run/settings.yaml` gives them again |
# | `texts.jsonl` | the first texts as the model is taught them: look here first |
# | `losses.jsonl` | the loss by step |
# | `training.png`, `tensorboard` | the same as pictures, where matplotlib or TensorBoard is installed |
# | `evaluations` | predictions, scores and pictures of each evaluation |
# | `model` | the detector, for `predict` and `load_detector` |
# %%
import json
from pathlib import Path

print(json.loads(Path("run/texts.jsonl").read_text().splitlines()[0]))
# %% [markdown]
# ![Loss by step](run/training.png)
#
# ## 2. Florence-2-large on DOTA
#
# The settings of LMMRotate's run are a preset. It needs a GPU, and fetches the model (1.5 GB) from the hub; where there
# is no network, `--model` takes a folder with it. `--eval-split val` keeps the checkpoint with the highest mAP_nc.
#
# ```bash
# lmm-detector train --preset lmmrotate-dota --data DOTA --split train --eval-split val --out runs/dota
# lmm-detector predict --model runs/dota/model --data DOTA --split val --out runs/dota/val.jsonl
# lmm-detector evaluate --data DOTA --split val --predictions runs/dota/val.jsonl --out runs/dota/report.json
# ```
#
# ## 3. What it takes on one GPU
#
# By arithmetic, not measured: weights, gradients and AdamW's two moments in float32 take 16 bytes for each parameter.
# %%
parameters = 772_271_104  # Florence-2-large
lora_language = 409_400_000  # its language model, frozen in bfloat16 under adapters
adapters = 16 * (parameters - lora_language) + 2 * lora_language
print(f"all trained: {16 * parameters / 2**30:.1f} GiB, and activations")
print(f"--language-model-lora 16: {adapters / 2**30:.1f} GiB, and the adapters and activations")
# %% [markdown]
# Activations come on top; they grow with `--device-batch-size`, and `--gradient-checkpointing` lowers them. The
# report at the start of a run says what weights, gradients and optimiser take. `--batch-size` stays the preset's 32
# on any number of GPUs: a device takes `--device-batch-size` windows at once and adds up the rest. How long a run on
# a GPU takes has not been measured here.
#
# ## Next
#
# - [Choose a text format for your object sizes](choose-format.md)
# - [Several GPUs and machines, and less memory](../training-on-several-machines.md)
# - [Compare it with a conventional detector](two-detectors.md)
