"""The fully connected CRF of Krähenbühl & Koltun, NIPS 2011 (arXiv 1210.5644), as DeepLab refines labels with it
(Chen et al., arXiv 1606.00915, section 3.3): mean field with full kernel matrices, and through a lattice.

Deviation: the authors filter both kernels through a lattice; here the smoothness kernel is exact, being separable.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from pixlab.errors import UserError
from pixlab.nn.permutohedral import Lattice, lattice_sums, permutohedral_lattice

NORMALISATIONS = ("none", "before", "after", "symmetric")
MOST = 10_000  # pixels whose kernel matrix, 400 MB, is still written out


@dataclasses.dataclass(frozen=True)
class Kernels:
    """k(i, j) = appearance * exp(-|p_i - p_j|^2 / 2 position_sigma^2 - |I_i - I_j|^2 / 2 colour_sigma^2)
    + smoothness * exp(-|p_i - p_j|^2 / 2 smoothness_sigma^2), places p in pixels and colours I in 255ths.

    The defaults are what DeepLab's authors refine VGG-16's labels of PASCAL VOC with; weights may be arrays, so that
    they can be learnt. Raises UserError for a sigma that is not positive.
    """

    appearance: float | Float[Array, ""] = 4.0
    position_sigma: float = 49.0
    colour_sigma: float = 5.0
    smoothness: float | Float[Array, ""] = 3.0
    smoothness_sigma: float = 3.0

    def __post_init__(self):
        for name in ("position_sigma", "colour_sigma", "smoothness_sigma"):
            if not 0 < getattr(self, name) < float("inf"):
                raise UserError(f"{name} is {getattr(self, name)}: give a positive number of pixels or 255ths")


def exact_dense_crf(
    logits: Float[Array, "h w c"],
    image: Float[Array, "h2 w2 3"],
    kernels: Kernels = Kernels(),
    *,
    normalisation: str = "symmetric",
    self_term: bool = True,
    iterations: int = 10,
) -> Float[Array, "h w c"]:
    """Label probabilities Q after mean field with full kernel matrices, for images [0, 1] of at most 10,000 pixels.

    Q starts as softmax(logits), the unary being -log of it, and each iteration sets it to softmax(logits + sum_j
    k(i, j) Q_j), which is Potts compatibility: what labels that agree gain is what the others lose.

    `normalisation` is done for each of the two kernels K by D, its sums over j: "none" leaves it; "before" takes
    K D^-1, "after" D^-1 K (the authors' code of 2011), "symmetric" D^-1/2 K D^-1/2 (pydensecrf's default, whose "none"
    divides by D's mean instead). With `self_term` the sums, also those in D, have j = i in them, as both codes do; the
    paper's have not. A pixel without any sum gets no message.
    Raises UserError for another normalisation, sizes that differ and larger images.
    Krähenbühl & Koltun 2011, algorithm 1.
    """
    _check(logits, image.shape[:2], normalisation)
    if logits.shape[0] * logits.shape[1] > MOST:
        raise UserError(
            f"exact_dense_crf writes out a kernel of all pairs of pixels, {MOST} pixels at most: take dense_crf"
        )
    weights = jnp.asarray([kernels.appearance, kernels.smoothness], jnp.float32)
    sigmas = jnp.asarray([kernels.position_sigma, kernels.colour_sigma, kernels.smoothness_sigma], jnp.float32)
    return _exact(logits, image, weights, sigmas, normalisation, self_term, iterations)


def dense_crf(
    logits: Float[Array, "h w c"],
    lattice: Lattice,
    kernels: Kernels = Kernels(),
    *,
    normalisation: str = "symmetric",
    iterations: int = 10,
) -> Float[Array, "h w c"]:
    """`exact_dense_crf` with its self term, but with the appearance kernel through `appearance_lattice`'s lattice.

    For full-size images: time and memory grow with the number of pixels. The kernel's sums are off by some 10 %, which
    "none" feels; normalised messages by 0.005 of 1 in the mean. Pure and compiled; gradients reach logits and weights.
    The sigmas of the appearance kernel are those that the lattice was made with.
    Raises UserError for another normalisation and for a lattice of another size.
    """
    h, w, _ = logits.shape
    if len(lattice.vertices) != h * w:
        raise UserError(f"the lattice has {len(lattice.vertices)} pixels, logits {h}x{w}: make it from their image")
    _check(logits, (h, w), normalisation)
    weights = jnp.asarray([kernels.appearance, kernels.smoothness], jnp.float32)
    return _fast(logits, lattice, weights, jnp.float32(kernels.smoothness_sigma), normalisation, iterations)


def appearance_lattice(image: Float[Array | np.ndarray, "h w 3"], kernels: Kernels = Kernels()) -> Lattice:
    """The lattice of an image [0, 1] for `dense_crf`; NumPy, outside jit, once per image.

    Raises UserError where colour_sigma is so small that colours cannot be numbered.
    """
    h, w, _ = image.shape
    sigmas = [kernels.position_sigma, kernels.colour_sigma, kernels.smoothness_sigma]
    return permutohedral_lattice(_features(np.asarray(image, np.float32), sigmas, np).reshape(h * w, 5))


def _check(logits, size, normalisation):
    if logits.shape[:2] != size:
        here, there = ("x".join(map(str, shape)) for shape in (logits.shape[:2], size))
        raise UserError(f"logits are {here} and the image is {there}: resize one to the other")
    if normalisation not in NORMALISATIONS:
        raise UserError(f"normalisation is {normalisation!r}: use one of {', '.join(NORMALISATIONS)}")


def _features(image, sigmas, xp=jnp):
    """Coordinates in which the appearance kernel is exp(-|f_i - f_j|^2 / 2): y, x, red, green, blue [h, w, 5]."""
    h, w, _ = image.shape
    places = xp.stack(xp.meshgrid(xp.arange(h), xp.arange(w), indexing="ij"), axis=-1)
    return xp.concatenate([places / sigmas[0], 255 * image / sigmas[1]], axis=-1)


def _factors(sums, normalisation):
    """What a kernel with these sums is multiplied by (before, after) it is applied; 0 where it sums to nothing."""
    some = sums > 0
    part = jnp.where(some, jnp.where(some, sums, 1) ** (-0.5 if normalisation == "symmetric" else -1.0), 0)
    one = jnp.ones_like(sums)
    return (
        part if normalisation in ("before", "symmetric") else one,
        part if normalisation in ("after", "symmetric") else one,
    )


def _mean_field(logits, message: Callable, iterations):
    step = lambda _, q: jax.nn.softmax(logits + message(q))  # noqa: E731
    return lax.fori_loop(0, iterations, step, jax.nn.softmax(logits))


@functools.partial(jax.jit, static_argnums=(4, 5, 6))
def _exact(logits, image, weights, sigmas, normalisation, self_term, iterations):
    h, w, c = logits.shape
    features = _features(image, sigmas).reshape(h * w, 5)

    def kernel(columns):
        square = sum((x[:, None] - x[None]) ** 2 for x in columns)
        k = jnp.exp(-square / 2)
        return k if self_term else k * (1 - jnp.eye(h * w))

    def normalised(k):
        before, after = _factors(jnp.sum(k, axis=1), normalisation)
        return after[:, None] * k * before[None]

    smooth = features[:, :2].T * (sigmas[0] / sigmas[2])
    pairwise = weights[0] * normalised(kernel(features.T)) + weights[1] * normalised(kernel(smooth))
    message = lambda q: jnp.matmul(pairwise, q, precision="highest")  # noqa: E731
    return _mean_field(logits.reshape(h * w, c), message, iterations).reshape(h, w, c)


@functools.partial(jax.jit, static_argnums=(4, 5))
def _fast(logits, lattice, weights, smoothness_sigma, normalisation, iterations):
    h, w, _ = logits.shape

    def smooth(q):
        for size, sums in ((h, "ab,bwc->awc"), (w, "ab,hbc->hac")):
            places = jnp.arange(size) / smoothness_sigma
            along = jnp.exp(-((places[:, None] - places[None]) ** 2) / 2)
            q = jnp.einsum(sums, along, q, precision="highest")
        return q

    def alike(q):
        return lattice_sums(lattice, q.reshape(h * w, -1)).reshape(q.shape)

    def normalised(kernel):
        before, after = _factors(kernel(jnp.ones((h, w, 1))), normalisation)
        return lambda q: after * kernel(before * q)

    parts = list(zip(weights, map(normalised, (alike, smooth)), strict=True))
    return _mean_field(logits, lambda q: sum(weight * part(q) for weight, part in parts), iterations)
