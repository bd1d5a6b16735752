"""Where the files of one model come from, and what was taken."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import torch
from torch import nn

from baselines.checkpoints import (
    CheckpointError,
    State,
    build,
    describe,
    fetch,
    is_random,
    random_state,
    read_state,
    weight_record,
)
from ti2v_bench.model import ModelOptions, WeightFile

Network = TypeVar("Network", bound=nn.Module)


class Source:
    """The published files, a local folder of them, or random weights in their place."""

    def __init__(self, options: ModelOptions) -> None:
        """From the command line's options.

        Raises:
            CheckpointError: `weights` is a file; the models that use this consist of several.
        """
        if options.weights is not None and Path(options.weights).is_file():
            raise CheckpointError(f"{options.weights} is one file; this model has several. Name their folder instead.")
        self.random = is_random(options.weights)
        self.device = options.device
        self._options = options
        self._taken: dict[Path, dict[str, object]] = {}

    def path(self, file: WeightFile, *others: WeightFile) -> Path:
        """Where `file`, or else the first of `others`, lies on this machine, noted for the record.

        Raises:
            CheckpointError: none is there, or it is not the one that is pinned; the message is about `file`.
        """
        errors = []
        for candidate in (file, *others):
            try:
                path = fetch(candidate, self._options.weights)
            except CheckpointError as error:
                errors.append(error)
                continue
            if path not in self._taken:
                self._taken[path] = weight_record(candidate, path)
            return path
        raise errors[0]

    def json(self, file: WeightFile) -> Mapping[str, object]:
        """A published configuration.

        Raises:
            CheckpointError: it is not there, or no JSON object.
        """
        path = self.path(file)
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise CheckpointError(f"{path} is not JSON: {error}. Expected {describe(file)}.") from error
        if not isinstance(content, dict):
            raise CheckpointError(f"{path} holds no JSON object. Expected {describe(file)}.")
        return content

    def network(
        self,
        factory: Callable[[], Network],
        file: WeightFile,
        dtype: torch.dtype,
        published: Callable[[Path], State] = read_state,
        others: Sequence[WeightFile] = (),
    ) -> Network:
        """What `factory` makes, with the weights that `published` reads from `file`, or with random ones.

        `others` are further names that the same file may have.
        """
        state = random_state(factory, 0, dtype, self.device) if self.random else published(self.path(file, *others))
        return build(factory, state, expected=file, dtype=dtype, device=self.device)

    def record(self) -> object:
        """For the sidecar: repository, revision, file and sha256 of everything taken, or `random-…`."""
        return self._options.weights if self.random else list(self._taken.values())
