from __future__ import annotations

import torch
from torch import nn

from hsi_diffusion.classifiers import Ensemble


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
