# %% [markdown]
# # A conventional and a multimodal detector in one report
#
# Both detectors write the same kind of file, and one command scores both. Here a small Rotated RetinaNet is trained
# from random weights for a few minutes, beside the small Florence-2 that comes with lmm-detector. RetinaNet has seen
# 256 scenes, and Florence-2 40,000: this shows the way, and says nothing about the two kinds.
# %% [markdown]
# ## 1. Data
# %%
from dataclasses import replace

from rbox_formats import synthetic

look = replace(synthetic.TINY, size=96)
synthetic.write_scenes("data", "train", range(10_000, 10_256), look)
synthetic.write_scenes("data", "val", range(20_000, 20_048), look)
# %% [markdown]
# ## 2. Train Rotated RetinaNet
#
# Any config of MMRotate is trained by its name. `--cfg-options` makes this one small: a ResNet-18 with few channels.
# Its values are written as in JSON, or as in Python.
# %% [bash]
# rbox-baselines train rotated-retinanet-rbox-le90_r50_fpn_1x_dota --data data --split train --val-split val \
#     --class-names plane,ship,small-vehicle,storage-tank --image-size 128 --backbone none --out retinanet \
#     --cfg-options model.backbone.depth=18 --cfg-options model.backbone.frozen_stages=-1 \
#     --cfg-options model.backbone.norm_eval=false --cfg-options model.neck.in_channels=[64,128,256,512] \
#     --cfg-options model.neck.out_channels=128 --cfg-options model.bbox_head.in_channels=128 \
#     --cfg-options model.bbox_head.feat_channels=128 --cfg-options model.bbox_head.stacked_convs=2 \
#     --cfg-options model.bbox_head.anchor_generator.octave_base_scale=3 \
#     --cfg-options train_dataloader.batch_size=8 --cfg-options train_dataloader.num_workers=0 \
#     --cfg-options train_dataloader.persistent_workers=false --cfg-options val_dataloader.num_workers=0 \
#     --cfg-options val_dataloader.persistent_workers=false --cfg-options train_cfg.max_epochs=4 \
#     --cfg-options train_cfg.val_interval=4 --cfg-options optim_wrapper.optimizer.lr=0.005 2>/dev/null >/dev/null
# ls retinanet/*.pth
# %% [markdown]
# ## 3. Detect with both on the same images
# %% [bash]
# rbox-baselines predict --model retinanet/epoch_4.pth --data data --split val --out retinanet.jsonl 2>/dev/null
# lmm-detector predict --model demo --data data --split val --out florence2.jsonl 2>/dev/null
# %% [markdown]
# ## 4. One table
# %% [bash, varies]
# for name in retinanet florence2; do
#     rbox-metrics evaluate --data data --split val --predictions $name.jsonl --out $name.json >/dev/null
# done
# rbox-metrics compare --data data --split val --predictions florence2.jsonl --other retinanet.jsonl
# rbox-metrics plot retinanet.json florence2.json --out charts
# ls charts
# %% [markdown]
# The intervals say how sure a difference is: they come from drawing the images again, with replacement.
#
# Read mAP with care: RetinaNet writes many boxes of low score, and gains from them; a detector without scores cannot.
# [Without scores](map-nc.md) compares them fairly.
#
# ## Next
#
# - On DOTA: the README has the five commands of each detector.
# - [All models of MMRotate](../baselines-zoo.md) that run.
