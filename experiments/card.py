"""What a graphics card does with the recipes: their pace, their memory, and bfloat16's loss.

For each method, with the sizes of its preset: some steps of the pretraining, the features of one
candidate over the whole scene, some steps of the classifier. Nothing is learned to an end; the
scene is simulated, as large as a real one. "All of it" is what the preset's steps, or all of its
candidates, would take at that pace; "of matmul" is the share of the rate of a product of two large
matrices in the same precision that products and convolutions reach. The peak of the card's memory
is told, and whether a card of 24 GB would do. Then the pretraining learns a few steps in float32
and in bfloat16, from the same weights and noise, and both losses are told. With --compile the
networks are compiled in all three stages, and the time that this takes is not counted. Nothing new
is begun after --minutes. It runs on a processor, too. Further flags are settings, as those of
run.py.
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
from torch.utils.flop_counter import FlopCounterMode

from hsi_diffusion import FeatureStore
from hsi_diffusion.classifiers import NetworkClassifier
from hsi_diffusion.console import quieten
from hsi_diffusion.errors import ConfigurationError, HsiDiffusionError
from hsi_diffusion.hardware import describe_hardware, resolve_precision
from hsi_diffusion.models import DiffusionRepresentation
from hsi_diffusion.models.pretraining import (
    build_pretraining,
    pretrain,
    pretraining_data,
    share_of_step,
)
from hsi_diffusion.modules import Runtime
from hsi_diffusion.networks import Ensemble
from hsi_diffusion.recipes import PRESETS, from_flags, merge, preset_for, read_preset
from hsi_diffusion.reports import TextTable
from hsi_diffusion.runs import RunSettings, read_scene, read_split
from hsi_diffusion.scenes import CATALOGUE, scene_info

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import nn

    from hsi_diffusion.classifiers import ClassifierSettings, Layout
    from hsi_diffusion.modules import FeatureClassifierModule
    from hsi_diffusion.recipes import PretrainSettings

METHODS = ("spectraldiff", "diffspectralnet", "diffcrn")
CARD = 24 * 1e9
"""Bytes of the graphics cards that the recipes are made for."""

HEADER = (
    "method", "stage", "precision", "parameters", "per second", "of matmul", "all of it", "peak, GB"
)  # fmt: skip
LOSSES = ("method", "loss in float32", "in bfloat16", "at the first step", "in bfloat16")
EXAMPLES = """\
examples:
  python experiments/card.py --preset paper
  python experiments/card.py --preset paper --scene houston2013 --precision bfloat16 --compile
"""


@dataclass(frozen=True)
class Pace:
    """What a stage costs.

    Attributes:
        stage: The stage.
        precision: In what its network computes.
        parameters: Numbers that are trained; None where nothing is.
        rate: What is done in a second.
        unit: What that is.
        total: Seconds for all that the preset asks for.
        memory: Peak of the card's memory in bytes; None on a CPU.
        share: Part of the rate of a large product that is reached; None where it is not counted.
    """

    stage: str
    precision: str
    parameters: int | None
    rate: float
    unit: str
    total: float
    memory: int | None
    share: float | None = None

    def cells(self) -> tuple[str, ...]:
        """Its cells of the table."""
        rate = f"{self.rate:,.0f}" if self.parameters is None else f"{self.rate:.3g}"
        return (
            self.stage,
            self.precision,
            "-" if self.parameters is None else f"{self.parameters:,}",
            f"{rate} {self.unit}",
            "-" if self.share is None else f"{self.share:.0%}",
            f"{self.total / 60:.1f} min",
            "-" if self.memory is None else f"{self.memory / 1e9:.1f}",
        )


class Clock(L.Callback):
    """Times the steps of a training after its first ones, which don't count."""

    def __init__(self, warmup: int, steps: int) -> None:
        self.warmup = warmup
        self.steps = steps
        self.seconds = 0.0

    def on_train_batch_end(self, trainer: L.Trainer, module: L.LightningModule, *_: Any) -> None:
        """Start after the last step that doesn't count, stop after the last one."""
        if trainer.global_step == self.warmup and not self.seconds:
            self.seconds = -now(module.device)
        elif trainer.global_step == self.warmup + self.steps:
            self.seconds += now(module.device)


@dataclass(frozen=True, kw_only=True)
class TimedRuntime(Runtime):
    """Trains for as many steps as the clock times, and nothing beside."""

    clock: Clock

    def make_trainer(self, **options: Any) -> L.Trainer:
        """A Trainer with the clock."""
        steps = self.clock.warmup + self.clock.steps
        options |= {"steps": steps, "together": False, "callbacks": [self.clock]}
        return super().make_trainer(**options)


class CompiledClassifier(NetworkClassifier):
    """Compiles its network, or every member of several: in training they are called one by one."""

    def build(self, layout: Layout, num_classes: int) -> FeatureClassifierModule:
        """The untrained, compiled network."""
        module = super().build(layout, num_classes)
        network = module.classifier
        for one in network.members if isinstance(network, Ensemble) else [network]:
            one.compile()
        return module


class LossCurve(L.Callback):
    """The loss of every training step."""

    def __init__(self) -> None:
        self.losses: list[torch.Tensor] = []

    def on_train_batch_end(
        self, trainer: L.Trainer, module: L.LightningModule, outputs: Any, *_: Any
    ) -> None:
        """Keep it on its device: nothing waits."""
        del trainer, module
        self.losses.append(outputs["loss"].detach())


def arithmetic(train: Callable[[TimedRuntime], object], runtime: TimedRuntime) -> float:
    """Operations of the products and convolutions of a training step."""
    with FlopCounterMode(display=False) as counter:
        train(replace(runtime, clock=Clock(0, 1)))
    return float(counter.get_total_flops())


def matmul_rate(device: torch.device, precision: str) -> float:
    """Operations per second of a product of two large matrices."""
    side = 4096 if device.type == "cuda" else 256
    one = torch.randn(side, side, device=device).to(getattr(torch, precision))
    one @ one
    start = now(device)
    for _ in range(20):
        one @ one
    return 20 * 2 * side**3 / (now(device) - start)


def losses(settings: RunSettings, steps: int) -> tuple[str, ...]:
    """The mean loss of the last fifth of some steps, and the first one, in both precisions."""
    scene, found = read_scene(settings), dict[str, torch.Tensor]()
    for precision in ("float32", "bfloat16"):
        learning = replace(settings.pretrain, precision=precision, steps=steps)
        runtime = Runtime(accelerator=settings.accelerator, deterministic=settings.deterministic)
        transform = learning.transform().fit(scene.cube)
        module = build_pretraining(learning, transform.num_components, settings.seed)
        data = pretraining_data(scene, transform, learning, runtime, None, seed=settings.seed)
        curve = LossCurve()
        runtime.make_trainer(
            steps=steps, precision=precision, gradient_clip=learning.gradient_clip,
            accumulate=share_of_step(learning, 1).parts, callbacks=[curve],
        ).fit(module, data)  # fmt: skip
        found[precision] = torch.stack(curve.losses).float().cpu()
    ends = [f"{one[-(len(one) // 5 or 1) :].mean():.4f}" for one in found.values()]
    return (settings.method, *ends, *(f"{one[0]:.4f}" for one in found.values()))


def now(device: torch.device) -> float:
    """A clock in seconds, read when the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def begin(device: torch.device) -> None:
    """Forget how much memory was used before a stage."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)


def measure(
    settings: RunSettings, *, steps: int, warmup: int, compiled: bool, folder: Path
) -> list[Pace]:
    """Time pretraining, features and classifier, each on what the one before it gave.

    So many training steps count, after those of the warm-up; ``folder`` is for feature files.
    """
    scene, seed = read_scene(settings), settings.seed
    runtime = TimedRuntime(
        accelerator=settings.accelerator,
        deterministic=settings.deterministic,
        clock=Clock(warmup, steps),
    )
    device = runtime.device

    def memory() -> int | None:
        return torch.cuda.max_memory_reserved(device) if device.type == "cuda" else None

    def pace(
        name: str,
        stage: PretrainSettings | ClassifierSettings,
        module: nn.Module,
        runtime: TimedRuntime,
        flops: float,
    ) -> Pace:
        trained = sum(weight.numel() for weight in module.parameters() if weight.requires_grad)
        precision, rate = resolve_precision(stage.precision, device), steps / runtime.clock.seconds
        unit = f"steps of {stage.batch_size}"
        share = flops * rate / matmul_rate(device, precision) if flops else None
        return Pace(name, precision, trained, rate, unit, stage.steps / rate, memory(), share)

    learning = settings.pretrain
    transform = learning.transform().fit(scene.cube)
    module = build_pretraining(learning, transform.num_components, seed)
    if compiled:  # the one method that all others call
        for network in {module.denoiser, module.trained_denoiser}:
            network.forward_levels = torch.compile(network.forward_levels)  # type: ignore[method-assign]
    data = pretraining_data(scene, transform, learning, runtime, None, seed=seed)

    def train(runtime: TimedRuntime) -> None:
        pretrain(module, data, learning, runtime)

    flops = 0.0 if compiled else arithmetic(train, runtime)
    begin(device)
    train(runtime)
    found = [pace("pretraining", learning, module, runtime, flops)]

    candidates = settings.features.candidates()
    precision = resolve_precision(settings.features.precision, device)
    request = settings.features.request(candidates[0], precision, seed)
    reduction, angles = settings.features.reduction(), settings.features.angles
    store = FeatureStore(folder)
    represent = DiffusionRepresentation(module, request, reduction, angles, store, device)
    if compiled:  # which happens in the first pass
        represent(scene.cube)
        store.remove()
    begin(device)
    start = now(device)
    features = represent(scene.cube)
    rate = scene.height * scene.width / (now(device) - start)
    total = len(candidates) * scene.height * scene.width / rate
    found.append(Pace("features", precision, None, rate, "pixels", total, memory()))

    if settings.classifier.estimator is None:  # else no network learns the labels
        runtime = replace(runtime, clock=Clock(warmup, steps))
        kind = CompiledClassifier if compiled else NetworkClassifier
        pixels = read_split(settings, scene).labelled

        def learn(runtime: TimedRuntime) -> NetworkClassifier:
            learner = kind(settings.classifier, runtime, seed=seed)
            return learner.fit(features, scene.labels, pixels, scene.num_classes)

        flops = 0.0 if compiled else arithmetic(learn, runtime)
        begin(device)
        learned = learn(runtime).module
        assert learned is not None  # noqa: S101  (fitted above)
        found.append(pace("classifier", settings.classifier, learned, runtime, flops))
    return found


def settings_for(method: str, options: argparse.Namespace) -> RunSettings:
    """A run of ``method`` on a simulated scene of the wanted size."""
    info = scene_info(options.scene)
    size = {name: getattr(info, name) for name in ("height", "width", "bands", "num_classes")}
    plain = preset_for(read_preset(method, options.preset), scene=options.scene, split="0.1")
    plain = merge(plain, {"method": method, "simulated": size})
    plain = merge(plain, from_flags(RunSettings, options.settings))
    if options.precision is not None:
        stages = ("pretrain", "features", "classifier")
        plain = merge(plain, {name: {"precision": options.precision} for name in stages})
    settings = RunSettings.from_dict(plain)
    if not settings.pretrains:
        raise ConfigurationError(
            f"{method} pretrains nothing, give methods that do, such as {', '.join(METHODS)}"
        )
    return settings


def parse_arguments(arguments: list[str] | None) -> argparse.Namespace:
    """Read the command line; ``settings`` are the flags that are settings of a run."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--methods", nargs="+", default=list(METHODS), metavar="NAME")
    add("--preset", choices=PRESETS, default="paper")
    size = "whose size to take"
    add("--scene", choices=sorted(CATALOGUE), default="indian_pines", help=size)
    precisions = ("auto", "float32", "bfloat16")
    add("--precision", choices=precisions, help="of all stages (default: the preset's)")
    add("--compile", action="store_true", help="compile the networks of all stages")
    add("--steps", type=int, default=30, help="steps that are timed")
    add("--warmup", type=int, default=5, help="steps before them")
    add("--losses", type=int, default=200, help="steps whose loss is compared; 0 = none")
    add("--minutes", type=float, default=8, help="begin nothing new after them")
    options, settings = parser.parse_known_args(arguments)
    options.settings = settings
    for name in ("steps", "warmup"):
        if getattr(options, name) < 1:
            parser.error(f"--{name} must be at least 1")
    return options


def main(arguments: list[str] | None = None, say: Callable[[str], None] = print) -> int:
    """Measure and print; 0 = done, 2 = something that was asked for can't be done."""
    options = parse_arguments(arguments)
    quieten()
    rows: list[tuple[str, ...]] = []
    curves: list[tuple[str, ...]] = []
    end = time.monotonic() + 60 * options.minutes
    peaks: dict[str, float | None] = {}
    how = {"steps": options.steps, "warmup": options.warmup, "compiled": options.compile}
    try:
        runs = [settings_for(method, options) for method in options.methods]
        size = runs[0].simulated
        say(describe_hardware())
        compiled = ", compiled" if options.compile else ""
        say(f"preset {options.preset}{compiled}, {size.height} x {size.width} x {size.bands}")
        for settings in runs:
            if time.monotonic() > end:
                say(f"no time is left for {settings.method}; give more --minutes")
                continue
            with tempfile.TemporaryDirectory() as folder:
                try:
                    paces = measure(settings, folder=Path(folder), **how)
                except torch.OutOfMemoryError as error:
                    say(f"{settings.method} needs more memory than the card has: {error}")
                    peaks[settings.method] = float("inf")
                    continue
            rows += [(settings.method, *pace.cells()) for pace in paces]
            peaks |= {f"{settings.method}, {pace.stage}": pace.memory for pace in paces}
        for settings in runs if options.losses else ():
            if time.monotonic() > end:
                say(f"no time is left for the losses of {settings.method}; give more --minutes")
                continue
            curves.append(losses(settings, options.losses))
    except HsiDiffusionError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    say("\n" + TextTable(HEADER, tuple(rows)).to_markdown())
    if curves:
        say(f"\nmean of the last fifth of {options.losses} steps:\n")
        say(TextTable(LOSSES, tuple(curves)).to_markdown())
    if large := [name for name, peak in peaks.items() if (peak or 0) > CARD]:
        say(f"\ntoo large for a card of 24 GB: {'; '.join(large)}")
    elif any(peaks.values()):
        say("\nall of it fits a card of 24 GB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
