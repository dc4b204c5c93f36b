"""The cascade: its sizes, what its windows show, whom its fine model answers, and what coarse and fine add up to."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from draw import draw

from pixlab.losses.heatmap import gaussian_maps
from pixlab.models.tompson import Bank, Detector, half
from pixlab.models.tompson2015 import Coarse, Fine, corners, pyramid, refine, smooth, strides, windows
from pixlab.nn.dropout import SpatialDropout
from pixlab.nn.peaks import peaks, pixels

jit = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})  # compiling is what takes time


def image(*size, seed=0):
    return jax.random.uniform(jax.random.key(seed), (2, *size, 3))


def parameters(tree) -> int:
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


def test_spatial_dropout_takes_whole_maps_and_keeps_the_mean():
    x = jnp.asarray(np.random.default_rng(0).uniform(1, 2, (4, 3, 5, 500)), jnp.float32)
    layer = SpatialDropout(0.3, deterministic=False)
    out = np.asarray(layer.apply({}, x, rngs={"dropout": jax.random.key(1)}))
    kept = out != 0
    assert (kept.all((1, 2)) | ~kept.any((1, 2))).all()
    np.testing.assert_allclose(out, np.where(kept, x / 0.7, 0), rtol=1e-6)
    kept = kept[:, 0, 0]
    np.testing.assert_allclose(kept.mean(), 0.7, atol=0.04)  # 4 standard deviations of 2000 draws
    assert (kept[0] != kept[1]).any()  # images draw apart
    np.testing.assert_array_equal(SpatialDropout(0.3, deterministic=True).apply({}, x), x)


def test_the_coarse_model_drops_maps_before_its_1x1_layers_in_training_alone():
    """All of them but a few: far from the border, a map that is answered from nothing else is flat."""
    model, picture = Coarse(2, 1, 2, rate=0.97), image(16, 24)
    variables = draw(model, picture)
    one = model.apply(variables, picture)[0]
    np.testing.assert_array_equal(one, model.apply(variables, picture)[0])
    dropped = [
        np.asarray(model.apply(variables, picture, train=True, rngs={"dropout": jax.random.key(key)})[0])
        for key in range(3)
    ]
    flat = [np.ptp(maps, (1, 2)).max(-1) == 0 for maps in dropped]
    assert np.any(flat) and np.ptp(np.asarray(one), (1, 2)).min() > 0


@pytest.mark.parametrize(("pool", "cells"), [(4, (60, 90)), (8, (30, 45)), (16, (15, 23))])
def test_maps_and_features_of_the_three_poolings(pool, cells):
    model, picture = Coarse(7, 3, pool=pool), jnp.zeros((1, 240, 360, 3))
    shapes = jax.eval_shape(model.init, jax.random.key(0), picture)
    maps, features = jax.eval_shape(model.apply, shapes, picture)
    assert maps.shape == (1, *cells, 7)
    assert strides(3) == (1, 2, 2, 4, 4, 8)
    for x, s in zip(features, strides(3), strict=True):
        assert x.shape[3] == 128 and all(n * s >= size for n, size in zip(x.shape[1:3], (240, 360), strict=True))
    tail = 512 * 512 + 512 + 512 * 256 + 256 + 256 * 7 + 7
    assert parameters(shapes) == 3 * 6_138_112 + tail == 18_810_119
    with pytest.raises(ValueError, match=r"pool is 2; there are \(4, 8, 16\)"):
        jax.eval_shape(Coarse(7, 3, pool=2).init, jax.random.key(0), picture)


def test_away_from_the_border_a_bank_is_that_of_2014():
    """There, zeros around each layer and zeros around the image are the same."""
    x = jax.random.normal(jax.random.key(0), (1, 96, 104, 3))
    variables = draw(Bank(3), x)
    same = Bank(3, padding="SAME").apply(variables, x)
    valid = Bank(3).apply(variables, x[:, 2:, 2:])  # its first window of 64 is that of cell (8, 8), which begins at 2
    np.testing.assert_allclose(same[:, 8:-8, 8:-8], valid, atol=1e-5)


@pytest.mark.parametrize("pool", [4, 8, 16])
def test_a_spot_moves_cells_around_it_in_every_bank(pool):
    """Neither maps nor features are shifted: what a spot changes lies around the spot."""
    model = Coarse(1, 3, width=8, pool=pool, rate=0.0)
    flat = jnp.zeros((1, 384, 384, 3))
    noisy = flat.at[:, 176:192, 208:224].set(jax.random.uniform(jax.random.key(2), (1, 16, 16, 3)))
    params = draw(model, flat)["params"]
    run = jit(lambda params, image: model.apply({"params": params}, image))
    for level in [level for level in range(3) if pool * 2**level <= 16]:  # what coarser banks see ends at the border
        others = {f"bank{n}": jax.tree.map(jnp.zeros_like, params[f"bank{n}"]) for n in range(3) if n != level}
        (maps, seen), (maps_flat, seen_flat) = run(params | others, noisy), run(params | others, flat)
        step = 2**level
        pairs = [(pool * step, maps[:, ::step, ::step], maps_flat[:, ::step, ::step])]
        pairs += list(zip(strides(3), seen, seen_flat, strict=True))[2 * level : 2 * level + 2]
        for s, a, b in pairs:
            rows, columns = np.nonzero(np.abs(a - b)[0].max(-1) > 1e-6)
            middle = [((n.min() + n.max()) / 2 + 0.5) * s - 0.5 for n in (rows, columns)]
            np.testing.assert_allclose(middle, (183.5, 215.5), atol=s / 2)
            assert np.ptp(rows) * s < 340  # it does not reach everything


def test_the_pyramid_is_gaussian_and_its_levels_lie_over_one_another():
    x = np.asarray(image(12, 8), np.float64)
    weights = np.array([1, 3, 3, 1]) / 8
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="edge")
    expected = np.zeros((2, 6, 4, 3))
    for i, j in np.ndindex(6, 4):
        block = padded[:, 2 * i : 2 * i + 4, 2 * j : 2 * j + 4]
        expected[:, i, j] = np.einsum("byxc,y,x->bc", block, weights, weights)
    np.testing.assert_allclose(half(smooth(jnp.asarray(x, jnp.float32)), 1), expected, atol=1e-6)
    levels = pyramid(image(20, 36), 3, 8)  # 3x5 cells of 8: 24x40; halves of it 2x3 cells, quarters 1x2
    assert [level.shape[1:3] for level in levels] == [(24, 40), (16, 24), (8, 16)]
    assert not levels[0][:, 20:].any() and not levels[0][:, :, 36:].any() and levels[0][:, 19, 35].all()


@pytest.mark.parametrize("pool", [4, 8, 16])
@pytest.mark.parametrize(("banks", "window"), [(2, 36), (3, 40)])
def test_windows_of_all_maps_show_the_same_part_of_the_image(pool, banks, window):
    """Maps that tell their own pixels: the mean place of a window is the same in all, and near the coarse cell's."""
    size, grid = (96, 144), 2**banks
    cell = jnp.asarray([[[x, y] for x in range(3, 5) for y in range(2, 5)]], jnp.float32)
    places = pixels(cell, pool)
    corner = corners(places, window, grid)
    middles = []
    for s in strides(banks):
        n = [-(-length // s) for length in size]
        ramp = jnp.stack(jnp.meshgrid(*((jnp.arange(c) + 0.5) * s - 0.5 for c in n[::-1])), -1)[None]
        (seen,) = windows((ramp,), corner, window, (s,))
        assert seen.shape == (1, 6, window // s, window // s, 2)
        inside = ((corner >= 0) & (corner + window <= jnp.asarray(size[::-1])[None, None])).all(-1)
        assert inside.any()
        middles.append(seen.mean((2, 3))[inside])
        assert np.abs(middles[-1] - places[inside]).max() <= grid / 2
    for middle in middles:
        np.testing.assert_allclose(middle, middles[0], atol=1e-4)


@pytest.mark.parametrize("own", [False, True])
def test_the_fine_model_answers_each_joint_as_alone_with_its_own_last_layer(own):
    rng, window, channels = np.random.default_rng(0), 12, 3 if own else 4
    seen = [
        jnp.asarray(rng.normal(size=(2, 3, window // s, window // s, channels)), jnp.float32) for s in strides(2, own)
    ]
    model = Fine(3, window, 4, own)
    params = draw(model, *seen)["params"]
    params["kernel"] = jnp.asarray(rng.normal(size=(3, 4)), jnp.float32)
    maps = model.apply({"params": params}, *seen)
    assert maps.shape == (2, window, window, 3)
    for joint in range(3):
        one = params | {name: params[name][joint : joint + 1] for name in ("kernel", "bias")}
        alone = Fine(1, window, 4, own).apply({"params": one}, *(x[:, joint : joint + 1] for x in seen))
        np.testing.assert_allclose(maps[..., joint], alone[..., 0], rtol=1e-4, atol=1e-5)
    others = {**params, "kernel": params["kernel"].at[1].multiply(2), "bias": params["bias"].at[1].multiply(2)}
    changed = model.apply({"params": others}, *seen)
    np.testing.assert_allclose(changed, maps * jnp.asarray([1, 2, 1])[None, None, None], rtol=1e-5)


def test_fine_maps_start_near_zero():
    """Else the first steps go into undoing them, and leave few maps alive."""
    seen = [jax.random.normal(jax.random.key(s), (1, 3, 12 // s, 12 // s, 16)) for s in strides(2)]
    maps, _ = jit(Fine(3, 12, 16).init_with_output)(jax.random.key(0), *seen)
    assert 0 < np.abs(maps).max() < 0.1


def test_low_resolutions_join_after_the_first_layer():
    """With one pixel's weights, a low cell reaches its whole square of pixels, and no other."""
    seen = [jnp.zeros((1, 1, 8 // s, 8 // s, 1)) for s in strides(2)]
    model = Fine(1, 8, 1)
    params = jax.tree.map(jnp.zeros_like, draw(model, *seen)["params"])
    for name in params:
        if name.startswith("conv"):
            params[name]["kernel"] = params[name]["kernel"].at[2, 2].set(1)
    params["kernel"] += 1
    for index, s in enumerate(strides(2)):
        lit = [*seen]
        lit[index] = lit[index].at[0, 0, 1, 0].set(3)
        expected = np.zeros((8, 8))
        expected[s : 2 * s, :s] = 3
        np.testing.assert_allclose(model.apply({"params": params}, *lit)[0, ..., 0], expected)


@pytest.mark.parametrize("pool", [4, 8, 16])
def test_coarse_and_fine_add_up_to_the_pixel(pool):
    """Coarse maps that are right to a cell and a fine model that shows the features as they are: the exact pixel."""
    truth = jnp.asarray([[[37.0, 51.0], [3.0, 2.0], [125.0, 90.0]]])
    size, window, banks = (96, 128), 36, 2
    cell = jnp.floor(truth / pool)
    maps = gaussian_maps(cell, jnp.ones((1, 3)), tuple(-(-n // pool) for n in size))
    features = [jnp.zeros((1, size[0] // s, size[1] // s, 1)) for s in strides(banks)]
    for x, y in truth[0].astype(int):
        features[0] = features[0].at[0, y, x].set(1)
    model = Fine(3, window, 1)
    places = pixels(peaks(maps, "none")[0], pool)
    corner = corners(places, window, 2**banks)
    seen = windows(tuple(features), corner, window, strides(banks))
    params = jax.tree.map(jnp.zeros_like, draw(model, *seen)["params"])
    for name in params:
        if name.startswith("conv"):
            params[name]["kernel"] = params[name]["kernel"].at[2, 2].set(1)
    params["kernel"] += 1
    joints, value = refine(corner, model.apply({"params": params}, *seen))
    assert np.abs(places - truth).max() >= 1  # the coarse model alone is off
    np.testing.assert_array_equal(joints, truth)
    np.testing.assert_array_equal(value, np.ones((1, 3)))


def test_the_detector_of_2014_has_kept_its_layers():
    names = jax.eval_shape(Detector(2, 1, 4).init, jax.random.key(0), image(32, 40))["params"]
    assert set(names) == {"bank0", "fc2", "fc3"} and set(names["bank0"]) == {"conv1", "conv2", "conv3", "fc1"}
