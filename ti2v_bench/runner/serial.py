"""One worker, in this process."""

import time
from collections.abc import Generator

from ti2v_bench.runner.jobs import JobQueue, Outcome
from ti2v_bench.runner.making import Maker, Recipe


def run_serial(recipe: Recipe, queue: JobQueue) -> Generator[Outcome, None, None]:
    """Yield final outcomes until the queue is empty.

    Raises:
        TI2VError: the model cannot be loaded, or the store cannot be written.
    """
    maker = Maker(recipe)
    while queue.open:
        jobs = queue.take(maker.batch)
        if jobs:
            yield from queue.settle(maker.make(jobs))
        else:
            time.sleep(queue.seconds_to_next())
