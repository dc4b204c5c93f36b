"""How much of an image repeats every few pixels: what uneven upsampling leaves behind ("checkerboards").

Odena, Dumoulin & Olah, "Deconvolution and Checkerboard Artifacts", Distill 2016, doi 10.23915/distill.00003, show such
patterns and do not measure them; these measures are ours. The last stride-2 layer of a network leaves a pattern of
period 2, the one before it of period 4.
"""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Float


def phase_variance(image: Float[Array, "h w c"], period: int) -> Float[Array, ""]:
    """A_p: share of the variance that a pattern of this period explains, in [0, 1], mean over channels.

    The means of the pixels at each of the p * p phases (row mod p, column mod p) vary by so much, over the variance of
    all pixels. Noise of N pixels has (p^2 - 1) / N. Rows and columns that fill no whole period are left out; a channel
    that is constant up to rounding has 0. Raises ValueError where the period is not between 2 and the image's size.
    """
    centred = _centred(image, period)
    return _share(_phases(centred, period), centred)


def pure_phase_variance(image: Float[Array, "h w c"], period: int) -> Float[Array, ""]:
    """A_p - A_(p/2): the part of `phase_variance` that patterns of half the period do not explain already.

    It is a variance itself, since the parts of periods 2, 4, 8... are orthogonal where they are taken of the same
    pixels; for period 2 it is A_2. Raises ValueError for an odd period and as `phase_variance` does.
    """
    if period % 2:
        raise ValueError(f"period {period}: half of it must be a whole number")
    centred = _centred(image, period)
    means = _phases(centred, period)
    half = means.reshape(2, period // 2, 2, period // 2, -1).mean((0, 2))
    return _share(means - jnp.tile(half, (2, 2, 1)), centred)


def peak_energy(image: Float[Array, "h w c"], period: int, reach: int = 4) -> Float[Array, ""]:
    """Energy at frequency N / period over the median energy of the bins next to it, mean of the two axes.

    Every row (and every column) is transformed, and energies of a bin are summed over them and over channels, so that
    a pattern counts wherever it is and however it changes along the other axis. The neighbours are the `reach` bins on
    either side, as far as they are between 0 and N / 2. No pattern: 1, above it a peak, below it a gap. Rows and
    columns that fill no whole period are left out. Raises ValueError as `phase_variance` does.
    """
    x = _centred(image, period)
    return (_peak(x, period, reach) + _peak(x.swapaxes(0, 1), period, reach)) / 2


def fine_variance(image: Float[Array, "h w c"], cell: int = 2) -> Float[Array, ""]:
    """Share of the variance that lies inside cells of `cell` x `cell` pixels, periodic or not, mean over channels.

    The rest is that of the cells' means. Noise has 1 - 1 / cell^2, an image that changes slowly nearly 0, a constant
    one 0; `phase_variance` of period `cell` is at most as large. Raises ValueError as `phase_variance` does.
    """
    centred = _centred(image, cell)
    h, w, c = centred.shape
    cells = centred.reshape(h // cell, cell, w // cell, cell, c)
    return _share((cells - cells.mean((1, 3), keepdims=True)).reshape(h, w, c), centred)


def _whole(image: Array, period: int) -> Array:
    h, w, _ = image.shape
    if not 2 <= period <= min(h, w):
        raise ValueError(f"period {period} of an image of {h}x{w}: must be 2 or more and fit into it")
    return image[: h - h % period, : w - w % period]


def _centred(image: Array, period: int) -> Array:
    """The whole periods without the mean of each channel; zero where what is left is rounding alone."""
    x = _whole(image, period)
    largest = lambda x: jnp.abs(x).max((0, 1), keepdims=True)  # noqa: E731
    centred = x - x.mean((0, 1), keepdims=True)
    return jnp.where(largest(centred) > 8 * jnp.finfo(x.dtype).eps * largest(x), centred, 0.0)


def _phases(centred: Array, period: int) -> Array:
    """[p, p, c]: the mean at each phase."""
    h, w, c = centred.shape
    return centred.reshape(h // period, period, w // period, period, c).mean((0, 2))


def _share(part: Array, whole: Array) -> Array:
    variance = (whole**2).mean((0, 1))
    return ((part**2).mean((0, 1)) / jnp.where(variance > 0, variance, 1.0)).mean()


def _peak(x: Array, period: int, reach: int) -> Array:
    """The ratio along the first axis."""
    energy = (jnp.abs(jnp.fft.rfft(x, axis=0)) ** 2).sum((1, 2))
    at = x.shape[0] // period
    near = [i for i in range(max(1, at - reach), min(len(energy), at + reach + 1)) if i != at]
    total = energy.sum()
    floor = jnp.finfo(energy.dtype).eps * jnp.where(total > 0, total, 1.0)  # of rounding: 0 / 0 is no peak
    return (energy[at] + floor) / (jnp.median(energy[jnp.array(near)]) + floor)
