"""The family's two networks: diffusers' parameters and names, and our own way through them.

Shapes: B clips, C latent channels, F frames, H x W latent cells; k guidance branches that differ in what the text
attention sees, one after another. Up to the first of those attentions there are B clips, behind it k * B.
Source of the form: shared by ali-vilab/VGen@4014d1f tools/modules/unet/ and diffusers' classes of these names.
"""

import torch
from diffusers.models.unets.unet_3d_condition import UNet3DConditionModel
from diffusers.models.unets.unet_i2vgen_xl import I2VGenXLUNet
from torch import Tensor, nn

from baselines.nn.branches import in_branches


class _Placed:
    """Type and device by one look; diffusers walks through all modules, 4 ms at the published sizes, for either."""

    conv_in: nn.Conv2d

    @property
    def dtype(self) -> torch.dtype:
        """Precision of the weights."""
        return self.conv_in.weight.dtype

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.conv_in.weight.device


class TextUnet(_Placed, UNet3DConditionModel):  # type: ignore[misc]  # diffusers is not typed
    """Predicts from a text (ModelScope, TI2V-Zero), and from a motion strength (AnimateAnything)."""

    def forward(self, sample: Tensor, timestep: Tensor, text: Tensor, strength: Tensor | None = None) -> Tensor:
        """The prediction.

        Args:
            sample: Noisy latents, (B, C, F, H, W).
            timestep: () or (B,).
            text: Text states, (k * B, L, D).
            strength: Sinusoid of the motion strength, (B, T) or (1, T).

        Returns:
            (k * B, C', F, H, W).
        """
        sinusoid = self.time_proj(timestep.to(sample.device).expand(len(sample))).to(self.dtype)
        return _denoised(self, sample, self.time_embedding(sinusoid, strength), text)


class ImageUnet(_Placed, I2VGenXLUNet):  # type: ignore[misc]
    """I2VGen-XL's: the same with a picture beside the latents and among the text, and a frame rate."""

    def forward(
        self, sample: Tensor, timestep: Tensor, fps: Tensor, latents: Tensor, picture: Tensor, text: Tensor
    ) -> Tensor:
        """The prediction.

        Args:
            sample: Noisy latents, (B, C, F, H, W).
            timestep: () or (B,).
            fps: Frame rate, (B,).
            latents: The picture's latents as frame 0 and the position maps behind it, (B, C, F, H, W).
            picture: CLIP embedding of the picture, (k * B, 1, D).
            text: Text states, (k * B, L, D).

        Returns:
            (k * B, C, F, H, W).
        """
        steps = timestep.to(sample.device).expand(len(sample))
        time, rate = (self.time_proj(each).to(self.dtype) for each in (steps, fps))
        step = self.time_embedding(time) + self.fps_embedding(rate)
        both = torch.cat([sample, self._image_branch(latents)], dim=1)
        return _denoised(self, both, step, self._context(latents[:, :, 0], picture, text))

    def _image_branch(self, latents: Tensor) -> Tensor:
        """What the picture's latents and the position maps add to the input, (B, C, F, H, W)."""
        clips, _, _, height, width = latents.shape
        maps = self.image_latents_proj_in(latents.transpose(1, 2).flatten(0, 1))
        over_time = torch.unflatten(maps, 0, (clips, -1)).permute(0, 3, 4, 1, 2).flatten(0, 2)  # (B H W, F, C)
        mixed: Tensor = self.image_latents_temporal_encoder(over_time)
        return mixed.view(clips, height, width, *mixed.shape[1:]).permute(0, 4, 3, 1, 2)

    def _context(self, first: Tensor, picture: Tensor, text: Tensor) -> Tensor:
        """Text, the first frame's latents and the picture's embedding as tokens, (k * B, tokens, D)."""
        local = self.image_latents_context_embedding(first).flatten(2).transpose(1, 2)
        whole = self.context_embedding(picture).view(len(picture), -1, text.shape[-1])
        return torch.cat([text, in_branches(local, len(text)), whole], dim=1)


def _denoised(unet: UNet3DConditionModel | I2VGenXLUNet, clips: Tensor, step: Tensor, context: Tensor) -> Tensor:
    """Down, through the middle and up: clips (B, C, F, H, W), the time (B, T) and the context (k * B, L, D)."""
    frames = clips.shape[2]
    x = unet.conv_in(clips.transpose(1, 2).flatten(0, 1))
    x = unet.transformer_in(x, frames)
    skips = [x]
    for block in unet.down_blocks:
        for index in range(len(block.resnets)):
            x = _layer(block, index, x, step, context, frames)
            skips.append(x)
        for smaller in block.downsamplers or ():
            x = smaller(x)
            skips.append(x)
    x = _middle(unet.mid_block, x, step, context, frames)
    for block in unet.up_blocks:
        for index in range(len(block.resnets)):
            x = _layer(block, index, x, step, context, frames, skips.pop())
        for larger in block.upsamplers or ():
            x = larger(x, skips[-1].shape[-2:])  # Published: twice the size, or the skip's where that is odd
    x = unet.conv_out(unet.conv_norm_out(x))
    return torch.unflatten(x, 0, (-1, frames)).transpose(1, 2)


def _layer(
    block: nn.Module, index: int, x: Tensor, step: Tensor, context: Tensor, frames: int, skip: Tensor | None = None
) -> Tensor:
    """A residual block, its convolution over time, and the two transformers where the level has them."""
    x = _residual(block, index, x, step, frames, skip)
    if hasattr(block, "attentions"):
        x = block.attentions[index](x, context, frames)  # type: ignore[index, operator]
        x = block.temp_attentions[index](x, frames)  # type: ignore[index, operator]
    return x


def _residual(block: nn.Module, index: int, x: Tensor, step: Tensor, frames: int, skip: Tensor | None = None) -> Tensor:
    x = block.resnets[index](x, step, frames, skip)  # type: ignore[index, operator]
    result: Tensor = block.temp_convs[index](x, frames)  # type: ignore[index, operator]
    return result


def _middle(block: nn.Module, x: Tensor, step: Tensor, context: Tensor, frames: int) -> Tensor:
    """As a layer, with further residual blocks behind the transformers."""
    x = _layer(block, 0, x, step, context, frames)
    for index in range(1, len(block.resnets)):  # type: ignore[arg-type]
        x = _residual(block, index, x, step, frames)
    return x
