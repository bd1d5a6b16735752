"""At step 0 the widened network gives exactly what VideoCrafter2 gives."""

from dataclasses import replace

import pytest
import torch

from baselines.checkpoints import random_state
from baselines.lvdm.networks import VIDEOCRAFTER2
from baselines.lvdm.unet import UNet
from motif.network import checkpointed, widened, with_image
from motif.settings import MotifSettings

TINY = replace(
    VIDEOCRAFTER2.unet, model_channels=64, channel_mult=(1, 1), num_res_blocks=1, attention_resolutions=(1,),
    num_head_channels=32, context_dim=32,
)  # fmt: skip


@pytest.mark.parametrize("conditioning", ["x-cat", "cx-attn", "both"])
def test_step_zero_is_videocrafter2(conditioning: str) -> None:
    base = UNet(TINY).eval()
    state = random_state(lambda: UNet(TINY), seed=1)
    base.load_state_dict(state)
    settings = MotifSettings(conditioning=conditioning, unet=TINY).network()  # type: ignore[arg-type]
    ours = UNet(settings).eval()
    ours.load_state_dict(widened(state, settings))  # strict: every new key is there, and none besides
    noisy, image = torch.randn(1, 4, 3, 8, 8), torch.randn(1, 4, 8, 8)
    text, tokens = torch.randn(1, 77, 32), torch.randn(1, 16, 32)
    context = torch.cat([text, tokens], dim=1) if settings.image_attention else text
    fps, step = torch.tensor([8]), torch.tensor([700])
    with torch.no_grad():
        expected = base(noisy, step, text, fps)
        got = ours(with_image(noisy, image, settings), step, context, fps)
    assert expected.abs().max() > 0.01
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-5 * float(expected.abs().max()))


def test_the_published_size_widens_key_for_key() -> None:
    settings = MotifSettings().network()
    with torch.device("meta"):
        base, ours = UNet(VIDEOCRAFTER2.unet).state_dict(), UNet(settings).state_dict()
    wide = widened(base, settings)
    assert {key: value.shape for key, value in wide.items()} == {key: value.shape for key, value in ours.items()}
    new = sum(v.numel() for v in ours.values()) - sum(v.numel() for v in base.values())
    assert new == 4 * 320 * 9  # four channels of the first 3x3 convolution, nothing else


def test_recomputing_activations_changes_no_gradient() -> None:
    settings = MotifSettings(unet=TINY).network()
    torch.manual_seed(0)
    plain = UNet(settings).train()
    state = random_state(lambda: UNet(settings), seed=2)
    plain.load_state_dict(state)
    again = checkpointed(UNet(settings)).train()
    again.load_state_dict(state)
    x, context = torch.randn(1, 8, 2, 8, 8), torch.randn(1, 77, 32)
    for unet in (plain, again):
        unet(x, torch.tensor([5]), context, torch.tensor([8])).square().mean().backward()
    for name, parameter in plain.named_parameters():
        torch.testing.assert_close(parameter.grad, again.get_parameter(name).grad, msg=name)
