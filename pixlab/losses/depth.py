"""Losses on depth maps. Masks are 0 or 1; with nothing valid every loss is 0 with a zero gradient."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from pixlab.errors import UserError


def log_target(depth: Float[Array, "b h w 1"], valid: Float[Array, "b h w 1"]) -> Float[Array, "b h w 1"]:
    """Natural logarithm of a depth in metres; 0 where `valid` is 0, so that missing depth gives no infinity."""
    return jnp.log(jnp.where(valid > 0, depth, 1.0))


def scale_invariant_loss(
    log_depth: Float[Array, "b h w 1"],
    target: Float[Array, "b h w 1"],
    valid: Float[Array, "b h w 1"],
    *,
    lam: float = 0.5,
    pooling: str = "image",
) -> Float[Array, ""]:
    """Scale-invariant error of log-depths, d = log_depth - target: mean of d^2 less `lam` times the squared mean of d.

    `target` is log-depth too (see `log_target`), ignored where `valid` is 0; `lam` 0 is the plain squared error and 1
    does not see a global scale. With n_b valid pixels in image b, `pooling` is
    "image": mean over images (those with a valid pixel) of sum(d^2) / n_b - lam sum(d)^2 / n_b^2, as the paper has it;
    "batch": (sum_b n_b sum(d^2) - lam sum_b sum(d)^2) / sum_b n_b^2, as the authors' release has it: the same per-image
    values weighted by n_b^2. The two agree when all images have equally many valid pixels.
    Raises UserError for another `pooling`.
    Eigen, Puhrsch & Fergus, NIPS 2014 (arXiv 1406.2283), eq. 4.
    """
    return _scale_invariant(_difference(log_depth, target, valid), valid, lam, pooling)


def eigen_fergus_loss(
    log_depth: Float[Array, "b h w 1"],
    target: Float[Array, "b h w 1"],
    valid: Float[Array, "b h w 1"],
    *,
    lam: float = 0.5,
    pooling: str = "image",
    gradient_norm: str = "pixels",
) -> Float[Array, ""]:
    """`scale_invariant_loss` plus the squared first differences of d = log_depth - target along x and y.

    Differences are forward, one pixel apart, and count only where both pixels are valid. `gradient_norm` is
    "pixels": per image (sum dx^2 + sum dy^2) / n with n its valid pixels, mean over images, as the paper has it;
    "pairs": sum dx^2 and sum dy^2 over the batch, each divided by its own number of valid pairs, as the authors'
    release has it. Raises UserError for another `pooling` or `gradient_norm`.
    Eigen & Fergus, ICCV 2015 (arXiv 1411.4734), section 4.1.
    """
    d = _difference(log_depth, target, valid)
    loss = _scale_invariant(d, valid, lam, pooling)
    across = valid[:, :, 1:] * valid[:, :, :-1]
    down = valid[:, 1:] * valid[:, :-1]
    dx = (across * (d[:, :, 1:] - d[:, :, :-1])) ** 2
    dy = (down * (d[:, 1:] - d[:, :-1])) ** 2
    match gradient_norm:
        case "pixels":
            count = _per_image(valid)
            each = (_per_image(dx) + _per_image(dy)) / jnp.maximum(count, 1.0)
            return loss + jnp.sum(each) / _images(count)
        case "pairs":
            return loss + _mean(dx, across) + _mean(dy, down)
    raise UserError(f"gradient_norm is {gradient_norm!r}: use 'pixels' or 'pairs'")


def l1_loss(
    prediction: Float[Array, "b h w c"], target: Float[Array, "b h w c"], valid: Float[Array, "b h w 1"]
) -> Float[Array, ""]:
    """Mean absolute difference over the valid pixels of the batch (and over channels), in the maps' own unit."""
    return _mean(jnp.abs(_difference(prediction, target, valid)), valid)


def l2_loss(
    prediction: Float[Array, "b h w c"], target: Float[Array, "b h w c"], valid: Float[Array, "b h w 1"]
) -> Float[Array, ""]:
    """Mean squared difference over the valid pixels of the batch (and over channels), in the maps' own unit squared."""
    return _mean(_difference(prediction, target, valid) ** 2, valid)


def berhu_loss(
    prediction: Float[Array, "b h w c"],
    target: Float[Array, "b h w c"],
    valid: Float[Array, "b h w 1"],
    *,
    fraction: float = 0.2,
) -> Float[Array, ""]:
    """Reverse Huber loss: |e| up to a threshold c and (e^2 + c^2) / 2c beyond it, mean over valid pixels of the batch.

    c is `fraction` of the largest valid |e| of the batch and counts as a constant in the gradient.
    Laina et al., 3DV 2016 (arXiv 1606.00373), eq. 1.
    """
    error = jnp.abs(_difference(prediction, target, valid))
    c = jax.lax.stop_gradient(fraction * jnp.max(error))
    safe = jnp.where(c > 0, c, 1.0)
    return _mean(jnp.where(error <= c, error, (error**2 + c**2) / (2 * safe)), valid)


def _difference(prediction, target, valid):
    return jnp.where(valid > 0, prediction - target, 0.0)  # `where`, as missing targets may be infinite


def _per_image(x):
    return jnp.sum(x, axis=(1, 2, 3))


def _images(count):
    return jnp.maximum(jnp.sum(count > 0), 1)


def _mean(x, valid):
    return jnp.sum(x) / (x.shape[-1] * jnp.maximum(jnp.sum(valid), 1.0))


def _scale_invariant(d, valid, lam, pooling):
    count, total, squares = _per_image(valid), _per_image(d), _per_image(d**2)
    match pooling:
        case "image":
            n = jnp.maximum(count, 1.0)
            return jnp.sum(squares / n - lam * (total / n) ** 2) / _images(count)
        case "batch":
            return jnp.sum(count * squares - lam * total**2) / jnp.maximum(jnp.sum(count**2), 1.0)
    raise UserError(f"pooling is {pooling!r}: use 'image' or 'batch'")
