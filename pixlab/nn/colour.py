"""Colour spaces of NumPy or JAX arrays [..., 3]: RGB, studio-swing YCbCr as MATLAB has it, and CIE Lab."""

from __future__ import annotations

from typing import Any

import numpy as np

_YCBCR = np.array([[65.481, 128.553, 24.966], [-37.797, -74.203, 112.0], [112.0, -93.786, -18.214]]) / 255
_SHIFT = np.array([16.0, 128.0, 128.0]) / 255
_XYZ = np.array([[0.412453, 0.357580, 0.180423], [0.212671, 0.715160, 0.072169], [0.019334, 0.119193, 0.950227]])
_WHITE = np.array([0.95047, 1.0, 1.08883])  # D65, two degrees
_BEND = 0.008856  # where Lab's cube root becomes a line


def rgb_to_ycbcr(rgb: Any) -> Any:
    """RGB in [0, 1] -> Y, Cb, Cr by ITU-R BT.601: 255 Y runs from 16 to 235, 255 Cb and 255 Cr from 16 to 240."""
    return _times(rgb, _YCBCR) + _like(rgb, _SHIFT)


def ycbcr_to_rgb(ycbcr: Any) -> Any:
    """The inverse of `rgb_to_ycbcr`, not clipped."""
    return _times(ycbcr - _like(ycbcr, _SHIFT), np.linalg.inv(_YCBCR))


def luminance(rgb: Any) -> Any:
    """Y of `rgb_to_ycbcr`: RGB [..., 3] in [0, 1] -> [..., 1]."""
    return _times(rgb, _YCBCR[:1]) + _like(rgb, _SHIFT[:1])


def rounded(x: Any) -> Any:
    """To the nearest of 0/255 ... 255/255, halves upwards, as MATLAB's uint8 does."""
    return x.__array_namespace__().clip(x.__array_namespace__().floor(255 * x + 0.5), 0, 255) / 255


def rgb_to_lab(rgb: Any) -> Any:
    """sRGB in [0, 1] -> CIE Lab: L from 0 to 100, a and b from about -110 to 110; the white of D65."""
    xp = rgb.__array_namespace__()
    linear = xp.where(rgb > 0.04045, (xp.maximum(rgb, 0.04045) + 0.055) / 1.055, 0) ** 2.4
    linear = xp.where(rgb > 0.04045, linear, rgb / 12.92)
    xyz = _times(linear, _XYZ) / _like(rgb, _WHITE)
    f = xp.where(xyz > _BEND, xp.cbrt(xp.maximum(xyz, _BEND)), 7.787 * xyz + 16 / 116)
    x, y, z = f[..., 0], f[..., 1], f[..., 2]
    return xp.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], -1)


def lab_to_rgb(lab: Any) -> Any:
    """The inverse of `rgb_to_lab`; what lies outside the colours of sRGB is clipped to [0, 1]."""
    xp = lab.__array_namespace__()
    y = (lab[..., 0] + 16) / 116
    f = xp.stack([y + lab[..., 1] / 500, y, xp.maximum(y - lab[..., 2] / 200, 0)], -1)
    xyz = xp.where(f > 0.2068966, f**3, (f - 16 / 116) / 7.787) * _like(lab, _WHITE)
    linear = _times(xyz, np.linalg.inv(_XYZ))
    curved = 1.055 * xp.maximum(linear, 0.0031308) ** (1 / 2.4) - 0.055
    return xp.clip(xp.where(linear > 0.0031308, curved, 12.92 * linear), 0, 1)


def _like(x: Any, constant: np.ndarray) -> Any:
    """The constant in the kind and type of `x`, with an axis of length one for each of `x`'s others."""
    shape = (1,) * (x.ndim - constant.ndim) + constant.shape
    return x.__array_namespace__().asarray(constant.reshape(shape), dtype=x.dtype)


def _times(x: Any, matrix: np.ndarray) -> Any:
    """Each pixel times the matrix, term by term: exact on TPUs as well, whose products of matrices are not."""
    columns = [sum(x[..., i] * float(row[i]) for i in range(row.size)) for row in matrix]
    return x.__array_namespace__().stack(columns, -1)
