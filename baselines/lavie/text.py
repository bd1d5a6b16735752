"""Stable Diffusion 1.4's text encoder, which SEINE and Cinemo read prompts with: CLIP ViT-L/14."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import CLIPTextConfig, CLIPTextModel

from baselines.checkpoints import read_state
from baselines.diffusers_layout import pickled, text_state
from baselines.lvdm.tokenizer import END, byte_tokenizer, load_tokenizer
from baselines.source import Source
from ti2v_bench.model import WeightFile

ReadText = Callable[[Sequence[str]], Tensor]
"""Prompts to text states, (N, 77, D), on the model's device."""


@dataclass(frozen=True)
class ClipShape:
    """Sizes of the text encoder; the defaults are the published ones."""

    width: int = 768
    layers: int = 12
    heads: int = 12
    vocabulary: int = 49408

    def config(self) -> dict[str, object]:
        """As in a published `config.json`."""
        return {
            "vocab_size": self.vocabulary,
            "hidden_size": self.width,
            "intermediate_size": 4 * self.width,
            "num_hidden_layers": self.layers,
            "num_attention_heads": self.heads,
            "hidden_act": "quick_gelu",
        }


def build_clip(shape: ClipShape) -> CLIPTextModel:
    """The encoder without weights, in evaluation mode; `last_hidden_state` is after the final norm."""
    config = CLIPTextConfig(
        **shape.config(),
        bos_token_id=None,
        eos_token_id=2,  # "the largest id ends the text", for the pooled output that nobody here reads
    )
    return CLIPTextModel(config).eval()


def padded_with_end(tokens: Tensor) -> Tensor:
    """(N, L) token ids whose padding, whatever it is, becomes the end token, as Stable Diffusion 1 has it."""
    after_end = (tokens == END).int().cumsum(dim=1) > 0
    return tokens.masked_fill(after_end, END)


def load_text(
    source: Source, file: WeightFile, vocabulary: WeightFile, shape: ClipShape, dtype: torch.dtype
) -> ReadText:
    """The encoder behind its tokenizer. Published: no attention mask, so padding is read, too."""

    def factory() -> CLIPTextModel:
        return build_clip(shape)

    encoder = source.network(factory, file, dtype, lambda path: text_state(read_state(path), factory), [pickled(file)])
    tokenize = byte_tokenizer() if source.random else load_tokenizer(source.path(vocabulary))

    def read_text(prompts: Sequence[str]) -> Tensor:
        states: Tensor = encoder(padded_with_end(tokenize(prompts)).to(source.device)).last_hidden_state
        return states

    return read_text
