from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
import wandb
from lightning.pytorch.loggers import WandbLogger

from hsi_diffusion import (
    DiffusionPretrainModule,
    FeatureClassifierModule,
    SimulatedSceneDataModule,
)
from hsi_diffusion.errors import ConfigurationError
from hsi_diffusion.modules import ReconstructionFigures
from hsi_diffusion.runs.loggers import RunLogger, check_logger
from tests.runs.logged import CONFIG, Line, drawn, make_trainer
from tests.runs.wandb_file import read_finished, read_parts

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.runs.wandb_file import Written


def build_data(**settings: Any) -> SimulatedSceneDataModule:
    return SimulatedSceneDataModule(24, 20, 8, 3, **{"split": "10", "batch_size": 16, **settings})


@pytest.fixture(scope="module")
def whole_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Written]:
    """A run of three stages, as it stands in W&B's file."""
    folder = tmp_path_factory.mktemp("run")
    model = folder / "model"
    model.mkdir()
    (model / "config.json").write_text("{}")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WANDB_MODE", "offline")
        patch.setenv("WANDB_SILENT", "true")
        patch.delenv("WANDB_PROJECT", raising=False)
        with RunLogger("wandb", folder, "salinas-1", CONFIG, group="table 2") as logger:
            pretraining = DiffusionPretrainModule(
                8, prediction="x0", losses={"l1": 1.0, "lae": 0.1}, learning_rate=2e-3
            )
            make_trainer(
                logger.stage("pretrain"),
                max_steps=3,
                limit_val_batches=1,
                val_check_interval=1,
                callbacks=[ReconstructionFigures(timesteps=(5,), side=12)],
            ).fit(pretraining, build_data(task="pretrain", patch_size=8, batch_size=4))
            for stage in ("classifier", "control"):
                make_trainer(
                    logger.stage(stage), max_steps=2, limit_val_batches=1, val_check_interval=1
                ).fit(FeatureClassifierModule(8, 3, 5), build_data(patch_size=5))
            logger.summary({"timesteps": [50, 100], "levels": [2]})
            figures = {"overall_accuracy": 0.9, "kappa": float("nan"), "per_class": [1.0, None]}
            logger.metrics("test", figures)
            logger.metrics("control/test", {"overall_accuracy": 0.7})
            logger.metrics("difference", {"overall_accuracy": 0.2})
            for name in ("classification_map", "confusion_matrix", "split", "control/map"):
                logger.figure(name, drawn())
            logger.table("test/classes", ["class", "accuracy"], [("grass", 0.9), ("soil", None)])
            logger.model(model)
    (part,) = read_parts(folder)
    return folder, part


def test_all_stages_are_one_wandb_run(whole_run: tuple[Path, Written]) -> None:
    folder, part = whole_run
    assert (part.name, part.group, part.project) == ("salinas-1", "table 2", "hsi_diffusion")
    assert (folder / "wandb" / "run.id").read_text() == part.id
    assert part.exit_code == 0
    assert wandb.run is None


def test_stages_are_sections_with_steps_of_their_own(whole_run: tuple[Path, Written]) -> None:
    _, part = whole_run
    for stage, steps in {"pretrain": [0, 1, 2], "classifier": [0, 1], "control": [0, 1]}.items():
        assert part.axes[f"{stage}/*"] == f"{stage}/step"
        for name in ("train/loss", "lr-AdamW", "val/loss"):
            curve = part.curve(f"{stage}/{name}", f"{stage}/step")
            assert [step for step, _ in curve] == steps, name
            assert all(value > 0 for _, value in curve)
    # W&B drops rows whose step does not rise
    taken = [row["_step"] for row in part.history]
    assert taken == sorted(set(taken))
    assert not {"train/loss", "trainer/global_step"} & {
        name for row in part.history for name in row
    }


def test_the_history_holds_the_parts_of_the_loss(whole_run: tuple[Path, Written]) -> None:
    _, part = whole_run
    for name in ("train/l1", "train/lae", "val/l1", "val/lae"):
        assert len(part.curve(f"pretrain/{name}", "pretrain/step")) == 3
    assert dict(part.curve("pretrain/lr-AdamW", "pretrain/step"))[2] == pytest.approx(2e-3)
    accuracies = part.curve("classifier/val/overall_accuracy", "classifier/step")
    assert len(accuracies) == 2


def test_the_summary_keeps_method_and_control_apart(whole_run: tuple[Path, Written]) -> None:
    _, part = whole_run
    assert part.summary["test/overall_accuracy"] == 0.9
    assert part.summary["control/test/overall_accuracy"] == 0.7
    assert part.summary["difference/overall_accuracy"] == 0.2
    assert part.summary["timesteps"] == [50, 100]
    assert part.summary["levels"] == [2]
    assert not {"test/kappa", "test/per_class"} & part.summary.keys()
    found = [row["test/overall_accuracy"] for row in part.history if "test/overall_accuracy" in row]
    assert found == [0.9]


def test_the_config_keeps_settings_and_modules_apart(whole_run: tuple[Path, Written]) -> None:
    _, part = whole_run
    assert part.config["seed"] == 3
    assert part.config["classifier"] == CONFIG["classifier"]
    assert part.config["pretrain/module"]["num_bands"] == 8
    assert part.config["classifier/module"]["num_classes"] == 3
    assert part.config["control/module"]["num_classes"] == 3


def test_pictures_tables_and_the_model_are_there(whole_run: tuple[Path, Written]) -> None:
    folder, part = whole_run
    images = {name for name, value in _logged(part, "_type").items() if value == "images/separated"}
    assert images == {
        "pretrain/reconstruction",
        "pretrain/reconstruction_spectra",
        "classification_map",
        "confusion_matrix",
        "split",
        "control/map",
    }
    for path in _logged(part, "filenames").values():
        assert (next(folder.glob("wandb/offline-run-*")) / "files" / path[0]).stat().st_size > 500
    (table,) = folder.rglob("test/classes*.table.json")
    content = json.loads(table.read_text())
    assert content["columns"] == ["class", "accuracy"]
    assert content["data"] == [["grass", 0.9], ["soil", None]]
    assert part.artifacts[f"model-{part.id}"] == ("model", {"config.json"})


def _logged(part: Written, key: str) -> dict[str, Any]:
    return {
        name.removesuffix(f".{key}"): value
        for row in part.history
        for name, value in row.items()
        if name.endswith(f".{key}")
    }


INTERRUPTED = """
import signal, sys
from hsi_diffusion.runs.loggers import RunLogger
with RunLogger("wandb", sys.argv[1], "a", {}) as logger:
    stage = logger.stage("pretrain")
    for step in range(20):
        stage.log_metrics({"loss": 1.0}, step)
    print(stage.version, flush=True)
    signal.pause()
"""


@pytest.mark.usefixtures("offline")
def test_a_run_that_was_killed_goes_on_as_the_same_wandb_run(tmp_path: Path) -> None:
    # a process that knows of no W&B service here starts its own, which dies with it
    environment = {key: value for key, value in os.environ.items() if key != "WANDB_SERVICE"}
    with subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED, str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env=environment,
    ) as process:
        assert process.stdout is not None
        number = process.stdout.readline().strip()
        os.killpg(process.pid, signal.SIGKILL)  # W&B's own processes too: nothing is tidied up
    with RunLogger("wandb", tmp_path, "a", {}) as logger:
        stage = logger.stage("pretrain")
        assert isinstance(stage, WandbLogger)
        assert stage.version == number
        stage.log_metrics({"loss": 0.5}, 12)
    first, second = sorted(tmp_path.glob("wandb/offline-run-*"))
    # a folder of the same second has a number behind the run's
    assert [folder.name.split("-")[3] for folder in (first, second)] == [number, number]
    part = read_finished(next(second.glob("*.wandb")))
    assert part.curve("pretrain/loss", "pretrain/step") == [(12, 0.5)]
    # both parts are synchronised as one run, in which W&B's own step has to rise
    assert min(row["_step"] for row in part.history) > 20


def test_a_failure_is_marked(open_logger: Callable[..., RunLogger], tmp_path: Path) -> None:
    def fail() -> None:
        with open_logger() as logger:
            logger.metrics("test", {"overall_accuracy": 0.5})
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    (part,) = read_parts(tmp_path)
    assert part.exit_code == 1
    assert part.summary["test/overall_accuracy"] == 0.5


def test_a_wandb_run_of_the_caller_is_used_and_left_open(
    open_logger: Callable[..., RunLogger], tmp_path: Path
) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    with wandb.init(dir=mine, config={"seed": 1}) as run:
        with open_logger() as logger:
            stage = logger.stage("pretrain")
            assert isinstance(stage, WandbLogger)
            stage.log_metrics({"train/loss": 0.5}, 7)
            logger.metrics("test", {"overall_accuracy": 0.9})
        run.log({"still": 1})
    (part,) = read_parts(mine)
    assert part.curve("pretrain/train/loss", "pretrain/step") == [(7, 0.5)]
    assert part.summary["test/overall_accuracy"] == 0.9
    assert part.summary["still"] == 1
    assert part.config["seed"] == 1, "what the caller has set stays"
    assert part.config["classifier"] == CONFIG["classifier"]
    assert not list(tmp_path.rglob("run.id")), "the caller's run is not ours to go on with"


def test_runs_beside_each_other_stay_apart(offline: None, tmp_path: Path) -> None:
    with wandb.init(dir=tmp_path, reinit="create_new") as other:
        with (
            RunLogger("wandb", tmp_path / "a", "a", {}) as first,
            RunLogger("wandb", tmp_path / "b", "b", {}) as second,
        ):
            first.metrics("test", {"overall_accuracy": 0.1})
            second.metrics("test", {"overall_accuracy": 0.2})
        other.log({"still": 1})
    found = [read_parts(tmp_path / name)[0] for name in "ab"]
    assert [part.summary["test/overall_accuracy"] for part in found] == [0.1, 0.2]
    (untouched,) = read_parts(tmp_path)
    assert untouched.exit_code == 0
    assert "test/overall_accuracy" not in untouched.summary
    assert len({untouched.id, *(part.id for part in found)}) == 3


def test_wandb_that_is_disabled_does_no_harm(
    open_logger: Callable[..., RunLogger], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "disabled")
    with open_logger() as logger:
        make_trainer(logger.stage("pretrain"), max_steps=1).fit(Line())
        logger.metrics("test", {"overall_accuracy": 0.9})
        logger.summary({"levels": [1]})
        logger.figure("map", drawn())
        logger.table("classes", ["a"], [[1]])
        logger.model(tmp_path)


def test_other_processes_than_the_first_have_no_wandb_run(tmp_path: Path) -> None:
    code = (
        "import sys, wandb\n"
        "from hsi_diffusion.runs.loggers import RunLogger\n"
        "def refuse(**settings): raise AssertionError\n"
        "wandb.init = refuse\n"
        "with RunLogger('wandb', sys.argv[1], 'a', {}) as logger:\n"
        "    stage = logger.stage('pretrain')\n"
        "    stage.log_metrics({'loss': 0.5}, 1)\n"
        "    stage.log_hyperparams({'a': 1})\n"
        "    logger.metrics('test', {'overall_accuracy': 0.9})\n"
        "    logger.summary({'levels': [1]})\n"
        "    logger.model('nowhere')\n"
    )
    environment = {**os.environ, "LOCAL_RANK": "1", "WANDB_MODE": "offline"}
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True, env=environment)
    assert not list(tmp_path.iterdir())


def test_none_writes_nothing(open_logger: Callable[..., RunLogger], tmp_path: Path) -> None:
    with open_logger("none") as logger:
        assert logger.stage("pretrain") is False
        logger.metrics("test", {"overall_accuracy": 0.9})
        logger.figure("map", drawn())
        logger.table("classes", ["a"], [[1]])
        logger.summary({"levels": [1]})
        logger.model(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_wrong_use_is_refused(
    open_logger: Callable[..., RunLogger], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigurationError, match="logger must be one of csv, wandb, none, got 'x'"):
        open_logger("x")
    with pytest.raises(ConfigurationError, match="with RunLogger"):
        open_logger().stage("pretrain")
    check_logger("wandb")  # offline

    def refuse() -> None:
        raise wandb.errors.UsageError("No API key configured.")

    monkeypatch.delenv("WANDB_MODE")
    monkeypatch.setattr("wandb.login", refuse)
    with pytest.raises(ConfigurationError, match=r"No API key.*WANDB_MODE=offline.*--logger csv"):
        check_logger("wandb")
