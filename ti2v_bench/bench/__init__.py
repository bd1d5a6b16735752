"""The bench: `prompt.csv` and its images, read in any published form, and every bad row named."""

from ti2v_bench.bench.check import Bench, BenchReport, Counts, Problem, check_bench, load_bench
from ti2v_bench.bench.names import pair_id, scenario_of, slug
from ti2v_bench.bench.table import TABLE, BenchError

__all__ = [
    "TABLE",
    "Bench",
    "BenchError",
    "BenchReport",
    "Counts",
    "Problem",
    "check_bench",
    "load_bench",
    "pair_id",
    "scenario_of",
    "slug",
]
