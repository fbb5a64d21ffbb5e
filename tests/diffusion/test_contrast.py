"""The contrasts against plain loops over rows, pairs and components."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from hsi_diffusion.diffusion import (
    ContrastiveHead,
    cluster_contrast,
    instance_contrast,
    pool_cells,
)
from hsi_diffusion.errors import ConfigurationError
from hsi_diffusion.seeding import generator


def views(number: int, size: int) -> tuple[Tensor, Tensor]:
    random = generator("views", number, size)
    shape = (number, size)
    return (
        torch.randn(shape, generator=random, dtype=torch.float64),
        torch.randn(shape, generator=random, dtype=torch.float64),
    )


def assignments(number: int, clusters: int) -> tuple[Tensor, Tensor]:
    first, second = views(number, clusters)
    return (2 * first).softmax(dim=1), (2 * second).softmax(dim=1)


def nt_xent_by_loops(rows: list[list[float]], partners: list[int], temperature: float) -> float:
    """Three loops: over anchors, over the others, over the components."""
    total = 0.0
    for i, anchor in enumerate(rows):
        terms = {}
        for j, other in enumerate(rows):
            product = squared_a = squared_b = 0.0
            for a, b in zip(anchor, other, strict=True):
                product += a * b
                squared_a += a * a
                squared_b += b * b
            terms[j] = math.exp(product / math.sqrt(squared_a * squared_b) / temperature)
        total -= math.log(terms[partners[i]] / sum(terms[j] for j in terms if j != i))
    return total / len(rows)


@pytest.mark.parametrize(("number", "size"), [(1, 3), (2, 1), (5, 7)])
@pytest.mark.parametrize("temperature", [0.1, 0.5, 2.0])
def test_instance_contrast_against_loops(number: int, size: int, temperature: float) -> None:
    z1, z2 = views(number, size)
    rows = [*z1.tolist(), *z2.tolist()]
    partners = [*range(number, 2 * number), *range(number)]
    expected = nt_xent_by_loops(rows, partners, temperature)
    assert float(instance_contrast(z1, z2, temperature)) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(("number", "clusters"), [(1, 2), (6, 3), (4, 9)])
@pytest.mark.parametrize(("temperature", "entropy_weight"), [(1.0, 1.0), (0.4, 0.0), (0.7, 2.5)])
def test_cluster_contrast_against_loops(
    number: int, clusters: int, temperature: float, entropy_weight: float
) -> None:
    p1, p2 = assignments(number, clusters)
    columns = [[row[k] for row in p.tolist()] for p in (p1, p2) for k in range(clusters)]
    partners = [*range(clusters, 2 * clusters), *range(clusters)]
    expected = nt_xent_by_loops(columns, partners, temperature)
    for p in (p1, p2):
        for k in range(clusters):
            share = sum(p[i, k].item() for i in range(number)) / number
            expected += entropy_weight * share * math.log(share)
    loss = cluster_contrast(p1, p2, temperature, entropy_weight)
    assert float(loss) == pytest.approx(expected, abs=1e-12)


def test_gradients_are_those_of_finite_differences() -> None:
    z1, z2 = (z.requires_grad_() for z in views(3, 4))
    p1, p2 = (p.requires_grad_() for p in assignments(3, 4))
    assert torch.autograd.gradcheck(instance_contrast, (z1, z2))
    assert torch.autograd.gradcheck(cluster_contrast, (p1, p2))


def test_contrasts_know_neither_scale_nor_order_of_instances() -> None:
    z1, z2 = views(6, 4)
    order = torch.tensor([3, 1, 5, 0, 2, 4])
    torch.testing.assert_close(
        instance_contrast(7 * z1[order], 0.1 * z2[order]), instance_contrast(z1, z2)
    )
    torch.testing.assert_close(instance_contrast(z2, z1), instance_contrast(z1, z2))
    p1, p2 = assignments(6, 4)
    torch.testing.assert_close(cluster_contrast(p1[order], p2[order]), cluster_contrast(p1, p2))


def test_closed_forms() -> None:
    # all alike: every row's partner is one of 2N - 1
    ones = torch.ones(5, 3)
    assert float(instance_contrast(ones, ones)) == pytest.approx(math.log(9))
    # perfect clusters: each column finds its other view, and both entropies are log K
    eye = torch.eye(4)
    contrast = math.log(1 + 6 * math.exp(-1))
    assert float(cluster_contrast(eye, eye)) == pytest.approx(contrast - 2 * math.log(4))


def test_extremes_are_finite() -> None:
    z1, z2 = (z.float().requires_grad_() for z in views(4, 5))
    loss = instance_contrast(z1, z2, temperature=1e-3)  # exp(1000) would overflow
    p1, p2 = (torch.eye(3)[[0, 0, 1, 0]].requires_grad_() for _ in range(2))  # an empty cluster
    loss = loss + cluster_contrast(p1, p2)
    gradients = torch.autograd.grad(loss, (z1, z2, p1, p2))
    assert loss.isfinite()
    assert all(gradient.isfinite().all() for gradient in gradients)


def test_half_precision_is_compared_in_float32() -> None:
    z1, z2 = (z.bfloat16() for z in views(32, 16))
    p1, p2 = (p.bfloat16() for p in assignments(32, 8))
    with torch.autocast("cpu", torch.bfloat16):
        instance, cluster = instance_contrast(z1, z2, 0.1), cluster_contrast(p1, p2)
        from_floats = instance_contrast(z1.float(), z2.float(), 0.1)
    assert instance.dtype == cluster.dtype == torch.float32
    expected = instance_contrast(z1.double(), z2.double(), 0.1)
    torch.testing.assert_close(instance.double(), expected, rtol=1e-5, atol=0)
    assert float(from_floats) == float(instance)
    torch.testing.assert_close(
        cluster.double(), cluster_contrast(p1.double(), p2.double()), rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("cell", [1, 2, 3, 5])
def test_cells_against_loops(cell: int, memory_format: torch.memory_format) -> None:
    features = torch.randn(2, 3, 7, 5, generator=generator(0)).to(memory_format=memory_format)
    expected = [
        [features[b, c, y : y + cell, x : x + cell].mean().item() for c in range(3)]
        for b in range(2)
        for y in range(0, 7 - cell + 1, cell)
        for x in range(0, 5 - cell + 1, cell)
    ]
    torch.testing.assert_close(pool_cells(features, cell), torch.tensor(expected))


@pytest.mark.parametrize("cell", [0, 9])
def test_a_whole_map_is_one_cell(cell: int) -> None:
    features = torch.randn(2, 3, 7, 5, generator=generator(0))
    torch.testing.assert_close(pool_cells(features, cell), features.mean(dim=(2, 3)))
    assert pool_cells(features.bfloat16(), cell).dtype == torch.float32
    wide = pool_cells(features, 6)  # higher than a cell, but not as wide
    torch.testing.assert_close(wide, features[:, :, :6].mean(dim=(2, 3)))


def test_head_gives_a_row_per_cell() -> None:
    torch.manual_seed(0)
    head = ContrastiveHead(6, dim=5, clusters=4, hidden=8, cell=3)
    features = torch.randn(2, 6, 7, 6, requires_grad=True)
    z, p = head(features)
    assert z is not None
    assert p is not None
    assert z.shape == (2 * 4, 5)
    assert p.shape == (2 * 4, 4)
    torch.testing.assert_close(p.sum(dim=1), torch.ones(8))
    # an instance does not depend on the others
    torch.testing.assert_close(head(features[1:]).projections, z[4:])
    (z.sum() + p[:, 0].sum()).backward()  # type: ignore[no-untyped-call]
    assert all(weight.grad is not None for weight in head.parameters())
    with torch.autocast("cpu", torch.bfloat16):
        assert {x.dtype for x in head(features) if x is not None} == {torch.float32}


def test_head_computes_in_float32_under_autocast() -> None:
    torch.manual_seed(0)
    head = ContrastiveHead(16, cell=3)
    features = (3 * torch.randn(4, 16, 6, 6)).requires_grad_()

    def found(*, autocast: bool) -> list[torch.Tensor]:
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            z, p = head(features)
        assert z is not None
        assert p is not None
        loss = z.square().mean() + p[:, 0].mean()
        return [z, p, *torch.autograd.grad(loss, [features, *head.parameters()])]

    for low, wide in zip(found(autocast=True), found(autocast=False), strict=True):
        torch.testing.assert_close(low, wide, rtol=0, atol=0)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_a_head_that_was_cast_runs(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    head, features = ContrastiveHead(16), torch.randn(4, 16, 6, 6)
    z, p = head(features)
    low_z, low_p = head.to(dtype)(features.to(dtype))
    for low, wide in ((low_z, z), (low_p, p)):
        assert low is not None
        assert low.dtype == torch.promote_types(dtype, torch.float32)
        torch.testing.assert_close(low.float(), wide, rtol=0, atol=0.02)


def test_head_without_a_part_has_no_weights_for_it() -> None:
    head = ContrastiveHead(6, dim=None, clusters=4)
    assert head(torch.randn(2, 6, 3, 3)).projections is None
    assert {name.split(".")[0] for name, _ in head.named_parameters()} == {"norm", "assign"}
    head = ContrastiveHead(6, clusters=None)
    assert head(torch.randn(2, 6, 3, 3)).assignments is None
    assert {name.split(".")[0] for name, _ in head.named_parameters()} == {"norm", "project"}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"dim": 0}, "dim must be at least 1, got 0"),
        ({"clusters": 1}, "clusters must be at least 2, got 1"),
        ({"hidden": 0}, "hidden must be at least 1"),
        ({"cell": -1}, "cell must be at least 0"),
        ({"channels": 0}, "channels must be at least 1"),
        ({"dim": None, "clusters": None}, "must not both be None"),
    ],
)
def test_impossible_heads_are_named(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        ContrastiveHead(**{"channels": 6, **settings})


def test_impossible_arguments_are_named() -> None:
    z = torch.ones(3, 2)
    with pytest.raises(ConfigurationError, match=r"z1 and z2 .* \(3, 2\) and \(2, 2\)"):
        instance_contrast(z, z[:2])
    with pytest.raises(ConfigurationError, match="p1 and p2 must have one shape"):
        cluster_contrast(z[0], z[0])
    with pytest.raises(ConfigurationError, match="temperature must be above 0"):
        instance_contrast(z, z, 0.0)
    with pytest.raises(ConfigurationError, match="entropy_weight must be at least 0"):
        cluster_contrast(z, z, entropy_weight=-1.0)
    with pytest.raises(ConfigurationError, match="cell must be at least 0, got -1"):
        pool_cells(torch.ones(1, 1, 2, 2), -1)
    with pytest.raises(ConfigurationError, match=r"\(B, C, h, w\), got \(3, 2\)"):
        pool_cells(z, 1)
