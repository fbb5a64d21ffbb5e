"""Simulated scenes: quick to make, hard to classify pixel by pixel, free of any licence.

They feed the quick start, the tests and the notebooks. What makes real scenes hard is in them:
classes that differ by little, variation within a class (from field to field and from pixel to
pixel), mixed pixels at borders, slow changes of the light, bands full of noise, few labels of some
classes, and land without labels. Neighbouring pixels help, as in real scenes.
"""

from hsi_diffusion.scenes.simulated.campaign import simulate_campaign
from hsi_diffusion.scenes.simulated.simulate import simulate_scene

__all__ = ["simulate_campaign", "simulate_scene"]
