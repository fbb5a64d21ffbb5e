"""The fusion classifier: its layout, its switches, its gate, and that each of them trains."""

from __future__ import annotations

import copy
from itertools import product
from typing import Any

import pytest
import torch
from torch.nn import functional as F

from hsi_diffusion.errors import ConfigurationError
from hsi_diffusion.networks import (
    FUSIONS,
    FusionClassifier,
    SpectralTransformer,
    TimestepGate,
    build_network,
)

D, T, P, K = 4, 3, 5, 3

SMALL: dict[str, Any] = {"dim": 16, "depth": 1, "heads": 2, "head_dim": 4, "mlp_dim": 16}


def network(seed: int = 0, **settings: Any) -> FusionClassifier:
    arguments = {"timesteps": T, **SMALL, **settings}
    channels = D * arguments["timesteps"] + T * bool(arguments.get("angles"))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return FusionClassifier(channels, K, P, **arguments)


def patches(count: int = 6, channels: int = D * T + T, seed: int = 0) -> torch.Tensor:
    return torch.rand(count, channels, P, P, generator=torch.Generator().manual_seed(seed))


def with_gate(keep: int | None) -> FusionClassifier:
    """A network in evaluation mode whose gate tells the timesteps apart."""
    net = network(angles=True, keep=keep)
    gate = net.gate
    assert isinstance(gate, TimestepGate)
    torch.nn.init.normal_(
        gate.score[-1].weight,  # type: ignore[arg-type]
        generator=torch.Generator().manual_seed(0),
    )
    net(patches())  # statistics
    return net.eval()


@pytest.mark.parametrize(("fusion", "angles"), list(product(FUSIONS, [False, True])))
@pytest.mark.parametrize("shared", [False, True])
def test_every_option_learns_and_uses_all_its_weights(
    fusion: str, angles: bool, shared: bool
) -> None:
    net = network(fusion=fusion, angles=angles, shared_embedding=shared, dropout=0.0)
    image = patches(12, D * T + T * angles)
    label = torch.arange(12) % K
    optimiser = torch.optim.Adam(net.parameters(), lr=3e-3)
    losses = []
    for _ in range(15):
        loss = F.cross_entropy(net(image), label)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]
    unused = [
        name for name, p in net.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0
    ]
    assert not unused
    assert net.eval()(image).shape == (12, K)


def test_one_timestep_is_the_spectral_transformer() -> None:
    """The control on raw bands: same seed, same weights, same logits."""
    torch.manual_seed(0)
    control = SpectralTransformer(D, K, P, **SMALL, readout="centre").eval()
    net = network(timesteps=1, dropout=0.0).eval()
    assert sum(p.numel() for p in net.parameters()) == sum(p.numel() for p in control.parameters())
    image = patches(channels=D)
    assert torch.equal(net(image), control(image))


def test_channels_go_timestep_by_timestep_and_angles_come_last() -> None:
    net = network(angles=True).eval()
    image = patches()
    features, angles = net.embed.split(image)
    assert torch.equal(features, image[:, : T * D])
    assert torch.equal(angles, image[:, T * D :])
    seen: list[torch.Tensor] = []
    net.embed.embed.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    net(image)
    for patch, t in product(range(6), range(T)):
        assert torch.equal(seen[0][patch * T + t], image[patch, t * D : (t + 1) * D])


@pytest.mark.parametrize("shared", [False, True])
def test_tokens_stand_at_their_pixel_and_timestep(shared: bool) -> None:
    """A change of one timestep at one pixel reaches that timestep's tokens around it only."""
    net = network(fusion="mean", shared_embedding=shared).eval()
    tokens: list[torch.Tensor] = []
    assert net.embed.fusion is not None
    net.embed.fusion.register_forward_pre_hook(lambda _, inputs: tokens.append(inputs[0]))
    image = patches(2, D * T)
    other = image.clone()
    other[1, D : 2 * D, 0, 3] += 5
    net(image)
    net(other)
    changed = (tokens[0] != tokens[1]).any(dim=-1).reshape(2, P, P, T)
    expected = torch.zeros(2, P, P, T, dtype=torch.bool)
    expected[1, :2, 2:5, 1] = True
    assert (changed <= expected).all()
    assert changed[1, 0, 3, 1]


def test_timesteps_that_are_not_kept_do_not_matter() -> None:
    net, image = with_gate(keep=1), patches()
    # the same angles everywhere, so that all pixels of a patch keep the same timestep
    image[:, T * D :] = image[:, T * D :, :1, :1]
    assert net.gate is not None
    weights = net.gate(image[:, T * D :])[:, :, P // 2, P // 2]
    other = image.clone()
    for patch in range(6):
        for t in range(T):
            if weights[patch, t] == 0:
                other[patch, t * D : (t + 1) * D] = torch.randn(D, P, P)
    torch.testing.assert_close(net(other), net(image))
    everything = with_gate(keep=None)
    assert (everything(other) - everything(image)).abs().max() > 1e-3


@pytest.mark.parametrize("side", [1, 4])
def test_other_sides_and_a_single_patch(side: int) -> None:
    net = FusionClassifier(T * D + T, K, side, timesteps=T, angles=True, **SMALL)
    image = torch.rand(2, T * D + T, side, side)
    assert net(image).shape == (2, K)
    net.eval()
    torch.testing.assert_close(net(image[:1]), net(image)[:1])


def test_bfloat16_is_close() -> None:
    net = with_gate(keep=2)
    with torch.autocast("cpu", torch.bfloat16):
        rough = net(patches())
    assert (rough - net(patches())).abs().max() < 0.1


def test_weights_stand_in_the_state_once() -> None:
    net = network(angles=True)
    pointers = [value.data_ptr() for value in net.state_dict().values()]
    assert len(set(pointers)) == len(pointers)
    again = network(seed=1, angles=True)
    again.load_state_dict(net.state_dict())
    torch.testing.assert_close(again.eval()(patches()), net.eval()(patches()))


def test_is_built_by_name() -> None:
    part = {"class_path": "FusionClassifier", "init_args": {"keep": 1, **SMALL}}
    net = build_network(part, T * D + T, K, P, timesteps=T, angles=True)
    assert isinstance(net, FusionClassifier)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"dim": 0}, "dim must be at least 1, got 0"),
        ({"timesteps": 0}, "timesteps must be at least 1, got 0"),
        ({"fusion": "sum"}, r"fusion must be one of awam\+ctssfm, awam, ctssfm, mean, got 'sum'"),
        ({"readout": "mean"}, "one of class, centre, got 'mean'"),
        ({"in_channels": 13}, r"in_channels must be T \* D with T = timesteps = 3 .*got 13"),
        ({"in_channels": 3, "angles": True}, r"in_channels must be T \* D \+ T.*got 3"),
        ({"timesteps": 1, "angles": True}, "timesteps must be at least 2, got 1"),
        ({"keep": 2}, "keep=2 needs angles=True"),
        ({"keep": 4, "angles": True}, "keep must be from 1 to timesteps=3"),
    ],
)
def test_wrong_settings_are_named(settings: dict[str, Any], message: str) -> None:
    arguments: dict[str, Any] = {"in_channels": 12, "num_classes": K, "timesteps": T, **settings}
    with pytest.raises(ConfigurationError, match=message):
        FusionClassifier(**arguments)


def test_earlier_checkpoints_load_and_answer_the_same() -> None:
    """Names of the weights, and what seed 0 makes of them, as in version 0.1.0."""
    torch.manual_seed(0)
    sizes: dict[str, Any] = {"dim": 8, "depth": 2, "heads": 2, "head_dim": 4, "mlp_dim": 8}
    net = FusionClassifier(3 * 4 + 3, 3, 3, timesteps=3, angles=True, **sizes).eval()
    own = [name.removeprefix("embed.") for name in net.state_dict() if name.startswith("embed.")]
    assert own == [
        *("timestep", "embed.0.weight", "embed.0.bias", "embed.1.weight", "embed.1.bias"),
        *("embed.1.running_mean", "embed.1.running_var", "embed.1.num_batches_tracked"),
        *("gate.standardise.running_mean", "gate.standardise.running_var"),
        *("gate.standardise.num_batches_tracked", "gate.score.0.weight", "gate.score.0.bias"),
        *("gate.score.2.weight", "fusion.across_timesteps.norm.weight"),
        *("fusion.across_timesteps.norm.bias", "fusion.across_timesteps.to_qkv.weight"),
        *("fusion.across_timesteps.to_out.0.weight", "fusion.across_timesteps.to_out.0.bias"),
        *("fusion.merge.norm.weight", "fusion.merge.norm.bias", "fusion.merge.of_pixel.weight"),
        *("fusion.merge.of_pixel.bias", "fusion.merge.of_patch.weight"),
        "fusion.merge.score.weight",
        *(
            f"fusion.{branch}.{name}"
            for branch in ("to_spectral", "to_spatial")
            for name in (
                *("norm.weight", "norm.bias", "norm_context.weight", "norm_context.bias"),
                *("to_q.weight", "to_kv.weight", "to_out.0.weight", "to_out.0.bias"),
            )
        ),
    ]
    rest = [name for name in net.state_dict() if not name.startswith("embed.")]
    control = SpectralTransformer(4, 3, 3, **sizes)
    assert rest == [name for name in control.state_dict() if not name.startswith("embed.")]
    found = net(torch.linspace(0, 1, 2 * 15 * 9).reshape(2, 15, 3, 3))
    expected = [[-0.281191, -0.864532, -0.173981], [-0.276358, -0.826426, -0.16145]]
    torch.testing.assert_close(found, torch.tensor(expected), atol=2e-6, rtol=1e-5)


@pytest.mark.parametrize(("fusion", "angles"), list(product(FUSIONS, [False, True])))
@pytest.mark.parametrize("training", [False, True])
def test_runs_and_learns_in_a_network_cast_to_bfloat16(
    fusion: str, angles: bool, training: bool
) -> None:
    net = network(fusion=fusion, angles=angles, dropout=0.0, head_dropout=0.0)
    image = patches(12, D * T + T * angles)
    net(image)  # statistics
    net.train(training)
    low = copy.deepcopy(net).bfloat16()
    expected, found = net(image), low(image.bfloat16())
    assert found.dtype == torch.bfloat16
    error = (found.float() - expected).norm() / expected.norm()
    assert error < 0.1
    found.float().square().sum().backward()
    for name, parameter in low.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
