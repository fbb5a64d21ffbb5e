"""What README and the pages in docs show is what works, and the site of them is built."""

from __future__ import annotations

import importlib
import itertools
import re
import shlex
import sys
import zlib
from collections import Counter
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pytest
import tifffile
import yaml
from distributed.cli import dask_scheduler, dask_worker

import hsi_diffusion
from hsi_diffusion import SceneClassifier, simulate_campaign, simulate_scene
from hsi_diffusion.benchmarks.plan import BenchmarkSettings, benchmark_cells
from hsi_diffusion.cli import main
from hsi_diffusion.recipes import PRESETS, preset_for, read_preset
from hsi_diffusion.recipes.reading import FOLDER
from tests.conftest import REPOSITORY
from tests.processes import run_python

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGES = (REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").glob("*.md")))

SKIPPED = {
    "PretrainedFeaturesDataModule(": "run by a test of its own below, which reads what it prints",
    "simulate_scene(48": "likewise, with a method that takes a second",
    "# my_parts.py": "likewise, by the program",
    "# my_network.py": "likewise, by the program",
    "MyDenoiser, network=": "likewise, after the run that it reads",
    "feature_maps(features": "likewise",
    "register_scene(": "likewise, in a process of its own",
    "SLURMCluster": "needs a cluster",
    "push_to_hub": "needs an account; tests/models/test_hub.py",
}
"""Python blocks that the test of all others leaves out, by what they contain, and why."""

TINY = shlex.split(
    "--simulated.height 24 --simulated.width 24 --simulated.bands 20 --simulated.num_classes 3 "
    "--pretrain.steps 2 --pretrain.transform.components 4 --pretrain.patch_size 8 "
    "--features.timesteps [50] --features.components 4 --choice.steps 2 --classifier.steps 2 "
    "--raw_bands '[]' "
    "--logger none --figures false --no-progress"
)
"""Flags that make a run of the program short."""


class Block(NamedTuple):
    """A code block of a page."""

    page: str
    language: str
    code: str


BLOCKS = [
    Block(page.name, *found)
    for page in PAGES
    for found in re.findall(r"(?ms)^```(\w+)\n(.*?)^```", page.read_text(encoding="utf-8"))
]
COMMANDS = [
    line
    for block in BLOCKS
    if block.language == "bash"
    for line in block.code.splitlines()
    if line and not line.startswith("pip ")
]


def block(language: str, containing: str) -> str:
    """The one block that contains a text."""
    (found,) = [one for one in BLOCKS if one.language == language and containing in one.code]
    return found.code


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder outside the repository, in which the test runs."""
    assert not tmp_path.is_relative_to(REPOSITORY)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def own_parts(elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The modules that README and docs/own_classifier.md write, in the folder ``elsewhere``."""
    for name in ("my_parts", "my_network"):
        (elsewhere / f"{name}.py").write_text(block("python", f"# {name}.py"))
    monkeypatch.syspath_prepend(elsewhere)
    yield elsewhere
    for name in ("my_parts", "my_network"):
        sys.modules.pop(name, None)


def test_readme_is_short() -> None:
    assert len(PAGES[0].read_text(encoding="utf-8")) <= 9000


def test_the_first_two_commands_set_up_run_and_test() -> None:
    text = PAGES[0].read_text(encoding="utf-8")
    commands = re.findall(r"^pip install .*$", text, flags=re.MULTILINE)
    assert commands[:2] == [
        "pip install -e . && python experiments/run.py",
        'pip install -e ".[dev]" && pytest',
    ]


def test_pictures_and_files_exist() -> None:
    for page in PAGES:
        links = re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8"))
        # what is made from the code is checked where the site is built
        local = [link for link in links if not link.startswith(("http", "_made/"))]
        assert [link for link in local if not (page.parent / link).exists()] == []


def test_presets_take_the_time_that_the_table_says() -> None:
    text = (REPOSITORY / "docs" / "recipes.md").read_text(encoding="utf-8")
    rows = [[cell.strip(" `") for cell in line.split("|")[1:-1]] for line in text.splitlines()]
    times, method = {}, ""
    for row in rows:
        if len(row) == 5 and row[1] in PRESETS:
            method = row[0] or method
            times[method, row[1]] = row[4].removesuffix(" min")
    assert len(times) >= 3 * len(PRESETS)
    claims = []
    for file in FOLDER.glob("*/*.yaml"):
        header = re.match(r"(#.*\n)*", file.read_text(encoding="utf-8"))
        assert header is not None
        claims += [
            ((file.parent.name, file.stem), claim)
            for claim in re.findall(r"([\d.]+) minutes", header[0])
        ]
    script = (REPOSITORY / "experiments" / "run.py").read_text(encoding="utf-8")
    claims += [
        (("spectraldiff", "quick"), re.findall(r"\(([\d.]+) minutes on 2 cores\)", script)[0])
    ]
    assert len(claims) >= 4
    assert [claim for claim in claims if times[claim[0]] != claim[1]] == []


def test_one_object_is_the_model(elsewhere: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = block("python", "simulate_scene(48")
    assert code.count('"diffgraph"') == 1
    exec(code.replace('"diffgraph"', '"knn"'), {})
    assert capsys.readouterr().out.strip().endswith("(48, 48)")
    assert SceneClassifier.from_pretrained("model").known.scene == "simulated"


def test_the_modules_pretrain_and_classify(
    elsewhere: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = block("python", "PretrainedFeaturesDataModule(")
    assert len(code.splitlines()) <= 20
    exec(code, {})
    found = re.search(r"test/overall_accuracy\W+([\d.]+)", capsys.readouterr().out)
    assert found is not None
    assert float(found.group(1)) > 0.6


def test_an_own_denoiser_is_short_and_runs_with_an_own_network(own_parts: Path) -> None:
    assert len(block("python", "# my_parts.py").splitlines()) <= 20
    (own_parts / "own.yaml").write_text(block("yaml", "my_network.MyNet"))
    (line,) = [line for line in COMMANDS if "--pretrain.denoiser my_parts" in line]
    given = [*shlex.split(line)[1:], "--config", "own.yaml"]
    assert main([*given, *TINY, "--out", "run"]) == 0
    denoiser = importlib.import_module("my_parts").MyDenoiser
    network = partial(importlib.import_module("my_network").MyNet, width=32)
    model = SceneClassifier.from_pretrained("run/model", denoiser=denoiser, network=network)
    assert model.pretrained is not None
    assert isinstance(model.pretrained.denoiser, denoiser)


def test_an_own_estimator_and_optimiser_run_and_map_another_image(elsewhere: Path) -> None:
    (elsewhere / "own.yaml").write_text(block("yaml", "sklearn.ensemble"))
    few = ["--classifier.estimator.n_estimators", "3"]
    assert main(["run", "--config", "own.yaml", *few, *TINY, "--out", "run"]) == 0
    np.save("next.npy", simulate_scene(24, 30, 20, 3, image=1).cube)
    code = block("python", "feature_maps(features").replace(
        "runs/simulated-spectraldiff-0.1-seed0/", "run/"
    )
    exec(code.replace("simulate_scene()", "simulate_scene(24, 24, 20, 3)"), {})
    assert all(Path(f"{name}.pdf").is_file() for name in ("features", "embedding"))
    line = next(line for line in COMMANDS if line.startswith("hsi-diffusion map"))
    given = dict(zip(*[iter(shlex.split(line)[2:])] * 2, strict=True))
    given |= {"--model": "run/model", "--image": "next.npy"}
    assert main(["map", *itertools.chain(*given.items())]) == 0
    assert Path(given["--out"]).is_file()


def test_an_own_scene_is_known_by_its_name(elsewhere: Path) -> None:
    (elsewhere / "data").mkdir()
    scene = simulate_scene(40, 30, 20, 3)
    np.save("data/my_field.npy", scene.cube)
    np.save("data/my_field_gt.npy", scene.labels)
    script = """
import sys, warnings
warnings.simplefilter("error")
exec(sys.argv[1])
assert scene.info.class_names[0] == "maize" and scene.labels.max() == 3
"""
    code = block("python", "register_scene(")
    # the catalogue of this process stays as it is
    done = run_python(["-c", script, code], cwd=elsewhere)
    assert done.returncode == 0, done.stderr[-2000:]


def test_an_own_recipe_is_laid_over_its_base(elsewhere: Path) -> None:
    (elsewhere / "my_method").mkdir()
    (elsewhere / "my_method" / "any.yaml").write_text(block("yaml", "# my_method/any.yaml"))
    preset = read_preset("./my_method", "cpu")
    few = preset_for(preset, scene="houston2013", split="10")
    assert few["pretrain"]["steps"] == 3200
    assert few["features"]["timesteps"] == [100]
    assert few["features"]["tile"] == 256
    assert few["pretrain"]["denoiser"] == read_preset("diffgraph", "cpu")["pretrain"]["denoiser"]


@pytest.mark.parametrize(
    "one",
    [b for b in BLOCKS if b.language == "python" and not any(text in b.code for text in SKIPPED)],
    ids=lambda one: f"{one.page}-{one.code.splitlines()[-1][:30]}",
)
def test_python_blocks_run(one: Block, elsewhere: Path) -> None:
    line1, line2 = (simulate_scene(40, 40, 30, 3, image=number) for number in (0, 1))
    if "line1.tif" in one.code:
        for scene, name in ((line1, "line1.tif"), (line2, "line2.tif")):
            tifffile.imwrite(name, scene.cube, photometric="minisblack", planarconfig="contig")
    if "line1.hdr" in one.code:
        simulate_campaign(".", 72, 64, 30, 4)
    code = one.code.replace('"spectraldiff"', '"knn"').replace("workers=2", "workers=None")
    exec(code, {"labels": line1.labels})


def test_a_sweep_sets_settings_that_there_are(
    elsewhere: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sweep = yaml.safe_load((REPOSITORY / "experiments" / "sweep.yaml").read_text(encoding="utf-8"))
    program, command, *given = sweep["command"]
    assert (program, command, given.pop()) == ("hsi-diffusion", "run", "${args}")
    for name, allowed in sweep["parameters"].items():
        given.append(f"--{name}={allowed['values'][-1] if 'values' in allowed else allowed['min']}")
    assert main(["run", *given, "--print_config"]) == 0
    settings = yaml.safe_load(capsys.readouterr().out)
    assert settings["pretrain"]["steps"] == 1600
    assert settings["logger"] == "wandb"
    assert settings["choice"]["score"], "what the sweep goes by is there"
    assert sweep["metric"]["name"] == "validation/overall_accuracy"


def test_a_plan_varies_settings_without_a_network() -> None:
    plan = BenchmarkSettings.from_dict(yaml.safe_load(block("yaml", "# steps.yaml")))
    settings = [cell.settings.pretrain for cell in benchmark_cells(plan)]
    assert len(settings) == 2 * 4
    assert {one.steps for one in settings} == {400, 800}


def test_a_plan_compares_methods_on_an_own_image(elsewhere: Path) -> None:
    scene = simulate_scene(40, 40, 20, 3)
    tifffile.imwrite("field.tif", scene.cube, photometric="minisblack", planarconfig="contig")
    tifffile.imwrite("labels.tif", scene.labels.astype("uint8"))
    code = block("yaml", "# field.yaml")
    cells = benchmark_cells(BenchmarkSettings.from_dict(yaml.safe_load(code)))
    assert len(cells) == 2 * 2 * 2
    assert {cell.settings.nodata for cell in cells} == {-9999}
    for slow, quick in (("mnf_blur_svm", "knn"), ("diffgraph", "random_forest")):
        code = code.replace(f"method: {slow}", f"method: {quick}")
    (elsewhere / "field.yaml").write_text(code)
    assert main(["benchmark", "field.yaml"]) == 0
    text = Path("runs/field/benchmark.md").read_text(encoding="utf-8")
    for column in ("My field, 10 per class", "My field, disjoint blocks"):
        assert f"**DiffGraph against MNF + blur + SVM, {column}: " in text
    assert len(list(Path("runs/field/cells").glob("*/report.md"))) == len(cells)


@pytest.mark.parametrize("line", COMMANDS)
def test_every_command_line_is_understood(
    line: str, own_parts: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (own_parts / "mine.yaml").write_text("method: svm\n")
    (own_parts / "my_method").mkdir()
    (own_parts / "my_method" / "any.yaml").write_text(block("yaml", "# my_method/any.yaml"))
    line = line.partition(" > ")[0].removesuffix(" &")
    program, *given = shlex.split(line)
    if program == "python" and given[0] == "-c":
        compile(given[1], "docs", "exec")
    elif program == "python":
        script, *given = given
        shown = (REPOSITORY / script).read_text(encoding="utf-8")
        assert [flag for flag in given if flag.startswith("--") and f'"{flag}"' not in shown] == []
    elif program in ("hsi-diffusion", "torchrun"):
        given = given[given.index("run") :] if program == "torchrun" else given
        assert understood(given, capsys), capsys.readouterr().err
    elif program == "dask" and given[0] != "cuda":  # a package for graphics cards
        name, *given = given
        {"scheduler": dask_scheduler, "worker": dask_worker}[name].main.make_context(name, given)
    else:
        assert program in ("dask", "wandb", "ruff"), line


def understood(given: list[str], capsys: pytest.CaptureFixture[str]) -> bool:
    """Whether the program accepts a command line; nothing is computed."""
    command, *rest = given
    if command == "run":
        return main([*given, "--print_config"]) == 0
    if command in ("benchmark", "ablate", "map"):
        with pytest.raises(SystemExit):
            main([command, "--help"])
        shown = capsys.readouterr().out
        plans = [name for name in rest[:1] if not name.startswith("--")]
        if plans and plans[0].endswith(".yaml"):  # one that a page shows, read by a test above
            plans = [name for name in plans if not block("yaml", f"# {name}")]
        flags = [flag for flag in rest if flag.startswith("--")]
        return all(re.search(rf"(?<![\w-]){re.escape(name)}\b", shown) for name in plans + flags)
    return main(given) == 0


def test_the_site_is_built_without_a_warning_with_every_public_name_once(tmp_path: Path) -> None:
    strict = ["-W", "-n", "--keep-going", "-q"]
    quick = ["-b", "json"]  # pages without a theme, which takes its time for each
    folders = ["docs", str(tmp_path / "site"), "-d", str(tmp_path / "trees")]
    done = run_python(["-m", "sphinx", *strict, *quick, *folders])
    assert done.returncode == 0, done.stderr[-3000:]
    raw = (tmp_path / "site" / "objects.inv").read_bytes()
    lines = zlib.decompress(raw.split(b"\n", 4)[4]).decode().splitlines()
    objects = [line.split()[0] for line in lines if " py:" in line]
    found = Counter(name.split(".")[-1] for name in objects if name.count(".") == 2)
    assert {name: found[name] for name in hsi_diffusion.__all__ if found[name] != 1} == {}
    page = (tmp_path / "site" / "_made" / "settings.fjson").read_text(encoding="utf-8")
    assert all(name in page for name in ("pretrain.contrast.instance", "classifier.estimator"))
