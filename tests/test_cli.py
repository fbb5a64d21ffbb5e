"""The program, as a user calls it: in process, with the command line as a list."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import yaml

from hsi_diffusion import DiffusionPretrainModule, SceneClassifier, make_split, simulate_scene
from hsi_diffusion.cli import COMMANDS, main
from hsi_diffusion.recipes import methods
from hsi_diffusion.run_command import run_settings
from tests.conftest import REPOSITORY
from tests.own import write_own_parts
from tests.processes import run_python
from tests.program import error_of
from tests.runs.tiny import TINY

SIZE = ["--simulated={height: 24, width: 24, bands: 16, num_classes: 3}", "--accelerator=cpu"]
FLAGS = [
    f"--{name}={value if isinstance(value, str) else json.dumps(value)}"
    for name, value in TINY.items()
    if name != "split"
]
"""The tiny settings, a flag each."""


def test_help_lists_the_commands_and_answers_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == main(["-h"]) == 0
    shown = capsys.readouterr().out
    assert all(f"  {command} " in shown for command in COMMANDS)
    assert main(["rum"]) == 2
    assert capsys.readouterr().err.endswith("error: there is no command 'rum'; did you mean run?\n")
    code = "import sys, hsi_diffusion.cli as it; it.main(['-h']); print('torch' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60
    )
    assert done.stdout.endswith("False\n")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("run --pretrain.stps 5", "unknown setting pretrain.stps; allowed are augmentation, batch"),
        ("run --pretrain.contrast.cel=5", "unknown setting pretrain.contrast.cel; allowed are "),
        ("run --nonsense", "unknown setting nonsense; allowed are accelerator, axes"),
        ("run --method sectraldiff", "sectraldiff"),
        ("run spectraldiff", "settings are flags such as --pretrain.steps 500, got spectraldiff"),
        ("run --seed=3 4", "500, got 4"),
        ("run --resume runs/x y", "leave out y"),
        ("run --seed x", "error: seed must be of type int, got 'x'"),
        ("run --classifier.learning_rate=fast", "learning_rate must be of type float, got 'fast'"),
        ("map --nonsense", "required: --model"),
        ("benchmark --nonsense", "unrecognized arguments: --nonsense"),
    ],
)
def test_wrong_flags_are_told_without_waiting_for_torch(line: str, message: str) -> None:
    code = f"""
import sys
from hsi_diffusion.cli import main
try:
    status = main({line.split()!r})
except SystemExit as stop:
    status = stop.code
print(status, "torch" in sys.modules)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60
    )
    assert done.stdout == "2 False\n"
    assert message in done.stderr


OWN = """
pretrain:
  denoiser: {class_path: cli_parts.MyDenoiser, init_args: {width: 6}}
  optimizer: cli_parts.MyOptimiser
  transform: {class_path: MNF, init_args: {components: 6}}
  steps: 3
  patch_size: 8
  batch_size: 4
features: {timesteps: [50], levels: [1], components: 4}
classifier:
  network: {class_path: cli_parts.MyNet, init_args: {width: 5}}
  patch_size: 3
  steps: 4
raw_bands: [{transform: MinMax}]
"""


def test_own_parts_beside_the_caller_are_fitted_saved_loaded_and_mapped(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_own_parts(here, "cli_parts")
    (here / "own.yaml").write_text(OWN)
    given = [*SIZE, "--split=10", "--logger=none", "--no-progress"]
    assert main(["run", "--config", "own.yaml", *given, "--out", "run"]) == 0
    config = yaml.safe_load((here / "run" / "config.yaml").read_text())
    assert config["pretrain"]["denoiser"]["init_args"] == {"width": 6}
    assert config["pretrain"]["optimizer"]["class_path"] == "cli_parts.MyOptimiser"

    np.save("image.npy", simulate_scene(24, 24, 16, 3, seed=0).cube)
    mapping = ["map", "--model", "run/model", "--image", "image.npy", "--out", "map.npy"]
    capsys.readouterr()
    assert main(mapping) == 2
    assert "cli_parts.MyDenoiser" in error_of(capsys)
    given = [
        "--denoiser={class_path: cli_parts.MyDenoiser, init_args: {width: 6}}",
        "--network={class_path: cli_parts.MyNet, init_args: {width: 5}}",
    ]
    assert main([*mapping, *given]) == 0
    expected = np.load("run/classification_map.npy", allow_pickle=False)
    assert np.array_equal(np.load("map.npy", allow_pickle=False), expected)
    assert main([*mapping, "--denoiser=cli_parts.MyNet"]) == 2
    assert "denoiser must be a Denoiser, got cli_parts.MyNet" in error_of(capsys)


BASELINE = ["--method=knn", *SIZE, "--split=10", "--no-progress", "--logger=none"]


@pytest.fixture(scope="module")
def baseline(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run with an own scikit-learn classifier."""
    folder = tmp_path_factory.mktemp("cli")
    write_own_parts(folder, "estimator_parts")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(sys, "path", list(sys.path))
        estimator = "--classifier.estimator=estimator_parts.MyNeighbours"
        assert main(["run", *BASELINE, estimator, "--out", "run"]) == 0
    return folder


def test_an_own_estimator_is_mapped_where_it_is_trusted(
    baseline: Path, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = simulate_scene(24, 24, 16, 3, seed=0)
    np.save("image.npy", image.cube)
    mapping = ["map", "--model", f"{baseline}/run/model", "--image", "image.npy"]
    files = ["--out", "map.tif,map.png", "--probabilities", "shares.npy"]
    assert main([*mapping, *files]) == 2
    assert "estimator_parts.MyNeighbours" in error_of(capsys)
    assert not list(here.glob("map*"))
    assert main([*mapping, *files, "--trusted", "estimator_parts.MyNeighbours"]) == 0
    expected = np.load(baseline / "run" / "classification_map.npy", allow_pickle=False)
    assert np.array_equal(tifffile.imread("map.tif"), expected)
    assert (here / "map.png").stat().st_size > 0
    assert np.load("shares.npy", allow_pickle=False).shape == (24, 24, 3)


def test_what_cannot_be_mapped_is_named(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scene = simulate_scene(20, 20, 8, 3)
    np.save("image.npy", scene.cube)
    np.save("other.npy", scene.cube[:, :, :7])
    plain = {"pretrain": {"denoiser": None}, "classifier": {"estimator": "SupportVectorMachine"}}
    split = make_split(scene.labels, "5", patch_size=1, seed=0)
    SceneClassifier(plain).fit(scene, split).save("model")
    usual = {"--model": "model", "--image": "image.npy", "--out": "map.npy"}
    for changes, message in (
        ({"--model": "none"}, "none is no saved model: there is no model.json"),
        ({"--image": "none.npy"}, "none.npy"),
        ({"--image": "other.npy"}, "must have shape (H, W, 8)"),
        ({"--out": "map.npy,map.jpg"}, ".tif, .tiff, .hdr, .npy, .png, got map.jpg"),
        ({"--out": "image.npy/map.npy"}, "image.npy"),  # a file is no folder
        ({"--probabilities": "shares.png"}, ".hdr, .npy, got shares.png"),
        ({"--denoiser": "none.My"}, "denoiser can't be imported, got 'none.My'"),
    ):
        given = [part for pair in (usual | changes).items() for part in pair]
        assert main(["map", *given]) == 2
        assert message in error_of(capsys)
        assert not (here / "map.npy").exists()
    for missing in ([], ["--model", "model"], ["--accelerator", "abacus"]):
        with pytest.raises(SystemExit) as stopped:
            main(["map", *missing])
        assert stopped.value.code == 2


def test_an_existing_run_is_kept(baseline: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = baseline / "run"
    before = (out / "metrics.json").read_text()
    assert main(["run", *BASELINE, "--out", str(out)]) == 2
    assert "is not empty" in error_of(capsys)
    # even where it may be replaced: not before everything that was asked for is known to work
    assert main(["run", *BASELINE, "--split=abc", "--out", str(out), "--overwrite"]) == 2
    assert "abc" in error_of(capsys)
    assert main(["run", *BASELINE, "--out", str(baseline), "--overwrite"]) == 2
    assert "no config.yaml" in error_of(capsys)
    assert main(["run", "--resume", str(out)]) == 2
    assert "is finished" in error_of(capsys)
    assert main(["run", "--resume", str(out), "--seed", "4"]) == 2
    assert "leave out --seed" in error_of(capsys)
    assert main(["run", "--resume", str(baseline)]) == 2
    assert "no config.yaml" in error_of(capsys)
    assert (out / "metrics.json").read_text() == before


def test_a_stopped_run_says_how_to_go_on(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stop(*_: object, **__: object) -> None:
        (here / "run" / "checkpoints").mkdir()
        (here / "run" / "checkpoints" / "classifier.ckpt").touch()  # something was computed
        raise KeyboardInterrupt

    given = ["run", *BASELINE, "--out", "run"]
    with monkeypatch.context() as patch:
        patch.setattr(SceneClassifier, "fit", stop)
        assert main(given) == 130
    assert "go on with: hsi-diffusion run --resume run" in capsys.readouterr().err
    assert main(given) == 2
    assert "--resume run" in error_of(capsys)
    assert main(["run", "--resume", "run", "--no-progress"]) == 0
    assert json.loads(Path("run/metrics.json").read_text())["resumed"]

    def refuse(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(sys.modules["hsi_diffusion.runs.run"], "read_scene", refuse)
    assert main(["run", *BASELINE, "--out", "other"]) == 130
    assert "before anything was computed" in capsys.readouterr().err
    assert not (here / "other").exists()


def test_a_run_stopped_before_its_first_checkpoint_starts_again(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    steps = iter(range(9))
    step = DiffusionPretrainModule.training_step

    def stop(self: DiffusionPretrainModule, *batch: Any) -> Any:
        if next(steps) == 2:
            raise KeyboardInterrupt
        return step(self, *batch)

    given = ["run", *FLAGS, "--split=10", "--no-progress"]
    with monkeypatch.context() as patch:
        patch.setattr(DiffusionPretrainModule, "training_step", stop)
        assert main([*given, "--out", "cut"]) == 130
    told = "stopped before the first checkpoint (they come every 100 steps)"
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith(told)
    assert last.endswith("hsi-diffusion run --resume cut")
    assert [path.name for path in here.rglob("*")] == ["cut", "config.yaml"], "nothing half-written"
    assert main(["run", "--resume", "cut", "--no-progress"]) == 0
    assert main([*given, "--out", "whole"]) == 0
    maps = [np.load(here / name / "classification_map.npy") for name in ("cut", "whole")]
    assert np.array_equal(*maps)


@pytest.fixture
def files(here: Path) -> Path:
    """A scene of the user's own, and files that are none."""
    random = np.random.default_rng(0)
    np.save("cube.npy", random.normal(size=(20, 18, 12)))
    labels = np.kron([[1, 5], [0, 9]], np.ones((10, 9))).astype(np.uint8)
    np.save("labels.npy", labels)
    np.save("turned.npy", labels.T.copy())
    np.save("broken.npy", np.full((20, 18, 12), np.nan))
    np.save("negative.npy", labels.astype(np.int16) - 1)
    np.save("objects.npy", np.array([{"a": 1}], dtype=object))
    (here / "text.mat").write_text("not a cube")
    (here / "list.yaml").write_text("- 1")
    (here / "wrong.yaml").write_text("pretrain: {stepz: 1}")
    return here


OWN_SCENE = ["--cube", "cube.npy", "--labels", "labels.npy"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--cube", "missing.mat"], "missing.mat"),
        (["--cube", "text.mat", "--labels", "labels.npy"], "text.mat"),
        (["--cube", "objects.npy", "--labels", "labels.npy"], "objects.npy"),
        (["--cube", "broken.npy", "--labels", "labels.npy"], "NaN"),
        (["--cube", "cube.npy", "--labels", "turned.npy"], "transpose"),
        (["--cube", "cube.npy", "--labels", "negative.npy"], "-1"),
        (["--cube", "cube.npy:a", "--labels", "labels.npy"], "leave out the key 'a'"),
        (["--cube", "cube.npy"], "--labels"),
        (["--labels", "labels.npy"], "--cube"),
        ([*OWN_SCENE, "--scene", "salinas"], "--scene"),
        ([*OWN_SCENE, "--split", "none.npz"], "none.npz"),
        (["--download"], "name it with scene (--scene)"),
        (["--download", "--seed", "3"], "name it with scene (--scene)"),
        (["--scene", "salinas", "--root", "."], "salinas"),
        (["--method", "foo"], "spectraldiff"),
        (["--preset", "papr"], "preset must be one of quick, cpu, paper, got 'papr'"),
        (["--method", "svm", "--pretrain.steps", "5"], "svm learns from raw bands and has no"),
        (["--method", "svm", "--pretrained=a"], "svm learns from raw bands and has no denoiser"),
        (["--config"], "--config needs a value"),
        (["--seed", "1", "--method"], "--method needs a value"),
        (["--out"], "--out needs a value"),
        (["--overwrite=yes"], "--overwrite takes no value"),
        (["--config", "cube.npy"], "cube.npy can't be read as a configuration file"),
        (["--config", "none.yaml"], "there is no configuration file none.yaml"),
        (["--config", "list.yaml"], "list.yaml must hold a mapping"),
        (["--config", "wrong.yaml"], "unknown setting pretrain.stepz; allowed are augmentation"),
        (["--pretrain.learning_rate", "fast"], "pretrain.learning_rate must be of type float"),
        (["--raw_bands=[1"], "raw_bands must be valid YAML"),
        (["--pretrane.steps", "3"], "unknown setting pretrane; allowed are accelerator"),
        (["--classifier.network", "nowhere.Net"], "can't be imported, got 'nowhere.Net'"),
        (["--seed"], "--seed needs a value"),
        (["nonsense"], "settings are flags such as --pretrain.steps 500, got nonsense"),
        (["--pretrained", "cube.npy"], "cube.npy is not the checkpoint of a pretraining"),
    ],
)
def test_bad_input_gets_one_line_and_leaves_nothing(
    files: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    before = sorted(files.rglob("*"))
    size = [] if "--cube" in arguments else SIZE
    assert main(["run", *size, "--no-progress", *arguments]) == 2
    assert message in error_of(capsys)
    assert sorted(files.rglob("*")) == before  # it would stand in the way of the next try


def test_own_scene_with_gaps_in_its_class_ids(files: Path) -> None:
    given = ["--method=knn", *OWN_SCENE, "--split=10", "--logger=none", "--accelerator=cpu"]
    assert main(["run", *given]) == 0
    out = files / "runs" / "cube-knn-10-seed0"
    assert len(json.loads((out / "metrics.json").read_text())["per_class_accuracy"]) == 3
    assert (out / "report.md").read_text(encoding="utf-8").startswith("# knn on cube\n")
    assert not (out / "logs").exists()
    mapping = ["map", "--model", f"{out}/model", "--image", "cube.npy", "--out", "map.npy"]
    assert main(mapping) == 0
    assert set(np.unique(np.load("map.npy", allow_pickle=False))) <= {1, 5, 9}


def test_names_are_checked_before_torch_is_imported(here: Path) -> None:
    code = (
        "import sys; from hsi_diffusion.cli import main; "
        "found = [main(['run', '--method', 'nothing']), main(['run', '--preset=none']), "
        "main(['run', '--config', 'none.yaml']), main(['run', '--resume', 'none']), "
        "main(['recipes', 'diffcrn'])]; print(found, 'torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=here, capture_output=True, text=True, check=True
    )
    assert done.stdout.endswith("[2, 2, 2, 2, 0] False\n")
    assert done.stderr.count("error: ") == 4


def test_recipes_are_listed_and_printed(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["recipes"]) == 0
    shown = capsys.readouterr().out
    lines = {line.split()[0]: line for line in shown.splitlines() if line[:1].strip()}
    assert set(methods()) | {"presets:"} == lines.keys()
    assert all(len(lines[method].split()) > 4 for method in methods())
    assert ".yaml," not in shown, "a method is described by itself"

    assert main(["recipes", "diffcrn", "cpu", "--scene", "salinas", "--split", "10"]) == 0
    (here / "recipe.yaml").write_text(capsys.readouterr().out)
    given = ["--scene", "salinas", "--split", "10"]
    printed = run_settings(["--config", "recipe.yaml", *given])
    usual = run_settings(["--method", "diffcrn", "--preset", "cpu", *given])
    assert printed.to_dict() == usual.to_dict()

    for wrong, message in (
        (["diffcnr"], "method must be one of cnn1d"),
        (["svm", "papr"], "preset must be one of quick, cpu, paper, got 'papr'"),
    ):
        assert main(["recipes", *wrong]) == 2
        assert message in error_of(capsys)


def test_the_folder_of_the_caller_is_searched_last_and_not_in_safe_mode(here: Path) -> None:
    (here / "numpy.py").write_text("raise RuntimeError('this is no NumPy')")
    write_own_parts(here, "beside")
    arguments = ["run", "--print_config", "--pretrain.denoiser", "beside.MyDenoiser"]
    code = f"import sys; from hsi_diffusion.cli import main; sys.exit(main({arguments!r}))"
    repository = str(Path(__file__).parents[1])
    prefix = f"import sys; sys.path.insert(0, {repository!r}); "
    done = subprocess.run(
        [sys.executable, "-P", "-c", prefix + code], check=False, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert "No module named 'beside'" in done.stderr
    assert main(arguments) == 0
    assert sys.path[-1] == str(here)


def test_two_processes_pretrain_together(repository: Path, tmp_path: Path) -> None:
    given = [*FLAGS, "--raw_bands=[{transform: MinMax}]", "--split=10", "--devices=2"]
    given.append("--figures=true")
    script = str(repository / "experiments" / "run.py")  # Lightning starts it once more
    done = run_python([script, *given, "--no-progress", "--out", str(tmp_path / "ddp")])
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads((tmp_path / "ddp" / "metrics.json").read_text())
    assert 0 < found["overall_accuracy"] <= 1
    assert (tmp_path / "ddp" / "reconstruction.png").stat().st_size > 0, "the first process draws"
    for line in ("Scene simulated", "Pretraining without labels", "Report, maps and model"):
        assert done.stdout.count(line) == 1


def test_a_part_of_which_an_argument_is_missing_is_explained(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = """
from hsi_diffusion import UNet2D


class Typed(UNet2D):
    def __init__(self, num_bands, width: int):
        super().__init__(num_bands, channels=width)


class Untyped(UNet2D):
    def __init__(self, num_bands, width):
        super().__init__(num_bands, channels=width)
"""
    (here / "lacking_parts.py").write_text(text)
    given = ["run", "--print_config", "--pretrain.denoiser"]
    assert main([*given, "lacking_parts.Typed"]) == 2
    assert "init_args: {width: VALUE}}" in error_of(capsys)
    assert main([*given, "lacking_parts.Untyped"]) == 2
    assert "width of lacking_parts.Untyped needs a default or a type" in error_of(capsys)
    whole = "{class_path: lacking_parts.Typed, init_args: {width: 8}}"
    assert main([*given, whole]) == 0


def test_the_page_of_lightnings_commands_works(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As written, but for the lengths of both trainings; and Lightning has nothing to object."""
    page = (REPOSITORY / "docs" / "lightning.md").read_text(encoding="utf-8")
    blocks = re.findall(r"(?ms)^```(yaml|sh)\n(.*?)^```", page)
    *files, (language, commands) = blocks
    assert ([kind for kind, _ in files], language) == (["yaml", "yaml"], "sh")
    for _, text in files:
        name = re.findall(r"# (\S+\.yaml)", text)[0]
        short = text
        for long, few in (("max_steps: 100", 2), ("max_epochs: 5", 1), ("_epoch: 640", 64)):
            short = short.replace(long, f"{long.partition(':')[0]}: {few}")
        Path(name).write_text(short, encoding="utf-8")
    lines = commands.splitlines()
    assert [line.split()[1] for line in lines] == ["fit", "fit", "test", "predict"]
    for line in lines:
        given = [*line.split(), "--trainer.enable_progress_bar=false", "--trainer.logger=false"]
        monkeypatch.setattr(sys, "argv", given)
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            assert main() == 0
        assert [str(one.message) for one in told if "args parameter" in str(one.message)] == []
    assert "test/overall_accuracy" in capsys.readouterr().out
    drawn = Path("maps/classification_map.png").read_bytes()
    assert drawn.startswith(b"\x89PNG")
