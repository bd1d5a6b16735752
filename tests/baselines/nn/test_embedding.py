import pytest
import torch
from diffusers.models.embeddings import TimestepEmbedding, get_timestep_embedding

from baselines.nn.embedding import EmbeddingMLP, sinusoid


@pytest.mark.parametrize("dim", [32, 66, 320])
def test_sinusoid_agrees_with_diffusers(dim: int) -> None:
    values = torch.tensor([0, 1, 8, 92, 681, 999])
    theirs = get_timestep_embedding(values, dim, flip_sin_to_cos=True, downscale_freq_shift=0)
    torch.testing.assert_close(sinusoid(values, dim), theirs, rtol=0, atol=0)


def test_odd_width_is_refused() -> None:
    with pytest.raises(ValueError, match="33"):
        sinusoid(torch.zeros(1), 33)


def test_mlp_agrees_with_diffusers_under_the_same_keys() -> None:
    theirs, ours = TimestepEmbedding(8, 20), EmbeddingMLP(8, 20)
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(3, 8)
    torch.testing.assert_close(ours(x), theirs(x))
