"""Diffusion models that learn hyperspectral scenes without labels and classify with few labels.

The names below are what most people import; everything else has its place in a folder, in the order
in which the data flow: ``scenes``, ``patches``, ``diffusion``, ``denoisers``, ``features``,
``networks``, ``graphs``, ``metrics``, ``reports``, ``modules``, ``classifiers``, ``recipes``,
``models``, ``runs``, ``benchmarks``.
"""

import lazy_loader

__version__ = "0.1.0"

# the names are in __init__.pyi; each is imported where it is first used
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
