"""What grows or stands on the fields of simulated scenes: the classes and what lies around them.

The names are those of real agricultural scenes. Each cover is a mixture of materials plus traits
of its own. The variants of one crop, and crops at the same age, differ by little: mostly in how
much residue and soil shows between the plants, as in the Indian Pines scene.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np

from hsi_diffusion.scenes.simulated_spectra import MATERIALS, TRAITS

if TYPE_CHECKING:
    from numpy.typing import NDArray

Shape = Literal["field", "patch"]
"""A field has straight borders, a patch grew or was laid out irregularly."""


@dataclass(frozen=True, slots=True)
class Cover:
    """One kind of land cover.

    Attributes:
        name: Name for people.
        share: How much of it there is, relative to the other covers.
        mixture: Share of each material, by the names in ``MATERIALS``; made to add up to 1.
        traits: Strength of each trait, by the names in ``TRAITS``; 0 where not named.
        colour: (red, green, blue) in 0..255 on maps.
        shape: How its pieces of land look.
    """

    name: str
    share: float
    mixture: dict[str, float]
    traits: dict[str, float] = field(default_factory=dict)
    colour: tuple[int, int, int] = (0, 0, 0)
    shape: Shape = "field"


CLASSES = (
    Cover(
        "Soybean min-till",
        2450,
        {"crop": 0.24, "residue": 0.29, "dark soil": 0.47},
        {"red edge": 0.14, "chlorophyll": 0.05, "lignin": 0.05},
        (0, 114, 178),
    ),
    Cover(
        "Soybean no-till",
        970,
        {"crop": 0.24, "residue": 0.42, "dark soil": 0.34},
        {"red edge": 0.14, "chlorophyll": 0.05, "lignin": 0.05},
        (86, 180, 233),
    ),
    Cover(
        "Corn no-till",
        1430,
        {"crop": 0.30, "residue": 0.44, "dark soil": 0.26},
        {"cellulose": 0.06},
        (230, 159, 0),
    ),
    Cover(
        "Woods",
        1260,
        {"tree": 0.90, "grass": 0.06, "dark soil": 0.04},
        {"leaf water": 0.05},
        (0, 110, 50),
        "patch",
    ),
    Cover(
        "Corn min-till",
        830,
        {"crop": 0.30, "residue": 0.30, "dark soil": 0.40},
        {"cellulose": 0.06},
        (250, 220, 60),
    ),
    Cover(
        "Grass and trees",
        730,
        {"grass": 0.60, "tree": 0.34, "dark soil": 0.06},
        {"lignin": 0.08},
        (145, 210, 80),
    ),
    Cover(
        "Soybean clean-till",
        590,
        {"crop": 0.24, "residue": 0.18, "dark soil": 0.58},
        {"red edge": 0.14, "chlorophyll": 0.05, "lignin": 0.05},
        (60, 60, 170),
    ),
    Cover(
        "Pasture",
        480,
        {"grass": 0.68, "residue": 0.20, "dark soil": 0.12},
        {"chlorophyll": -0.08},
        (0, 158, 115),
    ),
    Cover(
        "Hay, windrowed",
        475,
        {"grass": 0.34, "residue": 0.56, "dark soil": 0.10},
        {"cellulose": 0.12},
        (204, 121, 167),
    ),
    Cover(
        "Buildings and yards",
        385,
        {"concrete": 0.30, "asphalt": 0.22, "tree": 0.26, "grass": 0.22},
        {"bow": 0.10},
        (213, 94, 0),
        "patch",
    ),
    Cover(
        "Corn",
        240,
        {"crop": 0.33, "residue": 0.17, "dark soil": 0.50},
        {"cellulose": 0.06},
        (140, 95, 20),
    ),
    Cover(
        "Wheat",
        205,
        {"crop": 0.62, "residue": 0.28, "dark soil": 0.10},
        {"lignin": 0.10, "leaf water": -0.10},
        (255, 190, 150),
    ),
    Cover(
        "Stone and steel",
        95,
        {"metal": 0.46, "concrete": 0.36, "asphalt": 0.18},
        {"iron": 0.15},
        (150, 150, 150),
    ),
    Cover(
        "Alfalfa",
        46,
        {"crop": 0.70, "grass": 0.18, "dark soil": 0.12},
        {"chlorophyll": 0.08, "leaf water": 0.08},
        (240, 50, 230),
    ),
    Cover(
        "Grass, mown",
        28,
        {"grass": 0.52, "residue": 0.36, "dark soil": 0.12},
        {"red edge": -0.08},
        (200, 255, 0),
    ),
    Cover(
        "Oats",
        21,
        {"crop": 0.54, "residue": 0.30, "dark soil": 0.16},
        {"lignin": 0.12, "red edge": 0.08},
        (128, 0, 128),
    ),
    Cover(
        "Fallow, rough",
        600,
        {"dark soil": 0.56, "pale soil": 0.28, "residue": 0.16},
        {"iron": 0.05},
        (150, 70, 40),
    ),
    Cover(
        "Fallow, smooth",
        500,
        {"dark soil": 0.46, "pale soil": 0.44, "residue": 0.10},
        {"iron": 0.05, "slope": 0.08},
        (222, 165, 110),
    ),
    Cover(
        "Stubble",
        450,
        {"residue": 0.68, "pale soil": 0.22, "dark soil": 0.10},
        {"lignin": 0.10},
        (255, 240, 190),
    ),
    Cover(
        "Vineyard",
        400,
        {"crop": 0.36, "pale soil": 0.46, "dark soil": 0.18},
        {"chlorophyll": 0.10},
        (120, 20, 60),
    ),
    Cover(
        "Orchard",
        350,
        {"tree": 0.48, "pale soil": 0.30, "grass": 0.22},
        {"leaf water": 0.06},
        (60, 120, 120),
        "patch",
    ),
    Cover(
        "Sugar beet",
        300,
        {"crop": 0.58, "dark soil": 0.42},
        {"leaf water": 0.20},
        (170, 170, 255),
    ),
    Cover(
        "Rapeseed",
        280,
        {"crop": 0.74, "dark soil": 0.18, "residue": 0.08},
        {"chlorophyll": -0.12},
        (255, 255, 120),
    ),
    Cover(
        "Broccoli",
        250,
        {"crop": 0.52, "dark soil": 0.40, "residue": 0.08},
        {"leaf water": 0.14, "red edge": -0.10},
        (0, 200, 160),
    ),
    Cover(
        "Celery",
        200,
        {"crop": 0.46, "dark soil": 0.46, "residue": 0.08},
        {"leaf water": 0.24},
        (130, 220, 220),
    ),
    Cover(
        "Bare soil",
        190,
        {"pale soil": 0.72, "dark soil": 0.28},
        {"clay": 0.12},
        (190, 110, 90),
    ),
    Cover(
        "Lettuce",
        150,
        {"crop": 0.28, "dark soil": 0.72},
        {"chlorophyll": -0.06},
        (220, 90, 120),
    ),
    Cover(
        "Reed",
        120,
        {"grass": 0.44, "residue": 0.26, "water": 0.30},
        {"lignin": 0.12},
        (90, 90, 30),
        "patch",
    ),
    Cover(
        "Car park",
        90,
        {"asphalt": 0.72, "metal": 0.16, "concrete": 0.12},
        {"bow": -0.10},
        (95, 95, 95),
    ),
    Cover(
        "Pond",
        80,
        {"water": 0.96, "grass": 0.04},
        {},
        (20, 20, 120),
        "patch",
    ),
)
"""The classes, in the order in which ``num_classes`` takes them."""

UNLABELLED = (
    Cover("Rough grass", 4, {"grass": 0.55, "residue": 0.20, "dark soil": 0.25}),
    Cover("Cultivated", 4, {"crop": 0.27, "residue": 0.32, "dark soil": 0.41}, {"red edge": 0.05}),
    Cover("Scrub", 3, {"tree": 0.50, "grass": 0.32, "residue": 0.18}),
    Cover("Ploughed", 2, {"dark soil": 0.70, "residue": 0.18, "pale soil": 0.12}),
    Cover("Farmyard", 1, {"concrete": 0.25, "pale soil": 0.30, "grass": 0.30, "metal": 0.15}),
)
"""What lies between the labelled fields."""

ROAD = Cover("Road", 0, {"asphalt": 0.40, "concrete": 0.35, "grass": 0.25})
STREAM = Cover("Stream", 0, {"water": 0.45, "tree": 0.40, "grass": 0.15})


def mixtures(covers: tuple[Cover, ...]) -> NDArray[np.float64]:
    """Share of every material in every cover, shape (covers, materials); rows add up to 1."""
    table = np.array([[cover.mixture.get(name, 0.0) for name in MATERIALS] for cover in covers])
    return np.asarray(table / table.sum(axis=1, keepdims=True))


def traits(covers: tuple[Cover, ...]) -> NDArray[np.float64]:
    """Strength of every trait in every cover, shape (covers, traits)."""
    return np.array([[cover.traits.get(name, 0.0) for name in TRAITS] for cover in covers])
