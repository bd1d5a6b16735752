"""The autoencoder against the official one's recording and manifests."""

import json
from pathlib import Path

import pytest
import torch
from torch import nn

from baselines.checkpoints import without_storage
from baselines.nn.stable_vae import VaeShape, build_vae, decode, encode_mean, encode_sample, from_compvis, to_compvis
from tests.parity import Parity


def _shape(fixture: Parity) -> VaeShape:
    config = fixture.info["config"]["ddconfig"]
    return VaeShape(tuple(config["ch"] * factor for factor in config["ch_mult"]), config["num_res_blocks"])


@pytest.mark.parity("lvdm_vae*")
def test_latents_and_frames_match_the_official_ones(fixture: Parity) -> None:
    given, expected = fixture.group("inputs"), fixture.group("expected")
    vae = build_vae(_shape(fixture)).requires_grad_(False)
    vae.load_state_dict(from_compvis(fixture.group("weights"), _shape(fixture)))
    latent = encode_sample(vae, given["image"], given["posterior_noise"])
    assert float((latent - expected["latent"]).abs().max()) < 1e-5
    for at_once in (None, 1):
        frames = decode(vae, expected["latent"], at_once)
        assert float((frames - expected["decoded"]).abs().max()) < 1e-5
    if "moments" in expected:
        mean = encode_mean(vae, given["image"]) / 0.18215
        assert float((mean - expected["moments"].chunk(2, dim=1)[0]).abs().max()) < 1e-5


def test_full_network_has_the_published_keys_and_shapes(manifest_dir: Path) -> None:
    state = without_storage(lambda: build_vae(VaeShape())).state_dict()
    compvis = json.loads((manifest_dir / "ti2v_zero.json").read_text())["autoencoder (VQGAN_autoencoder.pth)"]
    diffusers = json.loads((manifest_dir / "animate_anything.json").read_text())["vae/diffusion_pytorch_model"]
    assert {key: list(value.shape) for key, value in to_compvis(state, VaeShape()).items()} == compvis
    assert {key: list(value.shape) for key, value in state.items()} == diffusers
    empty = {key: torch.empty(shape, device="meta") for key, shape in compvis.items()}
    renamed = from_compvis(empty, VaeShape())
    assert {key: value.shape for key, value in renamed.items()} == {key: value.shape for key, value in state.items()}


def test_every_norm_has_the_published_eps() -> None:
    vae = without_storage(lambda: build_vae(VaeShape()))
    assert {module.eps for module in vae.modules() if isinstance(module, nn.GroupNorm)} == {1e-6}
