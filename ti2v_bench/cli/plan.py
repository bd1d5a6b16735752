"""`study plan`: what a study of this size can detect."""

from dataclasses import replace
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from ti2v_bench.stats.planning import Plan
    from ti2v_bench.stats.sequential import Spending

POSITIVE = click.IntRange(min=1)
SHARE = click.FloatRange(0, 1, min_open=True, max_open=True)
SPREAD = click.FloatRange(0, 10)


@click.command()
@click.option("--pairs", type=POSITIVE, default=320, help="Pairs in each comparison.")
@click.option("--images", type=POSITIVE, default=88, help="Images the pairs use.")
@click.option("--scenarios", type=POSITIVE, default=22, help="Scenarios the images belong to.")
@click.option("--annotators", type=POSITIVE, default=40, help="Annotators in each comparison.")
@click.option("--votes", type=POSITIVE, default=5, help="Votes per pair, by different annotators.")
@click.option("--comparisons", type=POSITIVE, default=1, help="Comparisons that share the error rate.")
@click.option("--alpha", type=SHARE, default=0.05, help="Two-sided error rate.")
@click.option("--power", "wanted", type=SHARE, default=0.8, help="Wanted chance to find it.")
@click.option("--share", type=SHARE, help="Also say how often this vote share is found.")
@click.option("--simulate", type=POSITIVE, metavar="N", help="Check the chance with N simulated studies.")
@click.option("--looks", type=click.IntRange(2, 50), help="Equally spaced looks while the votes come in.")
@click.option(
    "--spending",
    type=click.Choice(["obrien-fleming", "pocock"]),
    default="obrien-fleming",
    help="How looks use up alpha.",
)
@click.option("--image-sd", type=SPREAD, default=1.0, help="How much images differ, on the logit.")
@click.option("--scenario-sd", type=SPREAD, default=0.4, help="How much scenarios differ.")
@click.option("--annotator-sd", type=SPREAD, default=0.5, help="How much annotators differ.")
@click.option("--seed", type=click.IntRange(min=0), default=0, help="Of the simulation.")
def plan(
    pairs: int,
    images: int,
    scenarios: int,
    annotators: int,
    votes: int,
    comparisons: int,
    alpha: float,
    wanted: float,
    share: float | None,
    simulate: int | None,
    looks: int | None,
    spending: "Spending",
    image_sd: float,
    scenario_sd: float,
    annotator_sd: float,
    seed: int,
) -> None:
    """Say what a study of this size can detect, before money is spent.

    The vote share is the share of all votes for a model; the TI2V score (majority of each pair's votes) that goes with
    it stands beside it. The spreads are assumptions: the defaults are a guess, not a measurement.
    """
    from ti2v_bench.errors import TI2VError
    from ti2v_bench.stats.planning import Plan
    from ti2v_bench.stats.simulate import Effects

    asked = Plan(
        pairs, images, scenarios, annotators, votes, comparisons, alpha, Effects(image_sd, scenario_sd, annotator_sd)
    )
    try:
        _ = asked.design
    except ValueError as error:
        raise TI2VError(f"No such study: {error}.") from error
    click.echo(
        f"{pairs} pairs of {images} images in {scenarios} scenarios, {votes} votes each by {annotators} annotators: "
        f"{pairs * votes} votes per comparison, {pairs * votes * comparisons} in all."
    )
    _say_detectable(asked, wanted)
    _say_share(asked, share if share is not None else 0.6, simulate, seed)
    if looks:
        _say_looks(looks, alpha / comparisons, spending)


def _say_detectable(asked: "Plan", wanted: float) -> None:
    """The smallest detectable share, here and with half or twice of each kind."""
    from ti2v_bench.stats.planning import detectable_share
    from ti2v_bench.stats.simulate import population_majority

    click.echo(f"Detectable with chance {wanted:g} at alpha {asked.alpha:g} over {asked.comparisons} comparisons:")
    variants = {
        "as planned": asked,
        "twice the annotators": replace(asked, annotators=2 * asked.annotators),
        "half the annotators": replace(asked, annotators=max(asked.annotators // 2, asked.votes, 1)),
        "twice the votes per pair": replace(asked, votes=min(2 * asked.votes, asked.annotators)),
        "twice the pairs per image": replace(asked, pairs=2 * asked.pairs),
        "twice the scenarios, images, pairs": replace(
            asked, pairs=2 * asked.pairs, images=2 * asked.images, scenarios=2 * asked.scenarios
        ),
    }
    for name, variant in variants.items():
        found = detectable_share(variant, wanted)
        if found is None:
            click.echo(f"  {name:36} none: not even a vote share of 99 % is found that often")
            continue
        majority = population_majority(found, variant.effects, variant.votes)
        click.echo(
            f"  {name:36} vote share {found:.1%} (TI2V score {majority:.1%}), {variant.pairs * variant.votes} votes"
        )


def _say_share(asked: "Plan", share: float, studies: int | None, seed: int) -> None:
    from ti2v_bench.stats.planning import power, simulated_power, standard_error

    error = standard_error(asked, share)
    click.echo(f"A vote share of {share:.1%} (standard error {100 * error:.1f} points) is found with chance:")
    click.echo(f"  by formula    {power(asked, share):.1%}")
    if studies:
        click.echo(f"  by simulation {simulated_power(asked, share, studies, seed)}")


def _say_looks(looks: int, alpha: float, spending: "Spending") -> None:
    from scipy.special import ndtr

    from ti2v_bench.stats.sequential import boundaries

    click.echo(
        f"{looks} equally spaced looks, {spending} spending of alpha {alpha:.3g} (votes stand for information: "
        "collect pairs and annotators in random order); stop where p is below:"
    )
    for look, z in enumerate(boundaries([(at + 1) / looks for at in range(looks)], alpha, spending), 1):
        click.echo(f"  look {look} ({look / looks:.0%} of the votes)  p < {2 * ndtr(-z):.2g}  (|z| > {z:.3f})")
