"""VBench-I2V's normalised total. Whether the MotiF paper's Table A3 is raw or normalised is not stated."""

from collections.abc import Mapping
from dataclasses import dataclass

MIN_MAX = {
    "camera_motion": (0.0, 1.0),
    "i2v_subject": (0.1462, 1.0),
    "i2v_background": (0.2615, 1.0),
    "subject_consistency": (0.1462, 1.0),
    "background_consistency": (0.2615, 1.0),
    "motion_smoothness": (0.706, 0.9975),
    "dynamic_degree": (0.0, 1.0),
    "aesthetic_quality": (0.0, 1.0),
    "imaging_quality": (0.0, 1.0),
}
"""scripts/constant.py; temporal_flickering is not part of the I2V total."""
WEIGHTS = dict.fromkeys(MIN_MAX, 1.0) | {"camera_motion": 0.1, "dynamic_degree": 0.5}
I2V = ("camera_motion", "i2v_subject", "i2v_background")
QUALITY = tuple(name for name in MIN_MAX if name not in I2V)


@dataclass(frozen=True)
class VBenchTotal:
    """The three numbers of VBench's I2V leaderboard; not clamped, so they can be negative."""

    quality: float
    i2v: float
    total: float


def normalised(raw: Mapping[str, float]) -> dict[str, float]:
    """(raw - min) / (max - min) x weight of each dimension. Published: a missing dimension counts as raw 0."""
    return {name: (raw.get(name, 0.0) - low) / (high - low) * WEIGHTS[name] for name, (low, high) in MIN_MAX.items()}


def vbench_total(raw: Mapping[str, float]) -> VBenchTotal:
    """Weighted means of quality and I2V dimensions, and the plain mean of the two. Source: cal_i2v_final_score.py."""
    weighted = normalised(raw)
    quality, i2v = (sum(weighted[n] for n in names) / sum(WEIGHTS[n] for n in names) for names in (QUALITY, I2V))
    return VBenchTotal(quality, i2v, (quality + i2v) / 2)
