"""Which parts of DiffCRN pay: change one part of a preset at a time, and compare.

Every variant runs on every split with every seed; variants that differ only after the pretraining
share it. Stopped and started again, it goes on where it stopped. Writes ablation.md and
ablation.csv into --out: overall accuracy on the test pixels, mean and standard deviation over the
seeds, and the difference to the preset, seed by seed. A variant that changes nothing on a split is
not run there: the table has a dash.
"""

from __future__ import annotations

import argparse
import inspect
import shlex
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hsi_diffusion.options import PRESETS

if TYPE_CHECKING:
    from collections.abc import Callable

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
    # PCA and MNF keep as many components as the preset
    "space": {
        "bands, min-max": {"pretrain": {"transform": "minmax", "components": None}},
        "PCA": {"pretrain": {"transform": "pca", "transform_options": {"whiten": True}}},
        "MNF": {"pretrain": {"transform": "mnf", "transform_options": {}}},
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
    "few labels": {
        "no propagation": {"classifier": {"propagation": None}},
        "one network": {"classifier": {"module": {"members": 1}}},
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
    parser.add_argument("--preset", default="cpu", choices=PRESETS)
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
        help="change a setting of the preset for all variants, such as pretrain.steps=200; as in "
        "run.py, after what the preset changes for the scene and for a handful of labels",
    )
    parser.add_argument("--out", type=Path, default=Path("runs/ablation"), metavar="DIR")
    parser.add_argument("--progress", action="store_true", help="progress bars of every stage")
    options = parser.parse_args(arguments)
    options.arguments = sys.argv[1:] if arguments is None else arguments
    return options


def rows(parts: list[str]) -> list[Row]:
    """The preset, then every variant of the parts."""
    variants = [Row(part, name, changes) for part in parts for name, changes in PARTS[part].items()]
    return [Row("", PRESET_ROW, {}), *variants]


def base_of(options: argparse.Namespace, preset: dict[str, Any], split: str) -> dict[str, Any]:
    """What all rows of a split start from: the preset, then --set, then scene and split."""
    from hsi_diffusion.runs import merge, parse_assignment, preset_for

    base = preset_for(preset, scene=options.scene, split=split)
    for assignment in options.set:
        base = merge(base, parse_assignment(assignment))
    given = {
        "logger": "none",
        "scene": {"name": options.scene, "root": options.root},
        "split": {"kind": split},
    }
    return merge(base, given)


def resolved(settings: dict[str, Any]) -> dict[str, Any]:
    """Settings with the defaults of everything that they leave open, so that equal ones are equal.

    That holds for the arguments of both modules, of their networks and of the contrast, too.
    """
    from hsi_diffusion import DiffusionPretrainModule, FeatureClassifierModule
    from hsi_diffusion.classifiers import CLASSIFIERS
    from hsi_diffusion.denoisers import DENOISERS
    from hsi_diffusion.modules import ContrastSettings
    from hsi_diffusion.runs import RunSettings

    plain = RunSettings.from_dict(settings).to_dict()
    pretrain = _with_defaults(DiffusionPretrainModule, plain["pretrain"]["module"])
    classifier = _with_defaults(FeatureClassifierModule, plain["classifier"]["module"])
    for module, name, networks in (
        (pretrain, "denoiser", DENOISERS),
        (classifier, "classifier", CLASSIFIERS),
    ):
        if network := networks.get(module[name]):
            options = f"{name}_options"
            module[options] = _with_defaults(network, module[options] or {})
    if pretrain["contrast"] is not None:
        pretrain["contrast"] = asdict(ContrastSettings.from_plain(pretrain["contrast"]))
    plain["pretrain"]["module"] = pretrain
    plain["classifier"]["module"] = classifier
    return plain


def cells(options: argparse.Namespace, table: list[Row], preset: dict[str, Any]) -> list[Cell]:
    """One run per row, split and seed, but where a row is the preset itself.

    The rows of one split and seed follow each other.
    """
    from hsi_diffusion.runs import Cell, RunSettings, merge

    found = []
    for split in options.splits:
        base = base_of(options, preset, split)
        usual = resolved(base)
        wanted = [(row, merge(base, row.changes)) for row in table]
        wanted = [
            (row, settings)
            for row, settings in wanted
            if row.variant == PRESET_ROW or resolved(settings) != usual
        ]
        for seed in options.seeds:
            for row, settings in wanted:
                own: dict[str, Any] = {"seed": seed}
                if row.variant != PRESET_ROW:  # the control is the same for all rows
                    own["raw_bands"] = {"spaces": []}
                plain = merge(settings, own)
                found.append(Cell(row.name, split, RunSettings.from_dict(plain)))
    return found


def report(options: argparse.Namespace, found: list[Measurement], results: list[CellResult]) -> str:
    """The table, and what made it."""
    from hsi_diffusion.reports import comparison_table
    from hsi_diffusion.runs import describe_hardware, failures

    seeds = ", ".join(map(str, options.seeds))
    command = shlex.join(["python", "experiments/ablation.py", *options.arguments])
    how = (
        f"Preset `{options.preset}`, seeds {seeds} (another split and another pretraining each). "
        "Overall accuracy on the test pixels, mean and standard deviation over the seeds; the "
        f'difference to "{PRESET_ROW}" is taken seed by seed. A dash: the variant changes nothing '
        "on that split, or failed."
    )
    lines = [
        f"# DiffCRN on {options.scene}, one part changed at a time",
        how,
        comparison_table(found, reference=PRESET_ROW).to_markdown(),
        f"```bash\n{command}\n```",
        f"Machine: {describe_hardware()}",
    ]
    if failed := failures(results):
        lines += ["Failed, and left out:", "\n".join(failed)]
    return "\n\n".join(lines) + "\n"


def _with_defaults(function: Callable[..., Any], given: dict[str, Any]) -> dict[str, Any]:
    parameters = inspect.signature(function).parameters.values()
    return {p.name: p.default for p in parameters if p.default is not p.empty} | given


def main(arguments: list[str] | None = None) -> int:
    """Run what is missing and write the table; 0 = all done, 1 = some failed, 2 = bad input."""
    options = parse_arguments(arguments)
    # imported here, so that --help answers at once
    from hsi_diffusion.errors import HsiDiffusionError
    from hsi_diffusion.files import write_text
    from hsi_diffusion.reports import measurements_csv
    from hsi_diffusion.runs import measurements, quieten, read_preset, run_grid

    quieten()
    try:
        preset = read_preset(CONFIGS, "diffcrn", options.preset)
        wanted = cells(options, rows(options.parts), preset)
        results = run_grid(wanted, options.out, progress=options.progress)
    except HsiDiffusionError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except (KeyboardInterrupt, SystemExit):  # Lightning makes the second out of the first
        print(f"stopped; the same command goes on from {options.out}", file=sys.stderr)
        return 130
    found = measurements(results, control=lambda _: RAW_ROW)
    write_text(options.out / "ablation.csv", measurements_csv(found))
    write_text(options.out / "ablation.md", report(options, found, results))
    print((options.out / "ablation.md").read_text(encoding="utf-8"))
    return int(any(result.error for result in results))


if __name__ == "__main__":
    sys.exit(main())
