import torch
from diffusers.models.attention import FeedForward as Theirs

from baselines.nn.feedforward import FeedForward


def test_feed_forward_agrees_with_diffusers_under_the_same_keys() -> None:
    theirs, ours = Theirs(12, activation_fn="geglu").double(), FeedForward(12).double()
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(2, 5, 12, dtype=torch.float64)
    torch.testing.assert_close(ours(x), theirs(x), rtol=0, atol=1e-12)  # float64: a tanh GELU would differ by 1e-4
