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

from hsi_diffusion import FeatureSettings, NoiseSchedule, UNet3D, simulate_scene
from hsi_diffusion.features import compute_features, iter_feature_tiles
from hsi_diffusion.hardware import describe_hardware, resolve_precision
from hsi_diffusion.patches import MinMax

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from hsi_diffusion.hardware import Precision


class WholeNetwork(UNet3D):
    """Runs the network to its output before it hands out the features, as a hook would."""

    def forward_levels(
        self, x_t: Tensor, t: Tensor, indices: Sequence[int], *, output: bool
    ) -> tuple[Tensor | None, list[Tensor]]:
        """Output and features, whether the output is wanted or not."""
        del output
        return super().forward_levels(x_t, t, indices, output=True)


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

    device, schedule = torch.device(options.device), NoiseSchedule()
    scene = simulate_scene(options.size, options.size, options.bands, seed=0)
    cube = torch.from_numpy(MinMax().fit(scene.cube).transform(scene.cube))
    whole, network = WholeNetwork(options.bands).eval(), UNet3D(options.bands).eval()
    network.load_state_dict(whole.state_dict())

    def settings(precision: Precision) -> FeatureSettings:
        tile = options.tile
        return FeatureSettings((5,), (0,), noise="fixed", tile=tile, precision=precision)

    def seconds(denoiser: UNet3D, precision: Precision) -> float:
        start = time.perf_counter()
        wanted = settings(precision)
        for _ in iter_feature_tiles(denoiser, schedule, cube, wanted, device=device):
            pass
        if device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - start

    print(describe_hardware())
    print(f"{options.size} x {options.size} x {options.bands}, tile {options.tile}, t = 5, level 0")
    expected = compute_features(whole, schedule, cube, settings("float32"), device=device).array
    formats: list[Precision] = [resolve_precision("auto", device), "float32"]
    times: dict[str, list[float]] = {}
    for precision in dict.fromkeys(formats):
        features = compute_features(network, schedule, cube, settings(precision), device=device)
        error = abs(features.array - expected).max() / abs(expected).max()
        print(f"{precision}: largest error {error:.1e} of the largest feature")
    for _ in range(options.repeats):
        times.setdefault("whole network, float32", []).append(seconds(whole, "float32"))
        for precision in dict.fromkeys(formats):
            times.setdefault(f"level 0 only, {precision}", []).append(seconds(network, precision))
    base = statistics.median(times["whole network, float32"])
    for name, values in times.items():
        middle = statistics.median(values)
        print(f"{name}: {middle:.1f} s (median of {len(values)}), ratio {middle / base:.2f}")


if __name__ == "__main__":
    main()
