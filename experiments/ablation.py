"""Which parts of DiffCRN pay: change one part of a preset at a time, and compare.

Every variant runs on every split with every seed; variants that differ only after the pretraining
share it. Stopped and started again, it goes on where it stopped. Writes ablation.md and
ablation.csv into --out: overall accuracy on the test pixels, mean and standard deviation over the
seeds, and the difference to the preset, seed by seed.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hsi_diffusion.reports import Measurement
    from hsi_diffusion.runs import Cell, CellResult

CONFIGS = Path(__file__).resolve().parent / "configs"
PRESET_ROW = "as the preset"
RAW_ROW = "raw bands, same classifier"

PARTS: dict[str, dict[str, dict[str, Any]]] = {
    "loss": {
        "L1": {"pretrain": {"module": {"losses": {"l1": 1.0, "lae": 0.0}}}},
        "L2": {"pretrain": {"module": {"losses": {"l2": 1.0, "lae": 0.0}}}},
        "LAE": {"pretrain": {"module": {"losses": {"lae": 1.0}}}},
    },
    "contrast": {
        "none": {"pretrain": {"module": {"contrast": {"instance": 0.0, "cluster": 0.0}}}},
        "instance only": {"pretrain": {"module": {"contrast": {"cluster": 0.0}}}},
        "cluster only": {"pretrain": {"module": {"contrast": {"instance": 0.0}}}},
    },
    "attention": {
        "SSAD only": {"pretrain": {"module": {"denoiser_options": {"spectral": False}}}},
        "SGSAD only": {"pretrain": {"module": {"denoiser_options": {"spatial": False}}}},
    },
    "prediction": {
        "noise": {"pretrain": {"module": {"prediction": "noise"}}},
        "x0": {"pretrain": {"module": {"prediction": "x0"}}},
        "v": {"pretrain": {"module": {"prediction": "v"}}},
    },
    "space": {
        "bands, min-max": {"pretrain": {"transform": "minmax", "components": None}},
        "PCA": {
            "pretrain": {
                "transform": "pca",
                "components": 24,
                "transform_options": {"whiten": True},
            }
        },
        "MNF": {"pretrain": {"transform": "mnf", "components": 24, "transform_options": {}}},
    },
    "extraction": {
        "no noise": {"features": {"noise": "none"}},
        "one draw": {"features": {"noise": "fixed"}},
        "mean of 8 draws": {"features": {"noise": "mean", "draws": 8}},
    },
    "timesteps": {
        "all alike, no angles": {"features": {"angles": False}},
        "two kept by angles": {"classifier": {"module": {"classifier_options": {"keep": 2}}}},
    },
    "fusion": {
        "mean": {"classifier": {"module": {"classifier_options": {"fusion": "mean"}}}},
        "AWAM": {"classifier": {"module": {"classifier_options": {"fusion": "awam"}}}},
        "AWAM + CTSSFM": {
            "classifier": {"module": {"classifier_options": {"fusion": "awam+ctssfm"}}}
        },
    },
}
"""For each part its variants, each as the settings that it changes."""


@dataclass(frozen=True)
class Row:
    """One line of the table: a part of the method, and what it was changed to."""

    part: str
    variant: str
    changes: dict[str, Any]

    @property
    def name(self) -> str:
        """Of its cells."""
        return f"{self.part}: {self.variant}" if self.part else self.variant


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--scene", default="simulated", help="default: simulated")
    parser.add_argument("--root", default="data", metavar="DIR", help="folder of its files")
    parser.add_argument("--preset", default="cpu", choices=("quick", "cpu", "paper"))
    parser.add_argument(
        "--parts", nargs="+", choices=tuple(PARTS), default=list(PARTS), help="default: all"
    )
    parser.add_argument(
        "--splits", nargs="+", default=["10", "blocks"], metavar="SPEC", help="as for run.py"
    )
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2], metavar="N")
    parser.add_argument(
        "--set",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        help="change a setting of the preset for all variants, such as pretrain.steps=200",
    )
    parser.add_argument("--out", type=Path, default=Path("runs/ablation"), metavar="DIR")
    parser.add_argument("--progress", action="store_true", help="progress bars of every stage")
    options = parser.parse_args(arguments)
    options.arguments = sys.argv[1:] if arguments is None else arguments
    return options


def rows(parts: list[str], preset: dict[str, Any]) -> list[Row]:
    """The preset, then every variant that differs from it."""
    from hsi_diffusion.runs import merge

    found = [Row("", PRESET_ROW, {})]
    for part in parts:
        for variant, changes in PARTS[part].items():
            if merge(preset, changes) != preset:
                found.append(Row(part, variant, changes))
    return found


def cells(options: argparse.Namespace, table: list[Row], preset: dict[str, Any]) -> list[Cell]:
    """One run per row, split and seed; the rows of one split and seed follow each other."""
    from hsi_diffusion.runs import Cell, RunSettings, merge, preset_for

    found = []
    for split in options.splits:
        for seed in options.seeds:
            for row in table:
                base = preset_for(preset, scene=options.scene, split=split)
                given = {
                    "method": "diffcrn",
                    "preset": options.preset,
                    "seed": seed,
                    "logger": "none",
                    "scene": {"name": options.scene, "root": options.root},
                    "split": {"kind": split},
                }
                # the control is the same for all rows
                control: dict[str, Any] = (
                    {} if row.variant == PRESET_ROW else {"raw_bands": {"spaces": []}}
                )
                settings = merge(merge(merge(base, given), row.changes), control)
                found.append(Cell(row.name, split, RunSettings.from_dict(settings)))
    return found


def measured(results: list[CellResult]) -> list[Measurement]:
    """Every finished cell, and the control of the preset's cells as a row of its own."""
    from hsi_diffusion.reports import Measurement

    found: list[Measurement] = []
    control: list[Measurement] = []
    for result in results:
        if (metrics := result.metrics) is None:
            continue
        cell = result.cell
        seed = cell.settings.seed
        seconds = dict(metrics["seconds"])
        seconds["pretraining"] = result.pretraining_seconds or 0.0
        alone = seconds.pop("raw_bands", None)
        total = round(sum(seconds.values()), 1)
        found.append(Measurement(cell.row, cell.column, seed, metrics, total))
        if "raw_bands" in metrics:
            control.append(Measurement(RAW_ROW, cell.column, seed, metrics["raw_bands"], alone))
    return [*found, *control]


def report(options: argparse.Namespace, found: list[Measurement], results: list[CellResult]) -> str:
    """The table, and what made it."""
    from hsi_diffusion.reports import comparison_table
    from hsi_diffusion.runs import describe_hardware

    seeds = ", ".join(map(str, options.seeds))
    command = shlex.join(["python", "experiments/ablation.py", *options.arguments])
    how = (
        f"Preset `{options.preset}`, seeds {seeds} (another split and another pretraining each). "
        "Overall accuracy on the test pixels, mean and standard deviation over the seeds; the "
        f'difference to "{PRESET_ROW}" is taken seed by seed.'
    )
    lines = [
        f"# DiffCRN on {options.scene}, one part changed at a time",
        how,
        comparison_table(found, reference=PRESET_ROW).to_markdown(),
        f"```bash\n{command}\n```",
        f"Machine: {describe_hardware()}",
    ]
    failed = [result for result in results if result.error]
    if failed:
        lines.append("Failed, and left out:")
        lines.append(
            "\n".join(
                f"- {r.cell.row}, {r.cell.column}, seed {r.cell.settings.seed}: {r.error}"
                for r in failed
            )
        )
    return "\n\n".join(lines) + "\n"


def main(arguments: list[str] | None = None) -> int:
    """Run what is missing and write the table; 0 = all done, 1 = some failed, 2 = bad input."""
    from hsi_diffusion.errors import HsiDiffusionError
    from hsi_diffusion.files import write_text
    from hsi_diffusion.reports import measurements_csv
    from hsi_diffusion.runs import merge, parse_assignment, quieten, read_yaml, run_grid

    options = parse_arguments(arguments)
    quieten()
    try:
        preset = read_yaml(CONFIGS / "diffcrn" / f"{options.preset}.yaml")
        for assignment in options.set:
            preset = merge(preset, parse_assignment(assignment))
        table = rows(options.parts, preset)
        results = run_grid(cells(options, table, preset), options.out, progress=options.progress)
    except HsiDiffusionError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    write_text(options.out / "ablation.csv", measurements_csv(found := measured(results)))
    write_text(options.out / "ablation.md", report(options, found, results))
    print((options.out / "ablation.md").read_text(encoding="utf-8"))
    return int(any(result.error for result in results))


if __name__ == "__main__":
    sys.exit(main())
