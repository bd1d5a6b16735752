"""Configurations of the published checkpoints, by name. No torch here.

VideoCrafter: configs/inference_{i2v_512_v1.0,t2v_512_v2.0}.yaml @ 11bcd76; DynamiCrafter: configs/inference_*_v1.0.yaml
@ c453369; Cond-leak's networks are those of its parents.
"""

from baselines.lvdm.settings import (
    DiffusionSettings,
    ImageEncoderSettings,
    NetworkSettings,
    ResamplerSettings,
    UNetSettings,
)

_NOISE = DiffusionSettings(prediction="eps", zero_terminal_snr=False, scaling="none", scale_base=1.0)
_NOISE_OF_SCALED = DiffusionSettings(prediction="eps", zero_terminal_snr=False, scaling="input", scale_base=0.7)


def _velocity(scale_base: float) -> DiffusionSettings:
    return DiffusionSettings(prediction="v", zero_terminal_snr=True, scaling="dynamic", scale_base=scale_base)


def _dynamicrafter(default_fps: int, diffusion: DiffusionSettings, image_scale_learnable: bool) -> NetworkSettings:
    unet = UNetSettings(
        in_channels=8,
        image_attention=True,
        image_scale_learnable=image_scale_learnable,
        image_tokens_per_frame=16,
        default_fps=default_fps,
    )
    return NetworkSettings(unet, diffusion, image=ImageEncoderSettings(), resampler=ResamplerSettings(num_queries=256))


VIDEOCRAFTER1 = NetworkSettings(
    UNetSettings(image_attention=True), _NOISE_OF_SCALED, image=ImageEncoderSettings(), resampler=ResamplerSettings()
)
"""Image to video at 320x512; also Cond-leak's VideoCrafter variant."""
VIDEOCRAFTER2 = NetworkSettings(UNetSettings(), _NOISE_OF_SCALED)
"""Text to video at 320x512: the network that MotiF is trained from."""
DYNAMICRAFTER_256 = _dynamicrafter(3, _NOISE, image_scale_learnable=True)
DYNAMICRAFTER_512 = _dynamicrafter(24, _velocity(0.7), image_scale_learnable=False)
"""320x512; also Cond-leak's."""
DYNAMICRAFTER_1024 = _dynamicrafter(10, _velocity(0.3), image_scale_learnable=False)
"""576x1024; also Cond-leak's."""
