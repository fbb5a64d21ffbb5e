"""The program ``hsi-diffusion``: runs, maps, benchmarks, recipes, and Lightning's own commands."""

from __future__ import annotations

import difflib
import sys
from typing import TYPE_CHECKING

from hsi_diffusion.console import find_own_parts, guarded

if TYPE_CHECKING:
    from collections.abc import Sequence

COMMANDS = {
    "run": "fit a method on a scene, measure it and its control on raw bands, draw the map",
    "map": "apply the model of a run to another image of the same sensor",
    "benchmark": "compare methods on scenes and splits over seeds, in the tables of papers",
    "ablate": "change one part of DiffCRN at a time, and compare",
    "recipes": "list the methods and presets, or print one",
    "fit": "train a Lightning module on a data module (LightningCLI)",
    "validate": "validate a Lightning module",
    "test": "test a Lightning module",
    "predict": "predict with a Lightning module",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program.

    Args:
        arguments: The command line; None: that of this process.

    Returns:
        0 = done, 1 = some runs failed, 2 = invalid settings or input, 130 = stopped.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    command = given[0] if given else "--help"
    if command in ("-h", "--help"):
        print(_usage())
        return 0
    if command not in COMMANDS:
        near = difflib.get_close_matches(command, COMMANDS, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        print(f"{_usage()}\n\nerror: there is no command {command!r}{hint}", file=sys.stderr)
        return 2
    find_own_parts()
    rest = given[1:]
    match command:
        case "run":
            from hsi_diffusion.run_command import run_main

            return run_main(rest)
        case "map":
            from hsi_diffusion.map_command import map_main

            return map_main(rest)
        case "benchmark":
            from hsi_diffusion.benchmarks.command import benchmark

            return benchmark(rest)
        case "ablate":
            from hsi_diffusion.benchmarks.command import ablate

            return ablate(rest)
        case "recipes":
            from hsi_diffusion.recipes.command import recipes_main

            return recipes_main(rest)
        case _:
            return _lightning(given)


def _lightning(given: list[str]) -> int:
    from hsi_diffusion.modules.lightning_cli import SceneCLI

    def work() -> int:
        # Lightning warns, with all of it twice, where the command line of this process is given
        SceneCLI(None if given == sys.argv[1:] else given)
        return 0

    return guarded(work)


def _usage() -> str:
    lines = [f"  {name:12}{text}" for name, text in COMMANDS.items()]
    return "\n".join(
        [
            "usage: hsi-diffusion COMMAND ...",
            "",
            *lines,
            "",
            "help of a command: hsi-diffusion COMMAND --help",
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
