"""What `models show motif` prints. No torch here."""

from motif.settings import BASE
from ti2v_bench.model import ModelCard

MOTIF = ModelCard(
    name="motif",
    title="MotiF",
    source="this project's re-implementation of arXiv 2412.16153; the authors' code and weights are not public",
    licence="that of the checkpoint you name (VideoCrafter2's applies to what is derived from it)",
    weights=(BASE,),
    frames=16,
    fps=8,
    size="320x512",
    precision="bfloat16",
    parameters=1413.3,
    fast=True,
    gpu_memory_gib=4.8,
    notes=(
        "There are no published weights: name your own checkpoint, a folder of `motif train` or a Hub repository of "
        "that form, with --weights.",
        "The autoencoder and the text tower come from VideoCrafter2's published file.",
        "Published: x-cat conditioning, v-prediction, DDIM 50 steps, guidance 7.5. Size conflicts between sources "
        "(320x512, 512x512). eta is not published; 0 here.",
    ),
)
