"""Every data module keeps the same promises."""

from __future__ import annotations

import textwrap
import warnings
from typing import TYPE_CHECKING, Any

import lightning as L
import numpy as np
import pytest
import torch
from scipy.io import savemat

from hsi_diffusion import (
    CustomSceneDataModule,
    Houston2013DataModule,
    IndianPinesDataModule,
    LoadedSceneDataModule,
    PaviaUniversityDataModule,
    SalinasADataModule,
    SalinasDataModule,
    SimulatedSceneDataModule,
    scenes,
)
from hsi_diffusion.errors import (
    ConfigurationError,
    NotSetUpError,
    SceneError,
    SplitError,
)
from hsi_diffusion.patches import MNF, PCA, pretraining_pixels
from tests.processes import run_python

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import Tensor

    from hsi_diffusion.modules import SceneDataModule
    from hsi_diffusion.scenes import SceneInfo
    from hsi_diffusion.types import PatchBatch


class Probe(L.LightningModule):
    """A module that learns one number, and notes what it gets."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.keys: set[str] = set()
        self.batches: list[list[int]] = []

    def training_step(self, batch: PatchBatch, batch_idx: int) -> Tensor:
        self.keys |= batch.keys()
        self.batches.append(batch["index"].tolist())
        return self.weight * batch["image"].mean()

    def validation_step(self, batch: PatchBatch, batch_idx: int) -> None:
        """Nothing: what is given is learned only."""

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


@pytest.fixture(params=["indian_pines", "salinas_a", "custom", "simulated"])
def data(request: pytest.FixtureRequest, tmp_path: Path) -> SceneDataModule:
    """Each kind of data module, over real scenes where there are any."""
    settings: dict[str, Any] = {"patch_size": 7, "batch_size": 32, "split": "5", "seed": 3}
    if request.param == "simulated":
        return SimulatedSceneDataModule(40, 36, 16, 4, **settings)
    if request.param == "custom":
        random = np.random.default_rng(0)
        np.save(tmp_path / "cube.npy", random.normal(size=(30, 20, 6)))
        labels = np.kron([[1, 5], [0, 9]], np.ones((15, 10))).astype(np.uint8)
        savemat(tmp_path / "labels.mat", {"gt": labels})
        return CustomSceneDataModule(tmp_path / "cube.npy", tmp_path / "labels.mat", **settings)
    root = request.getfixturevalue("shared_data")
    if request.param == "salinas_a":
        return SalinasADataModule(root, **settings)
    return IndianPinesDataModule(root, **settings)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_every_data_module_keeps_the_same_promises(data: SceneDataModule) -> None:
    bands, classes, shape = data.num_bands, data.num_classes, data.shape
    data.setup()
    split = data.require_split()
    assert tuple(data.cube.shape) == (*shape, bands)
    assert data.cube.dtype == torch.float32
    assert data.cube.amin() == pytest.approx(-1)
    assert data.cube.amax() == pytest.approx(1)
    assert data.labels.max() == classes

    seen = []
    for batch in data.train_dataloader():
        assert batch["image"].shape[1:] == (bands, 7, 7)
        centre = data.cube.view(-1, bands)[batch["index"]]
        assert torch.equal(batch["image"][:, :, 3, 3], centre)
        assert (batch["label"].numpy() == data.labels.ravel()[batch["index"]] - 1).all()
        seen.append(batch["index"])
    assert sorted(torch.cat(seen).tolist()) == split.train.tolist()

    loaders = {"val": data.val_dataloader(), "test": data.test_dataloader()}
    for part, loader in loaders.items():
        pixels = torch.cat([batch["index"] for batch in loader])
        assert pixels.tolist() == getattr(split, part).tolist()
    pixels = torch.cat([batch["index"] for batch in data.predict_dataloader()])
    assert pixels.tolist() == list(range(shape[0] * shape[1]))


@pytest.mark.parametrize(
    ("module", "bands", "classes"),
    [
        (IndianPinesDataModule, 200, 16),
        (PaviaUniversityDataModule, 103, 9),
        (SalinasDataModule, 204, 16),
        (SalinasADataModule, 204, 6),
        (Houston2013DataModule, 144, 15),
    ],
)
def test_counts_are_known_without_any_file(
    module: Callable[..., SceneDataModule], bands: int, classes: int, tmp_path: Path
) -> None:
    data = module(tmp_path)
    assert (data.num_bands, data.num_classes) == (bands, classes)
    assert module(tmp_path, transform=MNF(9)).num_bands == 9
    with pytest.raises(SceneError):
        data.setup()


def test_a_download_reads_nothing_before_the_scene_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []

    def fetch(info: SceneInfo, folder: Path, **_: object) -> None:
        labels = np.zeros(info.shape[:2], dtype=np.uint8)
        labels[:6] = np.arange(1, 7)[:, None]
        folder.mkdir(exist_ok=True)
        cube = np.zeros(info.shape, dtype=np.int16)
        cube[0] = 1
        savemat(folder / "SalinasA_corrected.mat", {"salinasA_corrected": cube})
        ids = np.array([0, *info.class_ids])
        savemat(folder / "SalinasA_gt.mat", {"salinasA_gt": ids[labels]})

    def read_array(path: Path, *rest: Any, **settings: Any) -> NDArray[Any]:
        read.append(path.name)
        return scenes.read_array(path, *rest, **settings)

    monkeypatch.setattr("hsi_diffusion.scenes.load.download_scene", fetch)
    monkeypatch.setattr("hsi_diffusion.scenes.load.read_array", read_array)
    data = SalinasADataModule(tmp_path / "new", download=True, transform="Identity")
    data.prepare_data()
    assert read == []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # they are not the published files
        data.setup()
    assert read == ["SalinasA_corrected.mat", "SalinasA_gt.mat"]


def test_pretraining_sees_no_labels_and_no_held_out_pixel(
    small_scene: Callable[..., SimulatedSceneDataModule],
) -> None:
    data = small_scene(task="pretrain", patch_size=8, holdout=0.1)
    data.setup()
    (batch, *_) = data.train_dataloader()
    assert "label" not in batch
    learn, held_out = pretraining_pixels((40, 36), 8, holdout=0.1, seed=0)
    (batch,) = data.val_dataloader()
    assert batch["index"].tolist() == held_out.tolist()

    # brute force: walk over every pixel of every patch
    def covered(pixels: np.ndarray[Any, Any]) -> set[tuple[int, int]]:
        return {
            (int(p) // 36 + y, int(p) % 36 + x)
            for p in pixels
            for y in range(-4, 4)
            for x in range(-4, 4)
        }

    assert not covered(held_out) & covered(learn)
    left_out = set(range(40 * 36)) - set(learn.tolist())
    assert all(covered(np.array([p])) & covered(held_out) for p in left_out)
    everything, nothing = pretraining_pixels((40, 36), 8, holdout=0, seed=0)
    assert len(everything) == 40 * 36
    assert len(nothing) == 0


@pytest.mark.parametrize(("holdout", "patch"), [(0.999, 8), (0.1, 64), (1.5, 8), (-0.1, 8)])
def test_impossible_holdouts_are_refused(holdout: float, patch: int) -> None:
    with pytest.raises(ConfigurationError, match="holdout"):
        pretraining_pixels((40, 36), patch, holdout=holdout, seed=0)


def test_labelled_trains_on_the_whole_budget(
    small_scene: Callable[..., SimulatedSceneDataModule],
) -> None:
    data = small_scene(train_on="labelled")
    data.setup()
    pixels = torch.cat([batch["index"] for batch in data.train_dataloader()])
    assert sorted(pixels.tolist()) == data.require_split().labelled.tolist()
    assert data.val_dataloader() == []


def test_a_last_batch_of_one_patch_is_left_out(
    small_scene: Callable[..., SimulatedSceneDataModule],
) -> None:
    def sizes(batch_size: int) -> list[int]:
        data = small_scene(train_on="labelled", batch_size=batch_size)
        data.setup()
        assert len(data.require_split().labelled) == 40
        batches = [len(batch["index"]) for batch in data.train_dataloader()]
        assert len(data.train_dataloader()) == len(batches)
        return batches

    assert sizes(39) == [39]
    assert sizes(38) == [38, 2]
    assert sizes(64) == [40]
    assert sizes(1) == [1] * 40


def test_a_scene_without_labels_can_be_learned_and_mapped_only() -> None:
    cube = np.random.default_rng(0).normal(size=(20, 20, 4))
    data = CustomSceneDataModule(cube, split=None, task="pretrain", patch_size=4)
    data.setup()
    assert len(next(iter(data.train_dataloader()))["image"]) == 64
    assert len(data.predict_dataloader()) == 1
    with pytest.raises(SplitError, match="has no labels"):
        data.test_dataloader()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"task": "segment"}, "'pretrain' or 'classify'"),
        ({"train_on": "test"}, "'train' or 'labelled'"),
        ({"fit_on": "test"}, "'all' or 'train'"),
        ({"batch_size": 0}, "batch_size must be at least 1"),
        ({"train_mask": "a.tif"}, "go together"),
        ({"train_mask": "a.tif", "test_mask": "b.tif", "split": "10"}, "split='fixed'"),
        ({"transform": "mnf"}, r"transform must be one of Identity, .*, MNF, .*, got 'mnf'"),
        ({"guard": 3, "split": 10}, r"split='blocks' keeps; got guard=3 with split=10"),
    ],
)
def test_wrong_settings_are_named(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        SimulatedSceneDataModule(**settings)


def test_fixed_split_needs_masks(small_scene: Callable[..., SimulatedSceneDataModule]) -> None:
    with pytest.raises(SplitError, match="train_mask"):
        small_scene(split="fixed").setup()


@pytest.mark.parametrize(("number", "text"), [(0.2, "0.2"), (5, "5"), (5.0, "5")])
def test_the_split_may_be_a_number(
    small_scene: Callable[..., SimulatedSceneDataModule], number: float, text: str
) -> None:
    first, second = small_scene(split=number), small_scene(split=text)
    first.setup()
    second.setup()
    assert first.require_split().train.tolist() == second.require_split().train.tolist()


def test_masks_may_be_arrays_or_files(
    small_scene: Callable[..., SimulatedSceneDataModule], tmp_path: Path
) -> None:
    train = np.zeros((40, 36), dtype=bool)
    train[:20] = True
    np.save(tmp_path / "train.npy", train)
    data = small_scene(split="fixed", train_mask=tmp_path / "train.npy", test_mask=~train)
    data.setup()
    split = data.require_split()
    labelled = data.labels.ravel() > 0
    assert split.labelled.tolist() == np.flatnonzero(train.ravel() & labelled).tolist()
    assert split.test.tolist() == np.flatnonzero(~train.ravel() & labelled).tolist()
    with pytest.raises(SplitError, match=r"train_mask must have the labels' shape \(40, 36\)"):
        small_scene(split="fixed", train_mask=train[1:], test_mask=~train).setup()


def test_a_stored_split_is_used_on_its_own_scene_only(
    small_scene: Callable[..., SimulatedSceneDataModule], tmp_path: Path
) -> None:
    path = tmp_path / "split.npz"
    data = small_scene(split="5")
    data.setup()
    stored = data.require_split()
    stored.save(path)
    again = small_scene(split=path)
    again.setup()
    assert again.require_split().train.tolist() == stored.train.tolist()
    for other in ({"height": 42}, {"scene_seed": 1}):
        for split in (str(path), stored):
            with pytest.raises(SplitError, match="use the split of this scene"):
                small_scene(split=split, **other).setup()
    with pytest.raises(SplitError, match=r"can't read the stored split .*none\.npz: No such file"):
        small_scene(split=str(tmp_path / "none.npz")).setup()


def test_what_setup_makes_is_asked_for_too_early(
    small_scene: Callable[..., SimulatedSceneDataModule],
) -> None:
    data = small_scene()
    for ask in (data.train_dataloader, data.test_dataloader, data.predict_dataloader):
        with pytest.raises(NotSetUpError, match=r"only after setup: call setup\(\) first"):
            ask()
    assert not hasattr(data, "cube")
    with pytest.raises(AttributeError, match="no attribute 'cubes'"):
        _ = data.cubes  # type: ignore[attr-defined]
    data.setup()
    assert hasattr(data, "cube")


def test_labels_that_are_all_0_are_told(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    data = CustomSceneDataModule(random.normal(size=(20, 18, 4)), np.zeros((20, 18), dtype=int))
    data.setup()
    with pytest.raises(SplitError, match=r"no labels \(all of its pixels are 0, unlabelled\)"):
        data.require_split()


def test_fixed_masks_of_indian_pines(shared_data: Path) -> None:
    folder = shared_data / "indian_pines"
    data = IndianPinesDataModule(
        shared_data,
        split="fixed",
        train_mask=str(folder / "IndianTR123_temp123.tif"),
        test_mask=str(folder / "IndianTE123_temp123.tif"),
    )
    data.setup()
    split = data.require_split()
    # 256 pixels differ between the two label maps; those that the usual map leaves out are dropped
    assert 600 < len(split.labelled) <= 695
    assert 9_000 < len(split.test) <= 9_671


def test_a_scene_in_memory_is_split_and_transformed_as_any_other(
    small_scene: Callable[..., SimulatedSceneDataModule],
) -> None:
    expected = small_scene(seed=3)
    expected.setup()
    data = LoadedSceneDataModule(expected.scene, split="10", patch_size=5, batch_size=16, seed=3)
    assert (data.num_bands, data.num_classes, data.shape) == (16, 4, (40, 36))
    data.setup()
    assert torch.equal(data.cube, expected.cube)
    assert data.require_split().train.tolist() == expected.require_split().train.tolist()
    with pytest.raises(ConfigurationError, match="must be a Scene, got 'cube'"):
        LoadedSceneDataModule("cube")  # type: ignore[arg-type]


def test_hyperparameters_are_plain_data(
    small_scene: Callable[..., SimulatedSceneDataModule], tmp_path: Path
) -> None:
    cube = np.zeros((9, 8, 3))
    data = CustomSceneDataModule(cube, tmp_path / "labels.npy", split=10, holdout=np.float64(0.1))
    given = data.hparams
    assert given["labels"] == str(tmp_path / "labels.npy")
    assert given["cube"] == "object of class ndarray, which is not stored: give it again"
    assert (given["split"], given["patch_size"], given["holdout"]) == (10, 16, 0.1)
    assert given["transform"] == {"class_path": "MinMax", "init_args": {}}
    assert (given["seed"], given["rgb_bands"]) == (0, None)
    torch.save(dict(given), tmp_path / "given.pt")
    assert torch.load(tmp_path / "given.pt", weights_only=True) == dict(given)


def test_a_checkpoint_makes_its_data_module_again(
    small_scene: Callable[..., SimulatedSceneDataModule],
    quiet_trainer: Callable[..., L.Trainer],
    tmp_path: Path,
) -> None:
    data = small_scene(seed=4, transform=PCA(5), padding="zeros")
    trainer = quiet_trainer(max_steps=1)
    trainer.fit(Probe(), data)
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    again = SimulatedSceneDataModule.load_from_checkpoint(tmp_path / "last.ckpt", weights_only=True)
    assert dict(again.hparams) == dict(data.hparams)
    again.setup()
    assert torch.equal(again.cube, data.cube)
    assert again.require_split().train.tolist() == data.require_split().train.tolist()


@pytest.mark.parametrize("task", ["pretrain", "classify", None])
def test_the_task_is_that_of_the_module_unless_given(
    task: str | None,
    small_scene: Callable[..., SimulatedSceneDataModule],
    quiet_trainer: Callable[..., L.Trainer],
) -> None:
    class Pretraining(Probe):
        task = "pretrain"

    for module in (Probe(), Pretraining()):
        data = small_scene(task=task)
        assert data.task == (task or "classify")
        quiet_trainer(max_steps=1, limit_val_batches=0).fit(module, data)
        expected = task or getattr(module, "task", "classify")
        assert data.task == expected
        assert ("label" in module.keys) == (expected == "classify")


@pytest.mark.parametrize("task", ["pretrain", "classify"])
def test_a_trainer_may_overfit_one_batch(
    task: str,
    small_scene: Callable[..., SimulatedSceneDataModule],
    quiet_trainer: Callable[..., L.Trainer],
) -> None:
    module = Probe()
    quiet_trainer(overfit_batches=1, max_epochs=3).fit(module, small_scene(task=task))
    first, *others = module.batches
    assert len(first) == 16
    assert others == [first, first]


def test_memory_stays_near_the_cube_at_the_size_of_houston() -> None:
    """At most 2.2 times the cube (float32) while a scene is set up and walked through."""
    script = """
        import resource, sys
        import numpy as np, torch
        from hsi_diffusion import CustomSceneDataModule

        def peak():
            return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

        shape = (349, 1905, 144)
        cube = np.random.default_rng(0).integers(0, 4000, size=shape, dtype=np.uint16)
        labels = np.zeros(shape[:2], dtype=np.uint8)
        labels[::7, ::5] = 1
        labels[1::7, ::5] = 2
        before = peak() - cube.nbytes  # the cube counts
        data = CustomSceneDataModule(cube, labels, split="0.1", patch_size=9, batch_size=256)
        data.setup()
        for number, batch in enumerate(data.predict_dataloader()):
            if number == 20:
                break
        float32 = 4 * np.prod(shape)
        ratio = (peak() - before) / float32
        print(f"{ratio:.2f}")
        sys.exit(bool(ratio > 2.2))
    """
    done = run_python(["-c", textwrap.dedent(script)])
    assert done.returncode == 0, done.stdout + done.stderr
