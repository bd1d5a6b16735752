"""The option `--device` of commands that work on one device."""

import click


def known_device(context: click.Context, parameter: click.Parameter, value: str) -> str:  # noqa: ARG001
    """Callback that refuses what is no device, or is not here, before anything is loaded."""
    from ti2v_bench.runner.devices import one_device

    return one_device(value)
