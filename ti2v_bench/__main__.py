"""`python -m ti2v_bench` is `ti2v-bench`."""

from ti2v_bench.cli import main

main()
