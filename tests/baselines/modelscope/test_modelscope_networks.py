"""Names, shapes and norms of the full networks; the oracle is the manifest of the official code."""

import json
from pathlib import Path

import pytest
import torch
from torch import nn

from baselines.animate_anything import network as animate_anything
from baselines.checkpoints import without_storage
from baselines.modelscope.keys import to_diffusers, to_official
from baselines.modelscope.trunk import Sinusoid, TrunkShape, build_image_unet, build_text_unet
from tests.baselines.modelscope.compare import farthest
from tests.baselines.modelscope.sizes import of_diffusers, of_vgen
from tests.parity import Parity

ROOMY = TrunkShape(
    widths=(32, 64, 96),
    layers=3,
    context=24,
    head_dim=8,
    attention=(False, True, True),
    input_heads=4,
    picture=20,
)


def _manifest(folder: Path, name: str, part: str) -> dict[str, list[int]]:
    content: dict[str, dict[str, list[int]]] = json.loads((folder / f"{name}.json").read_text())
    return next(value for key, value in content.items() if key.startswith(part))


@pytest.mark.parametrize(("name", "image"), [("ti2v_zero", False), ("i2vgen_xl", True)])
def test_full_network_has_the_published_keys_and_shapes(manifest_dir: Path, name: str, image: bool) -> None:
    expected = _manifest(manifest_dir, name, "unet")
    unet = without_storage(lambda: build_image_unet(TrunkShape()) if image else build_text_unet(TrunkShape()))
    official = {key: torch.empty(shape, device="meta") for key, shape in expected.items()}
    renamed = to_diffusers(official, TrunkShape(), image)
    assert {key: value.shape for key, value in renamed.items()} == {k: v.shape for k, v in unet.state_dict().items()}
    laid_out = to_official(unet.state_dict(), TrunkShape(), image)
    assert {key: list(value.shape) for key, value in laid_out.items()} == expected


def test_animate_anything_uses_all_published_keys_but_the_dead_ones(manifest_dir: Path) -> None:
    expected = _manifest(manifest_dir, "animate_anything", "unet")
    official = {key: torch.empty(shape, device="meta") for key, shape in expected.items()}
    unet = without_storage(lambda: build_text_unet(TrunkShape(), 5, strength=True))
    used = animate_anything.to_diffusers(official)
    assert {key: value.shape for key, value in used.items()} == {k: v.shape for k, v in unet.state_dict().items()}
    assert len(official) - len(used) == 6  # conv_in and motion_embedding.0/.2, weight and bias each


@pytest.mark.parametrize("image", [False, True])
def test_renaming_there_and_back_changes_nothing_at_other_sizes(image: bool) -> None:
    build = build_image_unet if image else build_text_unet
    state = build(ROOMY).state_dict()
    back = to_diffusers(to_official(state, ROOMY, image), ROOMY, image)
    assert back.keys() == state.keys()
    assert all(torch.equal(back[key], state[key]) for key in state)


def test_unknown_keys_reach_the_strict_loader_unchanged() -> None:
    assert "spare.weight" in to_diffusers({"spare.weight": torch.zeros(1)}, TrunkShape())


@pytest.mark.parametrize("strength", [False, True])
def test_norms_have_the_published_eps(strength: bool) -> None:
    """1e-6 in front of transformers, 1e-5 elsewhere; a wrong one hides below the fixtures' tolerance."""
    unet = without_storage(lambda: build_text_unet(TrunkShape(), 5 if strength else 4, strength))
    for name, module in unet.named_modules():
        if isinstance(module, nn.GroupNorm):
            transformer = "attentions" in name or name.startswith("transformer_in")
            assert (module.eps, module.num_groups) == (1e-6 if transformer else 1e-5, 32), name
        if isinstance(module, nn.LayerNorm):
            assert module.eps == 1e-5, name


@pytest.mark.parity("ti2v_zero_unet*")
def test_sinusoid_equals_the_official_one_to_the_bit(fixture: Parity) -> None:
    expected = fixture.group("expected").get("sinusoidal")
    if expected is None:
        pytest.skip("no sinusoid recorded")
    assert torch.equal(Sinusoid(expected.shape[1])(fixture.group("inputs")["t"]), expected)


@pytest.mark.parity("ti2v_zero_unet*")
def test_text_network_matches_the_official_one(fixture: Parity) -> None:
    shape = of_vgen(fixture.info["config"])
    unet = build_text_unet(shape)
    unet.load_state_dict(to_diffusers(fixture.group("weights"), shape))
    given, expected = fixture.group("inputs"), fixture.group("expected")
    with torch.no_grad():
        assert farthest(unet(given["x"], given["t"], given["y"]), expected["output"]) < 1e-5
        if "output_f64" in expected:
            found = unet.double()(given["x"].double(), given["t"], given["y"].double())
            assert farthest(found, expected["output_f64"]) < 1e-10


def test_sizes_are_read_from_both_kinds_of_configuration() -> None:
    vgen = {"dim": 32, "dim_mult": [1, 2, 3], "num_res_blocks": 3, "context_dim": 24, "head_dim": 8, "num_heads": 4}
    assert of_vgen(vgen | {"y_dim": 20, "attn_scales": [0.5, 0.25]}) == ROOMY
    diffusers = {"block_out_channels": [32, 64, 96], "layers_per_block": 3, "cross_attention_dim": 24}
    types = {"down_block_types": ["DownBlock3D", "CrossAttnDownBlock3D", "CrossAttnDownBlock3D"]}
    found = of_diffusers(diffusers | types | {"attention_head_dim": 8})
    assert (found.widths, found.attention) == (ROOMY.widths, ROOMY.attention)
