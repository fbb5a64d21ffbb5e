"""What holds for every denoiser that can be built by name."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import nn

from hsi_diffusion.denoisers import DENOISERS, Denoiser, UNet3D
from hsi_diffusion.diffusion import NoiseSchedule
from hsi_diffusion.errors import ConfigurationError
from hsi_diffusion.features import FeatureSettings
from tests.denoisers import reference_unet3d
from tests.denoisers.attention import images, lively
from tests.denoisers.learning import learned_error
from tests.features.networks import extract_features

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

T = torch.tensor([3, 470])


@dataclass(frozen=True, kw_only=True)
class Case:
    """A network's part of the tests; options add to those that make it small.

    Attributes:
        small: Options that make it small, with three levels.
        blocks: The blocks that a level needs, in order, and the others.
        others: Options of networks that take any size.
        seeing: Options of networks whose radius is measured.
        tiles: Sides of tiles, and options of the networks that see them.
        scene: Height and width of the scene that is cut into these.
        compiled: Options of the network that is compiled.
        medium: Options of the network that computes in bfloat16.
        bands: Of its images.
        close: Error that bfloat16 may make.
        on_gpu: Error that gradients may have on a GPU, in float32 and in bfloat16.
        learning: Options, of those alone, of the network that learns.
        learned: Error that it then stays below.
    """

    small: dict[str, Any]
    blocks: Callable[[Any, int], tuple[Sequence[nn.Module], Sequence[nn.Module]]]
    others: list[dict[str, Any]] = field(default_factory=lambda: [{}])
    seeing: list[dict[str, Any]] = field(default_factory=lambda: [{}])
    tiles: list[tuple[int, dict[str, Any]]]
    scene: tuple[int, int] = (19, 26)
    compiled: dict[str, Any]
    medium: dict[str, Any]
    bands: int = 5
    close: float = 0.06
    on_gpu: tuple[float, float] = (1e-3, 0.1)
    learning: dict[str, Any]
    learned: float = 0.25


CASES = {
    "PixelDenoiser": Case(
        small={"channels": 8, "blurs": (0, 1, 1.5), "time_channels": 8},
        blocks=lambda net, _: (net.layers, [net.head]),
        tiles=[(7, {}), (5, {"blurs": (2,)})],
        compiled={"layers": 1},
        medium={"channels": 16},
        learning={"channels": 32},
        learned=0.5,  # from a pixel alone
    ),
    "StagedDenoiser": Case(
        small={
            "channels": 8, "stages": 3, "window": 4, "heads": 2, "groups": 4, "time_channels": 8
        },
        blocks=lambda net, level: (
            net.stages[: level + 1], [*net.stages[level + 1 :], net.head]
        ),
        others=[{}, {"spatial": False}, {"spectral": False}],
        seeing=[{"window": window} for window in (1, 3, 4)],
        tiles=[(7, {}), (5, {}), (9, {"window": 3}), (13, {"window": 8})],
        compiled={"stages": 1},
        medium={"channels": 32, "stages": 2, "heads": 4, "groups": 8},
        learning={"channels": 32, "stages": 2, "window": 4},
    ),
    "UNet2D": Case(
        small={"channels": 4, "multipliers": (1, 2, 3), "time_channels": 8},
        blocks=lambda net, level: (
            [net.finest, *net.downs, *net.ups[:level]], [*net.ups[level:], net.head]
        ),
        others=[{"multipliers": multipliers} for multipliers in ([1], [2, 1], [1, 2, 3])],
        seeing=[
            {"channels": 2, "multipliers": multipliers, "blocks": blocks}
            for multipliers in ((1,), (1, 1), (1, 2, 1))
            for blocks in (1, 2)
        ],
        tiles=[
            (tile, {"multipliers": multipliers, "blocks": blocks})
            for tile, blocks in ((7, 1), (5, 1), (12, 2))
            for multipliers in ((1, 2), (1, 2, 1))
        ],
        scene=(45, 38),
        compiled={"multipliers": (1, 2)},
        medium={"channels": 8, "multipliers": (1, 2, 2)},
        learning={"channels": 16, "time_channels": 32},
    ),
    "UNet3D": Case(
        small={"base_channels": 2},
        blocks=lambda net, level: (
            [*net.downs, *net.ups[:level]], [*net.ups[level:], net.output]
        ),
        others=[{}, {"depth": 1}, {"band_padding": "zeros"}],
        seeing=[],  # a test of its own: a ReLU hides pixels
        tiles=[(7, {"depth": 1}), (5, {"depth": 2})],
        compiled={"depth": 1},
        medium={"base_channels": 4},
        bands=16,  # two on the coarsest grid
        close=0.05,
        on_gpu=(0.01, 0.3),  # three times as many convolutions
        learning={"base_channels": 8, "depth": 1},
        learned=0.3,
    ),
}  # fmt: skip

every_network = pytest.mark.parametrize("name", sorted(DENOISERS))


def each(attribute: str) -> pytest.MarkDecorator:
    """Every network with each of an attribute's options."""
    pairs = [(name, one) for name in CASES for one in getattr(CASES[name], attribute)]
    return pytest.mark.parametrize(("name", attribute), pairs)


def build(name: str, num_bands: int = 5, std: float = 0.3, **options: Any) -> Any:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = DENOISERS[name](num_bands, **(CASES[name].small | options))
    return reference_unet3d.lively(network) if isinstance(network, UNet3D) else lively(network, std)


def all_levels(network: Denoiser) -> range:
    return range(len(network.feature_info))


def test_every_network_is_tested() -> None:
    assert sorted(CASES) == sorted(DENOISERS)


@each("others")
@pytest.mark.parametrize("bands", [1, 5])
@pytest.mark.parametrize("size", [(1, 1), (2, 3), (4, 4), (9, 6), (8, 13)])
def test_any_number_of_bands_and_any_size(
    name: str, others: dict[str, Any], bands: int, size: tuple[int, int]
) -> None:
    network = build(name, bands, **others)
    x = images(2, bands, *size)
    output, features = network.forward_with_features(x, T, all_levels(network))
    assert output.shape == x.shape
    assert output.isfinite().all()
    for level, found in zip(network.feature_info, features, strict=True):
        rows, columns = (-(-length // level.reduction) for length in size)
        assert found.shape == (2, level.channels, rows, columns)
        assert found.isfinite().all()


@every_network
def test_the_numbers_of_one_pixel_stand_side_by_side(name: str) -> None:
    network = build(name)
    unblurred = all_levels(network)[: 1 if name == "PixelDenoiser" else None]
    for features in network.forward_intermediates(images(2, 5, 4, 8), T, unblurred):
        assert features.permute(0, 2, 3, 1).is_contiguous()
    for features in network.forward_intermediates(images(2, 5, 9, 6), T, unblurred):
        assert features.permute(0, 2, 3, 1).stride(3) == 1  # a part of whole coarse pixels


@each("seeing")
def test_radius_is_exactly_how_far_a_pixel_sees(name: str, seeing: dict[str, Any]) -> None:
    network = build(name, 2, **seeing)
    coarse = network.alignment
    radii = [*(level.radius for level in network.feature_info), network.radius]
    middle = -(-max(radii) // coarse) * coarse
    x = images(1, 2, 2 * middle + coarse, 1).requires_grad_()
    output, features = network.forward_with_features(x, T[:1], all_levels(network))
    sizes = [*(level.reduction for level in network.feature_info), 1]
    for radius, size, result in zip(radii, sizes, [*features, output], strict=True):
        furthest = 0
        for start in range(middle, middle + coarse, size):  # every place in the coarsest cell
            numbers = result[0, :, start // size].sum()
            (gradient,) = torch.autograd.grad(numbers, x, retain_graph=True)
            seen = (gradient[0, :, :, 0] != 0).any(0).nonzero()
            furthest = max(furthest, start + size - 1 - int(seen.min()), int(seen.max()) - start)
        assert furthest == radius


@each("tiles")
def test_tiles_give_what_the_whole_scene_gives(name: str, tiles: tuple[int, Any]) -> None:
    tile, options = tiles
    network = build(name, **options)
    schedule = NoiseSchedule(20)
    scene = CASES[name].scene
    for level in all_levels(network):
        whole, tiled = (
            extract_features(
                network,
                schedule,
                images(*scene, 5),
                FeatureSettings(timesteps=(12,), levels=(level,), noise="fixed", tile=side),
            )
            for side in (64, tile)
        )
        assert whole.shape == (*scene, network.feature_info[level].channels)
        torch.testing.assert_close(tiled, whole)


@every_network
def test_a_crop_with_its_halo_gives_exactly_what_the_whole_gives(name: str) -> None:
    network = build(name)
    x = images(1, 5, 64, 8)
    whole = network.forward_intermediates(x, T[:1], all_levels(network))
    for index, level in enumerate(network.feature_info):
        for rows in (slice(0, 32), slice(32, 64)):
            top = max(0, (rows.start - level.radius) // network.alignment * network.alignment)
            bottom = min(64, rows.stop + level.radius)
            assert bottom - top < 64
            (crop,) = network.forward_intermediates(x[:, :, top:bottom], T[:1], [index])
            first, end, start = (row // level.reduction for row in (rows.start, rows.stop, top))
            torch.testing.assert_close(
                crop[:, :, first - start : end - start],
                whole[index][:, :, first:end],
                rtol=1e-10,
                atol=1e-12,
            )


@every_network
@pytest.mark.parametrize("level", [0, 1, 2])
def test_nothing_beyond_the_level_is_computed(name: str, level: int) -> None:
    network = build(name)
    needed, beyond = CASES[name].blocks(network, level)
    for block in beyond:
        for parameter in block.parameters():
            nn.init.constant_(parameter, float("nan"))
    calls: list[nn.Module] = []
    for block in (*needed, *beyond):
        block.register_forward_hook(lambda module, *_: calls.append(module))
    features = network.forward_intermediates(images(2, 5, 4, 4), T, [level])
    assert features[0].isfinite().all()
    assert calls == [*needed]
    assert network(images(2, 5, 4, 4), T).isnan().all()


@every_network
def test_levels_share_the_work_and_come_in_the_order_asked(name: str) -> None:
    network = build(name)
    needed, _ = CASES[name].blocks(network, 2)
    calls: list[nn.Module] = []
    for block in needed:
        block.register_forward_hook(lambda module, *_: calls.append(module))
    x = images(2, 5, 4, 4)
    together = network.forward_intermediates(x, T, [2, 0, 1, 2])
    assert calls == [*needed]
    for index, features in zip([2, 0, 1, 2], together, strict=True):
        alone = network.forward_intermediates(x, T, [index])[0]
        torch.testing.assert_close(features, alone, rtol=0, atol=0)


@every_network
def test_gradients_flow_through_output_and_features(name: str) -> None:
    network = build(name)
    output, (features,) = network.forward_with_features(images(2, 5, 8, 5), T, [0])
    needed, beyond = (
        [*nn.ModuleList(blocks).parameters()] for blocks in CASES[name].blocks(network, 0)
    )
    for result in (features, output):
        for gradient in torch.autograd.grad(result.square().sum(), needed, retain_graph=True):
            assert gradient.abs().max() > 0
    later = torch.autograd.grad(features.square().sum(), beyond, allow_unused=True)
    assert all(gradient is None for gradient in later)


@every_network
def test_timesteps_matter_per_image(name: str) -> None:
    network = build(name)
    x = images(1, 5, 4, 4).repeat(2, 1, 1, 1)
    output = network(x, T)
    assert not torch.allclose(output[0], output[1])
    torch.testing.assert_close(output[1:], network(x[1:], T[1:]), rtol=1e-10, atol=1e-12)


def medium(name: str, std: float = 0.15) -> Any:
    """In float32."""
    return build(name, CASES[name].bands, std, **CASES[name].medium).float()


def laid_out(network: Any, memory: torch.memory_format) -> Any:
    """A network of 3-D convolutions can't be laid out for images, but its input can."""
    return network if isinstance(network, UNet3D) else network.to(memory_format=memory)


@every_network
@pytest.mark.parametrize("memory", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("trains", [True, False])
def test_bfloat16_is_close(name: str, memory: torch.memory_format, trains: bool) -> None:
    network = laid_out(medium(name), memory)
    x = images(2, CASES[name].bands, 6, 9).float().contiguous(memory_format=memory)
    levels = all_levels(network)
    with torch.set_grad_enabled(trains):  # two different kernels of the fused attention
        expected = network.forward_with_features(x, T, levels)
        with torch.autocast("cpu", torch.bfloat16):
            found = network.forward_with_features(x, T, levels)
        cast = network.bfloat16().forward_with_features(x.bfloat16(), T, levels)
    for output, features in (found, cast):
        for low, high in zip([output, *features], [expected[0], *expected[1]], strict=True):
            assert low.dtype == torch.bfloat16
            assert (low.float() - high).abs().max() < CASES[name].close * high.abs().max()


@pytest.mark.parametrize("name", sorted(CASES.keys() - {"UNet3D"}))  # its own asks for more
@pytest.mark.parametrize("size", [(1, 1), (4, 4), (6, 9), (16, 16)])
def test_bfloat16_learns_what_float32_learns(name: str, size: tuple[int, int]) -> None:
    network = medium(name, std=0.3)
    x = images(2, 5, *size).float()
    gradients = []
    for enabled in (False, True):
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            loss = network(x, T).float().square().mean()
        gradients.append(torch.autograd.grad(loss, list(network.parameters())))
    for expected, found in zip(*gradients, strict=True):
        assert (found - expected).norm() <= 0.15 * expected.norm() + 1e-4


@every_network
def test_channels_last_changes_nothing(name: str) -> None:
    network = build(name)
    x = images(2, 5, 8, 6)
    expected = network(x, T)
    laid_out(network, torch.channels_last)
    found = network(x.contiguous(memory_format=torch.channels_last), T)
    torch.testing.assert_close(found, expected)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@every_network
@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_gpu_agrees_with_cpu(name: str, precision: torch.dtype) -> None:
    network = medium(name)
    weight = network.get_parameter("conv0.weight" if name == "UNet3D" else "stem.weight")
    x = images(2, CASES[name].bands, 6, 9).float()
    expected = torch.autograd.grad(network(x, T).square().mean(), weight)[0]
    network.cuda()
    with torch.autocast("cuda", precision, enabled=precision != torch.float32):
        loss = network(x.cuda(), T.cuda()).float().square().mean()
    found = torch.autograd.grad(loss, weight)[0].cpu()
    tolerance = CASES[name].on_gpu[precision != torch.float32]
    assert (found - expected).norm() < tolerance * expected.norm()


@every_network
def test_compiling_in_place_changes_neither_names_nor_results(name: str) -> None:
    network = build(name, **CASES[name].compiled)
    x = images(2, 5, 6, 7)
    names, expected = list(network.state_dict()), network(x, T)
    network.compile(backend="eager", fullgraph=True)
    assert list(network.state_dict()) == names
    torch.testing.assert_close(network(x, T), expected)


@every_network
def test_learns_to_predict_x0_in_a_few_steps(name: str) -> None:
    torch.manual_seed(0)
    network: Denoiser = DENOISERS[name](6, **CASES[name].learning)
    assert learned_error(network) < CASES[name].learned


@every_network
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_bands": 0}, "num_bands must be at least 1, got 0"),
        ({"time_channels": 5}, "time_channels must be even and at least 4, got 5"),
        ({"time_channels": 2}, "time_channels must be even and at least 4, got 2"),
    ],
)
def test_impossible_sizes_are_named(name: str, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        DENOISERS[name](**({"num_bands": 8} | settings))
