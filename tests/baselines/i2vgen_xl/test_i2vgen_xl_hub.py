"""The behaviour `hub` against diffusers' own pipeline, from the picture to bytes."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers.models.unets.unet_i2vgen_xl import I2VGenXLUNet
from PIL import Image
from torch import Tensor

from baselines.adapter import Noise
from baselines.checkpoints import build, random_state
from baselines.i2vgen_xl.model import I2VGenXL
from baselines.i2vgen_xl.settings import UNET_OF_HUB, Settings
from baselines.modelscope.networks import TINY
from baselines.modelscope.trunk import build_image_unet
from baselines.modelscope.unet import ImageUnet
from baselines.nn.openclip import build_vision
from baselines.nn.stable_vae import build_vae
from ti2v_bench.records import Pair

SEED, FRAMES, HEIGHT, WIDTH = 11, 3, 48, 80


def network(factory: Any, seed: int) -> Any:
    return build(factory, random_state(factory, seed), expected=UNET_OF_HUB)


def diffusers_unet(ours: ImageUnet) -> I2VGenXLUNet:
    """The same network as diffusers computes it; its names and shapes are ours."""
    theirs = I2VGenXLUNet.from_config(ours.config)
    theirs.time_proj = ours.time_proj
    assert {k: v.shape for k, v in theirs.state_dict().items()} == {k: v.shape for k, v in ours.state_dict().items()}
    return theirs.eval()


@pytest.mark.filterwarnings("ignore")  # diffusers warns that it no longer tends this pipeline
def test_hub_behaviour_equals_diffusers_pipeline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With guidance, and with a weight of 1 or less, which is none there."""
    from diffusers import DDIMScheduler, I2VGenXLPipeline
    from transformers import CLIPImageProcessor

    unet = network(lambda: build_image_unet(TINY.trunk), 0)
    own = network(lambda: diffusers_unet(unet), 0)
    vae, vision = network(lambda: build_vae(TINY.vae), 1), network(lambda: build_vision(TINY.vision), 2)
    vae.register_to_config(scaling_factor=0.18125)  # as the Hub's vae/config.json says
    torch.manual_seed(1)
    prompt, empty = torch.randn(2, 1, 77, 32)
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 90, 3), dtype=np.uint8))
    picture.save(tmp_path / "picture.png")
    noise = Noise([SEED], "cpu")
    posterior, start = (noise(4, *size, HEIGHT // 8, WIDTH // 8) for size in ((), (FRAMES,)))
    monkeypatch.setattr("diffusers.models.autoencoders.vae.randn_tensor", lambda *_, **__: posterior)
    theirs = I2VGenXLPipeline(
        vae=vae,
        text_encoder=None,
        tokenizer=None,
        image_encoder=vision,
        feature_extractor=CLIPImageProcessor(crop_size={"height": 224, "width": 224}),
        unet=own,
        scheduler=DDIMScheduler(
            beta_schedule="squaredcos_cap_v2", rescale_betas_zero_snr=True, prediction_type="v_prediction",
            clip_sample=False, set_alpha_to_one=True, steps_offset=1, timestep_spacing="leading",
        ),
    )  # fmt: skip
    theirs.set_progress_bar_config(disable=True)

    def read_text(prompts: Any) -> Tensor:
        return torch.cat([prompt if words else empty for words in prompts])

    for guidance in (9.0, 0.5):
        expected = theirs(
            prompt_embeds=prompt, negative_prompt_embeds=empty, image=picture, height=HEIGHT, width=WIDTH,
            num_frames=FRAMES, num_inference_steps=2, guidance_scale=guidance, latents=start, output_type="np",
        ).frames[0]  # fmt: skip
        settings = Settings(
            height=HEIGHT, width=WIDTH, frames=FRAMES, steps=2, guidance=guidance, behaviour="hub", drop_grey_end=False
        )
        ours = I2VGenXL(settings=settings, unet=unet, vae=vae, vision=vision, read_text=read_text)
        found = ours.generate(Pair("cat_runs", "cat", "cat", "The cat runs", tmp_path / "picture.png"), SEED)
        assert np.abs(found.astype(int) - (expected * 255).astype(np.uint8)).max() <= 1
