"""How fast the recipes train on this machine, and what memory they take.

For each method, with the sizes of its preset: some steps of the pretraining, the features of one
candidate over the whole scene, some steps of the classifier. Nothing is learned to an end; the
scene is simulated, as large as a real one. "All of it" is what the preset's steps, or all of its
candidates, would take at that pace. On a graphics card the peak of its memory is told, and whether
a card of 24 GB would do. With --compile the networks are compiled in all three stages, and the time
that this takes is not counted.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lightning as L
import torch

from hsi_diffusion.classifiers import Ensemble
from hsi_diffusion.errors import ConfigurationError, HsiDiffusionError
from hsi_diffusion.options import PRESETS
from hsi_diffusion.reports import TextTable
from hsi_diffusion.runs import (
    RunSettings,
    describe_hardware,
    merge,
    parse_assignment,
    preset_for,
    quieten,
    read_preset,
    scene_data,
)
from hsi_diffusion.runs.batches import share_of_step
from hsi_diffusion.runs.building import build_classification, build_pretraining
from hsi_diffusion.runs.candidates import feature_candidates
from hsi_diffusion.runs.hardware import resolve_precision
from hsi_diffusion.runs.settings import PretrainSettings
from hsi_diffusion.runs.stages import extract, remove_features
from hsi_diffusion.runs.workplace import Workplace
from hsi_diffusion.scenes import CATALOGUE, scene_info

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import nn

    from hsi_diffusion.features import FeatureCube
    from hsi_diffusion.modules import DiffusionPretrainModule, PatchDataModule, SceneDataModule
    from hsi_diffusion.runs.settings import ClassifierSettings

CONFIGS = Path(__file__).resolve().parent / "configs"
METHODS = ("spectraldiff", "diffspectralnet", "diffcrn")
CARD = 24 * 1e9
"""Bytes of the graphics cards that the recipes are made for."""

EXAMPLES = """\
examples:
  python experiments/throughput.py --preset paper
  python experiments/throughput.py --preset paper --scene houston2013 --precision bfloat16 --compile
"""


@dataclass(frozen=True)
class Pace:
    """What a stage of a method costs.

    Attributes:
        method: The method.
        stage: The stage.
        precision: In what its network computes.
        parameters: Numbers that are trained; None where nothing is.
        rate: What is done in a second, as a text.
        total: Seconds for all that the preset asks for.
        memory: Peak of the card's memory in bytes; None on a CPU.
    """

    method: str
    stage: str
    precision: str
    parameters: int | None
    rate: str
    total: float
    memory: int | None


class Clock(L.Callback):
    """Times a training, but for its first steps.

    Args:
        warmup: Steps that don't count.
        device: Where it computes.
    """

    def __init__(self, warmup: int, device: torch.device) -> None:
        self.warmup = warmup
        self.device = device
        self.seconds = 0.0
        self._start: float | None = None

    def on_train_batch_end(self, trainer: L.Trainer, *_: Any) -> None:
        """Start after the last step that doesn't count."""
        if self._start is None and trainer.global_step == self.warmup:
            self._start = now(self.device)

    def on_train_end(self, *_: Any) -> None:
        """Stop."""
        if self._start is not None:
            self.seconds = now(self.device) - self._start


def now(device: torch.device) -> float:
    """A clock in seconds, read when the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def compile_denoiser(module: DiffusionPretrainModule) -> None:
    """Compile what the stages call of the network, and of its average.

    ``Module.compile`` would compile calls of the network only: a contrast asks for its features
    along with its output, and an extraction for its features alone.
    """
    for network in {module.denoiser, module.trained_denoiser}:
        for name in ("forward", "forward_with_features", "forward_intermediates"):
            setattr(network, name, torch.compile(getattr(network, name)))


def compile_classifier(classifier: nn.Module) -> None:
    """Compile a network, or every member of several: in training they are called one by one."""
    members = classifier.members if isinstance(classifier, Ensemble) else [classifier]
    for network in members:
        network.compile()


class Measuring:
    """Runs the stages of one method.

    Args:
        settings: Of a run of the method.
        steps: Training steps that count.
        warmup: Steps before them.
        compiled: Compile the networks of all stages.
        folder: For feature files.
    """

    def __init__(
        self, settings: RunSettings, *, steps: int, warmup: int, compiled: bool, folder: Path
    ) -> None:
        self.settings = settings
        self.steps = steps
        self.warmup = warmup
        self.compiled = compiled
        self.place = Workplace(
            folder=folder,
            accelerator=settings.accelerator,
            devices=1,
            logger="none",
            name=settings.method,
            config={},
            progress=False,
            deterministic=settings.deterministic,
        )

    def run(self) -> list[Pace]:
        """Pretraining, features and classifier, each on what the one before it gave."""
        stage = self.settings.require_pretrain()
        data = scene_data(self.settings)
        module = build_pretraining(data, stage, self.settings.seed)
        if self.compiled:
            compile_denoiser(module)
        found = [self._train("pretraining", module, data, stage)]
        features, pace = self._features(module.eval(), data)
        found.append(pace)
        classifier = self.settings.classifier
        if classifier.estimator is not None:  # no network learns the labels
            return found
        patches = data.with_features(
            features,
            patch_size=classifier.patch_size,
            batch_size=classifier.batch_size,
            padding=classifier.padding,
            train_on="labelled",
            samples_per_epoch=classifier.batch_size * (self.warmup + self.steps),
        )
        found.append(self._classifier(patches, classifier))
        return found

    def _features(
        self, module: DiffusionPretrainModule, data: SceneDataModule
    ) -> tuple[FeatureCube, Pace]:
        """Those of the first candidate."""
        candidates = feature_candidates(self.settings.features)
        if self.compiled:  # which happens in the first pass
            extract(module, data, self.settings, self.place, candidates[0])
            remove_features(module, data, self.settings, self.place)
        self._reset()
        start = now(self.place.device)
        features = extract(module, data, self.settings, self.place, candidates[0])
        seconds = now(self.place.device) - start
        precision = resolve_precision(self.settings.features.precision, self.place.device)
        rate = f"{data.shape[0] * data.shape[1] / seconds:,.0f} pixels"
        return features, self._pace("features", precision, None, rate, seconds * len(candidates))

    def _classifier(self, patches: PatchDataModule, stage: ClassifierSettings) -> Pace:
        module = build_classification(
            patches.num_bands,
            patches,
            stage,
            self.settings.seed,
            timesteps=patches.timesteps,
            angles=patches.angles,
        )
        if self.compiled:
            compile_classifier(module.classifier)
        return self._train("classifier", module, patches, stage)

    def _train(
        self,
        name: str,
        module: L.LightningModule,
        data: PatchDataModule,
        stage: PretrainSettings | ClassifierSettings,
    ) -> Pace:
        clock = Clock(self.warmup, self.place.device)
        parts = share_of_step(stage, 1).parts if isinstance(stage, PretrainSettings) else 1
        trainer = self.place.make_trainer(
            steps=self.warmup + self.steps,
            accumulate=parts,
            precision=stage.precision,
            gradient_clip=stage.gradient_clip,
            callbacks=[clock],
        )
        self._reset()
        trainer.fit(module, data)
        rate = self.steps / clock.seconds
        trained = sum(weight.numel() for weight in module.parameters() if weight.requires_grad)
        return self._pace(
            name,
            resolve_precision(stage.precision, self.place.device),
            trained,
            f"{rate:.3g} steps of {stage.batch_size}",
            stage.steps / rate,
        )

    def _reset(self) -> None:
        if self.place.device.type == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(self.place.device)

    def _pace(
        self, stage: str, precision: str, parameters: int | None, rate: str, total: float
    ) -> Pace:
        memory = None
        if self.place.device.type == "cuda":
            memory = torch.cuda.max_memory_reserved(self.place.device)
        return Pace(self.settings.method, stage, precision, parameters, rate, total, memory)


def table(paces: list[Pace]) -> TextTable:
    """The paces of all stages, a row each."""
    header = ("method", "stage", "precision", "parameters", "per second", "all of it", "peak, GB")
    return TextTable(
        header,
        tuple(
            (
                pace.method,
                pace.stage,
                pace.precision,
                "-" if pace.parameters is None else f"{pace.parameters:,}",
                pace.rate,
                f"{pace.total / 60:.1f} min",
                "-" if pace.memory is None else f"{pace.memory / 1e9:.1f}",
            )
            for pace in paces
        ),
    )


def settings_for(method: str, options: argparse.Namespace) -> RunSettings:
    """A run of ``method`` on a simulated scene of the wanted size."""
    info = scene_info(options.scene)
    preset = preset_for(
        read_preset(CONFIGS, method, options.preset), scene=options.scene, split="0.1"
    )
    size = {"height": info.height, "width": info.width, "bands": info.bands}
    plain = merge(
        preset,
        {
            "scene": {"name": "simulated", **size, "num_classes": info.num_classes},
            "accelerator": options.accelerator,
        },
    )
    for assignment in options.set:
        plain = merge(plain, parse_assignment(assignment))
    settings = RunSettings.from_dict(plain)
    if settings.pretrain is None:
        raise ConfigurationError(
            f"{method} pretrains nothing, give methods that do, such as {', '.join(METHODS)}"
        )
    if options.precision is None:
        return settings
    return replace(
        settings,
        pretrain=replace(settings.pretrain, precision=options.precision),
        features=replace(settings.features, precision=options.precision),
        classifier=replace(settings.classifier, precision=options.precision),
    )


def parse_arguments(arguments: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--methods", nargs="+", default=list(METHODS), metavar="NAME")
    parser.add_argument("--preset", choices=PRESETS, default="paper")
    parser.add_argument(
        "--scene", choices=sorted(CATALOGUE), default="indian_pines", help="whose size to take"
    )
    parser.add_argument(
        "--precision",
        choices=("auto", "float32", "bfloat16"),
        help="of all stages (default: the preset's)",
    )
    parser.add_argument("--compile", action="store_true", help="compile the networks of all stages")
    parser.add_argument("--steps", type=int, default=30, help="steps that are timed")
    parser.add_argument("--warmup", type=int, default=5, help="steps before them")
    parser.add_argument("--accelerator", default="auto", metavar="NAME")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="as for run.py"
    )
    options = parser.parse_args(arguments)
    for name in ("steps", "warmup"):
        if getattr(options, name) < 1:
            parser.error(f"--{name} must be at least 1")
    return options


def main(arguments: list[str] | None = None, say: Callable[[str], None] = print) -> int:
    """Measure and print; 0 = done, 2 = something that was asked for can't be done."""
    options = parse_arguments(arguments)
    quieten()
    paces: list[Pace] = []
    large: list[str] = []
    try:
        runs = [settings_for(method, options) for method in options.methods]
        size = f"{runs[0].scene.height} x {runs[0].scene.width} x {runs[0].scene.bands}"
        say(describe_hardware())
        say(f"preset {options.preset}{', compiled' if options.compile else ''}, {size}")
        for settings in runs:
            with tempfile.TemporaryDirectory() as folder:
                measuring = Measuring(
                    settings,
                    steps=options.steps,
                    warmup=options.warmup,
                    compiled=options.compile,
                    folder=Path(folder),
                )
                try:
                    paces += measuring.run()
                except torch.OutOfMemoryError as error:
                    say(f"{settings.method} needs more memory than the card has: {error}")
                    large.append(settings.method)
    except HsiDiffusionError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    say("\n" + table(paces).to_markdown())
    large += [f"{pace.method}, {pace.stage}" for pace in paces if (pace.memory or 0) > CARD]
    if large:
        say(f"\ntoo large for a card of 24 GB: {'; '.join(large)}")
    elif any(pace.memory is not None for pace in paces):
        say("\nall of it fits a card of 24 GB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
