"""A tiny checkpoint rewritten as others have it: in the hub's layout, or under the newest names.

`save_pretrained` writes most weights under the names that they had when the model was published, by transformers' own
tables of conversion. What else differs on the hub is done here: configs that are flat, settings in the words of then,
tables with more rows than there are tokens, processors in files of their own, generation settings of chats. So it is in
the published files of Qwen2-VL-2B, Qwen2.5-VL-3B, Qwen3-VL-30B-A3B, InternVL3-1B-hf, llava-onevision-qwen2-0.5b-ov-hf,
gemma-3-4b-it, SmolVLM-500M-Instruct, SmolVLM2-500M-Video-Instruct,
GLM-4.1V-9B-Thinking and paligemma2-3b-pt-224.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any, Literal, get_args

import pytest
import torch
from safetensors.torch import load_file, save_file

Layout = Literal["hub", "new"]
LAYOUTS: tuple[Layout, ...] = get_args(Layout)

# Types that differ in what training does; the others are alike to one of them.
_APART = ("florence2", "paligemma", "qwen2_5_vl", "qwen3_vl_moe", "gemma3", "idefics3")


def every(model_types: Iterable[str], by_default: Collection[tuple[str, Layout]]) -> list[Any]:
    """Return each type in each layout as a test's parameter (type, layout), marked slow except some.

    Those that are alike to another are marked as variants, too, which only `hatch run test-slow` runs.
    """
    found = []
    for model_type, layout in itertools.product(model_types, LAYOUTS):
        each = (model_type, layout)
        marks = [] if each in by_default else [pytest.mark.slow]
        if marks and (layout == "new" or model_type not in _APART):
            marks.append(pytest.mark.variant)
        found.append(pytest.param(each, marks=marks, id="-".join(each)))
    return found


_ROWS = 64  # on the hub, tables of embeddings have a multiple of this number of rows
_FLAT = ("qwen2_vl", "qwen2_5_vl")  # text settings beside the others
_SIGLIP = ("gemma3", "llava_onevision", "paligemma")  # whose vision weights had one more level
_IDEFICS = ("idefics3", "smolvlm")
# What is said of videos in a file of its own; Qwen2-VL's and Qwen2.5-VL's is the image processor's.
_VIDEOS: dict[str, dict[str, Any]] = {
    "qwen3_vl": {"video_processor_type": "Qwen3VLVideoProcessor", "fps": 2},
    "qwen3_vl_moe": {"video_processor_type": "Qwen3VLVideoProcessor", "fps": 2},
    "glm4v": {"video_processor_type": "Glm4vVideoProcessor", "fps": 2},
    "internvl": {"video_processor_type": "InternVLVideoProcessor", "num_frames": 8},
    "llava_onevision": {"video_processor_type": "LlavaOnevisionVideoProcessor", "num_frames": 32},
}
_TABLES = ("embed_tokens.weight", "lm_head.weight")
_EXPERTS = (".experts.gate_up_proj", ".experts.down_proj")


def rewrite(folder: Path, layout: Layout) -> Path:
    """Rewrite a checkpoint of `tiny_families.save_tiny` in its folder, and return the folder."""
    config = _read(folder / "config.json")
    weights = load_file(folder / "model.safetensors")
    weights = _under_new_names(folder) if layout == "new" else _as_published(folder, weights, config)
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    return folder


def _under_new_names(folder: Path) -> dict[str, torch.Tensor]:
    """Return weights under the names that the model itself has for them, without a head that is a tied table."""
    from transformers import AutoModelForImageTextToText

    own = AutoModelForImageTextToText.from_pretrained(folder, dtype="float32").state_dict()
    head = own.pop("lm_head.weight")
    is_tied = any(torch.equal(head, each) for each in own.values() if each.shape == head.shape)
    found = own if is_tied else {**own, "lm_head.weight": head}
    return {name: weight.clone() for name, weight in found.items()}


def _as_published(folder: Path, weights: dict[str, torch.Tensor], config: dict[str, Any]) -> dict[str, torch.Tensor]:
    model_type, text = config["model_type"], config["text_config"]
    if model_type in _SIGLIP:
        weights = {name.replace("vision_tower.", "vision_tower.vision_model."): each for name, each in weights.items()}
    if model_type != "florence2":
        rows = -(-(text["vocab_size"] + 1) // _ROWS) * _ROWS
        text["vocab_size"] = rows
        weights = {name: _padded(each, rows) if name.endswith(_TABLES) else each for name, each in weights.items()}
    if model_type == "qwen3_vl_moe":  # its experts lie the other way round
        weights = {
            name: each.transpose(1, 2).contiguous() if name.endswith(_EXPERTS) else each
            for name, each in weights.items()
        }
        text["num_experts"] = text.pop("num_local_experts")
        config["vision_config"]["model_type"] = model_type
    if model_type == "gemma3":
        rope = text.pop("rope_parameters")
        text["rope_local_base_freq"] = rope["sliding_attention"]["rope_theta"]
        text["rope_theta"] = rope["full_attention"].pop("rope_theta")
        text["rope_scaling"] = rope["full_attention"]
        text["sliding_window_pattern"] = 1 + text.pop("layer_types").index("full_attention")
    if model_type == "glm4v":
        text["partial_rotary_factor"] = text["rope_parameters"].pop("partial_rotary_factor")
        config["vision_config"]["model_type"] = model_type
    if model_type.startswith(("qwen3", "glm4v")):
        text["rope_scaling"] = text.pop("rope_parameters")
        text["rope_theta"] = text["rope_scaling"].pop("rope_theta")
    if model_type in _IDEFICS:
        text["rope_theta"] = text.pop("rope_parameters")["rope_theta"]
        config["vision_config"] |= {"size": {"longest_edge": 2048}, "max_image_size": {"longest_edge": 512}}
        config["vocab_size"] = text["vocab_size"]
    config["torch_dtype"] = config.pop("dtype")
    if model_type in _FLAT:
        rope = text.pop("rope_parameters")
        del config["text_config"], text["model_type"], text["layer_types"]
        config |= text
        config["rope_theta"] = rope["rope_theta"]
        config["rope_scaling"] = {"type": "mrope", "mrope_section": rope["mrope_section"]}
        config["vision_config"].pop("rope_parameters", None)
    _write(folder / "config.json", config)
    if model_type != "florence2":
        _processor_as_published(folder, model_type)
        _generation_as_published(folder)
    return weights


def _padded(table: torch.Tensor, rows: int) -> torch.Tensor:
    """Return a table with more rows, drawn as those of tokens that nothing was trained on."""
    more = 0.02 * torch.randn(rows - len(table), table.shape[1], generator=torch.Generator().manual_seed(0))
    return torch.cat([table, more.to(table.dtype)])


def _processor_as_published(folder: Path, model_type: str) -> None:
    """Return the image processor in `preprocessor_config.json`; a chat template in `chat_template.json`."""
    path = folder / "processor_config.json"
    processor = _read(path)
    images = processor.pop("image_processor")
    images["processor_class"] = processor["processor_class"]
    if model_type in _FLAT:
        size = images.pop("size")
        images |= {"min_pixels": size["shortest_edge"], "max_pixels": size["longest_edge"]}
    if model_type == "smolvlm":
        images["processor_class"] = processor["processor_class"] = "SmolVLMProcessor"
        images["video_sampling"] = {"fps": 1, "max_frames": 64, "video_size": {"longest_edge": 512}}
    _write(folder / "preprocessor_config.json", images)
    if model_type in _VIDEOS:
        _write(folder / "video_preprocessor_config.json", {**_VIDEOS[model_type], "do_sample_frames": True})
    if len(processor) > 1:
        _write(path, processor)
    else:
        path.unlink()
    template = folder / "chat_template.jinja"
    if template.exists():
        _write(folder / "chat_template.json", {"chat_template": template.read_text(encoding="utf-8")})
        template.unlink()


def _generation_as_published(folder: Path) -> None:
    """Write generation settings like those of Qwen2.5-VL: sampling, and two end tokens."""
    path = folder / "generation_config.json"
    own = _read(path)
    ends = [own["eos_token_id"], own["pad_token_id"]]
    settings = {"do_sample": True, "temperature": 0.1, "top_p": 0.001, "top_k": 1, "repetition_penalty": 1.05}
    _write(path, {"pad_token_id": own["pad_token_id"], "eos_token_id": ends, **settings})


def _read(path: Path) -> dict[str, Any]:
    values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return values


def _write(path: Path, values: dict[str, Any]) -> None:
    path.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
