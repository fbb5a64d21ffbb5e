"""Cubes on disk: what a key depends on, and files that can't be used."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from hsi_diffusion.diffusion import NoiseSchedule
from hsi_diffusion.features import (
    FeatureCube,
    FeatureSettings,
    FeatureStore,
    Reduction,
    feature_key,
    weights_digest,
)
from tests.features.networks import BANDS, unet
from tests.processes import run_python

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

KEY: dict[str, Any] = {"format": 1, "cube": "abc", "alpha_bar": [0.1 + 0.2], "reduction": None}


def cube(shape: tuple[int, int, int] = (6, 5, 8), **description: Any) -> FeatureCube:
    values = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    return FeatureCube(values, {"timesteps": [5, 10], "channels": [4, 4], **description})


def key(**changes: Any) -> dict[str, Any]:
    parts: dict[str, Any] = {
        "denoiser": unet(),
        "schedule": NoiseSchedule(timesteps=50),
        "cube": torch.ones(4, 4, BANDS),
        "settings": FeatureSettings(),
        "reduction": None,
    }
    return feature_key(**parts | changes)


def test_parts_are_the_timesteps_and_levels_without_angles() -> None:
    for given in (cube((6, 5, 9), channels=[2, 3, 4]),
                  cube((6, 5, 11), channels=[2, 3, 4], angles=True)):  # fmt: skip
        first, second, third = given.parts()
        assert np.array_equal(first, given.array[:, :, :2])
        assert np.array_equal(second, given.array[:, :, 2:5])
        assert np.array_equal(third, given.array[:, :, 5:9])


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path / "new" / "folder")
    assert store.load(KEY) is None
    saved = cube()
    path = store.save(KEY, saved)
    loaded = FeatureStore(store.folder).load(KEY)
    assert loaded is not None
    assert loaded.array.dtype == np.float32
    assert np.array_equal(loaded.array, saved.array)
    assert loaded.description == saved.description
    assert [path] == list(store.folder.iterdir())
    with h5py.File(path) as file:
        assert json.loads(file.attrs["key"]) == KEY
    assert store.load(KEY | {"cube": "other"}) is None


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-500])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    place = content.index(cube().array[3].tobytes()[:40])
    content[place] ^= 1
    path.write_bytes(content)


def drop(path: Path) -> None:
    with h5py.File(path, "a") as file:
        del file["features"]


def rename(path: Path) -> None:
    with h5py.File(path, "a") as file:
        file.attrs["key"] = json.dumps({"format": 0})


@pytest.mark.parametrize("spoil", [cut, flip, drop, rename, lambda path: path.write_bytes(b"")])
def test_unusable_file_is_reported_and_replaced(
    tmp_path: Path, spoil: Callable[[Path], None]
) -> None:
    store = FeatureStore(tmp_path)
    spoil(store.save(KEY, cube()))
    with pytest.warns(RuntimeWarning, match=r"features-.*can't be used .*computed again"):
        assert store.load(KEY) is None
    store.save(KEY, cube())
    assert store.load(KEY) is not None


def test_failed_write_leaves_nothing(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path)
    with pytest.raises(TypeError):
        store.save(KEY, cube(extra=object()))
    assert list(tmp_path.iterdir()) == []


KILLED = """
import os, signal, sys
from hsi_diffusion.features import FeatureStore
from hsi_diffusion.files import atomic_path
store = FeatureStore(sys.argv[1])
with store.spool((6, 5, 3), tile=4), atomic_path(store.path({"cube": "abc"})):
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_process_left_can_be_removed(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path / "features")
    store.remove_leftovers()  # there may be no folder yet
    kept = store.save(KEY, cube())
    assert run_python(["-c", KILLED, str(store.folder)]).returncode == -signal.SIGKILL
    left = {path.name[:7] for path in store.folder.iterdir()} - {kept.name[:7]}
    assert left == {".spool-", ".featur"}
    store.remove_leftovers()
    assert list(store.folder.iterdir()) == [kept]


def test_spool_is_gone_afterwards_even_after_an_error(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path)

    def fail() -> None:
        with store.spool((6, 5, 3), tile=4) as raw:
            raw[:2, 4:] = np.ones((2, 1, 3))
            assert raw[:3, 4:].sum() == 6
            assert raw.dtype == np.float32
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_key_is_the_same_for_the_same_and_plain_data() -> None:
    assert key() == key(denoiser=unet().train(), settings=FeatureSettings(tile=7, seed=3))
    assert json.loads(json.dumps(key())) == key()
    cut_out = torch.ones(8, 4, BANDS)[::2]
    assert key() == key(cube=cut_out), "memory layout doesn't matter"


@pytest.mark.parametrize(
    "change",
    [
        {"denoiser": unet(seed=1)},
        {"schedule": NoiseSchedule(timesteps=51)},
        {"schedule": NoiseSchedule(timesteps=50, kind="cosine")},
        {"cube": torch.ones(4, 4, BANDS) * 1.001},
        {"cube": torch.ones(2, 8, BANDS)},
        {"settings": FeatureSettings(timesteps=(6,))},
        {"settings": FeatureSettings(levels=(1,))},
        {"settings": FeatureSettings(noise="fixed")},
        {"settings": FeatureSettings(precision="bfloat16")},
        {"reduction": Reduction(3)},
    ],
)
def test_key_changes_with_what_made_the_features(change: dict[str, Any]) -> None:
    assert key(**change) != key()


def test_key_changes_with_the_reduction() -> None:
    kinds = [
        Reduction(3),
        Reduction(4),
        Reduction(3, "none"),
        Reduction(3, whiten=True),
        Reduction(3, per_timestep=True),
    ]
    assert len({json.dumps(key(reduction=kind)) for kind in kinds}) == len(kinds)


def test_weights_digest_sees_weights_statistics_and_settings() -> None:
    digests = {weights_digest(unet())}
    net = unet()
    with torch.no_grad():
        net.output.weight += 1e-3
    digests.add(weights_digest(net))
    net = unet()
    net.get_buffer("downs.0.bnorm1.running_mean")[0] += 1e-3
    digests.add(weights_digest(net))
    net = unet()
    net.band_padding = "zeros"
    digests.add(weights_digest(net))
    digests.add(weights_digest(unet().bfloat16()))
    for dilations in ([1, 2], [4, 8]):  # of a network of the user's
        net = unet()
        net.dilations = dilations  # type: ignore[assignment]
        digests.add(weights_digest(net))
    assert len(digests) == 7
    assert weights_digest(unet().train()) == weights_digest(unet().eval()) in digests


class Attributed(nn.Module):
    """A network that computes with what is no parameter and no buffer."""

    def __init__(self, **given: Any) -> None:
        super().__init__()
        for name, value in given.items():
            setattr(self, name, value)


@dataclass
class Sizes:
    """A user's settings."""

    depth: int


def test_weights_digest_sees_attributes_that_are_no_parameters() -> None:
    long = np.arange(2000.0)
    networks = [
        Attributed(gain=torch.ones(2)),
        Attributed(gain=7 * torch.ones(2)),
        Attributed(_gain=7.0),
        Attributed(table=long),
        Attributed(table=np.where(long == 1000, 0, long)),
        Attributed(act=F.silu),
        Attributed(act=F.gelu),
        Attributed(sizes=[Sizes(2)]),
        Attributed(sizes=[Sizes(3)]),
        Attributed(sizes={"depth": (2, None)}),
        Attributed(kind=nn.ReLU),
    ]
    digests = [weights_digest(network) for network in networks]
    assert len(set(digests)) == len(networks)
    assert weights_digest(Attributed(table=long.copy())) == digests[3]


def test_weights_digest_is_the_same_in_every_process() -> None:
    code = (
        "import torch; from torch import nn; from hsi_diffusion.features import weights_digest; "
        "net = nn.Linear(1, 1); nn.init.zeros_(net.weight); nn.init.zeros_(net.bias); "
        "net.act = torch.nn.functional.silu; net.other = object(); print(weights_digest(net))"
    )
    found = {subprocess.check_output([sys.executable, "-c", code]) for _ in range(2)}
    assert len(found) == 1
