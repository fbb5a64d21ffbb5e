"""Spectra for simulated scenes: materials, directions in which they vary, light and sensor.

Band positions and shapes are textbook facts (pigments below 700 nm, leaf water at 970, 1195, 1450
and 1940 nm, cellulose at 2100 nm, clay at 2205 nm, ...); the strengths are ours and were set by
eye. Everything is a smooth function of the wavelength, so any set of band centres can be asked for.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Spectrum = NDArray[np.float64]
"""Shape (bands,)."""

MATERIALS = (
    "crop",
    "grass",
    "tree",
    "residue",
    "dark soil",
    "pale soil",
    "asphalt",
    "concrete",
    "metal",
    "water",
)
"""Rows of :func:`material_reflectance`."""

TRAITS = (
    "chlorophyll",
    "red edge",
    "leaf water",
    "cellulose",
    "lignin",
    "iron",
    "clay",
    "slope",
    "bow",
)
"""Rows of :func:`trait_reflectance`."""

DARK_LEVEL = 1000.0
"""Digital number without any light, high enough that noise never reaches zero."""

FULL_SCALE = 14000.0
"""Digital numbers from a white surface at the brightest wavelength, above the dark level."""


def material_reflectance(wavelengths: Spectrum) -> NDArray[np.float64]:
    """Reflectance of the pure materials.

    Args:
        wavelengths: Band centres in nm, shape (bands,).

    Returns:
        Shape (materials, bands), in the order of :data:`MATERIALS`, from 0 to 1.
    """
    x = wavelengths
    ramp = (x - 400) / 2100
    residue = _rise(x, 0.46, 330, 350) * np.exp(
        -0.18 * _line(x, 2100, 50)
        - 0.12 * _line(x, 2300, 35)
        - 0.08 * _line(x, 1725, 30)
        - 0.10 * _line(x, 1480, 60)
        - 0.12 * _line(x, 1930, 50)
    )
    spectra = {
        "crop": _leaf(x, level=0.52, pigment=2.3, water=0.8),
        "grass": _leaf(x, level=0.45, pigment=1.8, water=0.55),
        "tree": _leaf(x, level=0.33, pigment=2.8, water=1.1),
        "residue": residue,
        "dark soil": _soil(x, level=0.24, iron=0.10, clay=0.10),
        "pale soil": _soil(x, level=0.42, iron=0.20, clay=0.16),
        "asphalt": 0.10 + 0.06 * ramp - 0.01 * _line(x, 2310, 30),
        "concrete": _rise(x, 0.38, 150, 300) * np.exp(-0.10 * _line(x, 2340, 40)),
        "metal": 0.52 - 0.10 * ramp - 0.05 * _line(x, 850, 120),
        "water": 0.012 + 0.07 * np.exp(-(((x - 480) / 160) ** 2)),
    }
    return np.stack([spectra[name] for name in MATERIALS])


def trait_reflectance(wavelengths: Spectrum) -> NDArray[np.float64]:
    """Change of the reflectance per unit of each trait.

    A trait deepens an absorption (or tilts the continuum) of the material that carries it, to
    first order, so that it adds up with the materials' mixture.

    Args:
        wavelengths: Band centres in nm, shape (bands,).

    Returns:
        Shape (traits, bands), in the order of :data:`TRAITS`.
    """
    x = wavelengths
    crop, _, tree, residue, dark, pale = material_reflectance(x)[:6]
    leaf, soil = (crop + tree) / 2, (dark + pale) / 2
    ramp = (x - 1450) / 1050
    changes = {
        "chlorophyll": -1.2 * leaf * _pigment(x),
        "red edge": -leaf * _line(x, 722, 18),
        "leaf water": -leaf * _water(x),
        "cellulose": -residue * (_line(x, 2100, 60) + 0.5 * _line(x, 1725, 35)),
        "lignin": -residue * (_line(x, 2300, 45) + 0.4 * _line(x, 1680, 40)),
        "iron": -soil * (_line(x, 500, 70) + 0.8 * _line(x, 880, 90)),
        "clay": -soil * (_line(x, 2205, 28) + 0.4 * _line(x, 1415, 35)),
        "slope": 0.2 * soil * ramp,
        "bow": 0.2 * soil * (1 - 2 * ramp**2),
    }
    return np.stack([changes[name] for name in TRAITS])


def light(wavelengths: Spectrum) -> Spectrum:
    """Sunlight that reaches the sensor from a white surface, 1 where it is strongest.

    A black body of 5778 K through an atmosphere whose water vapour takes nearly everything
    around 1400 and 1900 nm.

    Args:
        wavelengths: Band centres in nm, shape (bands,).

    Returns:
        Shape (bands,), from 0 to 1.
    """
    x = wavelengths
    micrometres = x / 1000
    # Planck's law, 14388 micrometre kelvin = hc/k; 0.22144 is its peak
    sun = micrometres**-5 / np.expm1(14388 / 5778 / micrometres) / 0.22144
    vapour = (
        3.5 * _line(x, 1395, 32)
        + 4.5 * _line(x, 1880, 48)
        + 0.55 * _line(x, 1130, 28)
        + 0.40 * _line(x, 940, 22)
        + 0.12 * _line(x, 820, 10)
        + 0.40 * _line(x, 761, 5)
        + 0.25 * _line(x, 2010, 20)
        + 0.9 * _step(x, 2480, 25)
    )
    return np.asarray(sun * np.exp(-vapour))


def haze(wavelengths: Spectrum) -> Spectrum:
    """Light that the air scatters into the sensor, on the scale of :func:`light`."""
    return np.asarray(0.05 * (400 / wavelengths) ** 3.5)


def noise_level(wavelengths: Spectrum, rng: np.random.Generator) -> Spectrum:
    """Standard deviation of the sensor's noise in each band, in digital numbers.

    It differs from band to band, and is worst at the ends of the range and where two detectors
    meet (700 and 1850 nm). Where little light comes, the same noise weighs more.

    Args:
        wavelengths: Band centres in nm, shape (bands,).
        rng: Draws how good each band is.

    Returns:
        Shape (bands,), positive.
    """
    x = wavelengths
    weak = (
        1
        + 3.0 * _step(x, 430, -18)
        + 1.5 * _line(x, 700, 12)
        + 1.5 * _line(x, 1850, 30)
        + 2.0 * _step(x, 2450, 20)
    )
    return np.asarray(12.0 * weak * np.exp(rng.normal(0, 0.35, x.size)))


def _line(x: Spectrum, centre: float, width: float) -> Spectrum:
    return np.asarray(np.exp(-0.5 * ((x - centre) / width) ** 2))


def _step(x: Spectrum, centre: float, width: float) -> Spectrum:
    return np.asarray(1 / (1 + np.exp(-(x - centre) / width)))


def _rise(x: Spectrum, level: float, start: float, length: float) -> Spectrum:
    return np.asarray(level * (1 - np.exp(-(x - start) / length)))


def _pigment(x: Spectrum) -> Spectrum:
    """Absorption of chlorophyll and its companions, with the green gap at 555 nm."""
    return np.asarray(_step(x, 708, -13) * (1 - 0.45 * _line(x, 555, 35)))


def _water(x: Spectrum) -> Spectrum:
    """Absorption of liquid water in leaves."""
    return np.asarray(
        0.07 * _line(x, 970, 35)
        + 0.16 * _line(x, 1195, 50)
        + 0.85 * _line(x, 1450, 60)
        + 1.20 * _line(x, 1940, 75)
        + 0.90 * _step(x, 1900, 250)
    )


def _leaf(x: Spectrum, *, level: float, pigment: float, water: float) -> Spectrum:
    return np.asarray(level * np.exp(-pigment * _pigment(x) - water * _water(x)))


def _soil(x: Spectrum, *, level: float, iron: float, clay: float) -> Spectrum:
    absorption = (
        iron * (_line(x, 500, 70) + 0.8 * _line(x, 880, 90))
        + clay * _line(x, 2205, 28)
        + 0.15 * _line(x, 1415, 35)
        + 0.25 * _line(x, 1920, 55)
    )
    return np.asarray(_rise(x, level, 270, 550) * np.exp(-absorption))
