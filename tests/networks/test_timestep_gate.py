"""Weights over timesteps: sums, choice, and what they depend on."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from hsi_diffusion.errors import ConfigurationError
from hsi_diffusion.networks import TimestepGate
from hsi_diffusion.networks.timestep_gate import CumulativeNorm2d


def trained(timesteps: int = 4, **settings: Any) -> TimestepGate:
    """A gate in evaluation mode whose weights are not equal any more."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        gate = TimestepGate(timesteps, **settings)
        torch.nn.init.normal_(gate.score[-1].weight)  # type: ignore[arg-type]
        gate(torch.rand(8, timesteps, 5, 5))  # statistics
    return gate.eval()


def angles(timesteps: int = 4) -> torch.Tensor:
    return torch.rand(2, timesteps, 5, 6, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("keep", [None, 1, 2, 4])
def test_weights_have_sum_1(keep: int | None, training: bool) -> None:
    weights = trained(keep=keep).train(training)(angles())
    assert weights.dtype == torch.float32
    assert (weights >= 0).all()
    torch.testing.assert_close(weights.sum(dim=1), torch.ones(2, 5, 6))


def test_starts_with_equal_weights() -> None:
    torch.testing.assert_close(TimestepGate(4)(angles()), torch.full((2, 4, 5, 6), 0.25))


@pytest.mark.parametrize("keep", [1, 2, 3])
def test_evaluation_keeps_the_heaviest_and_shares_the_weight(keep: int) -> None:
    everything = trained()(angles())
    kept = trained(keep=keep)(angles())
    for image in range(2):
        for row in range(5):
            for column in range(6):
                weights = everything[image, :, row, column].tolist()
                best = sorted(range(4), key=weights.__getitem__, reverse=True)[:keep]
                total = sum(weights[t] for t in best)
                expected = [weights[t] / total if t in best else 0.0 for t in range(4)]
                assert kept[image, :, row, column].tolist() == pytest.approx(expected, abs=1e-6)


def test_equal_scores_keep_no_more_than_asked() -> None:
    weights = TimestepGate(4, keep=2).eval()(angles())
    assert ((weights > 0).sum(dim=1) == 2).all()


def test_training_shows_half_of_the_patches_as_evaluation_does() -> None:
    whole = angles().repeat(32, 1, 1, 1)
    torch.manual_seed(0)
    weights, everything = (trained(keep=keep).train()(whole) for keep in (1, None))
    few = (weights > 0).sum(dim=1) == 1
    selected = few.flatten(1).all(dim=1)
    assert torch.equal(selected, few.flatten(1).any(dim=1)), "a patch is seen in one way"
    assert 20 < int(selected.sum()) < 44
    assert torch.equal(weights[~selected], everything[~selected])
    assert torch.equal(weights[selected].argmax(dim=1), everything[selected].argmax(dim=1))


def test_the_gate_learns_from_patches_of_both_kinds() -> None:
    gate = trained(keep=2).train()
    shown = angles().repeat(32, 1, 1, 1)
    (gate(shown) * torch.rand(4, 1, 1)).sum().backward()
    gradients = [weight.grad for weight in gate.parameters()]
    assert all(grad is not None and grad.isfinite().all() and grad.any() for grad in gradients)


def test_every_pixel_is_judged_by_itself() -> None:
    gate, whole = trained(keep=2), angles()
    order = torch.randperm(30, generator=torch.Generator().manual_seed(2))
    mixed = whole.flatten(2)[..., order].reshape(whole.shape)
    torch.testing.assert_close(gate(mixed).flatten(2), gate(whole).flatten(2)[..., order])


def test_angles_are_standardised_inside() -> None:
    factors, offsets = torch.tensor([2.0, 10.0, 0.5, 3.0]), torch.tensor([0.0, 1.0, 5.0, 0.2])
    other = angles() * factors[:, None, None] + offsets[:, None, None]
    gate = trained().train()
    torch.testing.assert_close(gate(other), gate(angles()), atol=1e-3, rtol=1e-2)


@pytest.mark.parametrize("training", [True, False])
def test_milliradians_count_like_radians(training: bool) -> None:
    """Same weights for angles of standard deviation 1 and 1e-3, from the first batch on."""
    wide = torch.randn(16, 4, 5, 5, generator=torch.Generator().manual_seed(3))
    found = []
    for scale in (1.0, 1e-3):
        gate = trained().train()
        gate.standardise.reset_running_stats()
        gate(0.5 + scale * wide)
        found.append(gate.train(training)(0.5 + scale * wide))
    torch.testing.assert_close(*found, atol=1e-3, rtol=1e-2)
    assert found[1].std(dim=0).min() > 0.05  # not equal weights everywhere
    with torch.autocast("cpu", torch.bfloat16):
        rough = gate(0.5 + 1e-3 * wide)
    assert (rough - found[1]).abs().max() < 0.05


def test_evaluation_standardises_by_all_batches() -> None:
    gate = TimestepGate(2)
    batches = [torch.rand(6, 2, 3, 3) * (1 + number) for number in range(3)]
    for batch in batches:
        gate(batch)
    means = torch.stack([batch.mean(dim=(0, 2, 3)) for batch in batches])
    variances = torch.stack([batch.transpose(0, 1).flatten(1).var(dim=1) for batch in batches])
    torch.testing.assert_close(gate.standardise.running_mean, means.mean(dim=0))
    torch.testing.assert_close(gate.standardise.running_var, variances.mean(dim=0))


def norms() -> tuple[CumulativeNorm2d, nn.BatchNorm2d]:
    """Ours, and that of PyTorch."""
    return CumulativeNorm2d(3, eps=1e-12), nn.BatchNorm2d(3, 1e-12, None, affine=False)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_norm_is_that_of_torch(dtype: torch.dtype) -> None:
    found, expected = (norm.to(dtype) for norm in norms())
    rng = torch.Generator().manual_seed(0)
    for number in range(60):
        offset = 0.5 + 0.001 * number
        batch = offset + 1e-3 * torch.randn(4, 3, 3, 3, generator=rng, dtype=dtype)
        ours, theirs = (batch.clone().requires_grad_() for _ in range(2))
        results = found(ours), expected(theirs)
        assert torch.equal(*results)
        assert results[0].dtype == dtype
        for result in results:
            result.pow(3).sum().backward()
        assert torch.equal(ours.grad, theirs.grad)  # type: ignore[arg-type]
    for name, value in found.state_dict().items():
        torch.testing.assert_close(value, expected.state_dict()[name], rtol=1e-6, atol=1e-12)
    torch.testing.assert_close(found.eval()(batch), expected.eval()(batch), rtol=1e-3, atol=1e-3)


def test_norm_goes_on_from_a_checkpoint_of_torch() -> None:
    found, before = norms()
    batches = torch.rand(6, 4, 3, 3, 3, generator=torch.Generator().manual_seed(0))
    for batch in batches[:5]:
        before(batch)
    assert list(found.state_dict()) == list(before.state_dict())
    found.load_state_dict(before.state_dict())
    for norm in (found, before):
        norm(batches[5])
    for name, value in found.state_dict().items():
        torch.testing.assert_close(value, before.state_dict()[name])
    assert found.num_batches_tracked == 6


def test_norm_keeps_its_statistics_when_it_is_cast() -> None:
    found, _ = norms()
    found(torch.rand(4, 3, 5, 5))
    kept = {name: value.clone() for name, value in found.state_dict().items()}
    found.bfloat16()
    for name, value in found.state_dict().items():
        assert value.dtype == kept[name].dtype
        assert torch.equal(value, kept[name])
    assert found.double().running_mean.dtype == torch.float64


def test_training_compiles_into_one_graph() -> None:
    """Nothing reads the device back on the way."""
    found, expected = trained().train(), trained().train()
    compiled = torch.compile(found, backend="eager", fullgraph=True)
    for _ in range(2):
        assert torch.equal(compiled(angles()), expected(angles()))
    for name, value in found.state_dict().items():
        assert torch.equal(value, expected.state_dict()[name])


def test_learns_which_timestep_to_trust() -> None:
    """The timestep with the smallest angle is the right one here."""
    torch.manual_seed(0)
    gate = TimestepGate(3, keep=1)
    optimiser = torch.optim.Adam(gate.parameters(), lr=0.05)
    for _ in range(100):
        batch = torch.rand(16, 3, 3, 3)
        loss = -gate(batch).gather(1, batch.argmin(dim=1, keepdim=True)).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    batch = torch.rand(16, 3, 8, 8)
    chosen = gate.eval()(batch).argmax(dim=1)
    assert (chosen == batch.argmin(dim=1)).float().mean() > 0.9


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"timesteps": 0}, "timesteps must be at least 1, got 0"),
        ({"hidden": 0}, "hidden must be at least 1, got 0"),
        ({"keep": 0}, "keep must be from 1 to timesteps=3, or None for all, got 0"),
        ({"keep": 4}, "keep must be from 1 to timesteps=3, or None for all, got 4"),
    ],
)
def test_wrong_settings_are_named(settings: dict[str, int], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        TimestepGate(**{"timesteps": 3, **settings})


def test_wrong_angles_are_named() -> None:
    with pytest.raises(ConfigurationError, match=r"\(B, 3, H, W\).*got \(2, 4, 5, 6\)"):
        TimestepGate(3)(angles())
