"""The fast form of a denoising network, chosen by what was measured (results/speed).

Repeated blocks are compiled, kernels lie channels-last, queries, keys and values of self-attention are one product,
float32 products take factors of ten bits, a whole call is replayed as one CUDA graph, and three parts have kernels of
our own: attention over few tokens, gated projections and convolutions over frames.
"""

import os
from collections.abc import Sequence
from pathlib import Path

from torch import nn

from baselines.adapter import channels_last
from baselines.compiled import Shelf, shelve
from baselines.nn.attention import Attention
from baselines.nn.kernels import register
from ti2v_bench.replay import Replayed
from ti2v_bench.tf32 import products_in_tf32

_SHAPES = 128
"""How many sizes one kind of block may be compiled for; a network has it at every level, once per batch size."""


def speed_up(network: nn.Module, kinds: Sequence[type[nn.Module]], cache: Path | None = None) -> None:
    """Turn a network with its weights into its fast form: same mathematics, other rounding.

    Blocks are compiled on their first use, rather than the network as a whole: equal blocks share one compilation,
    which takes a fraction of the time. What was compiled is kept on disk, so that a later process only reads it
    (baselines/compiled.py).

    Args:
        network: what the sampler calls; in float32 its matrix products on a GPU round their factors to TF32 or float16.
        kinds: classes of its repeated blocks.
        cache: folder of what was compiled; None: `TORCHINDUCTOR_CACHE_DIR`, else `default_cache()`.
    """
    import torch._dynamo.config as dynamo  # its import is slow, and few ask for it

    folder = Path(cache or os.environ.get("TORCHINDUCTOR_CACHE_DIR") or default_cache())
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(folder)
    dynamo.recompile_limit = max(dynamo.recompile_limit, _SHAPES)
    channels_last(network)
    if any(parameter.is_cuda for parameter in network.parameters()):
        register()
    for module in network.modules():
        if isinstance(module, Attention) and module.to_k.in_features == module.to_q.in_features:
            module.join_projections()
    shelf = Shelf(folder / "blocks")
    for module in network.modules():
        if isinstance(module, tuple(kinds)):
            shelve(module, shelf)
    network.forward = Replayed(products_in_tf32()(network.forward))


def default_cache() -> Path:
    """`ti2v-bench/compiled` in the user's cache folder."""
    home = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(home).expanduser() / "ti2v-bench" / "compiled"
