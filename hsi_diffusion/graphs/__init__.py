"""Graphs over the pixels of a scene, along which labels and class probabilities spread."""

from __future__ import annotations

from hsi_diffusion.graphs.graph import Graph
from hsi_diffusion.graphs.neighbours import neighbour_mean
from hsi_diffusion.graphs.spreading import Spreading, SpreadingSettings

__all__ = ["Graph", "Spreading", "SpreadingSettings", "neighbour_mean"]
