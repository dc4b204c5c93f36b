"""The baselines are the training set's means over valid pixels, whole and by row."""

import jax.numpy as jnp
import numpy as np
import pytest

from pixlab import baselines
from pixlab.data.pipeline import Data, Split


def make(count: int, classes: int = 4) -> list[dict[str, np.ndarray]]:
    """Frames of 3x5 pixels with every map, some pixels invalid, row 2 without any depth."""
    rng = np.random.default_rng(0)
    frames = []
    for _ in range(count):
        normal = rng.normal(size=(3, 5, 3)).astype(np.float32)
        normal /= np.linalg.norm(normal, axis=-1, keepdims=True)
        valid = (rng.random((3, 5, 1)) < 0.7).astype(np.float32)
        valid[2] = 0
        depth = rng.uniform(1, 9, (3, 5, 1)).astype(np.float32)
        label = rng.integers(0, classes, (3, 5, 1), dtype=np.int32)
        frames.append(
            {"depth": depth, "valid": valid, "normal": normal, "normal_valid": valid[:, ::-1].copy(), "label": label}
        )
    for frame in frames:
        frame["normal_valid"][2] = 1
    return frames


def predictions(frames, **options) -> dict[str, dict[str, np.ndarray]]:
    data = Data(2, {"train": Split(frames, lambda frame: frame)})
    found = baselines.means(data, **options)
    batch = {"image": jnp.zeros((2, 7, 5, 3))}
    return {name: {k: np.asarray(v) for k, v in predict({}, {}, batch).items()} for name, predict in found.items()}


def mean_of(frames, row, value, weight):
    """By hand: the mean over frames and the columns of `row` (all rows if None)."""
    total, count = 0.0, 0.0
    for frame in frames:
        for i in range(3):
            for j in range(5):
                if row in (None, i) and weight(frame, i, j):
                    total, count = total + np.float64(value(frame, i, j)), count + 1
    return total / count if count else None


def test_depth_is_the_mean_over_valid_pixels():
    frames = make(6)
    out = predictions(frames)

    def mean(row):
        return mean_of(frames, row, lambda f, i, j: f["depth"][i, j], lambda f, i, j: f["valid"][i, j, 0] > 0)

    assert out["mean"]["depth"].shape == out["mean per row"]["depth"].shape == (2, 3, 5, 1)
    np.testing.assert_allclose(out["mean"]["depth"], np.broadcast_to(mean(None), (2, 3, 5, 1)), rtol=1e-6)
    for row in (0, 1):
        expected = np.broadcast_to(mean(row), (2, 5, 1))
        np.testing.assert_allclose(out["mean per row"]["depth"][:, row], expected, rtol=1e-6)
    unknown = np.broadcast_to(mean(None), (2, 5, 1))  # a row that is never measured
    np.testing.assert_allclose(out["mean per row"]["depth"][:, 2], unknown, rtol=1e-6)


def test_normals_are_unit_vectors_along_the_mean():
    frames = make(6)
    out = predictions(frames)
    for name, rows in (("mean", (None, None, None)), ("mean per row", (0, 1, 2))):
        for i, row in enumerate(rows):
            mean = mean_of(
                frames, row, lambda f, i, j: f["normal"][i, j], lambda f, i, j: f["normal_valid"][i, j, 0] > 0
            )
            expected = np.broadcast_to(mean / np.linalg.norm(mean), (2, 5, 3))
            np.testing.assert_allclose(out[name]["normal"][:, i], expected, rtol=1e-5, atol=1e-6)


def test_labels_are_frequencies_of_the_classes_without_the_unlabelled():
    frames = make(6)
    out = predictions(frames, classes=4)
    for name, rows in (("mean", (None, None, None)), ("mean per row", (0, 1, 2))):
        for i, row in enumerate(rows):
            for c in range(1, 4):
                share = mean_of(
                    frames, row, lambda f, i, j, c=c: f["label"][i, j, 0] == c, lambda f, i, j: f["label"][i, j, 0] > 0
                )
                np.testing.assert_allclose(out[name]["logits"][:, i, :, c], np.full((2, 5), share), rtol=1e-6)
            assert not out[name]["logits"][..., 0].any()


def test_the_rows_of_a_prediction_are_cut_out():
    frames = make(3)
    whole, part = predictions(frames), predictions(frames, rows=slice(1, 3))
    np.testing.assert_array_equal(part["mean per row"]["depth"], whole["mean per row"]["depth"][:, 1:3])


@pytest.mark.parametrize(("count", "read"), [(10, 10), (11, 6), (25, 9)])
def test_large_sets_are_sampled_evenly(monkeypatch, count, read):
    monkeypatch.setattr(baselines, "AT_MOST", 10)
    seen = []
    frames = make(count)
    data = Data(2, {"train": Split(list(range(count)), lambda i: seen.append(i) or frames[i])})
    baselines.means(data)
    assert len(seen) == read <= 10 and len(set(np.diff(seen))) == 1
