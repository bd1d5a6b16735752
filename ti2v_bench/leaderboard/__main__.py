"""`python -m ti2v_bench.leaderboard FILE` writes the page of published numbers (`results/published.md`)."""

import sys
from pathlib import Path

from ti2v_bench.files import write_bytes
from ti2v_bench.leaderboard.published import published_markdown

if __name__ == "__main__":
    write_bytes(Path(sys.argv[1]), published_markdown().encode())
