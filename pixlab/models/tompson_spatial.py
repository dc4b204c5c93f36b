"""The spatial model of Tompson, Jain, LeCun & Bregler, NIPS 2014 (arXiv 1406.2984): which joints agree?

One round of messages between all joints, each joint to itself as well: joint v says where joint a can be, by a kernel
of displacements that is learnt for the pair, and a takes the product of what it is told:

    e_a = exp(sum over v of log(SoftPlus(w_av) * ReLU(e_v) + SoftPlus(b_av)))

with * the convolution, SoftPlus(x) = log(1 + exp(beta x)) / beta, 1/2 <= beta <= 2, and ReLU(x) = max(x, epsilon),
0 < epsilon <= 0.01. Kernels that learn to be flat are edges that are not there.
"""

from __future__ import annotations

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
import numpy.typing
from jaxtyping import Array, Float

from pixlab.nn.fft_conv import Method, pair_convolutions

SMALLEST = 1e-6  # the weight that a displacement starts with at least, which no example may have had
BACKGROUND = 1e-5  # what the softplus of a bias starts at
ITSELF = 1e-3  # and that of a joint's message to itself, where examples are given


def softplus(x: Float[Array, "*n"], beta: float = 1.0) -> Float[Array, "*n"]:
    """log(1 + exp(beta x)) / beta: positive, near x above and near 0 below."""
    return jnp.logaddexp(beta * x, 0.0) / beta


def inverse_softplus(y: np.typing.ArrayLike, beta: float = 1.0) -> Float[np.ndarray, ...]:
    """The x whose `softplus` is y > 0, exact for small y too."""
    y = beta * np.asarray(y, np.float64)
    return np.asarray((y + np.log(-np.expm1(-y))) / beta, np.float32)


class SpatialModel(nn.Module):
    """Heat-maps [b, h, w, v] of any sign -> [b, h, w, a] >= 0: the first `joints` maps, corrected by all of them.

    What follows them in v is told and not asked, like the torso that FLIC gives for every image. `window` is the size
    of the kernels: n rows take displacements from -(n // 2) to (n - 1) // 2. `edges` [a, v] of 0 and 1 leaves out the
    messages at 0, for graphs made by hand; None keeps all. Computed in float32, whatever the policy.
    Kernels start flat, of sum 1, as if there were no edges; `kernels_from` starts them at displacements seen.
    Raises ValueError for a beta or epsilon outside the paper's interval, and for fewer maps than joints.
    """

    joints: int
    window: tuple[int, int] = (128, 128)
    beta: float = 1.0
    epsilon: float = 0.01
    edges: tuple[tuple[int, ...], ...] | None = None
    method: Method = "fft"

    @nn.compact
    def __call__(self, maps: Float[Array, "b h w v"], train: bool = False) -> Float[Array, "b h w a"]:
        if not 0.5 <= self.beta <= 2:
            raise ValueError(f"beta is {self.beta}; the paper has it between 1/2 and 2")
        if not 0 < self.epsilon <= 0.01:
            raise ValueError(f"epsilon is {self.epsilon}; the paper has it above 0 and at most 0.01")
        count = maps.shape[-1]
        if count < self.joints:
            raise ValueError(f"{count} heat-maps for {self.joints} joints: give one for each, and others after them")
        flat, background = (inverse_softplus(y, self.beta) for y in (1 / np.prod(self.window), BACKGROUND))
        kernels = self.param("kernel", nn.initializers.constant(flat), (self.joints, count, *self.window), jnp.float32)
        bias = self.param("bias", nn.initializers.constant(background), (self.joints, count), jnp.float32)

        positive = jnp.maximum(maps.astype(jnp.float32), self.epsilon).transpose(0, 3, 1, 2)
        told = pair_convolutions(positive, softplus(kernels, self.beta), self.method)
        # Rounding leaves the transform's zeros a little below 0.
        message = jnp.log(jnp.maximum(told, 0) + softplus(bias, self.beta)[None, :, :, None, None])
        if self.edges is not None:
            message = message * jnp.asarray(self.edges, jnp.float32)[None, :, :, None, None]
        return jnp.exp(message.sum(2)).transpose(0, 2, 3, 1)


def kernels_from(histograms: Float[np.ndarray, "a v h w"], beta: float = 1.0) -> Float[np.ndarray, "a v h w"]:
    """The model's kernels whose softplus is these histograms, or SMALLEST where that is more."""
    return inverse_softplus(np.maximum(histograms, SMALLEST), beta)


def first_parameters(
    places: Float[np.ndarray, "n v 2"],
    joints: int,
    window: tuple[int, int],
    sigma: float,
    *,
    background: float = 0.8,
    beta: float = 1.0,
) -> dict[str, Float[np.ndarray, ...]]:
    """{"kernel", "bias"} to start from, given examples of places; see `displacement_histograms`.

    Heat-maps that are Gaussians of `sigma` cells and height 1 make messages between `background` and 1: the bias is the
    one, the histogram is scaled to the rest. So one edge can not rule out what the others say, and the product stays
    within 0 and 1. To itself a joint says its own map: a kernel of one cell, next to no background.
    """
    from scipy.ndimage import gaussian_filter

    weights = displacement_histograms(places, joints, window)
    bias = np.full(weights.shape[:2], background)
    for a, v in np.ndindex(bias.shape):
        if a == v:
            weights[a, v], bias[a, v] = 0, ITSELF
            weights[a, v, window[0] // 2, window[1] // 2] = 1
        else:
            smooth = gaussian_filter(weights[a, v], sigma, mode="constant")
            weights[a, v] *= (1 - background) / (2 * np.pi * sigma**2 * smooth.max())
    return {"kernel": kernels_from(weights, beta), "bias": inverse_softplus(bias, beta)}


def displacement_histograms(
    places: Float[np.ndarray, "n v 2"], joints: int, window: tuple[int, int], blur: float = 2.0
) -> Float[np.ndarray, "a v h w"]:
    """How often joint a lies (i - h // 2, j - w // 2) cells from v in examples [n, v, (y, x)]: [a, v, h, w] of sum 1.

    Joints that an example lacks are NaN and count in no pair; displacements beyond the window neither. `blur` is the
    standard deviation in cells of a Gaussian that fills the gaps between examples. A pair that never occurs is flat.
    """
    from scipy.ndimage import gaussian_filter

    (n, m), (_, v, _) = window, places.shape
    out = np.zeros((joints, v, n, m))
    for a, b in np.ndindex(joints, v):
        moved = np.rint(places[:, a] - places[:, b]) + (n // 2, m // 2)
        moved = moved[np.isfinite(moved).all(-1)].astype(int)
        moved = moved[((moved >= 0) & (moved < window)).all(-1)]
        np.add.at(out[a, b], tuple(moved.T), 1)
        out[a, b] = gaussian_filter(out[a, b], blur, mode="constant") if len(moved) else 1
        out[a, b] /= out[a, b].sum()
    return out.astype(np.float32)
