"""The models that can be named. The table is text, so listing them imports no torch."""

from dataclasses import dataclass
from difflib import get_close_matches
from importlib import import_module
from typing import Any

from ti2v_bench.errors import TI2VError
from ti2v_bench.model import Model, ModelCard, ModelOptions


class UnknownModel(TI2VError):  # noqa: N818 - reads as what it is
    """No model has that name."""


class NoFastForm(TI2VError):  # noqa: N818
    """The fast form is asked for of a model that has none."""


@dataclass(frozen=True)
class Entry:
    """Where a registered model and its card are found, as `package.module:attribute`."""

    build: str
    """Callable of one ModelOptions that returns a Model."""
    card: str
    """A ModelCard in a module that does not import torch."""


MODELS: dict[str, Entry] = {
    "dynamicrafter": Entry("baselines.dynamicrafter.model:build", "baselines.dynamicrafter.settings:CARD"),
    "videocrafter": Entry("baselines.videocrafter.model:build", "baselines.videocrafter.settings:CARD"),
    "cinemo": Entry("baselines.cinemo.model:build", "baselines.cinemo.settings:CARD"),
    "i2vgen_xl": Entry("baselines.i2vgen_xl.model:build", "baselines.i2vgen_xl.settings:CARD"),
    "seine": Entry("baselines.seine.model:build", "baselines.seine.settings:CARD"),
    "cond_leak": Entry("baselines.cond_leak.model:build", "baselines.cond_leak.settings:CARD"),
    "ti2v_zero": Entry("baselines.ti2v_zero.model:build", "baselines.ti2v_zero.settings:CARD"),
    "animate_anything": Entry("baselines.animate_anything.model:build", "baselines.animate_anything.settings:CARD"),
    "consisti2v": Entry("baselines.consisti2v.model:build", "baselines.consisti2v.settings:CARD"),
    "static": Entry("ti2v_bench.controls:build_static", "ti2v_bench.controls:STATIC"),
    "reference": Entry("ti2v_bench.controls:build_reference", "ti2v_bench.controls:REFERENCE"),
    "motif": Entry("motif.model:build_motif", "motif.card:MOTIF"),
    "motif-mini": Entry("motif.mini.model:build_motif_mini", "motif.mini.card:MOTIF_MINI"),
    "plain-mini": Entry("motif.mini.model:build_plain_mini", "motif.mini.card:PLAIN_MINI"),
}
"""The baselines in the order of the paper's Figure 4, then the rest."""


def load_model(name: str, options: ModelOptions) -> Model:
    """Build the registered model `name`, or any class named as `package.module:Class`.

    A class of your own is called with `options.settings` as keyword arguments.

    Raises:
        UnknownModel: no entry and not of the form `package.module:Class`, or nothing is found there.
        NoFastForm: the fast form is asked for, and there is none.
    """
    if options.fast:
        require_fast(name)
    entry = MODELS.get(name)
    if entry is not None:
        model: Model = find(entry.build)(options)
        return model
    if ":" not in name:
        raise UnknownModel(_unknown(name))
    own: Model = find(name)(**options.settings)
    return own


def load_card(name: str) -> ModelCard:
    """The card of a registered model.

    Raises:
        UnknownModel: no entry of that name.
    """
    if name not in MODELS:
        raise UnknownModel(_unknown(name))
    card: ModelCard = find(MODELS[name].card)
    return card


def require_fast(name: str) -> None:
    """Refuse a model that has no fast form; a class of the user's has none that we know of.

    Raises:
        NoFastForm: names the model, and those that have one.
        UnknownModel: no entry of that name.
    """
    if ":" in name or not load_card(name).fast:
        known = ", ".join(other for other in MODELS if load_card(other).fast)
        raise NoFastForm(f"Model {name!r} has no fast form. Leave out --fast, which is for {known}.")


def find(target: str) -> Any:
    """The object at `package.module:attribute`.

    Raises:
        UnknownModel: the module cannot be imported or has no such attribute.
    """
    module, _, attribute = target.partition(":")
    try:
        return getattr(import_module(module), attribute)
    except (ImportError, AttributeError, ValueError, TypeError) as error:  # the last two: a name that is none
        raise UnknownModel(
            f"{target!r} could not be loaded: {error}. Install the extra 'models' "
            "(pip install 'ti2v-bench[models]'), or name your own model as \"package.module:Class\"."
        ) from error


def _unknown(name: str) -> str:
    close = get_close_matches(name, MODELS, n=1)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    return (
        f"No model is called {name!r}.{hint} Known: {', '.join(MODELS)}. "
        'Your own model can be named as "package.module:Class".'
    )
