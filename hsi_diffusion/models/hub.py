"""Saved models on the Hugging Face Hub, with a card that says where their figures come from."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from hsi_diffusion.errors import CheckpointError, ConfigurationError, MissingDependencyError, reason
from hsi_diffusion.reports.tables import TextTable, percent
from hsi_diffusion.scenes import CATALOGUE, scene_info

if TYPE_CHECKING:
    from types import ModuleType

NAME = re.compile(r"[\w][\w.-]*/[\w][\w.-]*")
"""USER/NAME, as models are called there."""

FILES = ("model.json", "model.safetensors", "estimator-*.skops", "README.md")

FIGURES = {"overall_accuracy": "OA", "average_accuracy": "AA", "kappa": "kappa"}


def local_folder(model: str | Path, revision: str | None = None) -> Path:
    """The folder of a model: its own, that in a run's, or, where there is none, from the Hub.

    What comes from the Hub is fetched, or taken from the cache (``HF_HUB_OFFLINE=1``).

    Raises:
        CheckpointError: There is no such model on the Hub, or it can't be reached.
        MissingDependencyError: A model of the Hub is asked for without huggingface_hub.
    """
    folder = Path(model)
    if folder.exists() or not NAME.fullmatch(str(model)):
        return folder / "model" if (folder / "config.yaml").is_file() else folder  # of a run
    hub = _require_hub()
    try:
        found = hub.snapshot_download(str(model), revision=revision, allow_patterns=list(FILES))
    except (OSError, ValueError) as error:  # its own errors derive from these
        raise CheckpointError(
            f"{model} is no folder here, and can't be had from the Hugging Face Hub: "
            f"{reason(error)}; check the name, the network and HF_HUB_OFFLINE"
        ) from error
    return Path(found)


def upload(folder: Path, name: str, *, private: bool, revision: str | None) -> str:
    """Put a folder into a repository of the Hub, made if missing, and give the address of it.

    Raises:
        ConfigurationError: The name is none, or the Hub refuses.
        MissingDependencyError: huggingface_hub is not installed.
    """
    if not NAME.fullmatch(name):
        raise ConfigurationError(f"name must be USER/NAME, as in my-group/salinas, got {name!r}")
    api = _require_hub().HfApi()
    try:
        api.create_repo(name, private=private, exist_ok=True)
        done = api.upload_folder(
            repo_id=name, folder_path=folder, allow_patterns=list(FILES), revision=revision
        )
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            f"the Hugging Face Hub did not take {name}: {reason(error)}; log in with "
            "hf auth login, and check HF_HUB_OFFLINE"
        ) from error
    return str(done)


def _require_hub() -> ModuleType:
    try:
        import huggingface_hub  # noqa: PLC0415  (an extra)
    except ImportError as error:
        raise MissingDependencyError(
            "models on the Hugging Face Hub need huggingface_hub; install it with: "
            'pip install "hsi-diffusion[hub]"'
        ) from error
    return huggingface_hub


def model_card(scene: str, class_names: tuple[str, ...], run: Path | None, licence: str) -> str:
    """What a visitor of the Hub reads, in Markdown.

    Settings and figures are those of the folder ``run``; without it none are told. ``licence`` is
    called as the Hub names it, such as ``"cc-by-4.0"``.

    Raises:
        ConfigurationError: ``run`` is no finished run.
    """
    head = {"library_name": "hsi-diffusion", "license": licence, "tags": ["hyperspectral"]}
    lines = [
        f"---\n{yaml.safe_dump(head, sort_keys=False)}---\n",
        f"# Classes of {scene}",
        (
            f"Maps images of the sensor of `{scene}` to {len(class_names)} classes: "
            f"{', '.join(class_names)}."
        ),
        (
            "```python\nfrom hsi_diffusion import SceneClassifier\n\nmodel = SceneClassifier."
            'from_pretrained("USER/NAME")\nclasses = model.predict(image).classes\n```'
        ),
    ]
    if scene in CATALOGUE:
        info = scene_info(scene)
        lines += [f"The scene's terms: {info.licence}", f"Cite: {info.citation}"]
    if run is not None:
        try:
            found = json.loads((run / "metrics.json").read_text(encoding="utf-8"))
            settings = yaml.safe_load((run / "config.yaml").read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ConfigurationError(
                f"run must be the folder of a finished run, got {run}: {error}"
            ) from error
        lines += _measured(found, settings)
    return "\n\n".join(lines) + "\n"


def _measured(found: dict[str, Any], settings: dict[str, Any]) -> list[str]:
    """Figures of a run, with those of its control, and how they were measured."""
    rows = {"this model": found}
    if "raw_bands" in found:
        rows["the same classifier on raw bands"] = found["raw_bands"]
    table = TextTable(
        ("", *FIGURES.values()),
        tuple(
            (name, *(percent(figures.get(key)) for key in FIGURES))
            for name, figures in rows.items()
        ),
    )
    pixels = found["pixels"]
    return [
        (
            f"Method `{settings['method']}`, preset `{settings['preset']}`, split "
            f"`{settings['split']}`, seed {settings['seed']}: {pixels['train'] + pixels['val']:,} "
            f"labelled pixels, {pixels['test']:,} test pixels, in percent:"
        ),
        table.to_markdown(),
        (
            "One run on one split can't tell the difference from chance. On a random split most "
            "test pixels lie in fields with labels, so expect less elsewhere."
        ),
    ]
