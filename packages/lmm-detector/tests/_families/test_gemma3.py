"""Gemma 3: what its attention lets through, and the precision that it cannot be computed in."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from lmm_detector import TrainConfig, _families
from lmm_detector._families import Family, Sample
from lmm_detector._training._preparation import prepared
from lmm_detector.errors import ModelError
from rbox_formats import codecs

PROMPT = "Find all ships."


@pytest.fixture(scope="module")
def folder(save: Callable[..., Path]) -> Path:
    return save("gemma3")


@pytest.fixture(scope="module")
def family(folder: Path) -> Family:
    family = _families.load(str(folder))
    family.model.eval()
    return family


def test_a_sample_is_a_users_turn_and_the_models(family: Family, images: list[np.ndarray]) -> None:
    batch = family.collate([Sample(images[0], "ship", True)], f" {PROMPT} ")
    image = "\n\n<start_of_image>" + 4 * "<image_soft_token>" + "<end_of_image>\n\n"
    turns = f"<bos><start_of_turn>user\n{image}{PROMPT}<end_of_turn>\n<start_of_turn>model\nship<end_of_turn>"
    assert family.tokenizer.decode(batch["input_ids"][0]) == turns
    assert [family.tokenizer.decode([token]) for token in family.end_tokens] == ["<end_of_turn>", "<eos>"]


def test_an_images_tokens_see_each_other_and_an_answer_is_in_order(family: Family, images: list[np.ndarray]) -> None:
    """Tokens of an image see later ones of it; those of prompt and answer do not."""
    batch = family.on_device(family.collate([Sample(images[0], "abc", complete=False)], "xy"))
    types = batch["token_type_ids"][0]
    (image,) = np.nonzero((batch["input_ids"][0] == family.base.config.image_token_id).numpy())
    assert np.nonzero(types.numpy())[0].tolist() == image.tolist()
    embedded = family.base.get_input_embeddings()(batch["input_ids"]).detach()

    def outputs(changed: int | None, types: torch.Tensor = types) -> torch.Tensor:
        inputs = embedded.clone()
        if changed is not None:
            inputs[0, changed] = 1.0
        with torch.no_grad():
            return family.base.model(inputs_embeds=inputs, token_type_ids=types[None]).last_hidden_state[0]

    plain = outputs(None)
    last = int(image[-1])
    changed = (outputs(last) - plain).abs().amax(dim=1) > 1e-6
    assert changed[image[0] :].all()
    assert not changed[: image[0]].any()
    in_order = (outputs(last, torch.zeros_like(types)) - outputs(None, torch.zeros_like(types))).abs().amax(
        dim=1
    ) > 1e-6
    assert not in_order[:last].any()
    answer = (outputs(len(types) - 2) - plain).abs().amax(dim=1) > 1e-6
    assert answer.tolist() == [False] * (len(types) - 2) + [True, True]


def test_float16_is_refused_for_weights_and_for_training(folder: Path, run_config: TrainConfig) -> None:
    found = r"expected float32 or bfloat16, got float16: .*65,504(.|\n)*Take bfloat16"
    with pytest.raises(ModelError, match=found):
        _families.load(str(folder), dtype="float16")
    config = dataclasses.replace(run_config, model_name_or_path=str(folder), precision="float16")
    with pytest.raises(ModelError, match=found):
        prepared(config, codecs.get("florence2"))  # `train` itself would say that there is no GPU


def test_pan_and_scan_stays_off(folder: Path, tmp_path: Path) -> None:
    """As its processor has it, whatever the image processor's file says: narrow images are not cut."""
    for path in folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    path = tmp_path / "processor_config.json"
    settings = json.loads(path.read_text())
    settings["image_processor"] |= {
        "do_pan_and_scan": True,
        "pan_and_scan_min_crop_size": 10,
        "pan_and_scan_max_num_crops": 4,
        "pan_and_scan_min_ratio_to_activate": 1.2,
    }
    path.write_text(json.dumps(settings))
    family = _families.load(str(tmp_path))
    image = np.random.default_rng(0).integers(0, 255, (40, 120, 3), dtype=np.uint8)
    batch = family.collate([Sample(image, "ship", True)], PROMPT)
    assert batch["pixel_values"].shape == (1, 3, 56, 56)
    turn = {"role": "user", "content": [{"type": "image", "image": image}, {"type": "text", "text": PROMPT}]}
    theirs = family.processor.apply_chat_template([turn], tokenize=True, return_dict=True, return_tensors="pt")
    torch.testing.assert_close(family.on_device(batch)["pixel_values"], theirs["pixel_values"], atol=1e-6, rtol=0)
