"""Typed recipes, by the names of methods and presets or of your own."""

from __future__ import annotations

from hsi_diffusion.recipes.plain import (
    from_flags,
    from_plain,
    part_name,
    readable,
    settings_parser,
    to_plain,
)
from hsi_diffusion.recipes.reading import (
    PRESETS,
    Location,
    merge,
    methods,
    parse_assignment,
    parse_yaml,
    preset_file,
    preset_for,
    read_preset,
    read_yaml,
)
from hsi_diffusion.recipes.settings import (
    BandSpace,
    ChoiceSettings,
    DenoiserFactory,
    FeatureCandidate,
    FeatureStageSettings,
    PretrainSettings,
    PropagationSettings,
    Recipe,
)

__all__ = [
    "PRESETS",
    "BandSpace",
    "ChoiceSettings",
    "DenoiserFactory",
    "FeatureCandidate",
    "FeatureStageSettings",
    "Location",
    "PretrainSettings",
    "PropagationSettings",
    "Recipe",
    "from_flags",
    "from_plain",
    "merge",
    "methods",
    "parse_assignment",
    "parse_yaml",
    "part_name",
    "preset_file",
    "preset_for",
    "read_preset",
    "read_yaml",
    "readable",
    "settings_parser",
    "to_plain",
]
