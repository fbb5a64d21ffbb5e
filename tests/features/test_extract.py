"""Features by tiles against one pass over the scene, noise fields, and what stays as it was."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
import torch

from hsi_diffusion.diffusion import NoiseSchedule
from hsi_diffusion.errors import ConfigurationError
from hsi_diffusion.features import (
    FeatureSettings,
    feature_channels,
    iter_feature_tiles,
    tiles,
)
from hsi_diffusion.seeding import generator
from tests.features.networks import BANDS, Gridded, Scaled, extract_features, unet
from tests.usual import usual_dtype

if TYPE_CHECKING:
    from torch import Tensor

    from hsi_diffusion.denoisers import Denoiser

SCHEDULE = NoiseSchedule(timesteps=50)


def scene(height: int = 23, width: int = 30) -> Tensor:
    rng = torch.Generator().manual_seed(5)
    return torch.rand(height, width, BANDS, generator=rng) * 2 - 1


def extract(denoiser: Denoiser, cube: Tensor | None = None, **settings: Any) -> Tensor:
    return extract_features(
        denoiser, SCHEDULE, scene() if cube is None else cube, FeatureSettings(**settings)
    )


@pytest.mark.parametrize("noise", ["none", "fixed", "mean"])
@pytest.mark.parametrize("tile", [7, 16])
def test_tiles_give_what_the_whole_scene_gives(noise: str, tile: int) -> None:
    settings: dict[str, Any] = {"timesteps": (3, 20), "levels": (0, 1), "noise": noise, "draws": 2}
    whole = extract(unet(), tile=64, **settings)
    tiled = extract(unet(), tile=tile, **settings)
    assert whole.abs().max() > 0.1
    assert (tiled - whole).abs().max() < 1e-5


@pytest.mark.parametrize("noise", ["none", "fixed"])
def test_features_do_not_follow_the_usual_dtype(noise: Any) -> None:
    cube, settings = scene(), FeatureSettings(noise=noise)
    for net in (unet(), Scaled()):  # which has no weights to go by
        [(*_, expected)] = iter_feature_tiles(net, SCHEDULE, cube, settings)
        with usual_dtype(torch.bfloat16):
            [(*_, found)] = iter_feature_tiles(net, SCHEDULE, cube, settings)
        assert found.dtype == torch.float32
        assert torch.equal(found, expected)


def test_one_tile_is_one_pass_of_the_network() -> None:
    net, cube = unet().eval(), scene()
    image = cube.permute(2, 0, 1)[None]
    t = torch.tensor([7])
    with torch.no_grad():
        x_t = SCHEDULE.q_sample(image, t, torch.zeros_like(image))
        expected = torch.cat(net.forward_intermediates(x_t, t, [1, 0]), dim=1)[0].permute(1, 2, 0)
    found = extract(net, timesteps=(7,), levels=(1, 0), tile=64)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected)


def test_a_radius_too_small_would_be_seen() -> None:
    """Guards the tests above: the network really looks as far as it says."""
    net = unet()
    object.__setattr__(net.feature_info[1], "radius", 2)
    difference = extract(net, levels=(1,), tile=16) - extract(net, levels=(1,), tile=64)
    assert difference.abs().max() > 1e-5


@pytest.mark.parametrize("levels", [(0,), (1,), (0, 1)])
@pytest.mark.parametrize("tile", [5, 8, 9])
def test_windows_and_coarser_grids_lie_as_in_the_whole_scene(
    levels: tuple[int, ...], tile: int
) -> None:
    whole = extract(Gridded(), levels=levels, tile=64)
    tiled = extract(Gridded(), levels=levels, tile=tile)
    torch.testing.assert_close(tiled, whole, atol=1e-6, rtol=0)


def between(values: Tensor, position: float) -> Tensor:
    """The value of a function with values at 0, 1, ..., linear between them, constant beyond."""
    position = min(max(position, 0), len(values) - 1)
    lower = min(int(position), max(len(values) - 2, 0))
    upper = min(lower + 1, len(values) - 1)
    return values[lower] + (position - lower) * (values[upper] - values[lower])


@pytest.mark.parametrize("tile", [5, 64])
def test_coarser_grids_are_interpolated_from_the_middles_of_their_pixels(tile: int) -> None:
    net, cube = Gridded(), scene(11, 14)
    x_t = math.sqrt(SCHEDULE.alpha_bar(5)) * cube.permute(2, 0, 1)[None]
    coarse = net.forward_intermediates(x_t, torch.tensor([5]), [1])[0][0].permute(1, 2, 0)
    found = extract(net, cube, levels=(1,), tile=tile)
    assert coarse.shape[:2] == (6, 7)
    for row in range(11):
        for column in range(14):
            along = torch.stack([between(line, (column + 0.5) / 2 - 0.5) for line in coarse])
            expected = between(along, (row + 0.5) / 2 - 0.5)
            torch.testing.assert_close(found[row, column], expected)


def test_channels_go_timestep_by_timestep_and_then_level_by_level() -> None:
    cube, net = scene(), Scaled()
    settings = FeatureSettings(timesteps=(9, 2), levels=(1, 0), tile=8)
    features = extract_features(net, SCHEDULE, cube, settings)
    at9, at2 = (math.sqrt(SCHEDULE.alpha_bar(t)) * cube for t in (9, 2))
    torch.testing.assert_close(features, torch.cat((9 * at9, at9, 2 * at2, at2), dim=2))
    assert feature_channels(net, settings) == (BANDS,) * 4
    assert set(net.asked) == {(1, 0)}, "only the asked levels are computed"


def noise_field(**settings: Any) -> Tensor:
    """The noise that the settings put on a scene, scaled to unit variance."""
    (t,) = settings["timesteps"]
    cube = scene(40, 50)
    features = extract(Scaled(), cube, levels=(0,), **settings)
    alpha_bar = SCHEDULE.alpha_bar(t)
    return (features - math.sqrt(alpha_bar) * cube) / math.sqrt(1 - alpha_bar)


def test_a_draw_is_standard_normal_and_depends_on_seed_and_timestep_only() -> None:
    first = noise_field(timesteps=(30,), noise="fixed")
    assert first.mean().abs() < 0.05
    assert (first.std() - 1).abs() < 0.05
    assert len(set(first.flatten().tolist())) == pytest.approx(first.numel(), rel=1e-3)
    assert torch.equal(first, noise_field(timesteps=(30,), noise="fixed", tile=64))
    torch.testing.assert_close(
        first, noise_field(timesteps=(30,), noise="fixed", tile=11), atol=1e-5, rtol=0
    )
    for other in (
        noise_field(timesteps=(30,), noise="fixed", seed=1),
        noise_field(timesteps=(31,), noise="fixed"),
    ):
        assert torch.corrcoef(torch.stack((first.flatten(), other.flatten())))[0, 1].abs() < 0.05


def test_mean_takes_the_mean_of_the_features_and_not_of_the_images() -> None:
    one = extract(Scaled(), levels=(2,), timesteps=(30,), noise="mean", draws=1)
    assert torch.equal(one, extract(Scaled(), levels=(2,), timesteps=(30,), noise="fixed"))
    many = extract(Scaled(), levels=(2,), timesteps=(30,), noise="mean", draws=200)
    alpha_bar = SCHEDULE.alpha_bar(30)
    # E[x_t ** 2] = abar x_0 ** 2 + (1 - abar); the mean image would give only the first term
    expected = alpha_bar * scene().square() + 1 - alpha_bar
    assert (many - expected).mean().abs() < 0.01


def drawn_rows(monkeypatch: pytest.MonkeyPatch, held: int) -> tuple[Counter[object], Tensor]:
    """How often each row of noise was drawn, and what came out."""
    names: Counter[object] = Counter()

    def counting(*parts: Any) -> torch.Generator:
        names[parts] += 1
        return generator(*parts)

    monkeypatch.setattr(tiles, "generator", counting)
    monkeypatch.setattr(tiles, "HELD_STRIPS", held)
    settings: dict[str, Any] = {"timesteps": (3, 20), "noise": "mean", "draws": 2}
    return names, extract(Scaled(), scene(16, 30), tile=8, **settings)


def test_the_tiles_of_a_row_share_its_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    names, found = drawn_rows(monkeypatch, held=2**20)
    assert set(names.values()) == {1}
    assert len(names) == 2 * 2 * 16
    strip = 8 * 30 * BANDS * 4
    for held, draws in ((0, {4}), (2 * strip, {1, 4})):
        again, same = drawn_rows(monkeypatch, held)
        assert torch.equal(same, found)
        assert set(again.values()) == draws
    # two of the four strips of a row of tiles are held; that row's tiles draw the others, 4 of them
    assert sum(again.values()) == 2 * 16 + 2 * 16 * 4


def test_drawing_touches_no_global_generator() -> None:
    state = torch.get_rng_state()
    extract(Scaled(), noise="mean")
    assert torch.equal(torch.get_rng_state(), state)


def test_network_is_left_as_it_was() -> None:
    net = unet().train()
    net.downs[0].eval()
    modes = [module.training for module in net.modules()]
    before = {name: value.clone() for name, value in net.state_dict().items()}
    seen = []
    net.downs[1].register_forward_pre_hook(lambda module, inputs: seen.append(module.training))
    extract(net)
    assert seen == [False]
    assert [module.training for module in net.modules()] == modes
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


def test_network_is_left_as_it_was_after_an_early_end() -> None:
    net = unet().train()
    tiles = iter_feature_tiles(net, SCHEDULE, scene(), FeatureSettings(tile=8))
    next(tiles)
    assert not torch.is_inference_mode_enabled()
    tiles.close()
    assert all(module.training for module in net.modules())


def test_features_may_be_trained_on() -> None:
    features = extract(unet())
    weight = torch.ones(features.shape[2], requires_grad=True)
    (gradient,) = torch.autograd.grad((features @ weight).sum(), weight)
    torch.testing.assert_close(gradient, features.sum(dim=(0, 1)))


def test_tiles_cover_every_pixel_once() -> None:
    seen = torch.zeros(23, 30)
    for rows, columns, tile in iter_feature_tiles(
        Scaled(),
        SCHEDULE,
        scene(),
        FeatureSettings(tile=10),
    ):
        seen[rows, columns] += 1
        assert tile.shape == (rows.stop - rows.start, columns.stop - columns.start, BANDS)
    assert (seen == 1).all()


def test_bfloat16_is_close_and_comes_out_in_float32() -> None:
    exact, rough = extract(unet()), extract(unet(), precision="bfloat16")
    assert rough.dtype == torch.float32
    assert 1e-6 < (rough - exact).abs().max() < 0.05 * exact.abs().max()


def test_network_in_float64() -> None:
    exact = extract(unet().double())
    torch.testing.assert_close(extract(unet()), exact, atol=1e-5, rtol=1e-5)


def test_device_is_asked_for_and_the_network_comes_back() -> None:
    if not torch.cuda.is_available():
        pytest.skip("needs a GPU")
    net = unet()
    features = extract_features(net, SCHEDULE, scene(), FeatureSettings(), device="cuda")
    assert features.device == next(net.parameters()).device == torch.device("cpu")
    torch.testing.assert_close(features, extract(net), atol=1e-2, rtol=1e-2)


def test_numpy_cube_gives_the_same() -> None:
    settings = FeatureSettings()
    found = extract_features(unet(), SCHEDULE, scene().numpy(), settings)
    assert torch.equal(found, extract(unet()))


@pytest.mark.parametrize(
    ("shape", "settings", "message"),
    [
        ((6, 6, BANDS + 1), {}, rf"cube must be \(height, width, {BANDS}\)"),
        ((6, BANDS), {}, "cube must be"),
        ((6, 0, BANDS), {}, "cube must be"),
        ((6, 6, BANDS), {"timesteps": (50,)}, "t must be from 0 to 49"),
        ((6, 6, BANDS), {"levels": (2,)}, "indices must name"),
    ],
)
def test_refuses_what_does_not_fit_before_computing(
    shape: tuple[int, ...], settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message):
        iter_feature_tiles(unet(), SCHEDULE, torch.zeros(shape), FeatureSettings(**settings))
