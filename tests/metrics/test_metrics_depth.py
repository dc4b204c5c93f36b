"""Depth scores against the worked examples, float64 numpy and PyTorch's resizing."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pixlab.errors import UserError
from pixlab.metrics import crops
from pixlab.metrics.depth import depth_metrics as make
from pixlab.metrics.depth import masked_median

depth_metrics = functools.cache(make)  # one compilation per definition and shape
jit = functools.cache(jax.jit)


def score(metric, *pairs):
    """What the trainer does: statistics per image under jit, merged in float64 on the host."""
    return metric.result(total(metric, *pairs))


def total(metric, *pairs):
    stats = [jit(metric.stats)({"depth": column(p)}, example(g)) for p, g in pairs]
    return functools.reduce(metric.merge, (jax.tree.map(lambda x: np.asarray(x, float), s) for s in stats))


def column(x):
    x = jnp.asarray(x, jnp.float32)
    return x if x.ndim == 3 else x.reshape(1, -1, 1)


def example(x):
    return x if isinstance(x, dict) else {"depth": column(x)}


def scene(seed, shape=(12, 16, 1)):
    rng = np.random.default_rng(seed)
    true = rng.uniform(0.5, 9.5, shape).astype(np.float32)
    return (true * rng.lognormal(0.1, 0.3, shape)).astype(np.float32), true


def test_worked_example():
    scores = score(depth_metrics(), ([1, 2.5, 3, 8.8], [1, 2, 4, 8]))
    expected = {
        "delta1": 0.5,  # 2.5 / 2 is not below 1.25
        "delta2": 1,
        "delta3": 1,
        "abs_rel": 0.15,
        "sq_rel": 0.11375,
        "rmse": 0.68738635,
        "rmse_log": 0.18817415,
        "log10": 0.06581036,
        "sc_inv": 0.18801684,
    }
    assert list(scores) == list(expected)
    assert scores == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(("average", "rmse", "abs_rel"), [("images", 0.35355339, 0.25), ("pixels", 0.57735027, 1 / 3)])
def test_worked_example_of_averaging(average, rmse, abs_rel):
    scores = score(depth_metrics(average=average), ([1, 2], [1, 1]), ([2], [2]))
    assert scores["rmse"] == pytest.approx(rmse, rel=1e-6)
    assert scores["abs_rel"] == pytest.approx(abs_rel, rel=1e-6)


def test_worked_example_of_median_scaling():
    metric = depth_metrics(cap=(1e-3, 80.0), median_scaling=True)
    scores = score(metric, ([1, 1.5, 6, 20, 3], [2, 4, 10, 90, 0]))
    assert scores["abs_rel"] == pytest.approx(0.31111111, rel=1e-6)


def reference(predicted, true, cap=(1e-3, 10.0)):
    """One image in float64."""
    true = np.asarray(true, float)
    mask = (true > cap[0]) & (true < cap[1])
    p, g = np.clip(np.asarray(predicted, float), *cap)[mask], true[mask]
    d, ratio = np.log(p / g), np.maximum(p / g, g / p)
    return {f"delta{k}": (ratio < 1.25**k).mean() for k in (1, 2, 3)} | {
        "abs_rel": (abs(p - g) / g).mean(),
        "sq_rel": ((p - g) ** 2 / g).mean(),
        "rmse": np.sqrt(((p - g) ** 2).mean()),
        "rmse_log": np.sqrt((d**2).mean()),
        "log10": abs(np.log10(p) - np.log10(g)).mean(),
        "sc_inv": d.std(),
    }


def test_float32_sums_of_a_whole_nyu_frame():
    predicted, true = scene(0, (480, 640, 1))
    true[::7] = 0
    assert score(depth_metrics(), (predicted, true)) == pytest.approx(reference(predicted, true), rel=1e-5)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 2**16), st.integers(1, 3))
def test_averages_over_images_are_means_of_single_scores(seed, count):
    pairs = [scene(seed + i) for i in range(count)]
    singles = [reference(*pair) for pair in pairs]
    expected = {name: np.mean([s[name] for s in singles]) for name in singles[0]}
    assert score(depth_metrics(average="images"), *pairs) == pytest.approx(expected, rel=1e-4)


def test_three_ways_to_combine_sc_inv():
    (p1, g1), (p2, g2) = scene(1), scene(2, (5, 7, 1))
    p2 = p2 * 1.1
    d1, d2 = (np.log(np.clip(p.astype(float), 1e-3, 10) / g).ravel() for p, g in ((p1, g1), (p2, g2)))
    expected = {
        "pixels": np.sqrt((((d1 - d1.mean()) ** 2).sum() + ((d2 - d2.mean()) ** 2).sum()) / (d1.size + d2.size)),
        "root_of_mean": np.sqrt((d1.var() + d2.var()) / 2),
        "mean_of_roots": (d1.std() + d2.std()) / 2,
    }
    assert len({round(v, 4) for v in expected.values()}) == 3
    for average, default in (("pixels", "pixels"), ("images", "mean_of_roots")):
        both = total(depth_metrics(average=average), (p1, g1), (p2, g2))
        for name, value in (expected | {None: expected[default]}).items():
            scores = depth_metrics(sc_inv=name, average=average).result(both)
            assert scores["sc_inv"] == pytest.approx(value, rel=1e-5)


@settings(max_examples=10, deadline=None)
@given(st.floats(0.3, 3), st.floats(0.3, 3))
def test_each_image_has_its_own_scale_in_sc_inv(a, b):
    (p1, g1), (p2, g2) = scene(1), scene(2)
    wide = {"cap": (1e-4, 1e4)}
    before, after = (total(depth_metrics(**wide), (s * p1, g1), (t * p2, g2)) for s, t in ((1, 1), (a, b)))
    for how in ("pixels", "root_of_mean", "mean_of_roots"):
        result = depth_metrics(**wide, sc_inv=how).result
        assert result(after)["sc_inv"] == pytest.approx(result(before)["sc_inv"], rel=1e-4)


@settings(max_examples=10, deadline=None)
@given(st.floats(0.1, 10))
def test_median_scaling_undoes_a_scale(a):
    predicted, true = scene(4)
    metric = depth_metrics(median_scaling=True)
    assert score(metric, (a * predicted, true)) == pytest.approx(score(metric, (predicted, true)), rel=1e-3)


def test_cap_is_open_for_the_truth_and_clips_the_prediction():
    # True 10 and 0.5 lie on the cap and do not count; 100 and 0 are clipped to 10 and 0.5.
    scores = score(depth_metrics(cap=(0.5, 10.0)), ([1, 1, 100, 0], [10, 0.5, 5, 1]))
    assert scores["rmse"] == pytest.approx(np.sqrt((25 + 0.25) / 2))
    assert scores["abs_rel"] == pytest.approx((1 + 0.5) / 2)


def test_mask_of_the_example_beats_positive_depth():
    depth = column([1.0, 2, 0, 4])
    valid = column([1, 0, 0, 1])
    masked = score(depth_metrics(), ([2, 2, 2, 4], {"depth": depth, "valid": valid}))
    assert masked["abs_rel"] == pytest.approx(0.5)
    assert score(depth_metrics(), ([2, 2, 2, 4], {"depth": depth}))["abs_rel"] == pytest.approx(1 / 3)


@pytest.mark.parametrize("average", ["pixels", "images"])
def test_image_without_truth_is_left_out(average):
    metric = depth_metrics(average=average)
    pair = scene(5)
    assert score(metric, pair, (pair[0], 0 * pair[1])) == pytest.approx(score(metric, pair))
    nothing = score(metric, (pair[0], 0 * pair[1]))
    assert list(nothing) == list(score(metric, pair))
    assert all(np.isnan(v) for v in nothing.values())


@pytest.mark.parametrize(
    ("crop", "first", "last"),
    [
        (crops.TOOLBOX, (45, 41), (471, 601)),  # corners, 1-based and included, as MATLAB counts
        (crops.PYTHON_PORT, (46, 42), (471, 601)),
        (crops.GUPTA, (46, 41), (470, 600)),
        (crops.EIGEN_REGION, (21, 25), (460, 616)),
        (crops.EIGEN_REGION_SHORT, (21, 25), (459, 615)),
        (crops.EIGEN_FERGUS, (23, 27), (454, 610)),
    ],
)
def test_crops_score_these_pixels_of_a_frame(crop, first, last):
    index = np.arange(480 * 640).reshape(480, 640)
    area = np.asarray(crops.inside(crop, 480, 640))[..., 0] > 0
    kept = index[area]
    assert (kept[0] // 640 + 1, kept[0] % 640 + 1) == first
    assert (kept[-1] // 640 + 1, kept[-1] % 640 + 1) == last
    assert kept.size == (last[0] - first[0] + 1) * (last[1] - first[1] + 1)


def test_published_sizes_of_crops():
    sizes = {"TOOLBOX": (427, 561), "PYTHON_PORT": (426, 560), "GUPTA": (425, 560)}
    for name, size in sizes.items():
        rows, columns = getattr(crops, name).slices(480, 640)
        assert (rows.stop - rows.start, columns.stop - columns.start) == size
    assert crops.EIGEN_FERGUS.slices(240, 320) == (slice(11, 227), slice(13, 305))
    assert crops.TOOLBOX.slices(240, 320) == (slice(22, 236), slice(20, 300))


def test_only_the_crop_is_scored():
    true = np.full((48, 64, 1), 2.0, np.float32)
    rows, columns = crops.GUPTA.slices(48, 64)
    predicted = np.full_like(true, 9.0)
    predicted[rows, columns] = 2
    assert score(depth_metrics(crop=crops.GUPTA), (predicted, true))["rmse"] == 0
    assert score(depth_metrics(), (predicted, true))["rmse"] > 1
    predicted[rows.start, columns.start] = 3
    count = (rows.stop - rows.start) * (columns.stop - columns.start)
    assert score(depth_metrics(crop=crops.GUPTA), (predicted, true))["rmse"] == pytest.approx(np.sqrt(1 / count))


def test_small_predictions_are_resized():
    torch = pytest.importorskip("torch")
    small = np.random.default_rng(0).uniform(1, 9, (5, 7, 1)).astype(np.float32)
    t = torch.tensor(small[None, ..., 0])[:, None]
    size = (11, 24)
    expected = {
        "nearest": torch.nn.functional.interpolate(t, size, mode="nearest-exact"),
        "bilinear": torch.nn.functional.interpolate(t, size, mode="bilinear", align_corners=False),
    }
    for how, true in expected.items():
        true = true[0, 0].numpy()[..., None]
        assert score(depth_metrics(resize=how), (small, true))["rmse"] < 1e-6
        other = {"nearest": "bilinear", "bilinear": "nearest"}[how]
        assert score(depth_metrics(resize=other), (small, true))["rmse"] > 0.1


def test_prediction_of_a_part_of_the_frame_is_put_there():
    part = np.random.default_rng(0).uniform(1, 9, (108, 146, 1)).astype(np.float32)
    true = np.full((240, 320, 1), 5, np.float32)
    true[11:227, 13:305] = part.repeat(2, 0).repeat(2, 1)
    metric = depth_metrics(covers=crops.EIGEN_FERGUS)
    assert score(metric, (part, true))["rmse"] == 0
    stats = metric.stats({"depth": jnp.asarray(part)}, {"depth": jnp.asarray(true)})
    assert float(stats["pixels"]) == 216 * 292
    assert score(depth_metrics(), (part, true))["rmse"] > 1


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.floats(-5, 5, width=32), st.booleans()), min_size=9, max_size=9))
def test_masked_median_is_numpys(items):
    x, mask = (np.array(column) for column in zip(*items, strict=True))
    median = masked_median(jnp.asarray(x, jnp.float32), jnp.asarray(mask, bool))
    if mask.any():
        assert float(median) == pytest.approx(np.median(x[mask]), abs=1e-6)
    else:
        assert np.isinf(median)


def test_unknown_names_say_what_to_use():
    with pytest.raises(UserError, match="'pixels' or 'images'"):
        depth_metrics(average="mean")
    with pytest.raises(UserError, match="mean_of_roots"):
        depth_metrics(sc_inv="log")
    with pytest.raises(UserError, match="'nearest' or 'bilinear'"):
        score(depth_metrics(resize="cubic"), ([1, 2], [1, 2]))


def test_batched_statistics_are_those_of_each_image():
    pairs = [scene(i) for i in range(3)]
    predicted, true = (jnp.asarray(np.stack(x)) for x in zip(*pairs, strict=True))
    metric = depth_metrics(median_scaling=True, crop=crops.TOOLBOX)
    batched = jit(jax.vmap(metric.stats))({"depth": predicted}, {"depth": true})
    summed = metric.result(jax.tree.map(lambda x: np.asarray(x, float).sum(0), batched))
    assert summed == pytest.approx(score(metric, *pairs), rel=1e-5)
