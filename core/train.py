"""``python -m core.train``: quickstart, pretrain, probe, finetune."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from jsonargparse import ArgumentParser

from core.errors import run_command
from core.evaluation.probe import probe
from core.quickstart import quickstart
from core.training.finetune import finetune
from core.training.pretrain import pretrain

COMMANDS: dict[str, Callable[..., Any]] = {
    "quickstart": quickstart,
    "pretrain": pretrain,
    "probe": probe,
    "finetune": finetune,
}


def main(arguments: list[str] | None = None) -> int:
    """Parse the command line and run the sub-command; none at all is the quickstart."""
    arguments = sys.argv[1:] if arguments is None else arguments
    parser = _parser()
    if not arguments or (arguments[0].startswith("--") and arguments[0] != "--help"):
        arguments = ["quickstart", *arguments]
    chosen = parser.parse_args([_underscored(argument) for argument in arguments])
    name = chosen.subcommand
    options = parser.instantiate(chosen)[name]
    options.pop("config", None)
    return run_command(lambda: COMMANDS[name](**options))


def _parser() -> ArgumentParser:
    parser = ArgumentParser(
        prog="python -m core.train",
        description="Learn from located, repeated imagery. Without a sub-command: quickstart.",
    )
    commands = parser.add_subcommands(metavar="COMMAND")
    for name, function in COMMANDS.items():
        command = ArgumentParser(description=(function.__doc__ or "").split("\n\n")[0])
        command.add_argument(
            "--config", action="config", help="YAML file with any of these options, e.g. a run's config.yaml"
        )
        command.add_function_arguments(function, as_positional=False)
        for action in command._actions:
            if action.default is False:  # --overwrite alone is enough
                action.nargs, action.const = "?", True
        commands.add_subcommand(name, command, help=(function.__doc__ or "").splitlines()[0])
    return parser


def _underscored(argument: str) -> str:
    """Options may be written with hyphens, as on every command line, or with underscores, as in YAML."""
    if not argument.startswith("--"):
        return argument
    name, equals, value = argument.partition("=")
    return "--" + name[2:].replace("-", "_") + equals + value


if __name__ == "__main__":
    raise SystemExit(main())
