import torch
from diffusers.models.activations import GEGLU
from diffusers.models.attention import FeedForward as Theirs

from baselines.nn.feedforward import FeedForward, gated_gelu


def test_feed_forward_agrees_with_diffusers_under_the_same_keys() -> None:
    theirs, ours = Theirs(12, activation_fn="geglu").double(), FeedForward(12).double()
    ours.load_state_dict(theirs.state_dict())
    x, residual = torch.randn(2, 2, 5, 12, dtype=torch.float64)
    wanted = residual + theirs(x)
    torch.testing.assert_close(ours(x, residual), wanted, rtol=0, atol=1e-12)  # a tanh GELU would differ by 1e-4


def test_without_the_kernel_the_gate_is_diffusers_own_to_the_bit() -> None:
    torch.manual_seed(0)
    theirs = GEGLU(12, 48)
    x = torch.randn(2, 5, 12)
    assert torch.equal(gated_gelu(x, theirs.proj), theirs(x))
