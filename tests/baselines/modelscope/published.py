"""Tiny random weights, laid out file by file as the published checkpoints of the family."""

import io
import json
from collections.abc import Mapping

import torch
from safetensors.torch import save
from torch import Tensor

from baselines.animate_anything import settings as animate_anything
from baselines.checkpoints import random_state
from baselines.i2vgen_xl import settings as i2vgen_xl
from baselines.lvdm.recipe import VOCABULARY
from baselines.modelscope.keys import to_official
from baselines.modelscope.networks import TINY
from baselines.modelscope.trunk import build_image_unet, build_text_unet
from baselines.nn.openclip import TextShape, VisionShape, build_text
from baselines.nn.stable_vae import build_vae, to_compvis
from baselines.ti2v_zero import settings as ti2v_zero

Repositories = dict[str, dict[str, bytes]]
"""Repository -> path -> content."""


def pickled(content: object) -> bytes:
    """As `torch.save` writes it."""
    stream = io.BytesIO()
    torch.save(content, stream)
    return stream.getvalue()


def vae() -> dict[str, Tensor]:
    """CompVis' names."""
    return to_compvis(random_state(lambda: build_vae(TINY.vae), 1), TINY.vae)


def openclip(text: TextShape, vision: VisionShape) -> dict[str, Tensor]:
    """OpenCLIP's names, both towers, with the parts that nobody reads."""
    shapes: dict[str, tuple[int, ...]] = {
        "token_embedding.weight": (text.vocabulary, text.width),
        "positional_embedding": (text.positions, text.width),
        "text_projection": (text.width, vision.projected),
        "logit_scale": (),
        **_norm("ln_final", text.width),
        **_blocks("transformer.resblocks.", text.layers, text.width),
        "visual.class_embedding": (vision.width,),
        "visual.positional_embedding": (1 + (vision.size // vision.patch) ** 2, vision.width),
        "visual.conv1.weight": (vision.width, 3, vision.patch, vision.patch),
        "visual.proj": (vision.width, vision.projected),
        **_norm("visual.ln_pre", vision.width),
        **_norm("visual.ln_post", vision.width),
        **_blocks("visual.transformer.resblocks.", vision.layers, vision.width),
    }
    generator = torch.Generator().manual_seed(2)
    return {key: 0.2 * torch.randn(shape, generator=generator) for key, shape in shapes.items()}


def merges() -> bytes:
    """A vocabulary of CLIP's size, whose merges are the first pairs of letters."""
    letters = [chr(code) for code in [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]]
    letters += [chr(256 + index) for index in range(256 - len(letters))]
    pairs = [f"{first} {second}" for first in letters for second in letters][:48894]
    return "\n".join(["#version: 0.2", *pairs, ""]).encode()


def repositories(name: str) -> Repositories:
    """All files that the model `name` fetches."""
    vocabulary = {VOCABULARY.repo: {VOCABULARY.file: merges()}}
    clip = pickled(openclip(TINY.text, TINY.vision))
    if name == "ti2v_zero":
        unet = to_official(random_state(lambda: build_text_unet(TINY.trunk), 3), TINY.trunk)
        prefixed = {f"first_stage_model.{key}": value for key, value in vae().items()}
        files = {
            ti2v_zero.UNET.file: pickled(unet),
            ti2v_zero.VAE.file: pickled({"state_dict": prefixed}),
            ti2v_zero.CLIP.file: clip,
        }
        return {ti2v_zero.REPO: files, **vocabulary}
    if name == "i2vgen_xl":
        image = to_official(random_state(lambda: build_image_unet(TINY.trunk), 3), TINY.trunk, image=True)
        whole = {f"first_stage_model.{key}": value for key, value in vae().items()}
        files = {
            i2vgen_xl.UNET.file: pickled({"state_dict": image, "step": 854500}),
            i2vgen_xl.VAE.file: pickled({"state_dict": whole | {"model.diffusion_model.out.2.bias": torch.zeros(4)}}),
            i2vgen_xl.CLIP.file: clip,
        }
        return {i2vgen_xl.REPO: files, **vocabulary}
    return {animate_anything.MIRROR: _pipeline_folder()}


def _pipeline_folder() -> dict[str, bytes]:
    """AnimateAnything's: as diffusers 0.24 and transformers 4 save, with both input convolutions and older names."""
    unet = dict(random_state(lambda: build_text_unet(TINY.trunk, 5, strength=True), 3))
    unet |= {"conv_in2.weight": unet["conv_in.weight"], "conv_in2.bias": unet["conv_in.bias"]}
    unet["conv_in.weight"] = unet["conv_in2.weight"][:, 1:].contiguous()
    unet |= {f"motion_embedding.{layer}.{part}": torch.ones(4) for layer in (0, 2) for part in ("weight", "bias")}
    older = {
        key.replace("0.to_q.", "0.query.")
        .replace("0.to_k.", "0.key.")
        .replace("0.to_v.", "0.value.")
        .replace("0.to_out.0.", "0.proj_attn."): value
        for key, value in random_state(lambda: build_vae(TINY.vae), 1).items()
    }
    text = {f"text_model.{key}": value for key, value in random_state(lambda: build_text(TINY.text), 2).items()}
    ids = {"text_model.embeddings.position_ids": torch.arange(77)[None]}
    return {
        "unet/diffusion_pytorch_model.bin": pickled(_own(unet)),
        "vae/diffusion_pytorch_model.safetensors": save(_own(older)),
        "text_encoder/model.safetensors": save(_own(text | ids)),
        "tokenizer/vocab.json": json.dumps(_vocabulary()).encode(),
        "tokenizer/merges.txt": b"#version: 0.2\n",
        "scheduler/scheduler_config.json": json.dumps(
            {"beta_start": 0.00085, "beta_end": 0.012, "timestep_spacing": "leading", "steps_offset": 1}
        ).encode(),
    }


def _own(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Without shared memory, which safetensors refuses."""
    return {key: value.clone() for key, value in state.items()}


def _vocabulary() -> dict[str, int]:
    letters = merges().decode().split("\n")[1:257]
    words = [line.split(" ")[1] for line in letters]
    table = {word: index for index, word in enumerate([*words, *(f"{word}</w>" for word in words)])}
    return table | {"<|startoftext|>": 49406, "<|endoftext|>": 49407}


def _norm(name: str, width: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}


def _blocks(prefix: str, layers: int, width: int) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {}
    for number in range(layers):
        block = f"{prefix}{number}."
        shapes |= _norm(f"{block}ln_1", width) | _norm(f"{block}ln_2", width)
        shapes |= {f"{block}attn.in_proj_weight": (3 * width, width), f"{block}attn.in_proj_bias": (3 * width,)}
        for layer, size in (("attn.out_proj", (width, width)), ("mlp.c_fc", (4 * width, width))):
            shapes |= {f"{block}{layer}.weight": size, f"{block}{layer}.bias": size[:1]}
        shapes |= {f"{block}mlp.c_proj.weight": (width, 4 * width), f"{block}mlp.c_proj.bias": (width,)}
    return shapes
