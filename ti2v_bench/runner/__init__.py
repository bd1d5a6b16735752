"""Makes every missing video of a bench, on one device, many devices, or many hosts; the folder is the state."""

from ti2v_bench.runner.importing import ImportReport, import_videos
from ti2v_bench.runner.jobs import Failure, Request, RunReport, plan_jobs
from ti2v_bench.runner.run import Executor, generate

__all__ = ["Executor", "Failure", "ImportReport", "Request", "RunReport", "generate", "import_videos", "plan_jobs"]
