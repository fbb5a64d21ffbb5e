"""What holds for every network that can be built by name."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import lightning as L
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from hsi_diffusion import FeatureClassifierModule, SimulatedSceneDataModule
from hsi_diffusion.errors import ConfigurationError
from hsi_diffusion.networks import NETWORKS, build_network
from hsi_diffusion.parts import plain_part
from tests.networks.loops import settle

if TYPE_CHECKING:
    from pathlib import Path

K = 3

TRANSFORMER: dict[str, Any] = {"dim": 16, "depth": 3, "heads": 2, "head_dim": 4, "mlp_dim": 8}
SMALL: dict[str, dict[str, Any]] = {
    "CNN1D": {"channels": 8, "kernel_size": 3, "pool": 2},
    "CNN2D": {"channels": [4, 8]},
    "CNN3D": {"channels": [4, 8]},
    "CrossLayerTransformer": TRANSFORMER,
    "FusionClassifier": TRANSFORMER,
    "MiniGCN": {"channels": 16, "dropout": 0.1},
    "SpectralFormer": TRANSFORMER,
    "SpectralTransformer": TRANSFORMER,
}
"""Options that make each network small, and differ from its defaults."""

every_network = pytest.mark.parametrize("name", sorted(NETWORKS))


def build(name: str, channels: int = 12, side: int = 5, seed: int = 0) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build_network(plain(name), channels, K, side)


def plain(name: str, **options: Any) -> dict[str, Any]:
    return {"class_path": name, "init_args": SMALL[name] | options}


def toy(count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Patches of three smooth spectra, in noise."""
    random = torch.Generator().manual_seed(seed)
    label = torch.arange(count) % K
    bands = torch.linspace(0, 3, 12)
    spectra = torch.stack([(bands + shift).sin() for shift in (0.0, 1.0, 2.0)])
    noise = torch.randn(count, 12, 5, 5, generator=random)
    return spectra[label][..., None, None] + 0.3 * noise, label


def test_every_network_is_tested() -> None:
    assert sorted(SMALL) == sorted(NETWORKS)


@every_network
@pytest.mark.parametrize(("channels", "side"), [(2, 1), (2, 4), (3, 5), (300, 3)])
def test_any_number_of_channels_and_any_side(name: str, channels: int, side: int) -> None:
    for part in (name, plain(name)):
        network = build_network(part, channels, K, side)
        logits = network(torch.randn(2, channels, side, side))
        assert logits.shape == (2, K)
        assert logits.isfinite().all()


@every_network
def test_is_exported_for_any_number_of_patches(name: str) -> None:
    network = build(name).eval()
    batch = torch.export.Dim("batch", min=2, max=64)
    exported = torch.export.export(network, (toy(3, 0)[0],), dynamic_shapes=({0: batch},))
    images = toy(7, 1)[0]
    torch.testing.assert_close(exported.module()(images), network(images), rtol=1e-4, atol=1e-5)


@every_network
def test_learns_under_autocast_with_all_its_weights(name: str) -> None:
    network = build(name)
    image, label = toy(24, seed=1)
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-2)
    for _ in range(25):
        with torch.autocast("cpu", torch.bfloat16), torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)  # dropout
            loss = F.cross_entropy(network(image).float(), label)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    unused = [
        key
        for key, weight in network.named_parameters()
        if weight.grad is None or not weight.grad.abs().sum() > 0
    ]
    assert not unused
    network.eval()
    image, label = toy(60, seed=2)
    with torch.no_grad():
        assert (network(image).argmax(dim=1) == label).float().mean() > 0.9


@every_network
def test_evaluation_is_close_under_autocast(name: str) -> None:
    network = settle(build(name))
    image, _ = toy(6, seed=0)
    with torch.no_grad():
        exact = network(image)
        with torch.autocast("cpu", torch.bfloat16):
            rough = network(image)
    assert (rough.float() - exact).abs().max() < 0.05 * exact.abs().max()


@every_network
def test_evaluation_does_not_look_at_the_batch(name: str) -> None:
    network = settle(build(name))
    image, _ = toy(6, seed=0)
    with torch.no_grad():
        together = network(image)
        for number in range(6):
            alone = network(image[number : number + 1])
            torch.testing.assert_close(alone, together[number : number + 1], atol=1e-5, rtol=1e-4)


@every_network
@pytest.mark.parametrize("side", [4, 5])
def test_the_centre_decides_and_more_than_it_where_patches_are_used(name: str, side: int) -> None:
    network = settle(build(name, side=side))
    image = torch.randn(8, 12, side, side, generator=torch.Generator().manual_seed(0))
    image.requires_grad_()
    network(image)[:, 0].sum().backward()
    assert image.grad is not None
    seen = image.grad.abs().sum(dim=(0, 1)) > 0
    assert seen[side // 2, side // 2]
    assert int(seen.sum()) == (1 if name in ("CNN1D", "MiniGCN") else side**2)


@every_network
def test_wrong_patches_are_named(name: str) -> None:
    with pytest.raises(ConfigurationError, match=r"\(B, 12, 5, 5\), got \(2, 12, 7, 7\)"):
        build(name)(torch.zeros(2, 12, 7, 7))


@every_network
def test_wrong_options_are_named(name: str) -> None:
    with pytest.raises(ConfigurationError, match=r"unknown setting classifier\.width"):
        build_network(plain(name, width=3), 4, 2, 3)
    option, size = next(iter(SMALL[name].items()))
    nothing: Any = [0] if isinstance(size, list) else 0
    with pytest.raises(ConfigurationError, match=rf"{option} must be .*got \[?0"):
        build_network(plain(name, **{option: nothing}), 4, 2, 3)
    with pytest.raises(ConfigurationError, match=r"in_channels must be .*got 0"):
        build_network(name, 0, 2, 3)


@every_network
def test_plain_data_of_a_network_makes_the_same_again(name: str) -> None:
    network = build(name)
    part = plain_part(network, NETWORKS)
    assert part["class_path"] == name
    assert json.loads(json.dumps(part)) == part
    again = build_network(part, 12, K, 5)
    assert again.state_dict().keys() == network.state_dict().keys()
    again.load_state_dict(network.state_dict())
    with pytest.raises(ConfigurationError, match=r"classifier\.in_channels must be 9 here, got 12"):
        build_network(part, 9, K, 5)


def test_own_networks_are_taken_and_unknown_ones_named() -> None:
    own = nn.Sequential(nn.Flatten(), nn.Linear(12 * 25, K))
    assert build_network(own, 12, K, 5) is own
    made = build_network(
        lambda channels, classes, side: nn.Linear(channels * side**2, classes), 12, K, 5
    )
    assert isinstance(made, nn.Linear)
    with pytest.raises(ConfigurationError, match=r"classifier must be one of CNN1D, .*got 'cnn9d'"):
        build_network("cnn9d", 12, K, 5)


@every_network
def test_trains_in_the_module_and_loads_again(name: str, tmp_path: Path) -> None:
    data = SimulatedSceneDataModule(
        height=24, width=20, bands=12, num_classes=K, split="4", patch_size=5, batch_size=6
    )
    trainer = L.Trainer(
        accelerator="cpu",
        max_steps=2,
        limit_val_batches=0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=tmp_path,
    )
    network = {"class_path": name, "init_args": SMALL[name]}
    module = FeatureClassifierModule(12, K, 5, classifier=network)
    before = {key: value.clone() for key, value in module.classifier.named_parameters()}
    trainer.fit(module, data)
    assert trainer.global_step == 2
    still = [key for key, value in module.classifier.named_parameters() if value.equal(before[key])]
    assert not still
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    again = FeatureClassifierModule.load_from_checkpoint(tmp_path / "last.ckpt")
    image = torch.randn(2, 12, 5, 5)
    torch.testing.assert_close(again.eval()(image), module.eval()(image))
