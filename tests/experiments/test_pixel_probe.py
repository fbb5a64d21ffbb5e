from __future__ import annotations

import csv
import importlib.util
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

TINY = [
    f"--set={assignment}"
    for assignment in (
        "accelerator=cpu",
        "scene={name: simulated, height: 40, width: 36, bands: 26, num_classes: 4}",
        "pretrain.patch_size=8",
        "pretrain.batch_size=4",
        "pretrain.steps=2",
        "pretrain.module.denoiser_options={channels: 8, stages: 1, window: 4, groups: 2, heads: 2}",
        "pretrain.module.contrast=null",
        "features.timesteps=[50, 200]",
    )
]


def test_every_target_and_space_is_probed(
    request: pytest.FixtureRequest, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = request.config.rootpath / "experiments" / "pixel_probe.py"
    spec = importlib.util.spec_from_file_location("pixel_probe_script", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    given = [*TINY, "--splits", "8", "0.2", "--seeds", "3", "--out", str(tmp_path)]
    assert module.main(given) == 0
    with (tmp_path / "probe.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    targets = [
        f"features, {space}, {t}" for space in ("bands", "MNF") for t in ("noise", "x0", "v")
    ]
    controls = [f"raw {space}{kind}" for space in ("bands", "MNF") for kind in ("", ", blurred")]
    assert {row["row"] for row in rows} == {*targets, *controls}
    assert len(rows) == 20
    # four classes of a simulated scene are easier than a coin
    assert all(float(row["overall_accuracy"]) > 0.4 for row in rows if row["row"] in controls)
    assert len(list((tmp_path / "pretrained").iterdir())) == 6  # one for both splits
    assert "| raw MNF, blurred |" in (tmp_path / "probe.md").read_text(encoding="utf-8")
    assert module.main(["--set", "nonsense", "--out", str(tmp_path / "no")]) == 2
    assert "KEY=VALUE" in capsys.readouterr().err
