"""How long features of a whole scene take, against a plain float32 run of the whole network.

The 3-D U-Net of SpectralDiff at its published width (4,299,633 parameters), 145 x 145 pixels, 200
bands, one timestep, layer 0. The two are timed alternately, over the same tiles with the same halo,
so that their ratio holds on a noisy machine as well. Weights are random: speed does not depend on
them.

Command: python experiments/feature_speed.py
Hardware, time and result: see README, "Speed".
"""

from __future__ import annotations

import argparse
import statistics
import time
from typing import TYPE_CHECKING

import torch

from hsi_diffusion import FeatureSettings, UNet3D, simulate_scene
from hsi_diffusion.diffusion import NoiseSchedule
from hsi_diffusion.features import extract_features, iter_feature_tiles
from hsi_diffusion.patches import MinMax
from hsi_diffusion.runs.hardware import describe_hardware, resolve_precision

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor


class WholeNetwork(UNet3D):
    """Runs the network to its output before it hands out the features, as a hook would."""

    def forward_intermediates(self, x_t: Tensor, t: Tensor, indices: object) -> list[Tensor]:
        """Features of level 0, taken from a run of the whole network."""
        del indices
        kept: list[Tensor] = []

        def keep(_: object, arguments: tuple[Tensor, ...]) -> None:
            (bottleneck,) = arguments[:1]  # the block itself takes it twice
            kept.append(torch.cat((bottleneck, bottleneck), dim=1).flatten(1, 2))

        handle = self.ups[0].register_forward_pre_hook(keep)
        try:
            self(x_t, t)
        finally:
            handle.remove()
        return kept


def seconds(work: Callable[[], object]) -> float:
    """Wall time of one call."""
    start = time.perf_counter()
    work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - start


def main(arguments: list[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", type=int, default=145, help="side of the scene in pixels")
    parser.add_argument("--bands", type=int, default=200)
    parser.add_argument("--tile", type=int, default=145, help="side of a tile in pixels")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    options = parser.parse_args(arguments)

    device = torch.device(options.device)
    scene = simulate_scene(options.size, options.size, options.bands, seed=0)
    cube = torch.from_numpy(MinMax().fit(scene.cube).transform(scene.cube))
    torch.manual_seed(0)
    whole = WholeNetwork(options.bands).eval()
    network = UNet3D(options.bands).eval()
    network.load_state_dict(whole.state_dict())
    schedule = NoiseSchedule()

    def settings(precision: str) -> FeatureSettings:
        return FeatureSettings(
            timesteps=(5,),
            levels=(0,),
            noise="fixed",
            tile=options.tile,
            precision="bfloat16" if precision == "bfloat16" else "float32",
        )

    fast = resolve_precision("auto", device)
    print(describe_hardware())
    print(f"{options.size} x {options.size} x {options.bands}, tile {options.tile}, t = 5, level 0")
    expected = extract_features(whole, schedule, cube, settings("float32"), device=device)
    for precision in dict.fromkeys((fast, "float32")):
        found = extract_features(network, schedule, cube, settings(precision), device=device)
        error = ((found - expected).abs().max() / expected.abs().max()).item()
        print(f"{precision}: largest error {error:.1e} of the largest feature")
        del found

    def run(denoiser: UNet3D, precision: str) -> float:
        return seconds(
            lambda: [
                None
                for _ in iter_feature_tiles(
                    denoiser, schedule, cube, settings(precision), device=device
                )
            ]
        )

    times: dict[str, list[float]] = {"whole network, float32": []}
    for _ in range(options.repeats):
        plain = run(whole, "float32")
        times["whole network, float32"].append(plain)
        for precision in dict.fromkeys((fast, "float32")):
            times.setdefault(f"level 0 only, {precision}", []).append(run(network, precision))
    base = statistics.median(times["whole network, float32"])
    for name, values in times.items():
        middle = statistics.median(values)
        print(f"{name}: {middle:.1f} s (median of {len(values)}), ratio {middle / base:.2f}")


if __name__ == "__main__":
    main()
