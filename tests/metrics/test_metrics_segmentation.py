"""Label scores against the worked examples and scikit-image's contingency table."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.metrics import contingency_table

from pixlab.errors import UserError
from pixlab.metrics.segmentation import class_iu, segmentation_metrics

TRUE = [0, 0, 0, 0, 1, 1, 1, 2, 2, 255]
PREDICTED = [0, 0, 1, 2, 1, 1, 0, 2, 0, 1]

jit = functools.cache(jax.jit)


def column(x):
    return jnp.asarray(x, jnp.int32).reshape(1, -1, 1)


def score(metric, *pairs):
    stats = [jit(metric.stats)({"label": column(p)}, {"label": column(g)}) for p, g in pairs]
    return metric.result(functools.reduce(metric.merge, (np.asarray(s, float) for s in stats)))


def test_worked_confusion():
    confusion = segmentation_metrics(4, ignore=255).stats({"label": column(PREDICTED)}, {"label": column(TRUE)})
    np.testing.assert_array_equal(confusion[:, :4], [[2, 1, 1, 0], [1, 2, 0, 0], [1, 0, 1, 0], [0, 0, 0, 0]])
    np.testing.assert_array_equal(confusion[:, 4], 0)


@pytest.mark.parametrize(
    ("absent", "mean_accuracy", "mean_iu"),
    [
        ("nanmean", 0.55555556, 0.38888889),
        ("zero", 0.55555556 * 3 / 4, 0.29166667),
        ("gt-present", 0.55555556, 0.38888889),
    ],
)
def test_worked_scores(absent, mean_accuracy, mean_iu):
    expected = {
        "pixel_accuracy": 0.55555556,
        "mean_accuracy": mean_accuracy,
        "mean_iu": mean_iu,
        "frequency_weighted_iu": 0.38888889,
    }
    metric = segmentation_metrics(4, ignore=255, absent=absent)
    assert score(metric, (PREDICTED, TRUE)) == pytest.approx(expected, abs=1e-8)
    in_two = score(metric, (PREDICTED[:3], TRUE[:3]), (PREDICTED[3:], TRUE[3:]))
    assert in_two == pytest.approx(expected, abs=1e-8)


@pytest.mark.parametrize(("absent", "mean_iu"), [("nanmean", 0.5), ("gt-present", 0.75), ("zero", 0.375)])
def test_class_that_is_predicted_but_never_true(absent, mean_iu):
    metric = segmentation_metrics(4, ignore=None, absent=absent)
    assert score(metric, ([0, 3, 1, 1], [0, 0, 1, 1]))["mean_iu"] == pytest.approx(mean_iu)


def test_each_class_has_its_iu_and_their_mean_is_the_mean_iu():
    # by hand: of class 0 2 pixels are right of 4 true and 2 more predicted, 2 of 4 of class 1, 1 of 3 of class 2
    scores = score(class_iu(["sky", "road", "car", "boat"], ignore=255), (PREDICTED, TRUE))
    assert scores == pytest.approx({"sky": 2 / 6, "road": 2 / 4, "car": 1 / 3})
    pairs = ([0, 3, 1, 1], [0, 0, 1, 1]), ([1, 3, 3, 0], [2, 2, 0, 0])  # 3 is predicted and never true
    scores = score(class_iu(["sky", "road", "car", "boat", "dog"], ignore=None), *pairs)
    assert list(scores) == ["sky", "road", "car", "boat"] and scores["boat"] == scores["car"] == 0
    assert np.mean(list(scores.values())) == pytest.approx(
        score(segmentation_metrics(5, ignore=None), *pairs)["mean_iu"]
    )
    assert score(class_iu(["void", "road", "car"]), ([1, 2, 2], [0, 1, 2])) == pytest.approx({"road": 0, "car": 1 / 2})
    assert score(class_iu(["void", "road"]), ([1], [0])) == {}


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**16))
def test_confusion_is_scikit_images(seed):
    true, predicted = np.random.default_rng(seed).integers(0, 5, (2, 60))
    table = contingency_table(true, predicted).toarray()
    counts = segmentation_metrics(5, ignore=None).stats({"label": column(predicted)}, {"label": column(true)})
    np.testing.assert_array_equal(counts[: table.shape[0], : table.shape[1]], table)
    assert float(counts.sum()) == 60


def test_ignored_label_is_no_class_but_predicting_it_is_wrong():
    # True 0 does not count; of the three others one is predicted as 0.
    scores = score(segmentation_metrics(3, ignore=0), ([1, 0, 1, 2], [0, 1, 1, 2]))
    assert scores["pixel_accuracy"] == pytest.approx(2 / 3)
    assert scores["mean_iu"] == pytest.approx((0.5 + 1) / 2)
    assert scores["mean_accuracy"] == pytest.approx((0.5 + 1) / 2)
    out_of_range = score(segmentation_metrics(3, ignore=0), ([1, 7, 1, 2], [0, 1, 1, 2]))
    assert out_of_range == pytest.approx(scores)


def test_logits_and_a_mask():
    logits = jnp.array([[3.0, 1, 0], [0, 2, 1], [0, 0, 9], [5, 0, 0]]).reshape(1, 4, 3)
    example = {"label": column([0, 1, 0, 1]), "known": jnp.array([1.0, 1, 0, 1]).reshape(1, 4, 1)}
    metric = segmentation_metrics(3, ignore=None, valid="known")
    scores = metric.result(np.asarray(metric.stats({"logits": logits}, example), float))
    assert scores["pixel_accuracy"] == pytest.approx(2 / 3)


def test_nothing_labelled_is_nan_and_unknown_names_say_what_to_use():
    scores = score(segmentation_metrics(3), ([1, 1], [0, 0]))
    assert len(scores) == 4
    assert all(np.isnan(v) for v in scores.values())
    with pytest.raises(UserError, match="gt-present"):
        segmentation_metrics(3, absent="mean")
