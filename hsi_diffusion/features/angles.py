"""How far a denoiser's restored spectra are from the true ones, timestep by timestep.

DiffCRN (Zhu and Xu, arXiv 2502.19699) chooses its timesteps by pixel-level spectral angle mapping
(SAM); that much is public. Which two spectra are compared is our reading: a pixel's x_0 and the x_0
that the denoiser predicts from x_t, by default in the denoiser's input space. Where that is made of
centred components, as in the presets (MNF), the angles are not those between reflectance spectra.
"""

from __future__ import annotations

import torch
from torch import Tensor


def spectral_angle(first: Tensor, second: Tensor, dim: int = -1) -> Tensor:
    """Angle between spectra, 2 atan2(|u - v|, |u + v|) of the unit vectors u and v.

    Unlike the arc cosine of the scalar product, this keeps all digits of tiny angles and of angles
    near pi (Kahan, "How Futile are Mindless Assessments of Roundoff", 2006).

    Args:
        first: Spectra along ``dim``, any length of vector.
        second: Likewise; broadcasts against ``first``.
        dim: Where the bands are.

    Returns:
        Radians from 0 to pi, without ``dim``, in at least float32. Where one spectrum is zero, pi /
        2; where both are, 0.

    Example:
        >>> spectral_angle(torch.tensor([1.0, 0.0]), torch.tensor([2.0, 2.0])).rad2deg().item()
        45.0
    """
    u, v = _unit(first, dim), _unit(second, dim)
    difference = torch.linalg.vector_norm(u - v, dim=dim)
    return 2 * torch.atan2(difference, torch.linalg.vector_norm(u + v, dim=dim))


def angle_map(x0: Tensor, restored: Tensor) -> Tensor:
    """Angle between the spectra of two images, (bands, h, w) each to (1, h, w)."""
    true, found = (image.permute(1, 2, 0) for image in (x0, restored))
    return spectral_angle(true, found)[None]


def _unit(spectra: Tensor, dim: int) -> Tensor:
    spectra = spectra.to(torch.promote_types(spectra.dtype, torch.float32))
    # dividing by the largest value first keeps the squares of tiny and of huge values in range
    tiny = torch.finfo(spectra.dtype).tiny
    spectra = spectra / spectra.abs().amax(dim=dim, keepdim=True).clamp_min(tiny)
    length: Tensor = torch.linalg.vector_norm(spectra, dim=dim, keepdim=True)
    return spectra / length.clamp_min(tiny)
