"""A fitted model as plain data, tensors and files, and back."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, NoReturn

import torch

from hsi_diffusion.classifiers import (
    EstimatorClassifier,
    NetworkClassifier,
    load_weights,
    require_own,
)
from hsi_diffusion.denoisers import DENOISERS
from hsi_diffusion.diffusion import SCHEDULES
from hsi_diffusion.errors import CheckpointError, ConfigurationError, HsiDiffusionError
from hsi_diffusion.models.fitted import FittedModel, FittedOn
from hsi_diffusion.models.representation import BandRepresentation, DiffusionRepresentation
from hsi_diffusion.models.saving import new_folder, read_files, write_files
from hsi_diffusion.modules import DiffusionPretrainModule
from hsi_diffusion.options import check_choice
from hsi_diffusion.parts import FOREIGN, check_same_options
from hsi_diffusion.patches import BandTransform
from hsi_diffusion.recipes import Recipe, from_plain, to_plain

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch import Tensor

    from hsi_diffusion.classifiers import PixelClassifier
    from hsi_diffusion.models.fitted import Representation
    from hsi_diffusion.modules import Runtime


@dataclass(frozen=True, eq=False)
class StoredModel:
    """Everything that a folder holds of a model.

    Attributes:
        recipe: What decided the model.
        seed: What ruled everything random.
        fitted: What was learned.
        plain: The recipe as a file had it, with the names of the classes that are not the
            library's; None for a model that was not read from files.
        foreign: Names of these classes, where they were not given.
    """

    recipe: Recipe
    seed: int
    fitted: FittedModel
    plain: Mapping[str, Any] | None = None
    foreign: tuple[str, ...] = ()


def save_model(model: StoredModel, folder: Path) -> None:
    """Write a model into a folder, whole or not at all.

    Raises:
        OutputExistsError: The folder holds something else than a model.
        ConfigurationError: The classifier can't be stored.
    """
    fitted, known = model.fitted, model.fitted.known
    seen, statistics = fitted.representation.save()
    tensors = _named("representation", statistics)
    denoiser = space = None
    if isinstance(fitted.representation, DiffusionRepresentation):
        module = fitted.representation.module
        transform, statistics = BandRepresentation(fitted.representation.transform).save()
        # the average is what features come from, and all that is kept; it learns no more
        learned = {"ema_decay": None, "augmentation": None, "contrast": None}
        denoiser = {"module": {**module.hparams, **learned}, **transform}
        tensors |= _named("transform", statistics)
        tensors |= _named("denoiser", module.trained_denoiser.state_dict())
    if fitted.graph_space is not None:
        space, statistics = fitted.graph_space.save()
        tensors |= _named("graph_space", statistics)
    tensors |= {"pixels": torch.as_tensor(known.pixels), "classes": torch.as_tensor(known.classes)}
    recipe = to_plain(model.recipe)  # of a whole run, which has further settings, too
    plain = {
        "seed": model.seed,
        "recipe": model.plain or {field.name: recipe[field.name] for field in fields(Recipe)},
        "known": {key: value for key, value in vars(known).items() if key not in tensors},
        "representation": {"kind": fitted.representation.kind, **seen},
        "denoiser": denoiser,
        "graph_space": space,
        "own_share": fitted.own_share,
        "alpha": fitted.alpha,
    }
    with new_folder(folder) as temporary:
        learned, weights = fitted.classifier.save(temporary)
        plain["classifier"] = {"kind": fitted.classifier.kind, **learned}
        write_files(temporary, plain, tensors | _named("classifier", weights))


def load_model(
    folder: Path,
    *,
    denoiser: Any,
    schedule: Any,
    transform: type[BandTransform] | None,
    network: Any,
    trusted: tuple[str, ...],
    runtime: Runtime,
) -> StoredModel:
    """Read a model that :func:`save_model` wrote; nothing that its files name is imported or run.

    The arguments are those of :meth:`~hsi_diffusion.models.SceneClassifier.from_pretrained`.

    Raises:
        CheckpointError: The folder holds no model, a damaged one, or a part that must be given.
        ConfigurationError: ``transform`` is no class of band transforms.
    """
    if transform is not None and not _is_transform(transform):
        raise ConfigurationError(
            "transform must be a class of band transforms of your own (a BandTransform with a "
            f"name), got {transform!r}: settings of it are in the saved model"
        )
    plain, tensors = read_files(folder)
    try:
        recipe, foreign = _read_recipe(plain["recipe"], denoiser, schedule, network)
        seed, device = int(plain["seed"]), runtime.device
        space = None
        if plain["graph_space"] is not None:
            statistics = _section(tensors, "graph_space")
            space = BandRepresentation.load(plain["graph_space"], statistics, device, transform)
        seen, statistics = plain["representation"], _section(tensors, "representation")
        representation: Representation
        kinds = BandRepresentation.kind, DiffusionRepresentation.kind
        check_choice(kinds, kind=seen["kind"])
        if seen["kind"] == BandRepresentation.kind:
            representation = BandRepresentation.load(seen, statistics, device, transform)
        else:
            module = _load_denoiser(plain["denoiser"], tensors, denoiser, schedule, transform)
            representation = DiffusionRepresentation.load(seen, statistics, module, device)
        learned, weights = plain["classifier"], _section(tensors, "classifier")
        classifier: PixelClassifier
        kinds = EstimatorClassifier.kind, NetworkClassifier.kind
        check_choice(kinds, kind=learned["kind"])
        if learned["kind"] == EstimatorClassifier.kind:
            classifier = EstimatorClassifier(_no_estimator, each=recipe.classifier.each, seed=seed)
            classifier.load(folder, learned, weights, trusted=trusted)
        else:
            classifier = NetworkClassifier(recipe.classifier, runtime, seed=seed)
            classifier.load(folder, learned, weights, network=network)
        facts = {key: _tuples(value) for key, value in plain["known"].items()}
        pixels, classes = tensors["pixels"].numpy(), tensors["classes"].numpy()
        known = FittedOn(**facts, pixels=pixels, classes=classes)
        spread = float(plain["own_share"]), float(plain["alpha"])
        fitted = FittedModel(representation, classifier, known, space, *spread)
    except Exception as error:  # whatever damaged files make of themselves
        told = isinstance(error, HsiDiffusionError)
        text = error if told else f"it is damaged ({type(error).__name__}: {error})"
        raise CheckpointError(f"the saved model in {folder} can't be read: {text}") from error
    return StoredModel(recipe, seed, fitted, plain["recipe"], foreign)


def _own_parts(plain: Any) -> tuple[Any, tuple[str, ...]]:
    """Settings without classes that are not the library's, and the names of these.

    Reading a model must not import them. A parser takes a text as well for the path of a class, or
    for a file or YAML that names one. So all that stays are numbers and words without a dot, slash
    or bracket.
    """
    foreign: list[str] = []

    def kept(value: Any) -> Any:
        if isinstance(value, dict):
            items = {key: kept(item) for key, item in value.items()}
            if items.get("class_path") is _OUT:
                return _OUT
            return {key: item for key, item in items.items() if item is not _OUT}
        if isinstance(value, list):
            return [item for item in map(kept, value) if item is not _OUT]
        if isinstance(value, str) and not _WORD.fullmatch(value):
            foreign.append(value)
            return _OUT
        return value

    return kept(plain), tuple(foreign)


_OUT = object()
_WORD = re.compile(r"[\w+-]*")


def _read_recipe(
    plain: Mapping[str, Any], denoiser: Any, schedule: Any, network: Any
) -> tuple[Recipe, tuple[str, ...]]:
    """The recipe of a saved model, and the classes that it lacks."""
    settings = {**plain, "pretrain": {**plain["pretrain"]}, "classifier": {**plain["classifier"]}}
    given = (
        ("pretrain", "denoiser", denoiser),
        ("pretrain", "schedule", schedule),
        ("classifier", "network", network),
    )
    for section, name, part in given:
        if part is not None:
            del settings[section][name]
    own, foreign = _own_parts(settings)
    recipe = from_plain(Recipe, own)
    for section, name, part in given:
        if part is not None:
            recipe = replace(recipe, **{section: replace(getattr(recipe, section), **{name: part})})
    return recipe, foreign


def _load_denoiser(
    plain: Mapping[str, Any],
    tensors: Mapping[str, Tensor],
    denoiser: Any,
    schedule: Any,
    transform: type[BandTransform] | None,
) -> DiffusionPretrainModule:
    """The denoiser of a saved model: its averaged weights, and the transform of its input."""
    saved = plain["module"]
    parts = {"denoiser": denoiser, "schedule": schedule}
    settings = {**saved, **{name: part for name, part in parts.items() if part is not None}}
    for name in parts:
        require_own(settings[name], name)
    module = DiffusionPretrainModule(**settings)
    check_same_options(module.hparams["denoiser"], saved["denoiser"], "denoiser", DENOISERS)
    if schedule is not None:  # no weights would tell another one
        given, kept = module.hparams["schedule"], saved["schedule"]
        if FOREIGN in kept and FOREIGN not in given:
            raise CheckpointError(
                f"schedule must be the {kept[FOREIGN]} of the saved model, got "
                f"{given['class_path']}"
            )
        check_same_options(given, kept, "schedule", SCHEDULES)
    load_weights(module.denoiser, _section(tensors, "denoiser"), "denoiser")
    module.transform = BandRepresentation.load(
        plain, _section(tensors, "transform"), "cpu", transform
    ).transform
    return module.eval()


def _is_transform(given: object) -> bool:
    """Whether this is a class that a saved transform may be of."""
    return isinstance(given, type) and issubclass(given, BandTransform) and hasattr(given, "name")


def _section(tensors: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    """The tensors of one part, by their names inside it."""
    prefix = f"{name}."
    return {key[len(prefix) :]: value for key, value in tensors.items() if key.startswith(prefix)}


def _named(name: str, tensors: Mapping[str, Any]) -> dict[str, Tensor]:
    """The tensors of one part under the part's name."""
    return {f"{name}.{key}": value for key, value in tensors.items()}


def _tuples(value: Any) -> Any:
    """Lists of JSON as the tuples that they were."""
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value


def _no_estimator() -> NoReturn:
    """In the place of what made an estimator that was read from a file."""
    raise ConfigurationError("this estimator was read from a file; make another one to fit it")
