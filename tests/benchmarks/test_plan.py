"""What a benchmark means, without running it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hsi_diffusion.benchmarks.command import PLANS as FOLDER
from hsi_diffusion.benchmarks.plan import BenchmarkSettings, benchmark_cells
from hsi_diffusion.errors import ConfigurationError
from hsi_diffusion.recipes import read_yaml
from hsi_diffusion.runs import read_scene, read_split

PLANS = sorted(FOLDER.glob("*.yaml"))
WHERE = (
    "scene",
    "root",
    "cube",
    "labels",
    "simulated",
    "split",
    "train_mask",
    "test_mask",
    "guard",
)
SIMPLE: dict[str, Any] = {
    "methods": ["svm", "diffcrn"],
    "columns": [{"scene": "salinas", "split": 0.1}, {"scene": "salinas", "split": "blocks"}],
    "seeds": 2,
    "root": "somewhere",
}


def test_simple_things_are_said_simply() -> None:
    settings = BenchmarkSettings.from_dict(SIMPLE)
    assert [method.name for method in settings.methods] == ["svm", "diffcrn"]
    assert [column.name for column in settings.columns] == ["salinas, 0.1", "salinas, blocks"]
    assert settings.seeds == (0, 1)


def test_cells_are_every_method_on_every_split_seed_by_seed() -> None:
    cells = benchmark_cells(BenchmarkSettings.from_dict(SIMPLE))
    found = [(cell.column, cell.settings.seed, cell.row) for cell in cells]
    assert found == [
        (column, seed, row)
        for column in ("salinas, 0.1", "salinas, blocks")
        for seed in (0, 1)
        for row in ("svm", "diffcrn")
    ]
    for cell in cells:
        assert cell.settings.root == "somewhere"
        assert cell.settings.group == "Benchmark"
        assert cell.settings.pretrains == (cell.row != "svm")
        # of its report, its config.yaml and W&B; SIMPLE's rows have no titles of their own
        assert (cell.settings.method, cell.settings.preset) == (cell.row, "cpu")
        # one distance for all methods, so that all are tested on the same pixels
        assert cell.settings.guard == (6 if "blocks" in cell.column else None)
    shared = {cell.pretraining_folder(Path()) for cell in cells if cell.row == "diffcrn"}
    assert len(shared) == 2  # one per seed, for both splits


def test_seeds_may_share_pretrainings() -> None:
    plain = {**SIMPLE, "seeds": [3, 4, 5, 6, 7], "pretrainings": 2}
    cells = benchmark_cells(BenchmarkSettings.from_dict(plain))
    own = [cell for cell in cells if cell.row == "diffcrn" and cell.column.endswith("blocks")]
    assert [cell.settings.seed for cell in own] == [3, 4, 5, 6, 7]
    assert [cell.pretraining.seed for cell in own] == [1, 0, 1, 0, 1]
    assert {cell.pretraining_seed for cell in cells if cell.row == "svm"} == {None}
    usual = benchmark_cells(BenchmarkSettings.from_dict(SIMPLE))
    assert all(cell.pretraining is cell.settings for cell in usual)
    with pytest.raises(ConfigurationError, match="pretrainings must be at least 1"):
        BenchmarkSettings.from_dict({**SIMPLE, "pretrainings": 0})


def test_methods_may_vary_and_have_seeds_and_settings_of_their_own() -> None:
    method = {
        "method": "spectraldiff",
        "title": "SpectralDiff",
        "preset": "quick",
        "seeds": 1,
        "set": {"classifier": {"steps": 7}},
        "vary": {"features.timesteps": [[5], [10, 50]], "features.levels": [[0]]},
    }
    settings = BenchmarkSettings.from_dict(
        {**SIMPLE, "methods": [method, "svm"], "set": {"classifier": {"batch_size": 9}}}
    )
    cells = benchmark_cells(settings)
    own = [cell for cell in cells if cell.row.startswith("SpectralDiff")]
    assert [cell.row for cell in own[:2]] == ["SpectralDiff, 5, 0", "SpectralDiff, [10, 50], 0"]
    assert len(own) == 4
    for cell in own:
        assert cell.settings.preset == "quick"
        assert (cell.settings.classifier.steps, cell.settings.classifier.batch_size) == (7, 9)
        assert cell.settings.raw_bands == ()
    assert {cell.settings.features.timesteps for cell in own} == {(5,), (10, 50)}
    assert len(cells) == 4 + 2 * 2


def test_columns_choose_methods_and_seeds_and_know_the_folder() -> None:
    scene = {"name": "custom", "cube": "{root}/cube.mat:key", "labels": "{root}/labels.tif"}
    masks = {"kind": "fixed", "train_mask": "{root}/a.tif", "test_mask": "{root}/b.tif"}
    column = {"title": "fixed", "scene": scene, "split": masks, "methods": ["svm"], "seeds": [4]}
    (cell,) = benchmark_cells(BenchmarkSettings.from_dict({**SIMPLE, "columns": [column]}))
    assert (cell.row, cell.column, cell.settings.seed) == ("svm", "fixed", 4)
    assert cell.settings.cube == "somewhere/cube.mat:key"
    assert cell.settings.test_mask == "somewhere/b.tif"
    several = {"cube": ["{root}/a.tif", "{root}/b.tif"], "labels": "{root}/fields.gpkg"}
    columns = [{"scene": several, "split": "images"}]
    cell, *_ = benchmark_cells(BenchmarkSettings.from_dict({**SIMPLE, "columns": columns}))
    assert cell.settings.cube == ("somewhere/a.tif", "somewhere/b.tif")


def test_a_scene_of_settings_needs_no_name() -> None:
    columns = [{"scene": {"cube": "a.npy", "labels": "b.npy"}}, {"scene": {"height": 24}}]
    cells = benchmark_cells(BenchmarkSettings.from_dict({**SIMPLE, "columns": columns}))
    assert {cell.settings.scene for cell in cells} == {"custom", "simulated"}
    assert cells[-1].settings.simulated.height == 24


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"methods": []}, "methods must not be empty"),
        ({"methods": ["svm", "svm"]}, "'svm' stands there twice"),
        ({"columns": ["salinas"]}, "columns must be mappings"),
        ({"columns": [{"scene": "salinas", "split": 3, "methods": ["x"]}]}, "titles of methods"),
        (
            {"columns": [{"scene": "salinas", "split": 3, "methods": ["diffcrn: raw bands"]}]},
            "titles of methods",
        ),
        ({"pairs": [["svm"]]}, "pairs must hold two rows"),
        ({"set": {"figures": True}}, r"set must not change figures.*\(--logger wandb"),
        ({"methods": "svm"}, "methods must be a list, got 'svm'"),
        ({"seeds": 0}, "seeds must be different numbers, at least one"),
        ({"seeds": [1, 1]}, "seeds must be different numbers"),
        ({"set": {"split": "10"}}, "set must not change split"),
        ({"set": {"guard": 9}}, "set must not change guard"),
        ({"set": {"simulated": {"seed": 9}}}, "set must not change simulated"),
        (
            {"set": {"simulated": {"height": 9}}},
            r"columns: \[\{scene: \{name: simulated, height: 64",
        ),
        (
            {"set": {"cube": "a.tif"}},
            r"columns: \[\{scene: \{name: custom, .*; without a plan: --cube",
        ),
        ({"columns": [{"cube": "a.tif"}]}, "cube belongs into the column's scene, .*name: custom"),
        ({"columns": [{"nodata": 0}]}, "nodata belongs into the column's scene, .*name: custom"),
        ({"columns": [{"bands": 20}]}, "bands belongs into the column's scene, .*name: simulated"),
        ({"columns": [{"guard": 8}]}, "guard belongs into the column's split, .*kind: blocks"),
        ({"methods": [{"method": "svm", "set": {"scene": "salinas"}}]}, "must not change scene"),
        ({"methods": [{"method": "svm", "vary": {"seed": [1]}}]}, "must not change seed"),
        ({"methods": [{"method": "svm", "vary": {"a": 3}}]}, r"methods\.vary\.a must be a list"),
        ({"metods": []}, "unknown setting metods"),
        ({"methods": [{"method": "svm", "setz": {}}]}, r"unknown setting methods\[0\]\.setz"),
    ],
)
def test_what_does_not_fit_is_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        BenchmarkSettings.from_dict({**SIMPLE, **changes})


WIDTH = {"method": "label_propagation", "title": "width", "vary": {"spreading.width": [1.0, 2.0]}}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pairs": [["svm", "SVN"]]}, r"pairs must name rows .*\(svm, diffcrn, .* got 'SVN'"),
        ({"reference": "SVN"}, "reference must name rows .* got 'SVN'"),
        # of which every value has a row of its own
        (
            {"pairs": [["svm", "width"]]},
            r"\(svm, diffcrn, width, 1\.0, width, 2\.0, .* got 'width'",
        ),
        ({"reference": "width"}, "reference must name rows .* got 'width'"),
        # neither has a control
        ({"pairs": [["svm", "svm: raw bands"]]}, "got 'svm: raw bands'"),
        ({"pairs": [["svm", "width, 1.0: raw bands"]]}, r"got 'width, 1\.0: raw bands'"),
        ({"reference": "svm: raw bands"}, "got 'svm: raw bands'"),
    ],
)
def test_pairs_and_reference_name_rows_of_the_tables(changes: dict[str, Any], message: str) -> None:
    plain = {**SIMPLE, "methods": ["svm", "diffcrn", WIDTH]}
    with pytest.raises(ConfigurationError, match=message):
        benchmark_cells(BenchmarkSettings.from_dict({**plain, **changes}))


def test_variants_and_controls_may_be_compared() -> None:
    pairs = [["width, 1.0", "width, 2.0"], ["svm", "diffcrn: raw bands"]]
    plain = {**SIMPLE, "methods": ["svm", "diffcrn", WIDTH]}
    assert benchmark_cells(BenchmarkSettings.from_dict({**plain, "pairs": pairs}))
    for reference in ("width, 1.0", "diffcrn: raw bands"):
        given = {**plain, "reference": reference}
        cells = benchmark_cells(BenchmarkSettings.from_dict(given))
        controls = {cell.row for cell in cells if cell.has_control}
        assert controls == ({"diffcrn"} if reference.startswith("diffcrn") else set())


@pytest.mark.parametrize(
    ("method", "twice"),
    [
        ({"method": "svm", "title": "diffcrn: raw bands"}, "diffcrn: raw bands"),
        ({"method": "svm", "title": "width, 1.0"}, r"width, 1\.0"),
        ({**WIDTH, "title": "w", "vary": {"spreading.width": [1.5, 1.5]}}, r"w, 1\.5"),
    ],
)
def test_rows_of_one_name_are_refused(method: dict[str, Any], twice: str) -> None:
    settings = BenchmarkSettings.from_dict({**SIMPLE, "methods": ["diffcrn", WIDTH, method]})
    with pytest.raises(ConfigurationError, match=f"'{twice}' twice"):
        benchmark_cells(settings)


@pytest.mark.parametrize(
    "changes",
    [
        {"set": {"features": {"keep": "all"}}},
        {"methods": [{"method": "diffcrn", "set": {"features": {"keep": "all"}}}]},
        {"methods": [{"method": "diffcrn", "vary": {"features.keep": ["all"]}}]},
    ],
)
def test_feature_files_are_not_kept(changes: dict[str, Any]) -> None:
    settings = BenchmarkSettings.from_dict({**SIMPLE, **changes})
    with pytest.raises(ConfigurationError, match=r"must not change features\.keep"):
        benchmark_cells(settings)


def test_a_denoiser_for_all_is_for_those_that_have_one() -> None:
    settings = BenchmarkSettings.from_dict({**SIMPLE, "set": {"pretrained": "a.ckpt"}})
    found = {cell.row: cell.settings.pretrained for cell in benchmark_cells(settings)}
    assert found == {"svm": None, "diffcrn": "a.ckpt"}
    without = {"pretrain": {"denoiser": None}, "pretrained": "a.ckpt"}
    methods = [{"method": "diffcrn", "title": "own", "set": without}]
    settings = BenchmarkSettings.from_dict({**SIMPLE, "methods": methods})
    with pytest.raises(ConfigurationError, match="diffcrn learns from raw bands"):
        benchmark_cells(settings)


def test_patches_must_not_reach_over_the_guard() -> None:
    settings = BenchmarkSettings.from_dict({**SIMPLE, "set": {"classifier": {"patch_size": 15}}})
    with pytest.raises(ConfigurationError, match=r"diffcrn sees 7 pixels .* guard: 7"):
        benchmark_cells(settings)


@pytest.mark.parametrize("preset", ["cpu", "paper"])
@pytest.mark.parametrize("plan", PLANS, ids=lambda plan: plan.stem)
def test_every_plan_can_be_run(plan: Path, preset: str) -> None:
    plain = {"columns": SIMPLE["columns"], **read_yaml(plan), "preset": preset}
    settings = BenchmarkSettings.from_dict(plain)
    cells = benchmark_cells(settings)
    assert len({cell.name for cell in cells}) == len(cells) > 0
    shared: dict[tuple[str, int], Any] = {}
    for cell in cells:
        given = [getattr(cell.settings, name) for name in WHERE]
        assert shared.setdefault((cell.column, cell.settings.seed), given) == given
    titles = {method.method for method in settings.methods}
    one = len(titles) == 1
    assert one or "mnf_blur_svm" in titles, "the control of every table"


def test_methods_of_a_column_are_tested_on_the_same_pixels() -> None:
    scene = {"name": "simulated", "height": 60, "width": 60, "bands": 20, "num_classes": 4}
    columns = [{"scene": scene, "split": split} for split in ("blocks", "0.1", "5")]
    methods = ["svm", "cnn1d", "cnn2d", "spectraldiff", "diffcrn"]
    settings = BenchmarkSettings.from_dict({"methods": methods, "columns": columns, "seeds": 1})
    cells = benchmark_cells(settings)
    for column in settings.columns:
        splits = [
            read_split(cell.settings, read_scene(cell.settings))
            for cell in cells
            if cell.column == column.name
        ]
        assert len(splits) == len(methods)
        for split in splits[1:]:
            for part in ("train", "val", "test"):
                assert np.array_equal(getattr(split, part), getattr(splits[0], part))


def test_the_papers_tables_are_there() -> None:
    tables = {f"spectraldiff_table{number}" for number in range(2, 7)}
    assert tables | {"few_shot"} <= {plan.stem for plan in PLANS}
