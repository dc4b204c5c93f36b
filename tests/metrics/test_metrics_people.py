"""Joints of several people, by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pixlab.metrics.people import people_found

JOINTS = ("nose", "left_wrist", "right_wrist")
METRIC = people_found(JOINTS, 20)


def picture(truths, predictions, *, sizes=None, known=None, values=None):
    """The statistics of one picture; people are padded to 3 and predictions to 4."""

    def pad(x, n):
        x = np.asarray(x, np.float32)
        return jnp.asarray(np.concatenate([x, np.zeros((n - len(x), *x.shape[1:]), np.float32)]))

    truths, predictions = (np.reshape(x, (-1, 3, 2)) for x in (truths, predictions))
    known = np.ones(truths.shape[:2]) if known is None else known
    values = np.ones(predictions.shape[:2]) if values is None else values
    sizes = np.full(len(truths), 10.0) if sizes is None else sizes
    prediction = {"joints": pad(predictions, 4), "value": pad(values, 4)}
    example = {"joints": pad(truths, 3), "known": pad(known, 3), "size": pad(sizes, 3)}
    return jax.jit(METRIC.stats)(prediction, example)


def scores(*pictures):
    return METRIC.result(jax.tree.map(lambda *x: np.sum(np.float64(x), 0), *pictures))


A = np.float32([[0, 0], [10, 0], [20, 0]])
B = A + np.float32([100, 0])


def test_everyone_found():
    found = scores(picture([A, B], [B, A]))
    assert found == dict.fromkeys(("nose", "wrist", "precision", "recall", "f1", "count"), 100.0)


def test_by_hand():
    """Of B the nose is 2 away (as far as is right), a wrist 3; A is not found; a third one stands nowhere."""
    almost = B + np.float32([[0, 2], [3, 0], [0, 0]])
    found = scores(picture([A, B], [almost, B + 500]))
    assert found == pytest.approx(
        {"precision": 100 * 2 / 6, "recall": 100 * 2 / 6, "f1": 100 * 2 / 6, "nose": 50, "wrist": 25, "count": 100}
    )


def test_one_person_is_found_once():
    """The better one of two predictions takes A; what the other one found is wrong."""
    half = A + np.float32([[0, 0], [0, 0], [0, 9]])
    found = scores(picture([A], [half, A]))
    assert (found["precision"], found["recall"], found["count"]) == (50, 100, 0)


def test_joints_of_two_people_do_not_make_one():
    mixed = np.stack([A[0], A[1], B[2]])
    found = scores(picture([A, B], [mixed]))
    assert (found["precision"], found["recall"]) == (pytest.approx(200 / 3), pytest.approx(200 / 6))


def test_joints_without_a_label_or_without_a_peak():
    """A's second wrist is not labelled: what is found there is neither right nor wrong. B's nose is not found."""
    known = np.float32([[1, 1, 0], [1, 1, 1]])
    values = np.float32([[1, 1, 1], [0, 1, 1]])
    off = A + np.float32([[0, 0], [0, 0], [50, 50]])
    found = scores(picture([A, B], [off, B], known=known, values=values))
    assert (found["precision"], found["recall"]) == (100, 80)


def test_pictures_add_up():
    """Over pictures, joints are counted together: 3 of 3 and 0 of 3 are half, whoever else is there."""
    nobody = picture(np.zeros((0, 3, 2)), np.zeros((0, 3, 2)))
    found = scores(picture([A], [A]), picture([B], np.zeros((0, 3, 2))), nobody)
    assert (found["recall"], found["precision"]) == (50, 100) and found["count"] == pytest.approx(200 / 3)


def test_nothing_found_and_nobody_there():
    nothing = scores(picture([A], np.zeros((0, 3, 2))))
    assert (nothing["precision"], nothing["recall"], nothing["f1"], nothing["count"]) == (0, 0, 0, 0)
    assert np.isnan(scores(picture(np.zeros((0, 3, 2)), np.zeros((0, 3, 2))))["recall"])


def test_a_person_without_a_size_counts_as_unlabelled():
    found = scores(picture([A, B], [A], sizes=[10.0, 0.0]))
    assert found["recall"] == 100 and found["count"] == 100
