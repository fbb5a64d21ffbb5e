"""Contrast beside denoising: settings, wiring, and the same numbers on several processes."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import Tensor

from hsi_diffusion import DiffusionPretrainModule, NoiseSchedule, SimulatedSceneDataModule
from hsi_diffusion.denoisers import UNet3D
from hsi_diffusion.diffusion import cluster_contrast, instance_contrast
from hsi_diffusion.errors import ConfigurationError
from hsi_diffusion.modules import ContrastSettings
from hsi_diffusion.modules.contrast import build_contrast
from hsi_diffusion.patches import TwoViews
from hsi_diffusion.patches.augment import Compose, Dihedral, Gain
from tests.modules import contrast_worker
from tests.processes import together

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import lightning as L

SMALL: dict[str, Any] = {
    "denoiser": partial(UNet3D, base_channels=2, depth=1),
    "schedule": NoiseSchedule(50),
}
CONTRAST = {"cell": 3, "shift": 1, "dim": 8, "clusters": 5, "hidden": 8}


@pytest.fixture
def data(small_scene: Callable[..., SimulatedSceneDataModule]) -> SimulatedSceneDataModule:
    return small_scene(
        task="pretrain", patch_size=8, batch_size=8, samples_per_epoch=32, holdout=0.1
    )


def build(**settings: Any) -> DiffusionPretrainModule:
    torch.manual_seed(0)
    return DiffusionPretrainModule(16, **{**SMALL, **settings})


def weights(module: DiffusionPretrainModule) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in module.denoiser.state_dict().items()}


def test_defaults_are_documented_and_cover_every_key() -> None:
    settings = ContrastSettings()
    text = str(ContrastSettings.__doc__)
    assert all(f"    {name}: " in text for name in vars(settings))


def test_settings_may_be_given_as_an_object() -> None:
    settings = ContrastSettings(instance=0.3, cell=4, shift=2)
    given, plain = (
        build(contrast=settings),
        build(contrast={"instance": 0.3, "cell": 4, "shift": 2}),
    )
    assert given.contrast is not None
    assert given.contrast.settings == settings
    assert given.hparams == plain.hparams
    assert given.hparams["contrast"]["dim"] == 64


def test_parts_are_those_of_the_functions() -> None:
    torch.manual_seed(0)
    denoiser = UNet3D(8, base_channels=2, depth=2)
    plain = {"instance": 0.3, "cluster": 0.7, "level": -2, "cell": 3, "temperature": 0.2,
             "cluster_temperature": 0.8, "entropy": 0.4, "shift": 1}  # fmt: skip
    contrast = build_contrast(plain, denoiser)
    assert contrast is not None
    assert contrast.level == 0
    assert contrast.names == ("instance", "cluster")
    augment = Compose((Dihedral(1.0),)), Compose((Gain(0.1),))
    assert contrast.views == TwoViews(1, *augment)
    features = torch.randn(8, denoiser.feature_info[0].channels, 7, 6)
    parts = contrast(features)
    # the first 4 are the first views, the last 4 the second ones, 2 x 2 cells each
    z, p = contrast.head(features)
    assert z is not None
    assert p is not None
    instance = instance_contrast(z[:16], z[16:], 0.2)
    cluster = cluster_contrast(p[:16], p[16:], 0.8, 0.4)
    assert set(parts) == {"loss", "instance", "cluster"}
    torch.testing.assert_close(parts["instance"], instance.detach())
    torch.testing.assert_close(parts["cluster"], cluster.detach())
    torch.testing.assert_close(parts["loss"], 0.3 * instance + 0.7 * cluster)
    assert not parts["instance"].requires_grad


@pytest.mark.parametrize("off", [None, {"instance": 0, "cluster": 0, "cell": 3, "shift": 1}])
def test_without_weights_nothing_changes(
    data: SimulatedSceneDataModule, quiet_trainer: Callable[..., L.Trainer], off: Any
) -> None:
    plain, without = build(), build(contrast=off)
    assert without.contrast is None
    for module in (plain, without):
        quiet_trainer(max_epochs=1).fit(module, data)
    pairs = zip(plain.state_dict().items(), without.state_dict().items(), strict=True)
    assert all(a == b and torch.equal(x, y) for (a, x), (b, y) in pairs)


def test_the_denoiser_starts_from_the_same_weights() -> None:
    first, second = weights(build()), weights(build(contrast={}))
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize(
    ("weights_given", "losses"),
    [
        ({}, {"lae": 0.7, "l2": 0.3}),
        ({"instance": 0.0}, {"l1": 1.0}),
        ({"cluster": 0.0}, {"l1": 1.0}),
    ],
)
def test_contrast_is_learned(
    data: SimulatedSceneDataModule,
    quiet_trainer: Callable[..., L.Trainer],
    weights_given: dict[str, float],
    losses: dict[str, float],
) -> None:
    module = build(
        contrast={**CONTRAST, **weights_given}, losses=losses, learning_rate=1e-2, ema_decay=0.5
    )
    on = {"instance", "cluster"} - set(weights_given)
    trainer = quiet_trainer(max_steps=1)
    trainer.fit(module, data)
    before = {name: float(value) for name, value in trainer.callback_metrics.items()}
    before |= trainer.validate(module, data, verbose=False)[0]
    trainer = quiet_trainer(max_epochs=8)
    trainer.fit(module, data)
    after = {name: float(value) for name, value in trainer.callback_metrics.items()}
    parts = set(losses) | on
    assert {name for name in after if name.startswith("train/")} == {
        f"train/{name}" for name in parts | {"loss"}
    }
    # a contrast of validation batches would depend on their size
    assert {name for name in after if name.startswith("val/")} == {
        f"val/{name}" for name in {*losses, "loss"}
    }
    assert all(after[f"train/{name}"] < before[f"train/{name}"] for name in on)
    assert after["val/loss"] < before["val/loss"]
    total = sum({**losses, "instance": 0.1, "cluster": 0.1}[n] * after[f"train/{n}"] for n in parts)
    assert after["train/loss"] == pytest.approx(total, rel=1e-4)
    assert module.average is not None
    assert not any("head" in name for name in module.average.state_dict())


def test_the_contrast_reaches_the_denoiser(
    data: SimulatedSceneDataModule, quiet_trainer: Callable[..., L.Trainer]
) -> None:
    """With a weight near 0 only the views count; with a large one the denoiser ends elsewhere."""
    faint = build(contrast={**CONTRAST, "instance": 1e-30, "cluster": 0})
    strong = build(contrast={**CONTRAST, "instance": 10.0, "cluster": 0})
    for module in (faint, strong):
        quiet_trainer(max_steps=3).fit(module, data)
    first, second = weights(faint), weights(strong)
    assert not torch.allclose(first["conv0.weight"], second["conv0.weight"], atol=1e-5)


def test_bfloat16(data: SimulatedSceneDataModule, quiet_trainer: Callable[..., L.Trainer]) -> None:
    module = build(contrast=CONTRAST, losses={"lae": 1.0})
    trainer = quiet_trainer(max_steps=2, precision="bf16-mixed")
    trainer.fit(module, data)
    for name in ("loss", "lae", "instance", "cluster"):
        value = trainer.callback_metrics[f"train/{name}"]
        assert value.dtype == torch.float32
        assert value.isfinite()


def test_resume_is_bit_exact_and_features_do_without_the_head(
    data: SimulatedSceneDataModule, quiet_trainer: Callable[..., L.Trainer], tmp_path: Path
) -> None:
    settings: dict[str, Any] = {"contrast": CONTRAST, "ema_decay": 0.9}
    first = build(**settings)
    trainer = quiet_trainer(max_epochs=1)
    trainer.fit(first, data)
    trainer.save_checkpoint(tmp_path / "middle.ckpt")
    whole, resumed = build(**settings), build(**settings)
    quiet_trainer(max_epochs=2).fit(whole, data)
    torch.manual_seed(99)
    quiet_trainer(max_epochs=2).fit(
        resumed, data, ckpt_path=tmp_path / "middle.ckpt", weights_only=True
    )
    pairs = zip(whole.state_dict().items(), resumed.state_dict().values(), strict=True)
    assert all(torch.equal(value, other) for (_, value), other in pairs)

    loaded = DiffusionPretrainModule.load_from_checkpoint(
        tmp_path / "middle.ckpt", weights_only=True
    )
    loaded.contrast = None
    request: dict[str, Any] = {"timesteps": (5,), "levels": (0,)}
    features = [m.extract_features(data.cube, **request).array for m in (first, loaded)]
    assert torch.equal(*(torch.as_tensor(f) for f in features))


@pytest.mark.parametrize(
    ("contrast", "message"),
    [
        ({"colour": 1}, r"contrast\.colour.*instance, cluster, level"),
        ({"instance": 0, "cluster": 0, "colour": 1}, r"contrast\.colour"),
        ({"instance": -1.0}, r"contrast\.instance must be at least 0 and finite, got -1"),
        ({"cluster": float("nan")}, r"contrast\.cluster must be at least 0"),
        ({"temperature": 0.0}, r"contrast\.temperature must be above 0"),
        ({"cluster_temperature": 0.0}, r"contrast\.cluster_temperature must be above 0"),
        ({"entropy": -0.5}, r"contrast\.entropy must be at least 0"),
        ({"dim": 0}, r"contrast\.dim must be at least 1"),
        ({"clusters": 1}, r"contrast\.clusters must be at least 2, got 1"),
        ({"cell": 2.5}, r"contrast\.cell must be of type int, got 2.5"),
        ({"shift": -1}, r"contrast\.shift must be at least 0"),
        (
            {"cell": 4, "shift": 3},
            r"contrast\.shift must be at most half.* 2 for cells of 4 .*got 3",
        ),
        (
            {"cell": 3, "shift": 2},
            r"contrast\.shift must be at most half.* 1 for cells of 3 .*got 2",
        ),
        (
            {"cell": 1, "shift": 1},
            r"contrast\.shift must be at most half.* 0 for cells of 1 .*got 1",
        ),
        ({"level": 1}, r"contrast\.level must lie between -1 and 0 for UNet3D, got 1"),
        ({"level": -2}, r"contrast\.level must lie between -1 and 0"),
        ({"augmentation": "gain"}, r"contrast\.augmentation must hold strengths by name"),
        ({"augmentation": {"blur": 1.0}}, "got blur"),
    ],
)
def test_wrong_settings_are_named(contrast: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        build(contrast=contrast)


@pytest.mark.parametrize("cell", [2, 3, 4, 8])
def test_at_the_largest_shift_a_cell_shares_most_with_its_partner(cell: int) -> None:
    """Each pixel is its own number, so that what two cells share can be counted."""
    shift, number, count = cell // 2, 200, 3
    contrast = build_contrast(
        {"cell": cell, "shift": shift, "augmentation": {}}, UNet3D(8, base_channels=2, depth=1)
    )
    assert contrast is not None
    side = count * cell + shift
    patches = torch.arange(side * side).reshape(1, 1, side, side).expand(number, 1, side, side)
    cells = []
    for view in contrast.views(patches, torch.Generator().manual_seed(0)):
        squares = view[:, 0].reshape(number, count, cell, count, cell).transpose(2, 3)
        cells.append(squares.reshape(number, count * count, cell * cell))
    # pixels that each cell of the first view shares with each of the second, over all pixels
    same = cells[0][:, :, None, :, None] == cells[1][:, None, :, None, :]
    overlap = same.sum(dim=(3, 4)) / cell**2
    partner = overlap.diagonal(dim1=1, dim2=2)
    assert (partner[..., None] >= overlap).all()
    means = overlap.mean(dim=0)
    others = means[~torch.eye(count * count, dtype=torch.bool)]
    assert means.diagonal().min() > 2 * others.max()
    # |d| of two offsets that are equally likely from 0 to s: (s^2 + 2s) / (3s + 3) in the mean
    along = 1 - (shift**2 + 2 * shift) / (3 * shift + 3) / cell
    assert float(partner.mean()) == pytest.approx(along**2, abs=0.03)


def test_without_cells_any_shift_will_do() -> None:
    assert ContrastSettings(cell=0, shift=6).shift == 6
    assert ContrastSettings(cell=5, shift=2).shift == 2


def test_a_cell_fits_the_grid_of_its_level() -> None:
    denoiser = UNet3D(8, base_channels=2, depth=1)
    level = type(denoiser.feature_info[0])("half", 4, reduction=2, radius=1)
    denoiser.feature_info = (level,)
    with pytest.raises(ConfigurationError, match=r"must be a multiple of 2, the reduction.* got 3"):
        build_contrast({"cell": 3, "shift": 1}, denoiser)
    contrast = build_contrast({"cell": 4, "shift": 2}, denoiser)
    assert contrast is not None
    assert contrast.head.cell == 2


def test_two_processes_are_one_joint_batch(tmp_path: Path) -> None:
    results = run_workers(tmp_path)
    network = contrast_worker.Network()
    expected = contrast_worker.measure(network, contrast_worker.two_views())
    for result in results:
        assert result["parts"] == pytest.approx(expected["parts"], rel=1e-9)
        for name, gradient in expected["gradients"].items():
            torch.testing.assert_close(
                result["gradients"][name], gradient, rtol=1e-6, atol=1e-9, msg=name
            )
    # a training with each part alone: no weights that DDP waits for in vain
    first, second = results
    for contrast, parts in (
        ("{}", {"instance", "cluster"}),
        ("{'instance': 0}", {"cluster"}),
        ("{'cluster': 0}", {"instance"}),
    ):
        assert first[contrast]["steps"] == 2
        assert {f"train/{part}" for part in parts} <= set(first[contrast]["figures"])
        assert first[contrast]["figures"].keys() == second[contrast]["figures"].keys()
        mine, other = first[contrast]["weights"], second[contrast]["weights"]
        assert mine.keys() == other.keys()
        assert all(torch.equal(mine[name], other[name]) for name in mine)


def run_workers(folder: Path) -> list[dict[str, Any]]:
    together(contrast_worker.main, 2, folder)
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(2)]
