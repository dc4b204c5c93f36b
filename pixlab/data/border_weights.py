"""Per-pixel weights that make a network learn the thin borders between cells: Ronneberger, Fischer & Brox, "U-Net",
MICCAI 2015 (arXiv 1505.04597), equation 2. Made once per label image, before training.

Distances are to the nearest pixel of a cell. Only background gets the border term: borders are what it is for; the
paper's formula does not say.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import ndimage

from pixlab.errors import UserError

FAR = 6  # sigmas from which a second cell adds less than 2e-8 of w0


def components(inside: Bool[np.ndarray, "h w 1"]) -> Int[np.ndarray, "h w 1"]:
    """Cells by number, 1, 2, ..., of a mask that is true in them; 0 elsewhere. Pixels that share a side are one cell,
    those that share a corner are not, so that a border one pixel thin separates."""
    return ndimage.label(inside[..., 0])[0].astype(np.int32)[..., None]


def separate(cells: Int[np.ndarray, "h w 1"]) -> Int[np.ndarray, "h w 1"]:
    """The cells without their pixels that have another cell among the eight around them, so that background parts all.

    The paper makes such borders between touching cells by morphological operations that it does not name.
    """
    numbers = cells[..., 0]
    largest = ndimage.maximum_filter(numbers, 3, mode="nearest")
    smallest = ndimage.minimum_filter(np.where(numbers > 0, numbers, numbers.max()), 3, mode="nearest")
    return np.where((numbers > 0) & (largest != smallest), 0, numbers).astype(cells.dtype)[..., None]


def border_weights(
    cells: Int[np.ndarray, "h w 1"], *, w0: float = 10.0, sigma: float = 5.0, class_weights: Sequence[float] = (1, 1)
) -> Float[np.ndarray, "h w 1"]:
    """w_c + w0 exp(-(d1 + d2)^2 / (2 sigma^2)), float32, of cells by number (0 is background, see `components`).

    Cells that touch have no background between them, so no border to weigh: `separate` them first.
    d1 and d2 are `two_distances` in pixels, the second term is 0 within cells. `class_weights` are w_c of background
    and cells; the paper balances how often the two occur in the training set, as `median_frequency_weights` can.
    Raises UserError unless there are two class weights and `sigma` is above 0.
    """
    if len(class_weights) != 2 or sigma <= 0:
        raise UserError(
            f"class weights {class_weights}, sigma {sigma}: give one of background, one of cells, and a sigma above 0"
        )
    background = cells <= 0
    balance = np.where(background, *class_weights)
    near, second = two_distances(cells, within=FAR * sigma)
    return (balance + background * border_term(near, second, w0=w0, sigma=sigma)).astype(np.float32)


def border_term(d1: np.ndarray, d2: np.ndarray, *, w0: float = 10.0, sigma: float = 5.0) -> np.ndarray:
    """w0 exp(-(d1 + d2)^2 / (2 sigma^2)), all in pixels."""
    return w0 * np.exp(-((d1 + d2) ** 2) / (2 * sigma**2))


def two_distances(
    cells: Int[np.ndarray, "h w 1"], *, within: float = np.inf
) -> tuple[Float[np.ndarray, "h w 1"], Float[np.ndarray, "h w 1"]]:
    """Distances in pixels to the nearest and to the second nearest cell; 0 in a cell itself.

    Infinite where there is no such cell, and where it lies beyond `within` (it may be found all the same). Numbers of
    cells need not follow each other; negative ones are no cells.
    """
    labels = np.maximum(cells[..., 0], 0)
    first, second = np.full((2, *labels.shape), np.inf)
    margin = int(np.ceil(min(within, max(labels.shape))))
    numbers = np.unique(labels[labels > 0])
    ranks = np.where(labels > 0, np.searchsorted(numbers, labels) + 1, 0)
    for rank, (rows, columns) in enumerate(ndimage.find_objects(ranks), 1):
        around = (
            slice(max(0, rows.start - margin), rows.stop + margin),
            slice(max(0, columns.start - margin), columns.stop + margin),
        )
        distance = ndimage.distance_transform_edt(ranks[around] != rank)
        second[around] = np.minimum(second[around], np.maximum(first[around], distance))
        first[around] = np.minimum(first[around], distance)
    return first[..., None], second[..., None]
