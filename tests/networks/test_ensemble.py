from __future__ import annotations

import pytest
import torch
from torch import nn

from hsi_diffusion.networks import Ensemble


class Told(nn.Module):
    """Gives logits, whatever it sees."""

    def __init__(self, logits: torch.Tensor) -> None:
        super().__init__()
        self.logits = logits

    def forward(self, _: torch.Tensor) -> torch.Tensor:
        return self.logits


def answer(logits: torch.Tensor) -> torch.Tensor:
    """Of an ensemble whose members give these logits, shape (members, B, K)."""
    found: torch.Tensor = Ensemble(map(Told, logits))(torch.zeros(logits.shape[1], 1, 1, 1))
    return found


def test_answers_with_the_mean_probability_of_its_members() -> None:
    members = [nn.Sequential(nn.Flatten(), nn.Linear(18, 4)) for _ in range(3)]
    ensemble = Ensemble(members)
    image = torch.randn(5, 2, 3, 3)
    expected = sum(member(image).softmax(dim=1) for member in members) / 3
    torch.testing.assert_close(ensemble(image).exp(), expected)
    torch.testing.assert_close(
        ensemble.member_logits(image), torch.stack([member(image) for member in members])
    )


def test_certain_members_stay_finite() -> None:
    linear = nn.Linear(18, 4)
    with torch.no_grad():
        linear.weight.zero_()
        linear.weight[0] = 1e4
    member = nn.Sequential(nn.Flatten(), linear)
    assert torch.isfinite(Ensemble([member, member])(torch.ones(1, 2, 3, 3))).all()


def test_mean_against_plain_numbers() -> None:
    logits = torch.randn(3, 5, 4, generator=torch.Generator().manual_seed(0))
    found = answer(logits)
    torch.testing.assert_close(found, logits.softmax(dim=2).mean(dim=0).log())
    torch.testing.assert_close(found.exp().sum(dim=1), torch.ones(5))
    assert answer(logits.bfloat16()).dtype == torch.float32
    assert answer(logits.double()).dtype == torch.float64


def test_probabilities_below_every_float_stay_finite() -> None:
    logits = torch.tensor([[[1000.0, 0.0]], [[990.0, 0.0]]])
    assert logits.softmax(dim=2).mean(dim=0).log().isinf().any()
    # (e^-1000 + e^-990) / 2 = e^-990 (1 + e^-10) / 2
    expected = -990 + torch.tensor(0.5 * (1 + torch.e**-10)).log()
    assert answer(logits)[0, 1].item() == pytest.approx(float(expected), abs=1e-3)
