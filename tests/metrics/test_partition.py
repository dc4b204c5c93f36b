"""Partitions against loops over pairs of pixels, scikit-image, and by hand; the real membranes against themselves."""

import itertools

import numpy as np
import pytest
import skimage.metrics
from PIL import Image
from scipy.ndimage import gaussian_filter

from pixlab.errors import UserError
from pixlab.metrics.partition import (
    adapted_rand_error,
    isbi_rand_error,
    overlap,
    pixel_error,
    rand_error,
    v_rand,
    variation_of_information,
)


def row(*labels):
    return np.array([labels])


@pytest.mark.parametrize("seed", range(6))
def test_pairs_one_by_one(seed):
    truth, prediction = np.random.default_rng(seed).integers(0, 4, (2, 5, 6))
    pixels = [(t, p) for t, p in zip(truth.ravel(), prediction.ravel(), strict=True) if t]
    different = [(a[0] == b[0]) != (a[1] == b[1]) for a, b in itertools.combinations(pixels, 2)]
    assert rand_error(truth, prediction) == pytest.approx(np.mean(different))
    together = np.array([(a[0] == b[0], a[1] == b[1]) for a, b in itertools.product(pixels, pixels)])
    both, true, found = together.all(1).sum(), *together.sum(0)
    assert v_rand(truth, prediction) == pytest.approx((2 * both / (true + found), both / true, both / found))


@pytest.mark.parametrize("seed", range(4))
def test_scikit_images(seed):
    """Without pairs of a pixel with itself, scikit-image's precision and recall are those of these counts."""
    rng = np.random.default_rng(seed)
    truth, prediction = (np.floor(6 * gaussian_filter(rng.random((60, 70)), 2) * 3).astype(int) % 5 for _ in range(2))
    # what it calls precision divides by the truth's pairs, its first image's
    error, split, merge = skimage.metrics.adapted_rand_error(truth, prediction, ignore_labels=(0,))
    table, n = overlap(truth, prediction), np.count_nonzero(truth)
    both, true, found = (float((np.asarray(x) ** 2).sum()) - n for x in (table.data, table.sum(1), table.sum(0)))
    assert (error, split, merge) == pytest.approx((1 - 2 * both / (true + found), both / true, both / found))
    assert (1 - error, split, merge) == pytest.approx(v_rand(truth, prediction), abs=2e-3)  # of 4000 pixels
    there = truth != 0
    expected = skimage.metrics.variation_of_information(truth[there], prediction[there])
    assert variation_of_information(truth, prediction) == pytest.approx(tuple(expected))


def test_split_and_merge_by_hand():
    """One segment of four pixels, two of them in each half; then the other way round."""
    one, two = row(1, 1, 1, 1), row(1, 1, 2, 2)
    assert v_rand(one, two) == pytest.approx((2 / 3, 0.5, 1))
    assert v_rand(two, one) == pytest.approx((2 / 3, 1, 0.5))
    assert variation_of_information(one, two) == pytest.approx((1, 0))
    assert variation_of_information(two, one) == pytest.approx((0, 1))
    assert rand_error(one, two) == rand_error(two, one) == pytest.approx(4 / 6)
    assert adapted_rand_error(one, two) == pytest.approx(1 / 3)


def test_pixels_with_themselves_count():
    """Truth 1 1 2, prediction 1 2 2: no pair of different pixels is together in both; 3 pixels are with themselves."""
    truth, prediction = row(1, 1, 2), row(1, 2, 2)
    assert adapted_rand_error(truth, prediction) == pytest.approx(1 - 2 * 3 / (5 + 5))
    assert skimage.metrics.adapted_rand_error(truth, prediction, ignore_labels=(0,))[0] == 1
    assert rand_error(truth, prediction) == pytest.approx(2 / 3)


def test_background_of_the_truth_does_not_count_and_names_do_not_matter():
    truth = row(0, 0, 3, 3, 9, 9)
    assert v_rand(truth, row(1, 2, 0, 0, 7, 7)) == (1, 1, 1)
    assert rand_error(truth, row(5, 6, 2, 2, 0, 0)) == 0
    assert sum(variation_of_information(truth, row(1, 2, 8, 8, 4, 4))) == pytest.approx(0, abs=1e-12)
    assert overlap(truth, row(5, 5, 2, 1, 1, 1)).toarray().tolist() == [[1, 1], [2, 0]]


def test_best_threshold_of_membranes_by_hand():
    """Two cells of three pixels. Up to 0.3 they are one part; then two, until a cell falls apart above 0.6."""
    truth = np.array([[1, 1, 1, 0, 1, 1, 1]])
    interior = np.array([[0.9, 0.6, 0.9, 0.3, 0.9, 0.9, 0.9]])
    assert isbi_rand_error(truth, interior) == 0
    # at 0.2: one segment of six, two true ones of three: 2 (9 + 9) / (36 + 9 + 9)
    assert isbi_rand_error(truth, interior, thresholds=[0.2]) == pytest.approx(1 - 36 / 54)
    # at 0.7: parts of 1, 1 and 3, and a pixel that is predicted to be membrane
    assert isbi_rand_error(truth, interior, thresholds=[0.7]) == pytest.approx(1 - 24 / (18 + 12))
    interior[0, :2] = 0.6  # two such pixels, which are no segment: each is alone as before
    assert isbi_rand_error(truth, interior, thresholds=[0.7]) == pytest.approx(1 - 24 / 30)
    interior[0, 0] = 0.9
    assert isbi_rand_error(truth, interior, thresholds=[0.2, 0.7]) == pytest.approx(1 - 24 / 30)
    assert pixel_error(truth, interior) == 0
    assert pixel_error(truth, interior, 0.7) == pytest.approx(1 / 7)
    assert pixel_error(truth, interior, 0.2) == pytest.approx(1 / 7)


def test_diagonal_neighbours_join_only_when_asked():
    truth = np.eye(4, dtype=int)
    assert isbi_rand_error(truth, np.eye(4)) == 0
    whole = np.ones((4, 4))  # one part: four segments of one pixel are merged, or the one segment is right
    assert isbi_rand_error(truth, whole) == pytest.approx(1 - 8 / 20)
    assert isbi_rand_error(truth, whole, diagonal=True) == 0


def test_mistakes_say_what_to_do():
    with pytest.raises(UserError, match="of one size"):
        rand_error(row(1, 2), row(1, 2, 3))
    with pytest.raises(UserError, match="at least one segment"):
        v_rand(row(0, 0), row(1, 2))
    with pytest.raises(UserError, match="at least one"):
        isbi_rand_error(row(1, 1), np.ones((1, 2)), thresholds=[])


def test_real_membranes(real_data):
    """A blurred truth is scored well at its best threshold, better than at one half, and far better than grey is."""
    folder = real_data / "isbi2012_membrane" / "train"
    if not folder.is_dir():
        pytest.skip("needs the membranes of ISBI 2012 among the real benchmark images")
    truth, grey = (np.asarray(Image.open(folder / name))[:200, :200] for name in ("00_label.png", "00.jpg"))
    truth, some = (truth > 0).astype(int), list(np.arange(1, 20) / 20)
    blurred = gaussian_filter(np.float64(truth), 1.5)
    error, half, of_grey, itself = (
        isbi_rand_error(truth, p, thresholds=t)
        for p, t in ((blurred, some), (blurred, [0.5]), (grey / 255, some), (np.float64(truth), [0.5]))
    )
    assert itself == 0 and error <= half
    assert error < 0.1 < of_grey
    assert pixel_error(truth, blurred) < 0.1
