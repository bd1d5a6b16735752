"""Image-to-video models of the family: a recipe and its networks, behind the runner's protocols."""

import dataclasses
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from baselines.adapter import Noise, precision_of
from baselines.fast import speed_up
from baselines.lvdm.pictures import for_clip, load_picture, to_frames
from baselines.lvdm.recipe import Recipe, tiny
from baselines.lvdm.sampler import Steps, denoise, sampling_steps, training_alphas
from baselines.lvdm.unet import REPEATED
from baselines.lvdm.weights import Parts, load_parts
from baselines.nn.stable_vae import decode, encode_sample
from baselines.sampling.analytic_init import analytic_init
from baselines.sampling.guidance import guided, guided_by_two, rescaled
from baselines.sampling.schedules import timesteps
from baselines.settings import SettingsError
from ti2v_bench.model import Frames, ModelOptions
from ti2v_bench.records import Pair


@dataclasses.dataclass(frozen=True)
class Conditions:
    """What every network call of a batch of B pairs is given, for each of its G guidance branches in turn."""

    context: Tensor
    """(G B, tokens, D): text and image, then the branches without."""
    latent: Tensor | None
    """The pictures' latents for every frame, (B, 4, F, h, w), where the network takes them."""
    fps: Tensor
    """(B,) int64."""


class LVDM:
    """VideoCrafter, DynamiCrafter and Cond-leak as the runner sees them."""

    def __init__(self, recipe: Recipe, parts: Parts, batch: int = 1) -> None:
        self.name, self.fps, self.batch = recipe.name, recipe.fps, batch
        self.recipe, self.parts = recipe, parts
        weight = parts.unet.out[2].weight
        assert isinstance(weight, Tensor)
        self.device, self.dtype = weight.device, weight.dtype
        self._steps = _steps(recipe)

    def generate(self, pair: Pair, seed: int) -> Frames:
        """(F, H, W, 3) uint8; the same for the same pair and seed on the same machine."""
        return self.generate_batch([pair], [seed])[0]

    @torch.inference_mode()
    def generate_batch(self, pairs: Sequence[Pair], seeds: Sequence[int]) -> list[Frames]:
        """One entry of frames per pair, each with its own random numbers."""
        recipe = self.recipe
        pictures = torch.stack(
            [load_picture(pair.image, recipe.picture, recipe.height, recipe.width) for pair in pairs]
        )
        noise = Noise(seeds, self.device)
        conditions = self.conditions([pair.prompt for pair in pairs], pictures, noise)
        latents = denoise(
            recipe.network.diffusion,
            self._steps,
            self._initial(noise),
            lambda x, step: self.predict(x, step, conditions),
            lambda: noise(*recipe.latent_shape[1:]),
        )
        return [self._decoded(latent) for latent in latents]

    def conditions(self, prompts: Sequence[str], pictures: Tensor, noise: Noise) -> Conditions:
        """Everything that does not change from step to step.

        Args:
            prompts: one text per pair.
            pictures: (B, 3, H, W) float32 in [-1, 1].
            noise: of the pictures' latents, drawn before all other.
        """
        pictures = pictures.to(self.device)
        text = self.parts.text(self.parts.tokenizer([*prompts, ""]).to(self.device)).last_hidden_state
        # Published: without an image means a mid-grey picture, not an embedding of zeros.
        shown = for_clip(torch.cat([pictures, torch.zeros_like(pictures[:1])]))
        image = self.parts.resampler(self.parts.image(shown.to(self.dtype)).last_hidden_state)
        count = len(prompts)
        no_text, no_image = text[-1:].expand(count, -1, -1), image[-1:].expand(count, -1, -1)
        branches = [torch.cat([text[:-1], image[:-1]], 1)]
        if self.recipe.guidance != 1:  # Published: at weight 1 the network is called with both conditions and no more.
            branches.append(torch.cat([no_text, no_image], 1))
            if self.recipe.image_guidance is not None:
                branches.append(torch.cat([no_text, image[:-1]], 1))
        context = torch.cat(branches)
        fps = torch.full((count,), self.recipe.embedded_fps, device=self.device)
        latent = self._picture_latent(pictures, noise) if self.recipe.condition_concatenated else None
        return Conditions(context, latent, fps)

    def predict(self, x: Tensor, step: int, conditions: Conditions) -> Tensor:
        """Guided network output at a training step, (B, 4, F, h, w), in the network's precision as published."""
        branches = len(conditions.context) // len(x)
        inputs = x.to(self.dtype)
        if conditions.latent is not None:
            # Published: the picture's latent is the same in every branch, also in those without an image.
            inputs = torch.cat([inputs, conditions.latent], 1)
        steps = torch.full((len(x),), step, device=self.device)
        out = self.parts.unet(inputs, steps, conditions.context, conditions.fps)
        return combined(self.recipe, list(out.chunk(branches)))

    def provenance(self) -> Mapping[str, object]:
        """Settings, weights, precision and device, JSON-ready."""
        return {
            "settings": dataclasses.asdict(self.recipe),
            "weights": self.parts.record,
            "precision": str(self.dtype).removeprefix("torch."),
            "device": str(self.device),
        }

    def _picture_latent(self, pictures: Tensor, noise: Noise) -> Tensor:
        """The latent of each picture, repeated over its frames: (B, 4, F, h, w)."""
        _, channels, frames, height, width = self.recipe.latent_shape
        latent = encode_sample(self.parts.autoencoder, pictures, noise(channels, height, width))
        return latent.unsqueeze(2).expand(-1, -1, frames, -1, -1)

    def _initial(self, noise: Noise) -> Tensor:
        drawn, known = noise(*self.recipe.latent_shape[1:]), self.parts.initial_noise
        if known is None:
            return drawn
        alpha = training_alphas(self.recipe.network.diffusion).float()[self.recipe.initial_step - 1].to(self.device)
        return analytic_init(known.mean, known.variance, alpha, drawn)

    def _decoded(self, latent: Tensor) -> Frames:
        """(4, F, h, w) to frames, one at a time as published."""
        return to_frames(decode(self.parts.autoencoder, latent.transpose(0, 1), at_once=1))


def combined(recipe: Recipe, branches: Sequence[Tensor]) -> Tensor:
    """One prediction from those of the branches: both conditions, then none, then (for two weights) the image alone."""
    both, *others = branches
    if not others:
        return both
    none, *image = others
    if image and recipe.image_guidance is not None:
        out = guided_by_two(both, image[0], none, recipe.guidance, recipe.image_guidance)
    else:
        out = guided(both, none, recipe.guidance)
    return rescaled(out, both, recipe.guidance_rescale) if recipe.guidance_rescale > 0 else out


def _steps(recipe: Recipe) -> Steps:
    try:
        chosen = timesteps(recipe.spacing, recipe.steps, recipe.last_step)
    except ValueError as error:
        raise SettingsError(f"{recipe.name} cannot sample so: {error}.") from error
    return sampling_steps(recipe.network.diffusion, chosen, recipe.eta)


def _require_possible(recipe: Recipe) -> None:
    """Sizes that the networks can halve and double again, and times that the schedule has."""
    cell = recipe.network.autoencoder.downsampling << (len(recipe.network.unet.channel_mult) - 1)
    for name, value in (("height", recipe.height), ("width", recipe.width)):
        if value < cell or value % cell:
            raise SettingsError(f"{recipe.name} cannot make a {name} of {value} pixels, only multiples of {cell}.")
    for name, value, most in (("frames", recipe.frames, None), ("start time", recipe.initial_step, 1000)):
        if value < 1 or (most and value > most):
            raise SettingsError(f"{recipe.name} was asked for {name} {value}; possible are 1 to {most or 'any'}.")


def build_lvdm(recipe: Recipe, options: ModelOptions) -> LVDM:
    """The model of a recipe with the weights, device and precision that a user chose.

    Raises:
        SettingsError: sizes, times or step counts that no network or schedule of the family has.
        CheckpointError: weights that are absent or not the expected ones.
    """
    _require_possible(recipe)
    if options.weights == "random-tiny":
        recipe = tiny(recipe)
    dtype = precision_of(options, recipe.precision)
    parts = load_parts(recipe, options.weights, dtype, options.device)
    if options.fast:
        speed_up(parts.unet, REPEATED, options.compile_cache)
    return LVDM(recipe, parts, options.batch)
