"""Weights of the public release, in every wrapping they may come in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import Tensor

from hsi_diffusion.denoisers import UNet3D, load_published_unet3d
from hsi_diffusion.errors import CheckpointError

from . import reference_unet3d

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

State = dict[str, Tensor]


def published_state(base: int = 4, depth: int = 3, time: int = 32) -> State:
    """A state dict as the release has it, made from the layer facts alone."""
    random = torch.Generator().manual_seed(0)
    state: State = {}

    def layer(name: str, *shape: int, bias: int) -> None:
        state[f"{name}.weight"] = 0.2 * torch.randn(shape, generator=random)
        state[f"{name}.bias"] = 0.2 * torch.randn(bias, generator=random)

    def block(name: str, inputs: int, outputs: int) -> None:
        layer(f"{name}.time_mlp", outputs, time, bias=outputs)
        layer(f"{name}.conv1", outputs, inputs, 3, 3, 3, bias=outputs)
        layer(f"{name}.transform", outputs, outputs, 4, 5, 5, bias=outputs)
        layer(f"{name}.conv2", outputs, outputs, 3, 3, 3, bias=outputs)
        for norm in ("bnorm1", "bnorm2"):
            layer(f"{name}.{norm}", outputs, bias=outputs)
            state[f"{name}.{norm}.running_mean"] = torch.randn(outputs, generator=random)
            state[f"{name}.{norm}.running_var"] = torch.rand(outputs, generator=random) + 0.5
            state[f"{name}.{norm}.num_batches_tracked"] = torch.tensor(12)

    layer("time_mlp.1", time, time, bias=time)
    layer("conv0", base, 1, 3, 3, 3, bias=base)
    for i in range(depth):
        block(f"downs.{i}", base * 2**i, base * 2 ** (i + 1))
        block(f"ups.{depth - 1 - i}", 2 * base * 2 ** (i + 1), base * 2**i)
    layer("output", 1, base, 1, 1, 1, bias=1)
    return state


def with_prefix(prefix: str) -> Callable[[State], Mapping[str, Any]]:
    return lambda state: {prefix + name: value for name, value in state.items()}


@pytest.mark.parametrize(
    "wrap",
    [
        pytest.param(lambda state: state, id="plain"),
        pytest.param(with_prefix("module."), id="parallel"),
        pytest.param(with_prefix("module._orig_mod."), id="compiled"),
        pytest.param(lambda state: {"state_dict": state, "epoch": 3}, id="state_dict"),
        pytest.param(lambda state: {"model": with_prefix("module.")(state)}, id="model"),
        pytest.param(
            lambda state: {"model_state_dict": state, "optimizer": {}}, id="model_state_dict"
        ),
    ],
)
def test_every_wrapping_gives_the_same_network(
    tmp_path: Path, wrap: Callable[[State], Mapping[str, Any]]
) -> None:
    state = published_state()
    torch.save(wrap(state), tmp_path / "weights.pth")
    network = load_published_unet3d(tmp_path / "weights.pth", num_bands=13, band_padding="zeros")
    assert not network.training
    assert network.num_bands == 13
    x, t = torch.randn(1, 13, 4, 4), torch.tensor([10])
    filled = torch.cat([x, torch.zeros(1, 3, 4, 4)], dim=1)
    with torch.no_grad():
        expected, _ = reference_unet3d.run(state, filled, t)
        torch.testing.assert_close(network(x, t), expected[:, :13], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(("base", "depth", "time"), [(16, 3, 32), (2, 2, 8), (3, 1, 4)])
def test_sizes_follow_from_the_weights(tmp_path: Path, base: int, depth: int, time: int) -> None:
    torch.save(published_state(base, depth, time), tmp_path / "weights.pth")
    network = load_published_unet3d(tmp_path / "weights.pth", num_bands=8)
    fresh = UNet3D(8, base, depth, time)
    assert {name: value.shape for name, value in network.state_dict().items()} == {
        name: value.shape for name, value in fresh.state_dict().items()
    }


@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod."])
def test_there_and_back(tmp_path: Path, prefix: str) -> None:
    network = UNet3D(16, 2, depth=2, time_channels=8)
    own = {prefix + name: value for name, value in network.state_dict().items()}
    torch.save(own, tmp_path / "weights.pth")
    back = load_published_unet3d(tmp_path / "weights.pth", num_bands=16)
    for name, value in network.state_dict().items():
        torch.testing.assert_close(back.state_dict()[name], value, rtol=0, atol=0)


def dropped(state: State) -> object:
    del state["ups.1.conv2.bias"]
    return state


def grown(state: State) -> object:
    return state | {"ups.3.conv2.bias": torch.zeros(1)}


def bent(state: State) -> object:
    return state | {"output.weight": torch.zeros(1, 5, 1, 1, 1)}


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (dropped, r'Missing key.*: "ups\.1\.conv2\.bias"\.\)$'),
        (grown, r'Unexpected key.*: "ups\.3\.conv2\.bias"\.\)$'),
        (bent, r"size mismatch for output\.weight: .*\[1, 5, 1, 1, 1\].*\[1, 4, 1, 1, 1\]"),
        (lambda state: {"fc.weight": torch.zeros(2)}, r"conv0\.weight, .* missing .* fc\.weight"),
        (lambda state: state | {"epoch": 3}, "no tensors: epoch"),
        (lambda state: {}, "dict without entries"),
        (lambda state: {"model": [1, 2]}, "got list"),
        (lambda state: torch.zeros(3), "got Tensor"),
        (lambda state: {f"layer{i}": torch.zeros(1) for i in range(99)}, r"layer9, .* \[\.\.\.\]$"),
    ],
)
def test_weights_that_do_not_fit_are_named(
    tmp_path: Path, spoil: Callable[[State], object], message: str
) -> None:
    path = tmp_path / "weights.pth"
    torch.save(spoil(published_state()), path)
    with pytest.raises(CheckpointError, match=message) as caught:
        load_published_unet3d(path, num_bands=8)
    assert str(path) in str(caught.value)


class Harmful:
    """Would run code when it is unpickled."""

    def __reduce__(self) -> tuple[Callable[[str], Any], tuple[str]]:
        return print, ("unpickled",)


def test_a_file_that_would_run_code_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save({"model": Harmful()}, tmp_path / "weights.pth")
    with pytest.raises(CheckpointError, match="weights_only=True"):
        load_published_unet3d(tmp_path / "weights.pth", num_bands=8)
    assert "unpickled" not in capsys.readouterr().out


@pytest.mark.parametrize("content", [b"", b"not a file of weights", b"PK\x03\x04 broken"])
def test_a_file_of_something_else_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "weights.pth").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"weights\.pth can't be read"):
        load_published_unet3d(tmp_path / "weights.pth", num_bands=8)


def test_a_missing_file_is_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        load_published_unet3d(tmp_path / "weights.pth", num_bands=8)
