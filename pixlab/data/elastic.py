"""Elastic deformation of one example: Ronneberger, Fischer & Brox, "U-Net", MICCAI 2015 (arXiv 1505.04597), section
3.1. Random displacements at a few nodes, smooth in between.

The paper says bicubic interpolation and no more; here the nodes lie evenly from edge to edge and the
interpolation is the cubic spline that mirrors at the outermost nodes.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Shaped

from pixlab.errors import UserError


def random_displacement(
    size: tuple[int, int], rng: np.random.Generator, *, deviation: float = 10.0, nodes: tuple[int, int] = (3, 3)
) -> Float[np.ndarray, "h w 2"]:
    """Displacements (rows, columns) of every pixel of `size` (h, w), interpolated between `nodes`, float64.

    Those of the nodes are normal, of standard deviation `deviation` pixels; the defaults are the paper's. Raises
    UserError for fewer than two nodes along an axis.
    """
    if min(nodes) < 2:
        raise UserError(f"{nodes[0]}x{nodes[1]} nodes: give at least 2 along each axis")
    return smooth(rng.normal(0, deviation, (*nodes, 2)), size)


def smooth(coarse: Float[np.ndarray, "n m 2"], size: tuple[int, int]) -> Float[np.ndarray, "h w 2"]:
    """The cubic spline through `coarse`, nodes of which the outermost are the outermost pixels, at every pixel."""
    rows, columns = (_spline(n, count) for n, count in zip(size, coarse.shape[:2], strict=True))
    return np.einsum("hn,wm,nmk->hwk", rows, columns, coarse, optimize=True)


def deform(image: Float[np.ndarray, "h w c"], displacement: Float[np.ndarray, "h w 2"]) -> Float[np.ndarray, "h w c"]:
    """The image whose pixel p is that at p + displacement(p), bilinear between pixels and mirrored at the borders (the
    outermost pixels come once), of the image's own type."""
    (y, x), (height, width) = _positions(displacement), image.shape[:2]
    top, left = np.minimum(y.astype(np.intp), height - 1), np.minimum(x.astype(np.intp), width - 1)
    bottom, right = np.minimum(top + 1, height - 1), np.minimum(left + 1, width - 1)
    down, across = ((at - cell).astype(image.dtype)[..., None] for at, cell in ((y, top), (x, left)))
    above = image[top, left] * (1 - across) + image[top, right] * across
    below = image[bottom, left] * (1 - across) + image[bottom, right] * across
    return above * (1 - down) + below * down


def deform_labels(
    labels: Shaped[np.ndarray, "h w c"], displacement: Float[np.ndarray, "h w 2"]
) -> Shaped[np.ndarray, "h w c"]:
    """The same of labels, weights or masks: each pixel is the nearest of the old ones, and nothing is blended."""
    rows, columns = (np.floor(at + 0.5).astype(np.intp) for at in _positions(displacement))
    return labels[rows, columns]


def _positions(displacement: np.ndarray) -> list[np.ndarray]:
    """Rows and columns of where pixels come from, mirrored into the image."""
    found = []
    for axis, size in enumerate(displacement.shape[:2]):
        at = np.expand_dims(np.arange(size), 1 - axis) + displacement[..., axis]
        turn = max(size - 1, 1)
        at = np.abs(at) % (2 * turn)
        found.append(np.minimum(at, 2 * turn - at) if size > 1 else np.zeros_like(at))
    return found


def _spline(size: int, nodes: int) -> np.ndarray:
    """[size, nodes] weights with which a cubic spline through `nodes` values is their sum at `size` pixels."""
    at_nodes = _cubic_basis(np.arange(nodes, dtype=float), nodes)
    return _cubic_basis(np.linspace(0, nodes - 1, size), nodes) @ np.linalg.inv(at_nodes)


def _cubic_basis(at: np.ndarray, nodes: int) -> np.ndarray:
    """[len(at), nodes] values of the cubic B-splines at the nodes, mirrored at both ends."""
    weights = np.zeros((len(at), nodes))
    for knot in range(-2, nodes + 2):
        t = np.abs(at - knot)
        value = np.where(t < 1, 2 / 3 - t**2 + t**3 / 2, np.maximum(2 - t, 0) ** 3 / 6)
        turned = abs(knot) % (2 * (nodes - 1))
        weights[:, min(turned, 2 * (nodes - 1) - turned)] += value
    return weights
