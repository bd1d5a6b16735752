"""OpenCLIP's towers against recordings of open_clip."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from baselines.nn.openclip import (
    TextShape,
    VisionShape,
    build_text,
    build_vision,
    text_from_openclip,
    vision_from_openclip,
)
from tests.parity import Parity


@pytest.mark.parity("lvdm_openclip*")
def test_text_states_match_the_penultimate_layer(fixture: Parity) -> None:
    config = fixture.info["config"]["text_cfg"]
    shape = TextShape(
        config["width"], config["heads"], config["layers"], config["vocab_size"], config["context_length"]
    )
    tower = build_text(shape).requires_grad_(False)
    tower.load_state_dict(text_from_openclip(fixture.group("weights"), shape))
    states = tower(fixture.group("inputs")["tokens"]).last_hidden_state
    assert float((states - fixture.group("expected")["text_penultimate"]).abs().max()) < 1e-5


@pytest.mark.parity("lvdm_openclip*")
def test_picture_states_match_and_the_embedding_is_projected(fixture: Parity) -> None:
    """The recorded input is rounded to half precision, so the states agree to 2e-3 only; a grey one is exact."""
    expected, weights = fixture.group("expected"), fixture.group("weights")
    config = fixture.info["config"]["vision_cfg"]
    shape = VisionShape(
        config["width"],
        config["width"] // config["head_width"],
        config["layers"],
        config["patch_size"],
        config["image_size"],
        fixture.info["config"]["embed_dim"],
    )
    tower = build_vision(shape).requires_grad_(False)
    tower.load_state_dict(vision_from_openclip(weights))
    output = tower(expected["image_preprocessed"])
    assert float((output.last_hidden_state - expected["image_tokens"]).abs().max()) < 5e-3
    grey = tower(_grey(len(expected["image_tokens"]), config["image_size"]))
    assert float((grey.last_hidden_state - expected["image_tokens_of_zero_image"]).abs().max()) < 1e-5
    first = expected["image_tokens"][:, 0]
    normed = F.layer_norm(first, first.shape[1:], weights["visual.ln_post.weight"], weights["visual.ln_post.bias"])
    assert float((output.image_embeds - normed @ weights["visual.proj"]).abs().max()) < 5e-3


def _grey(count: int, size: int) -> Tensor:
    mean = torch.tensor([0.48145466, 0.4578275, 0.40821073])[:, None, None]
    std = torch.tensor([0.26862954, 0.26130258, 0.27577711])[:, None, None]
    return ((0.5 - mean) / std).expand(count, 3, size, size)
