"""TI2V-Zero from the picture to bytes against a recording of the official pipeline."""

import itertools
import math

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from baselines.modelscope.keys import to_diffusers
from baselines.modelscope.trunk import build_text_unet
from baselines.nn.stable_vae import VaeShape, build_vae, encode_mean, from_compvis
from baselines.ti2v_zero.model import TI2VZero
from baselines.ti2v_zero.preprocess import first_frame, middle_square
from baselines.ti2v_zero.settings import Settings
from tests.baselines.modelscope.compare import farthest
from tests.baselines.modelscope.sizes import of_vgen
from tests.parity import Parity


def _model(fixture: Parity) -> TI2VZero:
    info = fixture.info
    shape = of_vgen(info["unet_config"])
    unet = build_text_unet(shape).requires_grad_(False)
    unet.load_state_dict(to_diffusers(fixture.sibling(info["unet_weights"].split()[0]).group("weights"), shape))
    config = info["vae_config"]
    sizes = VaeShape(tuple(config["ch"] * factor for factor in config["ch_mult"]), config["num_res_blocks"])
    vae = build_vae(sizes).requires_grad_(False)
    vae.load_state_dict(from_compvis(fixture.group("weights.vae"), sizes))
    asked = info["settings"]
    settings = Settings(
        size=asked["image_size"],
        known=asked["num_cond_frames"],
        new=asked["new_frames"],
        steps=asked["ddim_step"],
        resamples=asked["resample_iter"],
        guidance=asked["guide_scale"],
    )
    return TI2VZero(settings=settings, unet=unet, vae=vae, read_text=lambda _: pytest.fail("text states are recorded"))


@pytest.mark.parity("ti2v_zero_pipeline*")
def test_picture_becomes_the_official_first_frame_and_latent(fixture: Parity) -> None:
    given, expected = fixture.group("inputs"), fixture.group("expected")
    picture = Image.fromarray(given["image"].numpy())
    if "cropped" in expected:
        assert np.array_equal(np.asarray(middle_square(picture)), expected["cropped"].numpy())
    model = _model(fixture)
    pixels = first_frame(picture, model.settings.size)
    assert farthest(pixels, expected["first_frame_pixels"]) < 1e-6
    assert farthest(encode_mean(model.vae, pixels), expected["first_frame_latent"]) < 1e-5


@pytest.mark.parity("ti2v_zero_pipeline*")
def test_video_equals_the_official_bytes_to_one(fixture: Parity) -> None:
    given, expected = fixture.group("inputs"), fixture.group("expected")
    model = _model(fixture)
    per_frame = sum(key.startswith("frame0.") for key in given)
    count = itertools.count()

    def draw(shape: tuple[int, ...]) -> Tensor:
        frame, number = divmod(next(count), per_frame)
        recorded = given[f"frame{frame}.draw{number:02d}"]
        assert recorded.shape == (1, *shape)
        return recorded.clone()

    pixels = first_frame(Image.fromarray(given["image"].numpy()), model.settings.size)
    video = model.animate(pixels, given["text_emb"], given["text_emb_zero"], draw)[0]
    difference = np.abs(video.astype(int) - expected["final_uint8"].numpy().astype(int))
    assert video.shape == tuple(expected["final_uint8"].shape)
    assert difference.max() <= 1
    assert np.array_equal(video[0], expected["final_uint8"][0].numpy())  # the picture itself, not its reconstruction
    assert next(count) == per_frame * model.settings.new


@pytest.mark.parametrize("size", [(101, 70), (70, 101), (64, 64), (33, 32)])
def test_middle_square_begins_at_the_rounded_up_pixel(size: tuple[int, int]) -> None:
    columns = np.broadcast_to(np.arange(size[0], dtype=np.uint8)[None, :, None], (size[1], size[0], 3))
    cut = np.asarray(middle_square(Image.fromarray(np.ascontiguousarray(columns))))
    assert cut.shape[:2] == (min(size), min(size))
    assert cut[0, 0, 0] == math.ceil((size[0] - min(size)) / 2)


def test_transparent_and_grey_pictures_are_read_as_rgb() -> None:
    for mode in ("RGBA", "L", "P"):
        assert torch.isfinite(first_frame(Image.new(mode, (80, 70)), 64)).all()
