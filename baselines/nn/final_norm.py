"""The norm before a network's last convolution."""

from torch import Tensor, nn
from torch.nn import functional as F

from baselines.nn.clip_norm import clip_norm


class FinalNorm(nn.GroupNorm):
    """Group norm of single frames, followed by SiLU; a class of its own since it is compiled by itself.

    Compiled, `clip_norm` keeps the channels last; the compiler's own group norm of a block by itself puts them first.
    """

    def forward(self, input: Tensor) -> Tensor:
        """(N, C, H, W) to the same."""
        return F.silu(clip_norm(self, input[:, :, None]).squeeze(2))
