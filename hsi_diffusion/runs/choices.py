"""What a run chose without test pixels, for its report."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from hsi_diffusion.reports import CandidateReport, ChoiceReport

if TYPE_CHECKING:
    from hsi_diffusion.runs.result import Outcome, RunResult

DESCRIBED = ("name", "rows", "channels", "each", "network", "parameters")
"""What classifiers tell of themselves that they did not choose."""

GIVEN = "Given by the settings."
"""How something was chosen where there was one candidate."""


def choices(result: RunResult) -> list[ChoiceReport]:
    """Everything that was chosen without test pixels."""
    named = (
        ("Timestep and level of the features", result.on_features),
        ("Space of the raw bands", result.on_raw_bands),
    )
    told = [_choice(what, outcome, result) for what, outcome in named if outcome is not None]
    told += _own_choices("features", result.on_features)
    told += _own_choices("raw bands", result.on_raw_bands)
    spreading = result.settings.spreading
    classified = spreading.own == "classified"
    own = "the features that are classified" if classified else "the restored scenes"
    graphs = ((own, result.on_features), ("the classified raw bands", result.on_raw_bands))
    for what, outcome in graphs:
        if outcome is not None and spreading.active:
            told += _graph_choices(what, outcome, result)
    return told


def _own_choices(learned: str, outcome: Outcome | None) -> list[ChoiceReport]:
    """What a classifier chose by itself, such as an SVM's kernel width."""
    described = {} if outcome is None else outcome.fitted.classifier.describe()
    chosen = {key: described[key] for key in described if key not in DESCRIBED}
    if not chosen:
        return []
    values = [f"{key.replace('_', ' ')} {_short(value)}" for key, value in chosen.items()]
    return [
        ChoiceReport(
            what=f"What {described['name']} chose itself on {learned}",
            chosen=", ".join(values),
            how="By the labels that it learned from. Test pixels were not looked at.",
        )
    ]


def _graph_choices(what: str, outcome: Outcome, result: RunResult) -> list[ChoiceReport]:
    """The weight of graphs of what is classified, and the alpha, where labels are spread."""
    spreading, fitted = result.settings.spreading, outcome.fitted
    chosen = (
        "By the labels that arrive at validation pixels, or in a cross-validation inside "
        f"the {len(result.split.labelled)} training and validation pixels. Test pixels were not "
        "looked at."
    )
    return [
        ChoiceReport(
            what=f"Weight of graphs of {what} where labels are spread",
            chosen=f"{100 * fitted.own_share:.0f} %",
            how=chosen if len(spreading.own_shares) > 1 else GIVEN,
        ),
        ChoiceReport(
            what=f"Alpha where labels are spread, with graphs of {what}",
            chosen=f"{fitted.alpha:g}",
            how=chosen if spreading.other_alphas else GIVEN,
        ),
    ]


def _choice(what: str, outcome: Outcome, result: RunResult) -> ChoiceReport:
    record, settings = outcome.record, result.settings
    network = settings.classifier.estimator is None
    steps = f" for {settings.choice.steps} steps" if network else ""
    pixels = (
        f"trained{steps} on the training pixels only"
        if record.folds == 1
        else f"trained{steps} in a {record.folds}-fold cross-validation on the "
        f"{len(result.split.labelled)} training and validation pixels"
    )
    how = (
        "By the overall accuracy on the validation pixels (then by the loss) of the same "
        f"classifier, {pixels}. Test pixels were not looked at."
    )
    scored = bool(validation(outcome))
    if scored and len(record.trials) == 1:
        how = f"{GIVEN} Its score: by{how[2:]}"
    candidates = [
        CandidateReport(
            str(trial.candidate),
            trial.accuracy,
            None if math.isnan(loss := trial.loss) else loss,
        )
        for trial in record.trials
        if scored
    ]
    return ChoiceReport(
        what=what,
        chosen=str(record.best.candidate),
        how=how if scored else GIVEN,
        candidates=candidates,
    )


def _short(value: Any) -> str:
    """A number in few digits; anything else as it is."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def validation(outcome: Outcome) -> dict[str, float]:
    """What the chosen candidate reached without test pixels; empty where none was scored."""
    best = outcome.record.best
    if math.isnan(best.accuracy):
        return {}
    return {"overall_accuracy": best.accuracy, "cross_entropy": best.loss}
