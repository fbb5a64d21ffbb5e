"""Single stages of a run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from hsi_diffusion.runs import RunSettings, merge, scene_data
from hsi_diffusion.runs.building import build_pretraining
from hsi_diffusion.runs.candidates import feature_candidates
from hsi_diffusion.runs.stages import extract, feature_store, remove_features
from hsi_diffusion.runs.workplace import Workplace
from tests.runs.tiny import TINY

if TYPE_CHECKING:
    import pytest


def test_only_the_features_of_the_best_candidate_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = RunSettings.from_dict(merge(TINY, {"features": {"timesteps": [50, 60]}}))
    place = Workplace(tmp_path, "cpu", 1, "none", "test", {}, progress=False)
    data = scene_data(settings)
    module = build_pretraining(data, settings.require_pretrain(), settings.seed)
    folder = feature_store(place).folder
    other, best = feature_candidates(settings.features)
    extract(module, data, settings, place, other)
    before = set(folder.iterdir())
    extract(module, data, settings, place, best)
    after = set(folder.iterdir())
    # as a process that was killed leaves them
    (folder / ".spool-x1_").mkdir()
    (folder / ".spool-x1_" / "raw.h5").touch()
    (folder / ".features-0123-4567.h5").touch()

    unlink = Path.unlink

    def somebody_is_faster(path: Path, missing_ok: bool = False) -> None:
        unlink(path)
        unlink(path, missing_ok)

    monkeypatch.setattr(Path, "unlink", somebody_is_faster)
    remove_features(module, data, settings, place, but=best)
    assert set(folder.iterdir()) == after - before
    remove_features(module, data, settings, place)
    assert not folder.exists()
