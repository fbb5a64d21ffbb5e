"""A run that spreads its labels, against the same done by hand."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from hsi_diffusion.classifiers import JointPropagation, LabelPropagation, build_estimator
from hsi_diffusion.patches import build_transform, cross_validation_folds
from hsi_diffusion.runs import RunSettings, merge, run, write_outputs
from tests.runs.tiny import TINY

if TYPE_CHECKING:
    from pathlib import Path

SHARES = (0.0, 0.5, 1.0)

SPREAD = {
    "split": {"kind": "5"},
    "features": {"timesteps": [20, 200]},
    "classifier": {
        "propagation": {"space": {"transform": "mnf", "components": 4}, "own_shares": list(SHARES)}
    },
    "raw_bands": {"spaces": [{"transform": "mnf", "components": 6}]},
}


def test_labels_spread_along_the_scene_and_what_the_denoiser_restores(tmp_path: Path) -> None:
    settings = RunSettings.from_dict(merge(TINY, SPREAD))
    result = run(settings, tmp_path / "run", progress=False, say=lambda _: None)
    assert result is not None
    assert result.pretrained is not None
    assert result.control is not None
    data = result.data

    def bands(components: int) -> LabelPropagation:
        transform = build_transform("mnf", components).fit(data.scene.cube)
        width = 2.0 if components == 4 else 1.0
        return LabelPropagation(width=width).fit(transform.transform(data.scene.cube))

    restored = [
        LabelPropagation(width=1.0).fit(result.pretrained.restore(data.cube, timesteps=(t,))[0])
        for t in (20, 200)
    ]
    folds = cross_validation_folds(data.require_split(), data.labels, 3, seed=settings.seed)
    for own, outcome in ((restored, result.method), ([bands(6)], result.control)):
        joint = JointPropagation(bands(4), own)
        share = joint.choose_share(SHARES, data.labels, folds, data.num_classes)
        assert outcome.classified.found == {"own_share": share, "alpha": 0.99}

    write_outputs(result, settings, tmp_path / "run")
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text(encoding="utf-8"))
    assert metrics["found"] == result.method.classified.found
    assert metrics["raw_bands"]["found"] == result.control.classified.found
    report = (tmp_path / "run" / "report.md").read_text(encoding="utf-8")
    assert "Share of the restored scenes in the graphs" in report
    assert "Share of the raw bands that are classified in the graphs" in report


def test_answers_of_an_svm_spread_along_the_features_that_it_learned_from(tmp_path: Path) -> None:
    changes = {
        "split": {"kind": "5"},
        "features": {"components": 0},
        "classifier": {
            "estimator": {"name": "svm", "options": {"sigmas": [1.0], "costs": [10.0]}},
            "propagation": {
                "space": {"transform": "mnf", "components": 4},
                "own": "classified",
                "own_shares": [0.25],
                "other_alphas": [0.5],
            },
        },
    }
    settings = RunSettings.from_dict(merge(TINY, changes))
    result = run(settings, tmp_path / "run", progress=False, say=lambda _: None)
    assert result is not None
    assert result.pretrained is not None
    data, classified = result.data, result.method.classified
    features = result.pretrained.extract_features(
        data.cube, timesteps=(50,), levels=(1,), noise="none"
    ).array
    bands = build_transform("mnf", 4).fit(data.scene.cube).transform(data.scene.cube)
    joint = JointPropagation(
        LabelPropagation(width=2.0).fit(bands), [LabelPropagation(width=1.0).fit(features)], 0.25
    )
    folds = cross_validation_folds(data.require_split(), data.labels, 3, seed=settings.seed)
    alpha = joint.choose_alpha((0.99, 0.5), data.labels, folds, data.num_classes)
    rows, pixels = features.reshape(-1, features.shape[2]), data.require_split().labelled
    svm = build_estimator("svm", {"sigmas": [1.0], "costs": [10.0]})
    svm.fit(rows[pixels], data.labels.ravel()[pixels] - 1)
    answers = svm.answers(rows, data.num_classes).reshape(*data.shape, data.num_classes)
    expected = joint.with_answers(answers, data.labels, pixels).argmax(axis=2) + 1
    assert (classified.predicted == expected).mean() > 0.99  # features come from a file in between

    write_outputs(result, settings, tmp_path / "run")
    report = (tmp_path / "run" / "report.md").read_text(encoding="utf-8")
    assert "Share of the features that are classified in the graphs" in report
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text(encoding="utf-8"))
    assert (metrics["found"]["own_share"], metrics["found"]["alpha"]) == (0.25, alpha)
    assert (
        "Share of the neighbours (alpha), with the features that are classified, in the graphs"
        in report
    )
    assert metrics["leakage"] is None
