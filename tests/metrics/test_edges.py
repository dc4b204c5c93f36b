"""The boundary benchmark: curves worked by hand, tiny maps, and annotators of real photos against one another."""

import os
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.io
from PIL import Image
from scipy.ndimage import gaussian_gradient_magnitude

from pixlab.data.boundary_sets import read_boundaries
from pixlab.errors import UserError
from pixlab.metrics.edge_thinning import suppress_non_maxima
from pixlab.metrics.edges import best_counts, boundary_counts, boundary_metric, boundary_scores


def curve(*parts):
    """Counts at 99 thresholds of which each (how many, counts) of `parts` has some."""
    counts = np.concatenate([np.tile(np.float64(row), (n, 1)) for n, row in parts])
    assert counts.shape == (99, 4)
    return counts


def test_a_curve_of_two_points_by_hand():
    """Recall 1 at precision 0.5 up to threshold 0.5, then recall 0.5 at precision 1."""
    counts = curve((50, [20, 20, 20, 40]), (49, [10, 20, 10, 10]))
    scores = boundary_scores(counts, best_counts(counts))
    # between them recall + precision = 1.5; of 100 steps the 49th and the 50th come nearest to 0.75 each
    off = 0.5 * (0.5 - 49 / 99)
    assert scores["ods"] == pytest.approx(2 * (0.75**2 - off**2) / 1.5, abs=1e-12)
    assert abs(scores["ods_recall"] - 0.75) == pytest.approx(off)
    assert scores["ods_recall"] + scores["ods_precision"] == pytest.approx(1.5)
    assert abs(scores["ods_threshold"] - 0.505) == pytest.approx(0.01 * (0.5 - 49 / 99))
    assert scores["ois"] == pytest.approx(2 / 3)  # an image's best is not between thresholds
    # 51 recalls from 0.5 to 1, at which precision falls from 1 to 0.5: 51 * 0.75, divided by 100 rather than 101
    assert scores["ap"] == pytest.approx(0.3825)
    assert scores["r50"] == pytest.approx(1)


@pytest.mark.parametrize(("low", "high", "r50"), [(0.4, 0.8, 0.75), (0.6, 0.8, 0.8), (0.2, 0.4, 0.0)])
def test_recall_at_half_precision(low, high, r50):
    """Recall 0.8 at the low precision, 0.6 at the high one: a quarter of the way from 0.4 to 0.8 it is 0.75."""
    counts = curve((30, [80, 100, 100 * low, 100]), (69, [60, 100, 100 * high, 100]))
    assert boundary_scores(counts, best_counts(counts))["r50"] == pytest.approx(r50)


def test_each_picture_has_its_own_best_threshold():
    """One picture is perfect at low thresholds alone, the other at high ones alone."""
    empty, perfect, noisy = [0, 10, 0, 0], [10, 10, 10, 10], [10, 10, 10, 90]
    pictures = [curve((50, perfect), (49, empty)), curve((50, noisy), (49, perfect))]
    best = [best_counts(counts) for counts in pictures]
    scores = boundary_scores(sum(pictures), sum(best))
    assert scores["ois"] == 1
    # at low thresholds precision is 0.2; at high ones recall is 0.5; in between recall and precision are linear
    a = np.linspace(0, 1, 100)
    recall, precision = 1 - 0.5 * a, 0.2 + 0.8 * a
    assert scores["ods"] == pytest.approx(max(2 * recall * precision / (recall + precision)))


def test_counts_by_hand():
    """One annotator drew a line, another half of it and a point far away; the map has the line one pixel below, fainter
    to the right, and a false point."""
    truth = np.zeros((30, 40, 3))  # the third annotator has drawn nothing
    truth[10, 5:25, 0] = 1
    truth[10, 5:15, 1] = 1
    truth[25, 35, 1] = 1
    edges = np.zeros((30, 40))
    edges[11, 5:15], edges[11, 15:25], edges[2, 38] = 0.9, 0.5, 0.3
    counts = boundary_counts(edges, truth, tolerance=1.5 / 50)
    low, middle, high, none = (counts[round(100 * t) - 1] for t in (0.3, 0.4, 0.9, 0.95))
    np.testing.assert_array_equal(low, [30, 31, 20, 21])
    np.testing.assert_array_equal(middle, [30, 31, 20, 20])
    # of the longer line the point beyond the end of the short edge may take none: pairs are one to one
    np.testing.assert_array_equal(high, [20, 31, 10, 10])
    np.testing.assert_array_equal(none, [0, 31, 0, 0])
    assert boundary_counts(edges, truth, tolerance=0.5 / 50)[0, 0] == 0


def test_fewer_thresholds_are_some_of_them():
    rng = np.random.default_rng(0)
    edges, truth = rng.random((20, 30)), rng.random((20, 30, 2)) < 0.1
    few, all_ = (boundary_counts(edges, truth, thresholds=n) for n in (9, 99))
    np.testing.assert_array_equal(few, all_[9::10])
    assert boundary_scores(curve((99, [1, 2, 1, 1]))[:9], few[0])["ods_threshold"] == pytest.approx(0.1)


def test_an_edge_may_be_any_annotators():
    """Two annotators drew two lines: each finds half of the edges, together all are precise, and half is recalled."""
    edges = np.zeros((30, 30))
    edges[5, 5:25] = edges[20, 5:25] = 1.0
    truth = np.stack([np.float64(edges * (np.arange(30) < 12)[:, None]), edges * (np.arange(30) > 12)[:, None]], -1)
    np.testing.assert_array_equal(boundary_counts(edges, truth), np.tile([40, 40, 40, 40], (99, 1)))
    np.testing.assert_array_equal(boundary_counts(edges, truth[..., :1])[0], [20, 20, 20, 40])


def test_thick_edges_are_thinned():
    edges, truth = np.zeros((30, 40)), np.zeros((30, 40, 1))
    edges[9:12, 4:36], truth[10, 4:36] = 0.8, 1
    thinned, thick = (boundary_counts(edges, truth, thin=thin)[0] for thin in (True, False))
    assert thinned[3] == thinned[2] <= 32 and thick[3] == 96 and thick[2] == 32


def test_what_the_truth_says_scores_one_and_nothing_scores_nothing():
    truth = np.zeros((40, 40, 2))
    truth[10, 5:30] = truth[11:35, 30] = 1
    counts = boundary_counts(truth[..., 0], truth)
    scores = boundary_scores(counts, best_counts(counts))
    assert (scores["ods"], scores["ois"], scores["r50"]) == (1, 1, 1)
    assert scores["ap"] == 0  # the toolbox's: one recall is no curve
    nothing = boundary_counts(np.zeros((40, 40)), truth)
    assert boundary_scores(nothing, best_counts(nothing))["ods"] == 0
    assert boundary_counts(truth[..., 0], truth * 0)[0].tolist() == [0, 0, 0, 49]


def test_the_metric_is_the_sum_over_pictures():
    rng = np.random.default_rng(0)
    truth = np.zeros((2, 40, 48, 2), np.float32)
    truth[0, 12:30, 20], truth[1, 20, 10:40, 0] = 1, 1
    edges = np.float32(np.clip(0.7 * truth[..., :1] + 0.3 * rng.random((2, 40, 48, 1)), 0, 1))
    metric = boundary_metric()
    stats = jax.jit(jax.vmap(metric.stats))({"edge": jnp.asarray(edges)}, {"boundaries": jnp.asarray(truth)})
    one, two = (jax.tree.map(lambda x, k=k: np.asarray(x[k], np.float64), stats) for k in (0, 1))
    found = metric.result(metric.merge(one, two))
    counts = [boundary_counts(suppress_non_maxima(e[..., 0]), t) for e, t in zip(edges, truth, strict=True)]
    assert found == pytest.approx(boundary_scores(sum(counts), sum(map(best_counts, counts))))
    assert found["ods"] > 0.8


def test_sizes_that_differ_say_what_to_do():
    with pytest.raises(UserError, match="truth's size"):
        boundary_counts(np.zeros((4, 5)), np.zeros((5, 4, 1)))
    with pytest.raises(UserError, match="truth's size"):
        boundary_metric().stats({"edge": jnp.zeros((4, 5, 1))}, {"boundaries": jnp.zeros((5, 4, 1))})


@pytest.fixture(scope="module")
def bear(real_data):
    """The middle of a photo of BSDS500: grey [h, w], and its annotators' boundaries [h, w, n]."""
    folder = real_data / "bsds500" / "test"
    if not folder.is_dir():
        pytest.skip("needs the photos of BSDS500 among the real benchmark images")
    at = slice(120, 220), slice(85, 255)
    grey = np.asarray(Image.open(folder / "100007.webp").convert("L"), float)[at] / 255
    bits = np.asarray(Image.open(folder / "100007_gt.png")).astype(int)[at]
    return grey, np.stack([bits >> k & 1 for k in range(5)], -1)


def test_annotators_agree_with_one_another(bear):
    """People reach an F of about 0.8 against others; the same lines turned upside down do not."""
    _, truth = bear
    for k in range(5):
        others = np.delete(truth, k, 2)
        right, turned = (
            boundary_scores(counts, best_counts(counts))["ods"]
            for counts in (boundary_counts(np.float64(t[..., k]), others) for t in (truth, truth[::-1]))
        )
        assert 0.6 < right <= 1 and turned < 0.5 * right


def test_differences_of_grey_find_some_boundaries(bear):
    grey, truth = bear
    gradient = gaussian_gradient_magnitude(grey, 2)
    gradient = np.clip(gradient / np.quantile(gradient, 0.99), 0, 1)
    noise = np.random.default_rng(0).permuted(gradient.ravel()).reshape(gradient.shape)
    score, chance = (
        boundary_scores(c, best_counts(c))
        for c in (boundary_counts(suppress_non_maxima(e), truth) for e in (gradient, noise))
    )
    assert score["ods"] > chance["ods"] + 0.2 and score["ap"] > chance["ap"] + 0.2
    assert score["ods_precision"] <= 1 and score["ois"] == pytest.approx(score["ods"], abs=0.02)


def test_the_figures_of_the_benchmarks_own_program():
    """Its five sample maps at five thresholds; its pairing is approximate, ours exact."""
    folder = pathlib.Path(os.environ.get("PIXLAB_BSDS", "")) / "bench" / "data"
    if not (folder / "test_2").is_dir():
        pytest.skip("PIXLAB_BSDS does not name a copy of BSDS500 with its folder bench")
    pooled, best, each = np.zeros((5, 4)), np.zeros(4), []
    for path in sorted((folder / "png").glob("*.png")):
        edges = np.asarray(Image.open(path), np.float64) / 255
        truth = read_boundaries((folder / "groundTruth" / f"{path.stem}.mat").read_bytes(), path.stem)
        counts = boundary_counts(edges, truth, thresholds=5)
        own = best_counts(counts)
        pooled, best, each = pooled + counts, best + own, [*each, (own[0] / own[1], own[2] / own[3])]
    theirs = {name: np.loadtxt(folder / "test_2" / f"eval_bdry{name}.txt") for name in ("", "_img", "_thr")}
    np.testing.assert_allclose(each, theirs["_img"][:, 2:4], atol=0.0015)
    recall, precision = pooled[:, 0] / pooled[:, 1], pooled[:, 2] / pooled[:, 3]
    np.testing.assert_allclose(np.stack([recall, precision], 1), theirs["_thr"][:, 1:3], atol=0.001)
    scores = boundary_scores(pooled, best)
    found = [scores[name] for name in ("ods_recall", "ods_precision", "ods", "ois", "ap")]
    np.testing.assert_allclose(found, theirs[""][[1, 2, 3, 6, 7]], atol=0.001)


def test_the_figures_of_gpb_owt_ucm_on_all_test_pictures():
    """Recall and precision at 0.1 ... 0.9, which take minutes, beside those that come with the maps."""
    folder = pathlib.Path(os.environ.get("PIXLAB_BSDS", "")) / "BSDS500"
    if not (folder / "ucm2" / "test_eval").is_dir():
        pytest.skip("PIXLAB_BSDS does not name a copy of BSDS500 with its folder BSDS500/ucm2")
    pooled, maps = np.zeros((9, 4)), sorted((folder / "ucm2" / "test").glob("*.mat"))
    for path in maps:
        truth = (folder / "data" / "groundTruth" / "test" / path.name).read_bytes()
        edges = scipy.io.loadmat(path)["ucm2"][2::2, 2::2].astype(np.float64)
        pooled += boundary_counts(edges, read_boundaries(truth, path.stem), thresholds=9)
    theirs = np.loadtxt(folder / "ucm2" / "test_eval" / "eval_bdry_thr.txt")[9:99:10]
    np.testing.assert_allclose(theirs[:, 0], np.arange(1, 10) / 10)
    found = np.stack([pooled[:, 0] / pooled[:, 1], pooled[:, 2] / pooled[:, 3]], axis=1)
    assert len(maps) == 200
    np.testing.assert_allclose(found, theirs[:, 1:3], atol=0.0005)
