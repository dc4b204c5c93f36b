"""NIQE: how far a picture's statistics are from those of natural photos, without a truth to compare it with.

Mittal, Soundararajan & Bovik, "Making a 'Completely Blind' Image Quality Analyzer", IEEE SPL 2013, as its release and
the PIRM challenge compute it. What differs from the release: a block in which a distribution has no shape, such as
one without any structure, is left out altogether (the release takes the least shape for it, and what else is a
number), and values that are nothing but rounding errors count as 0 (the release gives them a sign).

Scores depend on the `Prior`: those of papers take the release's modelparameters.mat, which is not part of pixlab.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
import scipy.io
from jaxtyping import Float, Float64, Shaped
from scipy.ndimage import correlate1d
from scipy.special import gamma

from pixlab.errors import UserError
from pixlab.nn.imresize import imresize

BLOCK = 96  # pixels a side; half of it in the picture of half the size
FEATURES = 36
SHARP = 0.75  # of a photo's sharpest block: what a block needs to count for the prior
SHIFTS = ((0, 1), (1, 0), (1, 1), (1, -1))  # rows and columns to the neighbours
_NOTHING = 1e-9  # below the least contrast of 8-bit pictures, above rounding errors
_NAMES = ("mu_prisparam", "cov_prisparam")  # of the release's file
_SHAPES = np.arange(200, 10001) / 1000
_RATIOS = gamma(2 / _SHAPES) ** 2 / (gamma(1 / _SHAPES) * gamma(3 / _SHAPES))


class Prior(NamedTuple):
    """Mean and covariance of the features of natural photos."""

    mean: Float64[np.ndarray, 36]
    covariance: Float64[np.ndarray, "36 36"]

    @classmethod
    def load(cls, path: Any) -> Prior:
        """From the release's modelparameters.mat or an .npz with the same two names, as `save` writes it.

        Raises UserError: no such file, another kind of file, other names or shapes in it.
        """
        path = str(path)
        try:
            if path.endswith(".npz"):
                with np.load(path, allow_pickle=False) as archive:
                    arrays = {name: archive[name] for name in archive.files}
            else:
                arrays = scipy.io.loadmat(path, appendmat=False)
        except FileNotFoundError as error:
            raise UserError(f"no file {path}; fetch NIQE's modelparameters.mat, or make a prior by niqe.fit") from error
        except (OSError, ValueError, TypeError, NotImplementedError, zipfile.BadZipFile) as error:
            raise UserError(f"{path}: neither MATLAB's .mat (before version 7.3) nor .npz; fetch it again") from error
        if any(name not in arrays for name in _NAMES):
            found = ", ".join(name for name in arrays if not name.startswith("__"))
            raise UserError(f"{path}: has {found or 'nothing'} instead of {' and '.join(_NAMES)}; take NIQE's own file")
        mean, covariance = (np.asarray(arrays[name], np.float64) for name in _NAMES)
        if mean.size != FEATURES or covariance.shape != (FEATURES, FEATURES):
            raise UserError(
                f"{path}: has {mean.size} means and covariances {covariance.shape} instead of {FEATURES} features' "
                "own; take NIQE's own file"
            )
        return cls(mean.ravel(), covariance)

    def save(self, path: Any) -> None:
        """Write an .npz that `load` reads."""
        np.savez(str(path), **dict(zip(_NAMES, self, strict=True)))


def niqe(luminance: Shaped[np.ndarray, "h w"], prior: Prior) -> float:
    """Distance of a picture [h, w] of luminance in 0..255 from the prior: lower looks more natural.

    sqrt(d pinv((C_prior + C_picture) / 2) d) for the difference d of mean features (the paper's eq. 10). PIRM takes Y
    (16..235) rounded to 8 bits, without 4 pixels each side (`pirm.scored`); other packages' scores differ by their
    luminance, their parameters and how they halve the picture.

    Raises UserError: less than 96x96 pixels, or less than two blocks of 96x96 pixels with any structure.
    """
    picture = _gaussian(features(luminance)[0], "the picture")
    difference = prior.mean - picture.mean
    inverse = np.linalg.pinv((prior.covariance + picture.covariance) / 2, rtol=None, hermitian=True)
    return float(np.sqrt(difference @ inverse @ difference))


def fit(photos: Iterable[Shaped[np.ndarray, "h w"]]) -> Prior:
    """The prior of undistorted photos [h, w] of luminance in 0..255: their blocks that are sharp, 0.75 of the sharpest.

    Raises UserError: a photo of less than 96x96 pixels, or less than two blocks in all.
    """
    chosen = [np.empty((0, FEATURES))]
    for photo in photos:
        found, sharpness = features(photo)
        chosen.append(found[sharpness > SHARP * sharpness.max()])
    return _gaussian(np.concatenate(chosen), "the photos")


def features(luminance: Shaped[np.ndarray, "h w"]) -> tuple[Float64[np.ndarray, "n 36"], Float64[np.ndarray, " n"]]:
    """36 features of each whole block of 96x96 pixels of a picture of luminance in 0..255, and the block's sharpness.

    18 of the picture, then 18 of the picture of half its size; NaN where a distribution has no shape. Sharpness is the
    mean deviation from the local mean. Raises UserError below 96x96 pixels.
    """
    rows, columns = (n // BLOCK for n in luminance.shape)
    if not rows * columns:
        raise UserError(f"NIQE needs at least {BLOCK}x{BLOCK} pixels, got {luminance.shape}: take larger pictures")
    picture, found = luminance[: rows * BLOCK, : columns * BLOCK].astype(np.float64), []
    for size in (BLOCK, BLOCK // 2):
        mean = _blurred(picture)
        deviation = np.sqrt(np.abs(_blurred(picture**2) - mean**2))
        contrast = (picture - mean) / (deviation + 1)
        contrast[np.abs(contrast) < _NOTHING] = 0
        found.append(_shapes(_blocks(contrast, size)))
        if size == BLOCK:
            sharpness = _blocks(deviation, size).mean((1, 2))
        picture = imresize(picture, 0.5)
    return np.concatenate(found, axis=1), sharpness


def asymmetric_gaussian(
    x: Float[np.ndarray, "n k"],
) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"], Float[np.ndarray, " n"]]:
    """Shape and scales (left, right) of the asymmetric generalised Gaussian of each row's numbers, by their moments.

    Density ~ exp(-(-x / left)^shape) below 0, exp(-(x / right)^shape) above. The shape is the nearest of 0.2, 0.201,
    ..., 10. All three are NaN without a number on each side of 0. Lasmar, Stitou & Berthoumieu, ICIP 2009.
    """
    with np.errstate(invalid="ignore"):
        left, right = (np.sqrt((x * x * side).sum(1) / side.sum(1)) for side in (x < 0, x > 0))
        ratio = left / right
        wanted = np.abs(x).mean(1) ** 2 / (x * x).mean(1) * (ratio**3 + 1) * (ratio + 1) / (ratio**2 + 1) ** 2
    # the ratios grow with the shape
    above = np.clip(np.searchsorted(_RATIOS, wanted), 1, len(_RATIOS) - 1)
    nearest = np.where(wanted - _RATIOS[above - 1] <= _RATIOS[above] - wanted, above - 1, above)
    shape = np.where(np.isnan(wanted), np.nan, _SHAPES[nearest])
    scale = np.sqrt(gamma(1 / shape) / gamma(3 / shape))
    return shape, left * scale, right * scale


def _shapes(blocks):
    """[n, size, size] -> [n, 18]: of the values, and of their products with four neighbours (around the block)."""
    shape, left, right = asymmetric_gaussian(blocks.reshape(len(blocks), -1))
    found = [shape, (left + right) / 2]
    for shift in SHIFTS:
        products = blocks * np.roll(blocks, shift, axis=(1, 2))
        shape, left, right = asymmetric_gaussian(products.reshape(len(blocks), -1))
        found += [shape, (right - left) * gamma(2 / shape) / gamma(1 / shape), left, right]
    return np.stack(found, axis=1)


def _gaussian(found, what):
    found = found[np.isfinite(found).all(axis=1)]
    if len(found) < 2:
        raise UserError(f"{what}: fewer than two blocks of {BLOCK}x{BLOCK} pixels with any structure; take larger ones")
    return Prior(found.mean(0), np.cov(found, rowvar=False))


def _blocks(x, size):
    rows, columns = (n // size for n in x.shape)
    return x.reshape(rows, size, columns, size).swapaxes(1, 2).reshape(-1, size, size)


def _blurred(x):
    """Gaussian means over 7x7 pixels, deviation 7/6, edges repeated."""
    weights = np.exp(-(np.arange(-3, 4) ** 2) / (2 * (7 / 6) ** 2))
    weights /= weights.sum()
    for axis in (0, 1):
        x = correlate1d(x, weights, axis, mode="nearest")
    return x
