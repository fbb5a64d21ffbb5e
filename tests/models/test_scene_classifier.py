"""One object is the model: fitted, saved, read, and applied to other images of the sensor."""

from __future__ import annotations

import dataclasses
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import TYPE_CHECKING, Any

import lightning as L
import numpy as np
import pytest
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    cohen_kappa_score,
    confusion_matrix,
)
from sklearn.neighbors import KNeighborsClassifier

from hsi_diffusion import (
    Graph,
    Scene,
    SceneClassifier,
    Spreading,
    load_custom_scene,
    make_split,
    simulate_scene,
)
from hsi_diffusion.classifiers import EstimatorClassifier, NetworkClassifier, SupportVectorMachine
from hsi_diffusion.errors import ConfigurationError, NotFittedError, SceneError, SplitError
from hsi_diffusion.models import DiffusionRepresentation, map_image
from hsi_diffusion.modules import Runtime
from hsi_diffusion.patches import BandTransform, StreamingPCA
from tests.models.tiny import FEATURES, KINDS, NEAREST, RAW, SPREADING, laid, recipe, scene, split

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from tests.models.conftest import Saved


def forbid(monkeypatch: pytest.MonkeyPatch, *methods: tuple[type, str]) -> None:
    """Let methods fail that must not be called."""

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("something is fitted again")

    for owner, name in methods:
        monkeypatch.setattr(owner, name, refuse)


LEARNING: tuple[tuple[type, str], ...] = (
    (BandTransform, "fit"),
    (StreamingPCA, "partial_fit"),
    (StreamingPCA, "finish"),
    (EstimatorClassifier, "fit"),
    (NetworkClassifier, "fit"),
    (SupportVectorMachine, "fit"),
    (KNeighborsClassifier, "fit"),
    (L.Trainer, "fit"),
    (Spreading, "choose"),
)


@pytest.mark.parametrize("kind", KINDS)
def test_a_saved_model_says_what_the_fit_has_found(
    kind: str, fitted: Callable[[str], Saved], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    model, folder = fitted(kind)
    assert model.prediction is not None
    np.testing.assert_allclose(model.prediction.probabilities.sum(axis=2), 1, rtol=1e-5)
    forbid(monkeypatch, *LEARNING)
    loaded = SceneClassifier.from_pretrained(folder)
    found = loaded.predict(scene())
    assert np.array_equal(found.probabilities, model.prediction.probabilities)
    assert np.array_equal(loaded.predict(scene().cube).probabilities, found.probabilities)
    assert (found.class_names, found.class_ids) == (scene().info.class_names, (1, 2, 3))

    forbid(monkeypatch, (Graph, "spread_labels"))  # there are no labels in another image
    other = loaded.predict(scene(1))
    assert other.probabilities.shape == (24, 22, 3)
    np.testing.assert_allclose(other.probabilities.sum(axis=2), 1, rtol=1e-5)
    assert np.array_equal(other.probabilities, model.predict(scene(1)).probabilities)

    loaded.save(tmp_path / "again")  # nothing of it has changed
    for name in ("model.json", "model.safetensors"):
        assert (tmp_path / "again" / name).read_bytes() == (folder / name).read_bytes()


@pytest.mark.parametrize("kind", ["an estimator for each, restored", "label propagation"])
def test_probabilities_are_smoothed_along_graphs_of_another_image(
    kind: str, fitted: Callable[[str], Saved]
) -> None:
    model, _ = fitted(kind)
    learned, cube = model.fitted, scene(1).cube
    assert learned is not None
    assert learned.graph_space is not None
    seen = learned.representation(cube)
    given = learned.classifier.predict(seen).reshape(24, 22, 3)
    settings = model.recipe.spreading
    own: list[NDArray[np.float32]] = []
    if learned.own_share:
        assert isinstance(learned.representation, DiffusionRepresentation)
        own = list(learned.representation.restored(cube, (50, 100)))
    spreading = Spreading.fit(settings, learned.graph_space(cube), own)
    spreading.share = learned.own_share
    expected = spreading.smooth(given)
    assert not np.allclose(expected, given, atol=1e-3)
    np.testing.assert_array_equal(model.predict(scene(1)).probabilities, expected)


@pytest.mark.parametrize("kind", ["blurred bands", "network, its own word kept"])
def test_masked_pixels_are_pixels_without_data(kind: str, fitted: Callable[[str], Saved]) -> None:
    model, _ = fitted(kind)
    values = scene(1).cube.astype(np.float32)
    values[:5, :7], values[20, 20, 3] = 65535, np.nan
    holes = np.zeros(values.shape[:2], dtype=bool)
    holes[:5, :7] = holes[20, 20] = True
    masked = np.ma.masked_equal(np.ma.masked_invalid(values), 65535)
    found = model.predict(masked)
    assert np.array_equal(found.ids == 0, holes)
    assert np.array_equal(np.isnan(found.probabilities).all(axis=2), holes)
    assert np.array_equal(np.isnan(found.probabilities).any(axis=2), holes)
    expected = model.predict(load_custom_scene(masked))
    assert np.array_equal(found.probabilities, expected.probabilities, equal_nan=True)
    whole = np.ma.masked_array(scene(1).cube)
    assert np.array_equal(model.predict(whole).ids, model.predict(scene(1)).ids)


def test_a_scene_that_names_no_wavelengths_is_warned_of(fitted: Callable[[str], Saved]) -> None:
    model, _ = fitted("blurred bands")
    with pytest.warns(UserWarning, match="names no wavelengths, so that the order of its bands"):
        found = model.predict(load_custom_scene(scene(1).cube))
    assert np.array_equal(found.ids, model.predict(scene(1)).ids)


@pytest.mark.parametrize("factor", [1e-4, 255.0])
def test_an_image_in_other_units_is_warned_of(
    fitted: Callable[[str], Saved], factor: float, tmp_path: Path
) -> None:
    model, folder = fitted("blurred bands")
    values = scene(1).cube * factor
    with pytest.warns(
        UserWarning, match=r"are both in the same units\? Multiply the image"
    ) as told:
        model.predict(values)
    learned, given = (np.median(np.abs(cube)) for cube in (scene(0).cube, values))
    text = (
        f"a typical value of this image is {given:.3g}, and of tiny, which this model learned, "
        f"{learned:.3g}:"
    )
    assert any(str(one.message).startswith(text) for one in told)
    np.save(tmp_path / "image.npy", values)
    with pytest.warns(UserWarning, match="are both in the same units"):
        map_image(folder, tmp_path / "image.npy", [tmp_path / "map.npy"])


def test_hardware_that_is_not_there_is_refused_whatever_classifies() -> None:
    with pytest.raises(ConfigurationError, match=r"accelerator='bogus'.*--accelerator auto"):
        SceneClassifier(recipe(RAW), runtime=Runtime(accelerator="bogus"))


def test_another_image_is_classified_with_what_was_learned() -> None:
    """Spectra of the same classes under the same light: nearest neighbours tell them apart."""
    first = simulate_scene(40, 40, 20, 3, seed=5, variability=0.2, noise=0.2)
    second = simulate_scene(40, 40, 20, 3, seed=5, image=1, variability=0.2, noise=0.2)
    given = make_split(first.labels, "0.3", patch_size=1, seed=0)
    model = SceneClassifier(recipe(RAW, {"classifier": {"estimator": NEAREST}})).fit(first, given)
    labelled = second.labels > 0
    rows = first.cube.reshape(-1, 20)[given.labelled].astype(float)
    low, high = first.cube.min(axis=(0, 1)), first.cube.max(axis=(0, 1))
    reference = KNeighborsClassifier(1).fit(
        (rows - low) / (high - low), first.labels.ravel()[given.labelled]
    )
    expected = reference.predict((second.cube[labelled] - low) / (high - low))
    found = model.predict(second).classes[labelled]
    assert (found == expected).mean() > 0.99
    assert (found == second.labels[labelled]).mean() > 0.8


def test_other_bands_wavelengths_and_values_are_refused(fitted: Callable[[str], Saved]) -> None:
    model, folder = fitted("blurred bands")
    other = scene(1)
    assert other.info.wavelengths is not None

    def with_waves(shift: float) -> Scene:
        waves = list(other.info.wavelengths or ())
        waves[7] += shift
        info = dataclasses.replace(other.info, wavelengths=tuple(waves))
        return Scene(other.cube, other.labels, info)

    for one in (model, SceneClassifier.from_pretrained(folder)):
        with pytest.raises(SceneError, match=r"\(H, W, 20\), the bands of tiny.*\(24, 22, 19\)"):
            one.predict(other.cube[:, :, 1:])
        with pytest.raises(SceneError, match=r"1 bands differ: band 7 lies at 1\d\d\d\.?\d* nm"):
            one.predict(with_waves(3))
        one.predict(with_waves(0.5))
        broken = other.cube.astype(np.float32)
        broken[3, 4, 5] = np.nan
        with pytest.raises(SceneError, match=r"finite real numbers, got float32.*masked_invalid"):
            one.predict(broken)
        with pytest.raises(SceneError, match=r"got \(24, 22\)"):
            one.predict(other.cube[:, :, 0])
        with pytest.raises(SceneError, match=r"got next.tif: .*load_custom_scene"):
            one.predict("next.tif")  # type: ignore[arg-type]
        with pytest.raises(SceneError, match=r"got list: .*several images one by one"):
            one.predict([other.cube, other.cube[:5]])  # type: ignore[arg-type]
        with pytest.raises(SceneError, match="its mask hides a band or more of every pixel"):
            one.predict(np.ma.masked_array(other.cube, mask=True))


@pytest.mark.parametrize(
    "kind", ["two networks, a joint reduction", "an estimator for each, restored", "blurred bands"]
)
def test_recipes_for_many_bands_run_on_three(kind: str) -> None:
    few = simulate_scene(24, 22, 4, 3)
    few = load_custom_scene(few.cube[:, :, :3], few.labels)
    found = (
        SceneClassifier(recipe(KINDS[kind]))
        .fit(few, make_split(few.labels, "10", patch_size=1, seed=0))
        .predict(few)
    )
    assert 1 <= found.classes.min() <= found.classes.max() <= 3


def test_what_was_learned_is_known(fitted: Callable[[str], Saved]) -> None:
    model, folder = fitted("label propagation")
    for known in (model.known, SceneClassifier.from_pretrained(folder).known):
        assert (known.scene, known.shape) == ("tiny", (24, 22, 20))
        assert known.palette == scene().info.palette
        assert known.wavelengths == scene().info.wavelengths
        assert known.class_names == scene().info.class_names
        where = split().labelled
        labels = np.zeros(24 * 22, dtype=int)
        labels[where] = scene().labels.ravel()[where]
        np.testing.assert_array_equal(known.labels().ravel(), labels)
        assert known.info(5, 7).shape == (5, 7, 20)


def test_a_model_that_has_learned_nothing_says_so(tmp_path: Path) -> None:
    model = SceneClassifier.from_recipe("knn")
    for use in (lambda: model.predict(scene()), lambda: model.save(tmp_path), lambda: model.known):
        with pytest.raises(NotFittedError, match=r"call fit\(scene, split\) first"):
            use()
    with pytest.raises(NotFittedError, match="follows the scene and the split"):
        _ = model.recipe


@pytest.mark.parametrize(
    "kind", ["network, no reduction", "an estimator for each, restored", "blurred bands"]
)
def test_fitting_looks_at_no_test_label_and_gives_the_same_twice(
    kind: str, fitted: Callable[[str], Saved]
) -> None:
    model, _ = fitted(kind)
    assert model.prediction is not None
    assert model.record is not None
    first, best = model.prediction.probabilities, model.record.best
    labels = scene().labels.copy()
    flat, test = labels.reshape(-1), split().test
    flat[test] = np.random.default_rng(0).permutation(flat[test])
    assert (labels != scene().labels).sum() > 50
    model.fit(Scene(scene().cube, labels, scene().info), split())
    np.testing.assert_array_equal(model.prediction.probabilities, first)
    chosen = model.record.best  # nan, where nothing was compared, equals nothing
    assert (chosen.candidate, chosen.rank) == (best.candidate, best.rank)
    again = SceneClassifier(recipe(KINDS[kind]), seed=3).fit(scene(), split())
    assert again.prediction is not None
    np.testing.assert_array_equal(again.prediction.probabilities, first)


def test_a_preset_follows_the_scene_and_the_split() -> None:
    plain = laid(
        RAW,
        {"classifier": {"estimator": NEAREST}},
        {
            "few_shot": {"raw_bands": [{"transform": "PCA"}]},
            "scenes": {"tiny": {"spreading": SPREADING}},
        },
    )
    model = SceneClassifier(plain)

    def learned(data: Scene, kind: str) -> tuple[str, bool]:
        model.fit(data, make_split(data.labels, kind, patch_size=1, seed=0))
        return str(model.recipe.raw_bands[0]), model.recipe.spreading.active

    stranger = simulate_scene(24, 22, 20, 3)
    assert learned(scene(), "10") == ("pca", True)
    assert learned(scene(), "0.2") == ("minmax", True)
    assert learned(stranger, "0.2") == ("minmax", False)
    assert learned(stranger, "5") == ("pca", False)
    model.check(scene(), split())  # what was learned stays as it is
    assert not model.recipe.spreading.active


def test_pretraining_alone_does_not_settle_the_split() -> None:
    plain = laid(FEATURES, {"classifier": {"estimator": NEAREST}, "features": {"combine": "all"}})
    model = SceneClassifier({**plain, "few_shot": {"features": {"timesteps": [20]}}})
    module = model.pretrain(scene())
    assert model.fit(scene(), split()).recipe.features.timesteps == (20,)
    assert model.pretrained is module


@pytest.mark.parametrize("kind", ["per_class", "blocks", "fields", "polygons", "images"])
def test_validation_pixels_on_other_land_decide_however_few_they_are(kind: str) -> None:
    part = dataclasses.replace(split(), settings={**split().settings, "kind": kind})
    wanted = recipe(RAW, {"classifier": {"estimator": NEAREST}, "choice": {"folds": 2}})
    found = SceneClassifier(dataclasses.replace(wanted, raw_bands=wanted.raw_bands * 2))
    record = found.fit(scene(), part).record
    assert record is not None
    assert record.folds == (2 if kind == "per_class" else 1)
    none = dataclasses.replace(part, val=part.val[:0], settings={"kind": kind}, train=part.labelled)
    record = found.fit(scene(), none).record
    assert record is not None
    assert record.folds == 2


def test_in_five_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scene = simulate_scene(24, 24, 32, 3)
    other = simulate_scene(24, 24, 32, 3, image=1, brightness=0.8)
    split = make_split(scene.labels, "10", patch_size=1, seed=0)
    monkeypatch.chdir(tmp_path)
    model = SceneClassifier.from_recipe("label_propagation", "cpu").fit(scene, split)
    found = model.predict(other)
    model.save("model")
    again = SceneClassifier.from_pretrained("model")
    np.testing.assert_array_equal(again.predict(other).classes, found.classes)
    found.save_probabilities("map.npy")
    np.testing.assert_array_equal(np.load("map.npy"), found.probabilities)


def test_classes_have_the_numbers_of_the_label_map() -> None:
    info = dataclasses.replace(scene().info, class_ids=(2, 5, 9))
    numbered = Scene(scene().cube, scene().labels, info)
    model = SceneClassifier(recipe(KINDS["label propagation"])).fit(numbered, split())
    found = model.predict(scene(1))
    np.testing.assert_array_equal(found.ids, np.array([0, 2, 5, 9])[found.classes])


def test_the_score_is_that_of_the_test_pixels_by_an_independent_count() -> None:
    model = SceneClassifier(recipe(KINDS["label propagation"])).fit(scene(), split())
    found = model.score(scene(), split())
    truth = scene().labels.ravel()[split().test]
    said = model.predict(scene()).classes.ravel()[split().test]
    assert found["pixels"] == len(split().test)
    assert found["classes"] == list(scene().info.class_names)
    assert found["overall_accuracy"] == pytest.approx(accuracy_score(truth, said))
    assert found["average_accuracy"] == pytest.approx(balanced_accuracy_score(truth, said))
    assert found["kappa"] == pytest.approx(cohen_kappa_score(truth, said))
    assert found["confusion_matrix"] == confusion_matrix(truth, said).tolist()
    assert model.score(scene())["pixels"] == (scene().labels > 0).sum()


def test_the_score_on_another_scene_goes_by_the_names_of_the_classes() -> None:
    model = SceneClassifier(recipe(KINDS["label propagation"])).fit(scene(), split())
    other, info = scene(1), scene(1).info
    turned = dataclasses.replace(info, class_names=info.class_names[::-1])
    renamed = Scene(other.cube, np.where(other.labels, 4 - other.labels, 0), turned)
    assert model.score(renamed) == model.score(other)
    strange = dataclasses.replace(info, class_names=("ice", "snow", "rock"))
    with pytest.raises(SceneError, match=r"none of the classes .* \(ice, snow, rock\)"):
        model.score(Scene(other.cube, other.labels, strange))


def test_labels_without_names_are_scored_by_their_numbers() -> None:
    model = SceneClassifier(recipe(KINDS["label propagation"])).fit(scene(), split())
    other = scene(1)
    facts: dict[str, Any] = {"wavelengths": other.info.wavelengths}
    unnamed = load_custom_scene(other.cube, other.labels, **facts)
    assert unnamed.info.class_names == ("Class 1", "Class 2", "Class 3")
    assert model.score(unnamed) == model.score(other)
    some = np.where(other.labels == 1, 0, other.labels)
    assert model.score(load_custom_scene(other.cube, some, **facts))["pixels"] == (some > 0).sum()


def test_arrays_and_numbers_in_the_place_of_scene_and_split_are_refused() -> None:
    model = SceneClassifier(recipe(KINDS["label propagation"]))
    with pytest.raises(SplitError, match=r"must be a Split, got 10: scene_split\("):
        model.fit(scene(), 10)  # type: ignore[arg-type]
    with pytest.raises(SceneError, match=r"must be a Scene, got ndarray: load_scene"):
        model.fit(scene().cube, split())  # type: ignore[arg-type]
    model.fit(scene(), split())
    with pytest.raises(SplitError, match="must be a Split, got Scene"):
        model.score(scene(), scene())  # type: ignore[arg-type]


def test_changes_of_settings_win_over_what_a_preset_says_of_a_split() -> None:
    preset = {**RAW, "classifier": {"estimator": NEAREST}, "few_shot": {"choice": {"folds": 3}}}
    model = SceneClassifier(preset, changes={"choice": {"folds": 2}}).fit(scene(), split())
    assert model.recipe.choice.folds == 2
    assert SceneClassifier(preset).fit(scene(), split()).recipe.choice.folds == 3
    with pytest.raises(ConfigurationError, match=r"changes belong .* dataclasses\.replace"):
        SceneClassifier(recipe(RAW), changes={"choice": {"folds": 2}})
    model = SceneClassifier.from_recipe("svm", "cpu", changes={"classifer": {}})
    with pytest.raises(ConfigurationError, match="did you mean classifier"):
        model.fit(scene(), split())


def test_a_fitted_model_works_in_a_process_that_is_spawned(fitted: Callable[[str], Saved]) -> None:
    model, _ = fitted("network, no reduction")
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as processes:
        found = processes.submit(model.predict, scene(1)).result()
    np.testing.assert_array_equal(found.probabilities, model.predict(scene(1)).probabilities)


def test_a_model_tells_what_it_has_learned(fitted: Callable[[str], Saved]) -> None:
    assert repr(SceneClassifier(recipe(KINDS["label propagation"]))) == (
        "SceneClassifier, not fitted"
    )
    model, _ = fitted("network, no reduction")
    told = repr(model)
    assert told.startswith(
        "SceneClassifier, fitted on tiny (24 x 22 pixels, 20 bands, 3 classes): features of t = 50"
    )
    assert model.record is not None
    assert told.endswith(str(model.record.best.candidate))


def test_an_image_too_small_to_hold_out_patches_is_learned_without_validation() -> None:
    large = laid(FEATURES, {"pretrain": {"patch_size": 20}, "classifier": {"estimator": NEAREST}})
    model = SceneClassifier(recipe(large))
    with pytest.warns(UserWarning, match=r"tiny is too small to hold out patches of 20 x 20 .*"):
        model.fit(scene(), split())
    assert model.score(scene(), split())["pixels"] == len(split().test)
