"""What a report holds; field names are those of report.json."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from ti2v_bench.records import Estimate
from ti2v_bench.stats.leave_out import LeaveOneOut


@dataclass(frozen=True)
class Exclusions:
    """Rules, fixed before the numbers are seen, by which votes do not enter the estimates."""

    annotators: tuple[str, ...] = ()
    """Annotators left out by name."""
    min_seconds: float | None = None
    """Votes answered faster than this are left out (needs shown_at and answered_at)."""
    min_votes: int | None = None
    """Annotators with fewer main votes are left out."""
    min_gold: float | None = None
    """Annotators whose share of right answers on gold rows is lower are left out."""
    min_repeat: float | None = None
    """Annotators who answer a repeated comparison alike less often are left out."""
    max_one_side: float | None = None
    """Annotators who choose one screen side more often than this are left out."""
    second_votes: bool = False
    """An annotator's second and later main votes on one comparison are left out."""


@dataclass(frozen=True)
class ReportSettings:
    """Everything besides the votes that a report depends on."""

    seed: int = 0
    """Of the resampling; same votes and seed, same files."""
    level: float = 0.95
    """Two-sided coverage of every interval, in (0, 1)."""
    star: str | None = None
    """Model from whose side its comparisons are told; by default the one that meets all others."""
    exclusions: Exclusions = field(default_factory=Exclusions)
    published: bool = False
    """Put the study beside the published TI2V scores."""
    ties: str = "davidson"
    """Ranking's ties: `davidson` (a tie parameter) or `half` (half a win each)."""
    penalised: bool = False
    """Rank separated data with a named penalty instead of refusing."""
    resamples: int = 2000
    """Joint cluster resamples for averages and agreement."""
    title: str = "TI2V leaderboard"


@dataclass(frozen=True)
class Protocol:
    """What was counted and what was not."""

    n_votes: int
    n_pairs: int
    n_annotators: int
    n_scenarios: int | None
    """None where the table has no scenarios."""
    simulated: bool
    """True if any row is simulated, also one that was left out: it stands in the tables without exclusions."""
    excluded: Mapping[str, int]
    """Votes left out, by reason."""
    seed: int
    level: float
    star: str | None
    notes: tuple[str, ...]
    """What is switched off for want of a column, and what a reader must know of these votes."""


@dataclass(frozen=True)
class Comparison:
    """One model against another."""

    model: str
    opponent: str
    n_pairs: int
    n_votes: int
    n_annotators: int
    majority: Estimate
    majority_clustered: Estimate
    """The same value with an interval that respects repeated scenarios and annotators."""
    vote_share: Estimate
    vote_share_fixed_bench: Estimate
    p_value: float | None
    p_holm: float | None
    p_majority_exact: float | None
    pairs_won: int
    pairs_lost: int
    pairs_tied: int
    """Pairs whose votes are split equally between the models; each counts half in `majority`."""
    tie_share: float
    both_bad_share: float
    reasons: Mapping[str, Mapping[str, Estimate]]
    leave_one_annotator_out: LeaveOneOut | None
    leave_one_scenario_out: LeaveOneOut | None


@dataclass(frozen=True)
class Average:
    """Mean over one model's comparisons."""

    model: str
    n_comparisons: int
    majority: Estimate
    vote_share: Estimate


@dataclass(frozen=True)
class RankedModel:
    """A model's place in the ranking."""

    model: str
    strength: Estimate
    """Log strength, sum over models zero."""
    rank_low: int
    rank_high: int
    """The rank lies in [rank_low, rank_high] with the report's level for all models together."""


@dataclass(frozen=True)
class Ranking:
    """Bradley-Terry ranking, or the reason why there is none."""

    identifiable: bool
    why: str | None
    method: str | None
    """`Bradley-Terry`, with what was done about ties; begins with `penalised` where a penalty was asked for."""
    tie_parameter: float | None
    """Davidson's nu; None without ties or without the parameter."""
    models: tuple[RankedModel, ...]


@dataclass(frozen=True)
class AgreementReport:
    """How alike annotators judge the same comparison."""

    krippendorff_alpha: Estimate | None
    why: str | None
    """Reason where alpha is None."""
    raw: Estimate
    splits: Mapping[str, int]


@dataclass(frozen=True)
class ScenarioRow:
    """One scenario of one comparison; exploratory."""

    scenario: str
    model: str
    opponent: str
    vote_share: Estimate
    p_value: float | None
    q_value: float | None
    """Benjamini-Hochberg over all rows of the report."""


@dataclass(frozen=True)
class AnnotatorRow:
    """One annotator; flags invite a look, they do not exclude."""

    annotator: str
    n: int
    agreement_with_majority: float | None
    """Share of votes that name the model which the pair's majority names, own vote included."""
    agreement_with_others: float | None
    """The same against the majority of the other annotators."""
    left_share: float | None
    median_seconds: float | None
    gold: float | None
    repeats: float | None
    dawid_skene_skill: float | None
    """Sensitivity plus specificity minus one: 1 always right, 0 guessing, -1 always wrong."""
    flags: tuple[str, ...]


@dataclass(frozen=True)
class Without:
    """A comparison's numbers had nothing been excluded."""

    model: str
    opponent: str
    majority: Estimate
    vote_share: Estimate


@dataclass(frozen=True)
class PublishedRow:
    """A study's comparison beside the published one of the same opponent."""

    opponent: str
    """As the paper prints it."""
    published: Estimate
    """Majority over the paper's 320 pairs."""
    model_here: str | None
    """The model that met this opponent in the study; None where none did."""
    here: Estimate | None
    """The study's majority for that model."""


@dataclass(frozen=True)
class Report:
    """All of report.json but `created_at`."""

    title: str
    protocol: Protocol
    comparisons: tuple[Comparison, ...]
    averages: tuple[Average, ...]
    ranking: Ranking
    agreement: AgreementReport
    position_bias: Estimate
    position_bias_p: float | None
    scenarios: tuple[ScenarioRow, ...]
    annotators: tuple[AnnotatorRow, ...]
    without_exclusions: tuple[Without, ...]
    """Every comparison as it would be had no rule excluded a vote; empty where none did."""
    published: tuple[PublishedRow, ...]
