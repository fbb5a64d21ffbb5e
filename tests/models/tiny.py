"""A tiny scene, another image of its sensor, and small recipes of every kind."""

from __future__ import annotations

import functools
from typing import Any

from hsi_diffusion import Scene, Split, make_split, simulate_scene
from hsi_diffusion.recipes import Recipe, from_plain, merge

Plain = dict[str, Any]


def mnf(components: int = 6, **options: Any) -> Plain:
    return {"class_path": "MNF", "init_args": {"components": components, **options}}


@functools.cache
def scene(image: int = 0) -> Scene:
    """The scene, or another, darker image of the same sensor."""
    options: Plain = {"image": image, "brightness": 0.8} if image else {}
    return simulate_scene(24, 22, 20, 3, name="tiny", **options)


@functools.cache
def split() -> Split:
    return make_split(scene().labels, "10", patch_size=1, seed=0)


FEATURES: Plain = {
    "pretrain": {
        "transform": mnf(),
        "denoiser": {"class_path": "UNet2D", "init_args": {"channels": 4, "multipliers": [1, 2]}},
        "prediction": "x0",
        "ema_decay": 0.9,
        "steps": 2,
        "patch_size": 8,
        "batch_size": 4,
    },
    # bfloat16, which processors have that are fast in it, rounds otherwise in other windows
    "features": {"timesteps": [50, 100], "levels": [0, 1], "tile": 16, "precision": "float32"},
    "choice": {"steps": 1, "folds": 2},
}
NETWORK: Plain = {"classifier": {"network": "CNN2D", "patch_size": 3, "steps": 2, "batch_size": 8}}
SVM: Plain = {"class_path": "SupportVectorMachine", "init_args": {"sigmas": [2], "costs": [10]}}
NEAREST: Plain = {
    "class_path": "sklearn.neighbors.KNeighborsClassifier",
    "init_args": {"n_neighbors": 1, "algorithm": "brute"},
}
SPREADING: Plain = {
    "label_weight": 1.0,
    "own_shares": [0.25, 0.5],
    "other_alphas": [0.9],
    "space": {"transform": mnf(scale="noise")},
}
RAW: Plain = {"pretrain": {"denoiser": None}}


def laid(*plain: Plain) -> Plain:
    """Recipes laid over each other."""
    return functools.reduce(merge, plain)


KINDS: dict[str, Plain] = {
    "network, angles, a reduction per timestep": laid(
        FEATURES,
        NETWORK,
        {"features": {"combine": "timesteps", "angles": True, "components": 4, "levels": [1]}},
        {"classifier": {"network": {"class_path": "FusionClassifier",
                                    "init_args": {"fusion": "awam+ctssfm"}}}},
    ),
    "two networks, a joint reduction": laid(
        FEATURES,
        NETWORK,
        {"features": {"combine": "all", "components": 5, "whiten": True, "noise": "none"}},
        {"classifier": {"members": 2}},
    ),
    "network, no reduction": laid(FEATURES, NETWORK, {"features": {"timesteps": [50]}}),
    "an estimator for each, restored": laid(
        FEATURES,
        {"features": {"combine": "all"}, "classifier": {"estimator": SVM, "each": True}},
        {"spreading": {**SPREADING, "own": "restored"}},
    ),
    "an estimator for each, classified": laid(
        FEATURES,
        {"features": {"combine": "all"}, "classifier": {"estimator": SVM, "each": True}},
        {"spreading": {**SPREADING, "own": "classified", "own_shares": [0.25]}},
    ),
    "network, its own word kept": laid(
        RAW,
        NETWORK,
        {"spreading": {**SPREADING, "smooth": False, "own_shares": [0], "other_alphas": []}},
    ),
    "blurred bands": laid(
        RAW,
        {"classifier": {"estimator": SVM}},
        {"raw_bands": [{"transform": mnf(), "blur": 1.0, "neighbours": 3}, {"transform": "PCA"}]},
    ),
    "label propagation": laid(
        RAW,
        {"classifier": {"estimator": NEAREST}},
        {"spreading": {**SPREADING, "probability_weight": 0, "own_shares": [0]}},
        {"raw_bands": [{"transform": mnf(scale="noise")}]},
    ),
}  # fmt: skip


def recipe(*plain: Plain) -> Recipe:
    return from_plain(Recipe, laid(*plain))
