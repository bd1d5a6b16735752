"""The networks and their inputs, against transformers' own preparation, torchmetrics' CLIPScore and DINO's formula."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from transformers import CLIPImageProcessorPil

from ti2v_bench.metrics import features, resize
from ti2v_bench.metrics.alignment import AlignmentSettings, TextAlignment
from ti2v_bench.metrics.catalogue import MetricError
from ti2v_bench.metrics.clip import Clip
from ti2v_bench.metrics.features import FEATURES, clip_through_pillow, make_features
from ti2v_bench.metrics.networks import (
    ClipNetwork,
    DinoNetwork,
    load_aesthetic_head,
    load_network,
    load_plugin,
)


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


@pytest.mark.parametrize("size", [(320, 320), (181, 300), (401, 225)])
def test_clip_preparation_equals_transformers(size: tuple[int, int]) -> None:
    picture = noise(*size, 3)
    expected = CLIPImageProcessorPil()(picture, return_tensors="pt")["pixel_values"]
    torch.testing.assert_close(clip_through_pillow([picture]), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("size", [(224, 299), (80, 97), (1080, 720)])
def test_pictures_are_resized_as_by_pillow_to_the_last_bit(size: tuple[int, int]) -> None:
    picture = noise(320, 301, 3)
    picture[:40] = np.where(picture[:40] < 128, 0, 255)  # overshoots are cut
    expected = np.asarray(Image.fromarray(picture).resize(size[::-1], Image.Resampling.BICUBIC))
    found = resize.pillow_bicubic(resize.as_tensor(picture[None]), size)
    assert np.array_equal(found[0].permute(1, 2, 0).numpy(), expected)


@pytest.mark.parametrize("size", [(320, 320), (181, 300), (224, 225)])
def test_frames_on_a_gpu_are_prepared_as_by_pillow(size: tuple[int, int]) -> None:
    frames = noise(2, *size, 3)
    assert torch.equal(resize.pillow_clip_input(resize.as_tensor(frames)), clip_through_pillow(list(frames)))
    assert FEATURES["align-frames"].is_early("cpu")
    assert not FEATURES["align-frames"].is_early("cuda:1")
    assert FEATURES["align-image"].is_early("cuda")


def test_text_alignment_is_two_and_a_half_times_torchmetrics_clip_score() -> None:
    from torchmetrics.multimodal.clip_score import CLIPScore

    network = load_network("clip-b32", "random-tiny")
    assert isinstance(network, ClipNetwork)

    class Wrapped(torch.nn.Module):
        config = network._model.config

        def get_image_features(self, pixels: torch.Tensor) -> torch.Tensor:
            return network.embed(pixels)

        def get_text_features(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
            return network._model.get_text_features(input_ids=ids, attention_mask=mask).pooler_output

    class Processor:
        def __call__(self, text=None, images=None, **_: object) -> dict[str, torch.Tensor]:
            if images is not None:
                return {"pixel_values": clip_through_pillow([picture.permute(1, 2, 0).numpy() for picture in images])}
            return network._tokenise(text)

    frames = noise(5, 240, 250, 3)
    clip = Clip(frames, 8, frames[0], "A horse jumping.")
    make_features([clip], ["align-frames", "align-text"], {"align": network}, "", 2, "cpu")
    oracle = CLIPScore(lambda: (Wrapped(), Processor()))
    found = [TextAlignment(AlignmentSettings(text_scale=250.0)).score(clip)]
    pictures = [torch.from_numpy(frame).permute(2, 0, 1) for frame in frames]
    cosines = F.cosine_similarity(clip.feature("align-frames"), clip.feature("align-text"))
    oracle.update(pictures, ["A horse jumping."] * 5)
    if (cosines > 0).all():
        assert found[0] == pytest.approx(2.5 * float(oracle.compute()), abs=1e-3)
    else:
        assert 100 * float(cosines.mean().clamp_min(0)) == pytest.approx(float(oracle.compute()), abs=1e-3)


def test_dino_takes_oblong_inputs_with_the_official_position_scale() -> None:
    network = load_network("dino-b16", "random-tiny")
    assert isinstance(network, DinoNetwork)
    model = network._model
    x = torch.randn(2, 3, 224, 299, generator=torch.Generator().manual_seed(1))
    table = model.embeddings.position_embeddings
    grid = table[0, 1:].T.reshape(1, -1, 14, 14)
    # DINO's own rule: the number of cells plus 0.1, over 14, as the scale of a bicubic interpolation
    wanted = F.interpolate(grid, scale_factor=(14.1 / 14, 18.1 / 14), mode="bicubic")
    assert wanted.shape[2:] == (14, 18)
    patches = F.conv2d(x, *(p for p in model.embeddings.patch_embeddings.projection.parameters()), stride=16)
    tokens = (patches + wanted).flatten(2).transpose(1, 2)
    hidden = torch.cat([(model.embeddings.cls_token + table[:, :1]).expand(2, -1, -1), tokens], dim=1)
    model.embeddings.forward = lambda *_, **__: hidden
    by_hand = model(x).last_hidden_state[:, 0]
    del model.embeddings.forward
    torch.testing.assert_close(network.embed(x), by_hand)


def test_features_of_several_clips_equal_those_of_each_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    networks = {name: load_network(name, "random-tiny") for name in ("dino-b16", "clip-b32")}
    networks["align"] = networks["clip-b32"]
    names = ["dino", "dino-i2v", "dino-i2v-image", "clip-b32", "align-frames", "align-image", "align-text"]
    shapes = [(3, 64, 96, 3), (5, 64, 64, 3), (2, 64, 96, 3)]

    def clips() -> list[Clip]:
        return [Clip(noise(*shape), 8, noise(70, 90, 3), f"prompt {at}") for at, shape in enumerate(shapes)]

    together, alone = clips(), clips()
    with monkeypatch.context() as patch:
        patch.setattr(features, "_PIXELS", 3 * 64 * 96)
        make_features(together, names, networks, "A photo of ", 4, "cpu")
    for clip in alone:
        make_features([clip], names, networks, "A photo of ", 64, "cpu")
    for first, second in zip(together, alone, strict=True):
        for name in names:
            torch.testing.assert_close(first.feature(name), second.feature(name), atol=1e-5, rtol=1e-4)


def test_weights_that_cannot_be_had_are_one_clear_error(tmp_path) -> None:
    with pytest.raises(MetricError, match="Known: clip-b32"):
        load_network("clip-b16")
    with pytest.raises(MetricError, match="There is no folder"):
        load_network("clip-b32", str(tmp_path / "nowhere"))
    with pytest.raises(MetricError, match="--weights clip-b32=FOLDER"):
        load_network("clip-b32", str(tmp_path))
    with pytest.raises(MetricError, match="--weights aesthetic-head=FILE"):
        load_aesthetic_head(None)
    (tmp_path / "head.pth").write_bytes(b"nothing")
    with pytest.raises(MetricError, match="is not LAION's head"):
        load_aesthetic_head(str(tmp_path / "head.pth"))
    with pytest.raises(MetricError, match="forbids commercial use"):
        load_plugin("camera_motion", None)
    with pytest.raises(MetricError, match="could not be loaded"):
        load_plugin("imaging_quality", None)
