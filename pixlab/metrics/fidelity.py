"""PSNR and SSIM as super-resolution reports them, with every choice that changes them by name.

Which picture is rounded, what is cut off and whether luminance or RGB is compared move PSNR by more than papers differ
by: `srcnn_protocol`, `edsr_protocol` and `div2k_protocol` are those of published tables.
"""

from __future__ import annotations

from typing import Any, Literal

import jax.numpy as jnp
import numpy as np

from pixlab.core import Batch, Metric, Tree
from pixlab.errors import UserError
from pixlab.nn.colour import luminance, rounded

WINDOW, SIGMA = 11, 1.5  # SSIM's Gaussian, in pixels
K1, K2 = 0.01, 0.03
CHANNELS = ("as is", "luminance")


def fidelity(
    shave: int = 0,
    peak: float = 1.0,
    channel: Literal["as is", "luminance"] = "as is",
    *,
    eight_bits: bool = False,
) -> Metric:
    """Means over images of "psnr" (dB) and "ssim" of prediction["high"] against example["high"], both [h, w, c].

    The options are those of `comparable`. An image that is predicted exactly has infinite PSNR, and so has then the
    mean. Statistics are float32: PSNR agrees with float64 to 1e-3 dB, SSIM to 1e-5.

    Raises UserError: an unknown channel, images that `comparable` refuses, less than 11x11 pixels after the shave.
    """
    _check(channel)

    def stats(prediction: Batch, example: Batch) -> Tree:
        a, b = comparable(prediction["high"], example["high"], shave, peak=peak, channel=channel, eight_bits=eight_bits)
        return {"psnr": psnr(a, b, 255.0), "ssim": ssim(a, b, 255.0), "images": jnp.ones(())}

    def result(total: Tree) -> dict[str, float]:
        return {name: float(total[name] / total["images"]) for name in ("psnr", "ssim")}

    return Metric(stats, result)


def srcnn_protocol(scale: int) -> Metric:
    """For luminance from 8-bit luminance (SRCNN, VDSR): rounded to 8 bits, `scale` pixels cut off each side.

    Dong et al., TPAMI 2016, the release's demo_SR.m. The low-resolution picture must not have been rounded.
    """
    return fidelity(scale, eight_bits=True)


def edsr_protocol(scale: int) -> Metric:
    """For RGB compared by its luminance (EDSR on Set5, Set14, B100, Urban100): `scale` pixels cut off each side.

    Lim et al., CVPRW 2017: the release's evaluation.m takes saved 8-bit pictures to MATLAB's rgb2ycbcr, which rounds Y
    as well; the quick check of its PyTorch version does not. Where the script calls MATLAB's own SSIM, ours is Wang's.
    """
    return fidelity(scale, channel="luminance", eight_bits=True)


def div2k_protocol(scale: int) -> Metric:
    """For RGB compared as such (EDSR on DIV2K's validation images): 8-bit, `scale` + 6 pixels cut off each side."""
    return fidelity(scale + 6, eight_bits=True)


def comparable(
    prediction: Any, truth: Any, shave: int, *, peak: float = 1.0, channel: str = "as is", eight_bits: bool = False
) -> tuple[Any, Any]:
    """The parts of both images [h, w, c] that are compared, in 0..255; NumPy or JAX arrays of floats, white is `peak`.

    `shave` pixels are cut off each side. With `eight_bits`, images are first rounded and clipped as saved pictures are.
    "luminance" compares Y (BT.601, 16..235) of RGB, then rounded as well; a truth of one channel, a grey picture, is
    compared as it is with the prediction's first channel, as published scripts do: Y's smaller range would be worth
    1.3 dB. Set14's bridge is such a picture.

    Raises UserError: an unknown channel, sizes or channels that differ, nothing left after the shave.
    """
    _check(channel)
    if channel == "luminance" and truth.shape[-1] == 1:
        prediction, channel = prediction[..., :1], "as is"
    if prediction.shape != truth.shape:
        raise UserError(f"the prediction is {prediction.shape} and the truth {truth.shape}: make them one size")
    if channel == "luminance" and truth.shape[-1] != 3:
        raise UserError(f"luminance is made of 3 channels, not {truth.shape[-1]}: compare channels as they are")
    height, width = truth.shape[:2]
    if min(height, width) <= 2 * shave:
        raise UserError(f"nothing is left of {height}x{width} pixels without {shave} on each side: take larger images")

    def prepared(image):
        image = image[shave : height - shave, shave : width - shave] / peak
        image = rounded(image) if eight_bits else image
        if channel == "luminance":
            image = rounded(luminance(image)) if eight_bits else luminance(image)
        return 255 * image

    return prepared(prediction), prepared(truth)


def mean_squared_error(a: Any, b: Any) -> Any:
    """Mean of (a - b)^2 over pixels and channels [h, w, c]; NumPy or JAX arrays of floats."""
    # row by row: one float32 sum over millions of pixels would lose digits
    return ((a - b) ** 2).mean((1, 2)).mean()


def psnr(a: Any, b: Any, peak: float = 1.0) -> Any:
    """10 log10(peak^2 / mean squared error) in dB of images [h, w, c], one error over all pixels and channels.

    NumPy or JAX arrays of floats; infinite for equal images.
    """
    xp = a.__array_namespace__()
    error = mean_squared_error(a, b)
    positive = xp.where(error > 0, error, 1.0)  # np.log10 warns about 0
    return xp.where(error > 0, 20 * np.log10(peak) - 10 * xp.log10(positive), np.inf)[()]  # a number, not an array


def ssim(a: Any, b: Any, peak: float = 1.0) -> Any:
    """Structural similarity of images [h, w, c]: mean of its map over the places of a whole window, and over channels.

    Gaussian window of 11x11 pixels, deviation 1.5, variances biased, K1 = 0.01, K2 = 0.03 (Wang, Bovik, Sheikh &
    Simoncelli, TIP 2004, eq. 13; their ssim_index.m, without making the image smaller first). MATLAB's own `ssim` is
    another one. NumPy or JAX arrays of floats. Raises UserError below 11x11 pixels.
    """
    if min(a.shape[:2]) < WINDOW:
        raise UserError(f"SSIM needs {WINDOW}x{WINDOW} pixels after the shave, got {a.shape[:2]}: take larger images")
    c1, c2 = (K1 * peak) ** 2, (K2 * peak) ** 2
    middle = b.mean((0, 1), keepdims=True)
    a, b = a - middle, b - middle  # nearer to 0, variances lose fewer digits in float32
    moments = _blurred(a.__array_namespace__().stack([a, b, a * a + b * b, a * b]))
    mean_a, mean_b, squares, product = moments[0], moments[1], moments[2], moments[3]
    variances, covariance = squares - mean_a**2 - mean_b**2, product - mean_a * mean_b
    mean_a, mean_b = mean_a + middle, mean_b + middle
    same_mean = (2 * mean_a * mean_b + c1) / (mean_a**2 + mean_b**2 + c1)
    same_structure = (2 * covariance + c2) / (variances + c2)
    return (same_mean * same_structure).mean((1, 2)).mean()


def _blurred(x):
    """[n, h, w, c] -> [n, h - 10, w - 10, c]: Gaussian means of whole windows."""
    at = np.arange(WINDOW) - WINDOW // 2
    weights = np.exp(-(at**2) / (2 * SIGMA**2))
    weights = (weights / weights.sum()).tolist()
    rows, columns = (n - WINDOW + 1 for n in x.shape[1:3])
    x = sum(weight * x[:, i : i + rows] for i, weight in enumerate(weights))
    return sum(weight * x[:, :, i : i + columns] for i, weight in enumerate(weights))


def _check(channel: str) -> None:
    if channel not in CHANNELS:
        raise UserError(f"channel is {channel!r}: use one of {', '.join(map(repr, CHANNELS))}")
