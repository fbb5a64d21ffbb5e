"""Spectra for simulated scenes: materials, traits by which they vary, light and sensor.

Band positions and shapes are textbook facts (pigments below 700 nm, leaf water at 970, 1195, 1450
and 1940 nm, cellulose at 2100 nm, clay at 2205 nm, ...); the strengths are ours and were set by
eye. Everything is a smooth function of the wavelengths ``x`` in nm, shape (bands,).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Spectrum = NDArray[np.float64]
"""Shape (bands,)."""


def materials(x: Spectrum) -> dict[str, Spectrum]:
    """Reflectance of the pure materials, from 0 to 1."""

    def rise(level: float, start: float, length: float, *lines: tuple[float, ...]) -> Spectrum:
        return np.asarray(level * -np.expm1((start - x) / length) * np.exp(-_lines(x, *lines)))

    def leaf(level: float, pigment: float, water: float) -> Spectrum:
        return np.asarray(level * np.exp(-pigment * _pigment(x) - water * _leaf_water(x)))

    def soil(level: float, iron: float, clay: float) -> Spectrum:
        minerals = ((iron, 500, 70), (0.8 * iron, 880, 90), (clay, 2205, 28))
        return rise(level, 270, 550, *minerals, (0.15, 1415, 35), (0.25, 1920, 55))

    straw = ((0.18, 2100, 50), (0.12, 2300, 35), (0.08, 1725, 30), (0.10, 1480, 60))
    ramp = (x - 400) / 2100
    return {
        "crop": leaf(level=0.52, pigment=2.3, water=0.8),
        "grass": leaf(level=0.45, pigment=1.8, water=0.55),
        "tree": leaf(level=0.33, pigment=2.8, water=1.1),
        "residue": rise(0.46, 330, 350, *straw, (0.12, 1930, 50)),
        "dark soil": soil(level=0.24, iron=0.10, clay=0.10),
        "pale soil": soil(level=0.42, iron=0.20, clay=0.16),
        "asphalt": 0.10 + 0.06 * ramp - _lines(x, (0.01, 2310, 30)),
        "concrete": rise(0.38, 150, 300, (0.10, 2340, 40)),
        "metal": 0.52 - 0.10 * ramp - _lines(x, (0.05, 850, 120)),
        "water": 0.012 + 0.07 * np.exp(-(((x - 480) / 160) ** 2)),
    }


def traits(x: Spectrum) -> dict[str, Spectrum]:
    """Change of the reflectance per unit of each trait, which adds up with the materials' mixture.

    To first order, a trait deepens an absorption, or tilts the continuum, of its material.
    """
    pure = materials(x)
    leaf, soil = (pure["crop"] + pure["tree"]) / 2, (pure["dark soil"] + pure["pale soil"]) / 2
    ramp = (x - 1450) / 1050
    return {
        "chlorophyll": -1.2 * leaf * _pigment(x),
        "red edge": -leaf * _lines(x, (1, 722, 18)),
        "leaf water": -leaf * _leaf_water(x),
        "cellulose": -pure["residue"] * _lines(x, (1, 2100, 60), (0.5, 1725, 35)),
        "lignin": -pure["residue"] * _lines(x, (1, 2300, 45), (0.4, 1680, 40)),
        "iron": -soil * _lines(x, (1, 500, 70), (0.8, 880, 90)),
        "clay": -soil * _lines(x, (1, 2205, 28), (0.4, 1415, 35)),
        "slope": 0.2 * soil * ramp,
        "bow": 0.2 * soil * (1 - 2 * ramp**2),
    }


def light(x: Spectrum) -> Spectrum:
    """Sunlight that reaches the sensor from a white surface, 1 where it is strongest."""
    # Planck's law at 5778 K, 14388 micrometre kelvin = hc/k; 0.22144 is its peak
    sun = (x / 1000) ** -5 / np.expm1(14388 / 5778 / (x / 1000)) / 0.22144
    vapour = ((3.5, 1395, 32), (4.5, 1880, 48), (0.55, 1130, 28), (0.40, 940, 22), (0.12, 820, 10))
    gases = _lines(x, *vapour, (0.40, 761, 5), (0.25, 2010, 20)) + 0.9 * _step(x, 2480, 25)
    return np.asarray(sun * np.exp(-gases))


def haze(x: Spectrum) -> Spectrum:
    """Light that the air scatters into the sensor, on the scale of :func:`light`."""
    return np.asarray(0.05 * (400 / x) ** 3.5)


def noise_level(x: Spectrum, rng: np.random.Generator) -> Spectrum:
    """Standard deviation of the sensor's noise in each band, in digital numbers.

    It is worst at the ends of the range and where two detectors meet (700 and 1850 nm).
    """
    weak = 3.0 * _step(x, 430, -18) + _lines(x, (1.5, 700, 12), (1.5, 1850, 30))
    weak += 1 + 2.0 * _step(x, 2450, 20)
    return np.asarray(12.0 * weak * np.exp(rng.normal(0, 0.35, x.size)))


def _lines(x: Spectrum, *lines: tuple[float, ...]) -> Spectrum:
    """Sum of Gaussian lines, each (strength, centre in nm, width in nm)."""
    strength, centre, width = np.array(lines).T[..., None]
    return np.asarray((strength * np.exp(-0.5 * ((x - centre) / width) ** 2)).sum(axis=0))


def _step(x: Spectrum, centre: float, width: float) -> Spectrum:
    return np.asarray(1 / (1 + np.exp((centre - x) / width)))


def _pigment(x: Spectrum) -> Spectrum:
    return _step(x, 708, -13) * (1 - _lines(x, (0.45, 555, 35)))  # with the green gap at 555 nm


def _leaf_water(x: Spectrum) -> Spectrum:
    bands = ((0.07, 970, 35), (0.16, 1195, 50), (0.85, 1450, 60), (1.20, 1940, 75))
    return _lines(x, *bands) + 0.90 * _step(x, 1900, 250)
