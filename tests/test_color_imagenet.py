"""Colorization: what it is trained on, its prior, what it starts from, and what becomes of a photo."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from draw import draw
from PIL import Image
from skimage.color import rgb2lab

from experiments import color_imagenet, color_prior
from experiments.color_imagenet import CONFIGS, NET, PRIOR, at_pixels
from pixlab import core
from pixlab.data import colour
from pixlab.data.colour import colour_counts, read_prior
from pixlab.data.pipeline import eval_batches, train_batches
from pixlab.errors import UserError
from pixlab.models.zhang2016 import Colorizer
from pixlab.nn.ab_bins import AB_BINS, GREY_BIN, smoothed
from pixlab.run import claim

jit = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})  # compiling is what takes time


def picture(seed=0, size=(40, 56)):
    """A smooth coloured picture."""
    y, x = np.mgrid[: size[0], : size[1]] / 20.0
    rgb = [np.sin(x + seed), np.cos(y - 2 * seed), np.sin(x * y)]
    return np.uint8(127 + 100 * np.stack(rgb, -1))


PHOTOS = [{"image": picture(seed)} for seed in range(6)]


@pytest.fixture
def photos(monkeypatch):
    """A source named toy: six pictures."""
    monkeypatch.setattr(colour, "open_photos", lambda name, split: PHOTOS if split == "train" else PHOTOS[:2])
    monkeypatch.setattr(color_prior, "open_photos", lambda name, split: PHOTOS)
    color_imagenet._counted.cache_clear()
    yield "toy"
    color_imagenet._counted.cache_clear()


def small(source, **options):
    config = dataclasses.replace(
        CONFIGS["quick"], source=source, side=32, crop=16, batch=2, width=1 / 64, steps=2, workers=1
    )
    return dataclasses.replace(config, **options)


def test_training_examples_are_crops_whose_ab_is_that_of_every_fourth_pixel():
    rng, image = np.random.default_rng(0), PHOTOS[0]["image"]
    whole = rgb2lab(np.asarray(Image.fromarray(image).resize((32, 32), Image.Resampling.BOX)))
    seen = set()
    for _ in range(30):
        one = colour.train_example({"image": image}, rng, side=32, crop=16)
        assert one["image"].shape == (16, 16, 1) and one["ab"].shape == (4, 4, 2)
        assert one["image"].dtype == one["ab"].dtype == np.float32
        places = [
            (top, left, mirror)
            for mirror, lab in ((0, whole), (1, whole[:, ::-1]))
            for top in range(17)
            for left in range(17)
            if np.allclose(one["image"][..., 0] + 50, lab[top : top + 16, left : left + 16, 0], atol=0.02)
        ]
        assert len(places) == 1
        top, left, mirror = places[0]
        lab = (whole[:, ::-1] if mirror else whole)[top : top + 16, left : left + 16]
        np.testing.assert_allclose(one["ab"], lab[::4, ::4, 1:], atol=0.05)
        seen |= {top, left, ("mirror", mirror)}
    assert {("mirror", 0), ("mirror", 1)} <= seen and len(seen) > 10


def test_test_examples_are_whole_with_the_ab_of_every_pixel():
    image = PHOTOS[1]["image"]
    one = colour.test_example({"image": image}, side=64)
    lab = rgb2lab(np.asarray(Image.fromarray(image).resize((64, 64), Image.Resampling.BILINEAR)))
    np.testing.assert_allclose(one["image"], lab[..., :1] - 50, atol=0.02)
    np.testing.assert_allclose(one["ab"], lab[..., 1:], atol=0.05)


def test_colours_are_counted_in_their_nearest_bins():
    image = np.zeros((8, 8, 3), np.uint8)
    image[:, 4:] = (255, 0, 0)  # a 80.1, b 67.2: (80, 70)
    red = int(np.flatnonzero((AB_BINS == [80, 70]).all(-1))[0])
    counts = colour_counts([{"image": image}] * 3, side=8)
    assert counts[GREY_BIN] == counts[red] == 6 and counts.sum() == 12  # two rows and columns of cells
    assert colour_counts([{"image": image}] * 5, side=8, most=2).sum() == 8  # the first and the fourth


def test_the_prior_command_writes_what_training_counts(photos, tmp_path, capsys):
    out = tmp_path / "prior.npy"
    color_prior.main(["--source", photos, "--out", str(out), "--side", "32"])
    said = capsys.readouterr().out
    assert "6" not in said.split(":")[0] and str(out) in said and "warning: photos are mostly near grey" in said
    np.testing.assert_allclose(np.load(out), color_imagenet.prior(small(photos)), rtol=1e-12)
    np.testing.assert_allclose(color_imagenet.prior(small("other", prior=str(out))), np.load(out), rtol=1e-12)


def test_priors_that_cannot_be_right_are_refused(tmp_path):
    file = tmp_path / "prior.npy"
    with pytest.raises(UserError, match="no such file; write it by python -m experiments"):
        read_prior(str(file))
    for wrong in (np.ones(313), np.full(312, 1 / 312)):
        np.save(file, wrong)
        with pytest.raises(UserError, match="not 313 probabilities"):
            read_prior(str(file))
    np.save(file, smoothed(np.eye(313)[4]))
    with pytest.raises(UserError, match="most frequent is a -90, b 90, a colour that no photos are full of"):
        read_prior(str(file))
    file.write_text("no array")
    with pytest.raises(UserError, match="not a NumPy file"):
        read_prior(str(file))


def test_the_prior_that_a_port_ships_is_refused(real_data):
    with pytest.raises(UserError, match="a colour that no photos are full of"):
        read_prior(str(real_data / "colorization" / "prior_probs.npy"))


@functools.cache
def begun(source, seed=0, **options):
    """(config, recipe, the state before the first step), without compiling the initialisation."""
    config = small(source, **options)
    recipe = color_imagenet.recipe(config)
    module = Colorizer(config.width, 313 if config.answer == "bins" else 2)
    variables = dict(draw(module, jnp.zeros((1, 16, 16, 1)), seed=seed))
    params, like = {NET: variables.pop("params")}, jax.eval_shape(recipe.init, jax.random.key(0))[0]
    params |= {PRIOR: jax.tree.map(lambda x: jnp.full(x.shape, 1 / x.size), like[PRIOR])}
    drawn = dataclasses.replace(recipe, init=lambda key: (params, {NET: variables}))
    return config, recipe, core.start(drawn, jax.random.key(0), recipe.pretrained)


def test_the_loss_falls_and_the_prior_is_kept_as_it_was_counted(photos):
    config, recipe, state = begun(photos, lr=0.03)
    counted = color_imagenet.prior(config)
    batch = next(train_batches(color_imagenet.data(config), seed=0, start=0))
    step, losses = jit(core.make_step(recipe.stages[0])), []
    for _ in range(20):
        state, logs = step(state, batch, jax.random.key(1))
        losses.append(float(logs["colour/loss"]))
    assert losses[-1] < 0.7 * losses[0]
    assert float(logs["colour/per_cell"]) == pytest.approx(losses[-1] / 16, rel=1e-6)
    np.testing.assert_allclose(state.params[PRIOR]["probability"], counted, rtol=1e-6)


def test_a_step_of_adam_is_the_releases(photos):
    """What decays is added to the gradient, before Adam divides by its size."""
    _, recipe, _ = begun(photos)
    tx = recipe.stages[0].objectives["colour"].tx
    w, g = np.float64([2.0, -1.0]), np.float64([0.3, -0.001])
    updates, _ = tx.update(jnp.float32(g), tx.init(jnp.float32(w)), jnp.float32(w))
    g = g + 1e-3 * w
    first, second = 0.1 * g, 0.01 * g**2
    expected = -1e-3 * (first / 0.1) / (np.sqrt(second / 0.01) + 1e-8)
    np.testing.assert_allclose(updates, expected, rtol=1e-4)


def test_cells_are_enlarged_to_the_pixels_they_were_taken_from():
    ramp = np.mgrid[:16, :24].astype(np.float32).transpose(1, 2, 0)
    cells = jnp.asarray(ramp[None, ::4, ::4])
    out = np.asarray(at_pixels(cells, (16, 24)))[0]
    np.testing.assert_allclose(out[:13, :21], ramp[:13, :21], atol=1e-5)
    np.testing.assert_allclose(out[13:, :, 0], 12, atol=1e-5)  # beyond the last cell it goes on


def test_the_temperature_leads_from_the_mean_to_the_most_likely_bin(photos):
    config, _, state = begun(photos)
    image = jnp.asarray(colour.test_example(PHOTOS[0], side=32)["image"])[None]
    found = {}
    for temperature in (0.0, 0.38, 1.0):
        predict = color_imagenet.recipe(dataclasses.replace(config, temperature=temperature)).predict
        found[temperature] = jit(predict)(state.params, state.carry, {"image": image})
    np.testing.assert_array_equal(found[0.0]["ab"], found[0.38]["mode"])
    np.testing.assert_array_equal(found[1.0]["ab"], found[0.38]["mean"])
    assert not np.allclose(found[0.38]["ab"], found[0.38]["mean"], atol=0.1)
    bins = {tuple(bin) for bin in AB_BINS.tolist()}
    assert all(tuple(ab) in bins for ab in np.asarray(found[0.38]["mode"])[0, ::4, ::4].reshape(-1, 2).tolist())
    np.testing.assert_allclose(found[0.38]["prior"][0], color_imagenet.prior(config), rtol=1e-6)


def test_baselines_are_grey_the_mean_and_the_priors_colours(photos):
    config = small(photos)
    data = color_imagenet.data(config)
    answers = color_imagenet.answers(config, data)
    batch = next(eval_batches(data, "test"))
    found = {name: np.asarray(predict({}, {}, batch)["ab"]) for name, predict in answers.items()}
    assert not found["grey"].any() and found["grey"].shape == (2, 32, 32, 2)
    true = np.mean([colour.test_example(photo, side=32)["ab"].mean((0, 1)) for photo in PHOTOS], 0)
    np.testing.assert_allclose(found["mean"][1, 5, 7], true, rtol=1e-4)
    bins = {tuple(bin) for bin in AB_BINS.tolist()}
    assert all(tuple(ab) in bins for ab in found["random"].reshape(-1, 2).tolist())


def test_a_photo_keeps_its_lightness_and_its_size():
    config, image = small("toy"), picture(3, (50, 70))
    assert color_imagenet.photo(config, image)["image"].shape == (32, 32, 1)
    y, x = np.mgrid[:32, :32]
    ab = np.float32(np.stack([y - 16, x - 16], -1))
    colour_file = color_imagenet.export(config, image, {"ab": ab})["colour"]
    assert colour_file.dtype == np.uint8 and colour_file.shape == (50, 70, 3)
    lab, before = rgb2lab(colour_file), rgb2lab(image)
    inside = (colour_file.min(-1) > 0) & (colour_file.max(-1) < 255)  # what sRGB can show
    assert inside.mean() > 0.3
    np.testing.assert_allclose(lab[inside, 0], before[inside, 0], atol=1)
    wanted = np.stack(np.meshgrid((np.arange(50) + 0.5) * 32 / 50 - 16.5, (np.arange(70) + 0.5) * 32 / 70 - 16.5,
                                  indexing="ij"), -1)  # fmt: skip
    np.testing.assert_allclose(lab[inside][:, 1:], np.clip(wanted, -16, 15)[inside], atol=2.5)


def test_the_regression_starts_from_another_runs_network(photos, monkeypatch, tmp_path):
    _, _, other = begun(photos)
    config = small(photos, answer="ab", start=str(tmp_path))
    with monkeypatch.context() as patch:
        patch.setattr(color_imagenet, "trained", lambda config: jax.device_get(other.params[NET]))
        ours = begun(photos, seed=3, answer="ab", start=str(tmp_path))[2].params[NET]
    for name, params in ours.items():
        pairs = zip(jax.tree.leaves(params), jax.tree.leaves(other.params[NET][name]), strict=True)
        assert all(np.array_equal(a, b) for a, b in pairs) == (name != "out")
    assert ours["out"]["kernel"].shape[-1] == 2
    with pytest.raises(UserError, match="no run here"):
        color_imagenet.trained(config)
    claim(tmp_path, color_imagenet.experiment, "full", CONFIGS["full"])
    with pytest.raises(UserError, match=r"has --width 1\.0, not 0\.0156"):
        color_imagenet.trained(config)


@pytest.mark.parametrize(
    ("options", "what"),
    [
        (dict(crop=36), "multiples of 8"),
        (dict(crop=264, side=256), "at most as large"),
        (dict(uniform=1.5), "--uniform 1.5: give at most 1"),
        (dict(temperature=-1.0), "--temperature must be at least 0"),
    ],
)
def test_wrong_options_are_refused(options, what):
    with pytest.raises(UserError, match=what):
        dataclasses.replace(CONFIGS["quick"], **options).check()
