"""``python -m core.train``: quickstart, pretrain, probe, finetune."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from core.errors import run_command

Commands = dict[str, Callable[..., Any]]


def main(arguments: list[str] | None = None) -> int:
    """Parse the command line and run the sub-command; the default is quickstart."""
    arguments = sys.argv[1:] if arguments is None else arguments
    commands = _commands()
    parser = _parser(commands)
    if not arguments or (arguments[0].startswith("--") and arguments[0] != "--help"):
        arguments = ["quickstart", *arguments]
    chosen = parser.parse_args([_underscored(argument) for argument in arguments])
    name = chosen.subcommand
    options = parser.instantiate(chosen)[name]
    options.pop("config", None)
    return run_command(lambda: commands[name](**options))


def _commands() -> Commands:
    # Imported here: processes that a quickstart starts to cut chips import this module, but need none of them.
    from core.quickstart import quickstart
    from core.training.finetune import finetune
    from core.training.pretrain import pretrain
    from core.training.probe import probe

    return {each.__name__: each for each in (quickstart, pretrain, probe, finetune)}


def _parser(functions: Commands) -> Any:
    from jsonargparse import ArgumentParser

    parser = ArgumentParser(
        prog="python -m core.train",
        description="Self-supervised learning from located, repeated imagery. The default command is quickstart.",
    )
    commands = parser.add_subcommands(metavar="COMMAND")
    for name, function in functions.items():
        command = ArgumentParser(description=(function.__doc__ or "").split("\n\n")[0])
        command.add_argument(
            "--config", action="config", help="YAML file with any of these options, such as the config.yaml of a run"
        )
        command.add_function_arguments(function, as_positional=False)
        for action in command._actions:
            if action.default is False:  # --overwrite needs no value
                action.nargs, action.const = "?", True
        commands.add_subcommand(name, command, help=(function.__doc__ or "").splitlines()[0])
    return parser


def _underscored(argument: str) -> str:
    """Accept options with hyphens, as usual on command lines, and with underscores, as in YAML."""
    if not argument.startswith("--"):
        return argument
    name, equals, value = argument.partition("=")
    return "--" + name[2:].replace("-", "_") + equals + value


if __name__ == "__main__":
    raise SystemExit(main())
