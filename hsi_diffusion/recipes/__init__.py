"""Typed recipes, by the names of methods and presets or of your own."""

import lazy_loader

# the names are in __init__.pyi: methods and presets are listed without waiting for torch
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
