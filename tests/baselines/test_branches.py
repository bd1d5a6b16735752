"""Guidance branches share what comes before the text; the oracle is one call per branch."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from baselines.cinemo.network import CinemoUNet
from baselines.consisti2v.config import ConsistConfig
from baselines.consisti2v.unet import ConsistUNet
from baselines.lavie.config import LavieConfig
from baselines.lavie.unet import LavieUNet
from baselines.lvdm.settings import UNetSettings
from baselines.lvdm.unet import UNet
from baselines.modelscope.trunk import TrunkShape, build_image_unet, build_text_unet

Network = Callable[[Tensor, Tensor], Tensor]
"""(clips (B, C, F, H, W), texts (k B, L, 32)) to (k B, C', F, H, W)."""
B, F = 2, 3
SMALL = TrunkShape(widths=(32, 64), layers=1, context=32, head_dim=8, attention=(True, False), picture=32)
DEEP = TrunkShape(widths=(32, 32, 64), layers=2, context=32, head_dim=8, attention=(False, True, True), picture=32)
LAVIE = LavieConfig(channels=(64, 64), layers=1, attention=(True, False), heads=2, context=32)
LVDM = UNetSettings(
    model_channels=64, channel_mult=(1, 2), num_res_blocks=1, attention_resolutions=(1,), num_head_channels=16,
    context_dim=32,
)  # fmt: skip


def lvdm(**changed: Any) -> Network:
    net = random(UNet(UNetSettings(**{**vars(LVDM), **changed})))
    return lambda x, text: net(x, torch.tensor([7, 981]), text, torch.tensor([3, 24]))


def lavie() -> Network:
    net = random(LavieUNet(LAVIE))
    return lambda x, text: net(x, torch.tensor([7, 981]), text)


def cinemo() -> Network:
    net = random(CinemoUNet(LAVIE, 8))
    return lambda x, text: net(x[:, :, 1:], torch.tensor([7, 981]), text, x[:, :, :1], torch.tensor([1.0, 9.0]))


def consisti2v() -> Network:
    config = ConsistConfig(channels=(64, 64), attention=(True, False), layers=1, heads=(2, 2), context=32, frames=F)
    net = random(ConsistUNet(config))
    return lambda x, text: net(x[:, :, 1:], torch.tensor([7, 981]), text, x[:, :, :1], torch.tensor([1, 5]))


def text_unet(shape: TrunkShape) -> Network:
    net = random(build_text_unet(shape))
    return lambda x, text: net(x, torch.tensor([7, 981]), text)


def image_unet() -> Network:
    net = random(build_image_unet(SMALL))
    latents = torch.randn(B, 4, F, 6, 8).double()

    def call(x: Tensor, text: Tensor) -> Tensor:
        picture = text[:, -1:] * 2  # each branch has its own
        result: Tensor = net(x, torch.tensor([7, 981]), torch.tensor([8, 16]), latents, picture, text)
        return result

    return call


def random(net: Any) -> Any:
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return net.double().eval()


NETWORKS: dict[str, tuple[Callable[[], Network], int, int]] = {
    "lvdm": (lvdm, 77, 4),
    "lvdm with image tokens": (lambda: lvdm(image_attention=True), 77 + 5, 4),
    "lvdm with image tokens per frame": (
        lambda: lvdm(image_attention=True, image_tokens_per_frame=2), 77 + 2 * F, 4
    ),
    "lvdm whose text comes in late": (lambda: lvdm(attention_resolutions=(2,)), 77, 4),
    "lvdm with two blocks per transformer": (lambda: lvdm(transformer_depth=2), 77, 4),
    "lavie": (lavie, 7, LAVIE.in_channels),
    "cinemo": (cinemo, 7, LAVIE.in_channels),
    "consisti2v": (consisti2v, 7, 4),
    "modelscope": (lambda: text_unet(SMALL), 7, 4),
    "modelscope whose text comes in late": (lambda: text_unet(DEEP), 7, 4),
    "i2vgen_xl": (image_unet, 7, 4),
}  # fmt: skip


@pytest.mark.parametrize("branches", [1, 2, 3])
@pytest.mark.parametrize("name", NETWORKS)
def test_one_call_with_all_texts_equals_one_call_per_text(name: str, branches: int) -> None:
    torch.manual_seed(0)
    build, tokens, channels = NETWORKS[name]
    network = build()
    x = torch.randn(B, channels, F, 6, 8).double()
    texts = torch.randn(branches * B, tokens, 32).double()
    with torch.no_grad():
        together = network(x, texts)
        apart = torch.cat([network(x, text) for text in texts.split(B)])
    assert together.shape[0] == branches * B
    assert float((together - apart).abs().max()) < 1e-10 * float(apart.abs().max())
    assert branches == 1 or not torch.allclose(together[:B], together[B : 2 * B])


@pytest.mark.parametrize("name", NETWORKS)
def test_what_comes_before_the_text_is_computed_once(name: str) -> None:
    build, tokens, channels = NETWORKS[name]
    network = build()
    x, texts = torch.randn(B, channels, F, 6, 8).double(), torch.randn(2 * B, tokens, 32).double()
    spent = []
    for calls in ([texts], list(texts.split(B))):
        with torch.no_grad(), FlopCounterMode(display=False) as counted:
            for text in calls:
                network(x, text)
        spent.append(counted.get_total_flops())
    assert spent[0] < 0.99 * spent[1]
