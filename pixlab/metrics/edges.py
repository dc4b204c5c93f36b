"""The Berkeley boundary benchmark: Arbeláez, Maire, Fowlkes & Malik, "Contour Detection and Hierarchical Image
Segmentation", TPAMI 2011, as the toolbox of Dollár & Zitnick (edgesEvalImg, edgesEvalDir) computes it.

A soft map is suppressed to its ridges (`edge_thinning`), cut at 99 thresholds, thinned, and its pixels are paired with
each annotator's (`edge_matching`). Recall asks for every annotator's boundaries; an edge is precise if any annotator
drew it. What differs from the toolbox: maps are not rounded to 8 bits on the way (round them before to do so), and the
pairing is exact. Fewer thresholds take less time and change scores little. Recall and precision of the maps that come
with the benchmark are those that its own program found: to 0.001 on its five samples, to 0.0004 on gPb-owt-ucm's of all
200 test pictures (PIXLAB_BSDS=BSDS500 pytest tests/metrics/test_edges.py, of a copy with bench/ and BSDS500/ucm2/).
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Float64, Shaped

from pixlab.core import Batch, Metric, Tree
from pixlab.errors import UserError
from pixlab.metrics.edge_matching import match_edges
from pixlab.metrics.edge_thinning import suppress_non_maxima, thin_lines
from pixlab.metrics.host import host_metric

THRESHOLDS = 99
BSDS, NYU = 0.0075, 0.011  # tolerance of each data set, in diagonals of the picture
_EPS = np.finfo(np.float64).eps


def boundary_counts(
    edges: Float[np.ndarray, "h w"],
    truth: Shaped[np.ndarray, "h2 w2 n"],
    *,
    tolerance: float = BSDS,
    thin: bool = True,
    thresholds: int = THRESHOLDS,
) -> Float64[np.ndarray, "t 4"]:
    """What one picture adds at each of `thresholds`, 0.01 ... 0.99: pixels of the truth that are found, pixels of the
    truth, edges that are true, edges.

    edges [h, w] in [0, 1] is a map after non-maximum suppression; truth [h, w, n] is not 0 on the boundaries of n
    annotators, lines of one pixel. The first two numbers are sums over annotators; an annotator without a boundary adds
    nothing, so that pictures can be padded to the same n. Pairs are at most `tolerance` times the picture's diagonal
    apart. Without `thin`, what is above a threshold is not thinned. Raises UserError for maps of different sizes.
    """
    _one_size(edges, truth)
    distance = tolerance * float(np.hypot(*edges.shape))
    annotators = [a for a in np.moveaxis(truth != 0, -1, 0) if a.any()]
    counts, before = np.zeros((thresholds, 4)), None
    for k, threshold in enumerate(_levels(thresholds)):
        found = edges >= threshold
        if thin:
            found = thin_lines(found)
        if before is not None and np.array_equal(found, before):
            counts[k] = counts[k - 1]
            continue
        pairs = [match_edges(found, annotator, distance) for annotator in annotators]
        counts[k] = (
            sum(true.sum() for _, true in pairs),
            sum(annotator.sum() for annotator in annotators),
            np.any([edge for edge, _ in pairs], axis=0).sum() if pairs else 0,
            found.sum(),
        )
        before = found
    return counts


def best_counts(counts: Float64[np.ndarray, "t 4"]) -> Float64[np.ndarray, " 4"]:
    """The counts at the picture's own best threshold: what it adds to OIS. Of several the lowest threshold."""
    return counts[np.argmax(_scores(counts)[2])]


def boundary_scores(pooled: Float[np.ndarray, "t 4"], best: Float[np.ndarray, " 4"]) -> dict[str, float]:
    """Scores of the sums over pictures of `boundary_counts` and of `best_counts`, as fractions.

    "ods": F at the best threshold for all, points between two thresholds included (recall and precision linear in 100
    steps), with "ods_precision", "ods_recall" and "ods_threshold"; "ois": F of the counts at each picture's best;
    "ap": precision at recalls 0, 0.01, ..., 1 that occur, summed and divided by 100 as the toolbox does (101 would be
    right), 0 for a curve of one point; "r50": recall at precision 0.5, or at the least precision if it is higher, 0 if
    it is never so high (the toolbox has NaN). Of points of equal recall the lowest threshold counts.
    """
    recall, precision, _ = _scores(pooled)
    step = np.linspace(0, 1, 100)[None]
    lines = [x[1:, None] * step + x[:-1, None] * (1 - step) for x in (recall, precision, _levels(len(pooled)))]
    between = _f(lines[0], lines[1])
    at = np.unravel_index(np.argmax(between), between.shape)
    order = np.unique(recall, return_index=True)[1]
    recall, precision = recall[order], precision[order]
    ap = 0.0
    if len(recall) > 1:
        ap = np.nansum(np.interp(np.arange(101) / 100, recall, precision, left=np.nan, right=np.nan)) / 100
    levels, first = np.unique(precision[::-1], return_index=True)
    r50 = np.interp(max(levels[0], 0.5), levels, recall[::-1][first], right=0.0)
    named = {
        "ods": between[at],
        "ods_precision": lines[1][at],
        "ods_recall": lines[0][at],
        "ods_threshold": lines[2][at],
        "ois": _scores(best[None])[2][0],
        "ap": ap,
        "r50": r50,
    }
    return {name: float(value) for name, value in named.items()}


def boundary_metric(
    *, tolerance: float = BSDS, suppress: bool = True, edge: str = "edge", thresholds: int = THRESHOLDS
) -> Metric:
    """`boundary_scores` of prediction[edge] [h, w, 1] in [0, 1] against example["boundaries"] [h, w, n], not 0 where
    annotator n drew a boundary.

    With `suppress` the map goes through `suppress_non_maxima` before. It is computed on the host, in ten seconds and
    more for a picture of 481x321 pixels at 99 thresholds. Raises UserError for maps of different sizes.
    """

    def given(prediction: Batch, example: Batch) -> Tree:
        maps = {"edges": prediction[edge][..., 0], "truth": example["boundaries"]}
        _one_size(*maps.values())
        return maps

    def score(maps: Tree) -> Tree:
        edges = np.asarray(maps["edges"], np.float64)
        thin = suppress_non_maxima(edges) if suppress else edges
        counts = boundary_counts(thin, np.asarray(maps["truth"]), tolerance=tolerance, thresholds=thresholds)
        return {"pooled": counts, "best": best_counts(counts)}

    return host_metric(given, score, lambda total: boundary_scores(total["pooled"], total["best"]))


def _levels(thresholds):
    """MATLAB's linspace, as its rounding decides whether pixels of 8-bit maps that are just as high are found."""
    first, last = 1 / (thresholds + 1), 1 - 1 / (thresholds + 1)
    return first + np.arange(thresholds) * (last - first) / max(1, thresholds - 1)


def _one_size(edges, truth):
    if edges.shape != truth.shape[:2]:
        raise UserError(f"edges of {edges.shape} and a truth of {truth.shape[:2]} pixels: score at the truth's size")


def _f(recall, precision):
    return 2 * precision * recall / np.maximum(_EPS, precision + recall)


def _scores(counts):
    """Recall, precision and their F of counts [t, 4]."""
    recalled, true, precise, found = counts.T
    recall, precision = recalled / np.maximum(_EPS, true), precise / np.maximum(_EPS, found)
    return recall, precision, _f(recall, precision)
