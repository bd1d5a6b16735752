"""What a run goes on from does not depend on how its tensors lie in memory."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from baselines.checkpoints import random_state
from baselines.lvdm.unet import UNet
from motif.network import place
from motif.parts import tiny
from motif.settings import MotifSettings
from motif.state import load_state, save_state, write_weights

NETWORK = tiny(MotifSettings()).network()


def _made(channels_last: bool) -> tuple[UNet, torch.optim.Optimizer, list[torch.Tensor]]:
    unet = UNet(NETWORK)
    unet.load_state_dict(random_state(lambda: UNet(NETWORK), 0))
    place(unet.train(), torch.device("cpu"), channels_last)
    optimizer = torch.optim.AdamW(unet.parameters(), lr=1e-3)
    return unet, optimizer, [torch.zeros_like(p, requires_grad=False) for p in unet.parameters()]


def _step(unet: UNet, optimizer: torch.optim.Optimizer) -> None:
    generator = torch.Generator().manual_seed(0)
    x, context = torch.randn(1, 8, 2, 8, 8, generator=generator), torch.randn(1, 77, 32, generator=generator)
    unet(x, torch.tensor([5]), context, torch.tensor([8])).square().mean().backward()
    optimizer.step()
    optimizer.zero_grad()


@pytest.mark.parametrize("channels_last", [True, False])
def test_weights_moments_and_average_come_back_and_the_next_step_is_the_same(
    channels_last: bool, tmp_path: Path
) -> None:
    unet, optimizer, _ = _made(channels_last=True)
    _step(unet, optimizer)
    average = [2 * p.detach() for p in unet.parameters()]
    save_state(tmp_path / "state", unet, optimizer, average)
    write_weights(tmp_path / "unet.safetensors", unet)
    again, its_optimizer, kept = _made(channels_last)
    load_state(tmp_path / "state", again, its_optimizer, kept)
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(kept, average, strict=True))
    assert {k: v.tolist() for k, v in load_file(tmp_path / "unet.safetensors").items() if v.ndim == 1} == {
        k: v.tolist() for k, v in again.state_dict().items() if v.ndim == 1
    }
    _step(unet, optimizer)
    _step(again, its_optimizer)
    for ours, theirs in zip(again.parameters(), unet.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=0 if channels_last else 1e-4)
