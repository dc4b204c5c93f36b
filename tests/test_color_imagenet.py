"""Colorization: what it is trained on, its prior, what it starts from, and what becomes of a photo."""

import dataclasses
import functools
import zipfile

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from draw import draw
from PIL import Image
from scipy.spatial import cKDTree
from skimage.color import rgb2lab

from experiments import color_imagenet, color_prior, pose_hourglass
from experiments.color_imagenet import CONFIGS, NET, PRIOR, at_pixels
from pixlab import core
from pixlab.data import colour
from pixlab.data.colour import colour_counts, colour_prior, read_prior
from pixlab.data.images import read_image
from pixlab.data.pipeline import eval_batches, train_batches
from pixlab.errors import UserError
from pixlab.models.zhang2016 import Colorizer
from pixlab.nn.ab_bins import AB_BINS, GREY_BIN, smoothed
from pixlab.run import Run, claim

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
    said = capsys.readouterr()
    cells = [rgb2lab(colour.squeezed(photo["image"], 32))[::4, ::4, 1:].reshape(-1, 2) for photo in PHOTOS]
    occur = len(set(cKDTree(AB_BINS).query(np.concatenate(cells))[1].tolist()))
    assert f"{out}: most frequent is" in said.out and f"{occur} of 313 bins occur" in said.out
    assert "warning" not in said.out and "photo 6/6  counting colours" in said.err
    assert not out.with_name("prior.npy.tmp").exists()
    np.testing.assert_allclose(np.load(out), color_imagenet.prior(small(photos)), rtol=1e-12)
    np.testing.assert_allclose(color_imagenet.prior(small("other", prior=str(out))), np.load(out), rtol=1e-12)


def test_the_prior_command_says_at_once_what_cannot_be_done(photos, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(color_prior, "colour_counts", lambda *_, **__: pytest.fail("counts"))
    (tmp_path / "file").touch()
    for words, what in {
        ("--photos", "-1"): "--photos 0 or more",
        ("--side", "4"): "--side 8 or more",
        ("--sigma", "nan"): "positive --sigma",
        ("--out", str(tmp_path)): "is a folder",
        ("--out", str(tmp_path / "file" / "prior.npy")): "file: is a file",
    }.items():
        with pytest.raises(SystemExit, match="2"):
            color_prior.main(["--source", photos, *words])
        assert what in capsys.readouterr().err


def test_pictures_full_of_a_strong_colour_are_counted_with_a_warning_and_refused_as_a_file(
    photos, tmp_path, monkeypatch, capsys
):
    red = [{"image": np.full((8, 8, 3), (255, 0, 0), np.uint8)}]
    monkeypatch.setattr(colour, "open_photos", lambda name, split: red)
    monkeypatch.setattr(color_prior, "open_photos", lambda name, split: red)
    out = tmp_path / "prior.npy"
    color_prior.main(["--source", photos, "--out", str(out)])
    assert "warning: most frequent is a 80, b 70" in capsys.readouterr().out
    with pytest.raises(UserError, match="a colour that no photos are full of"):
        read_prior(str(out))
    np.testing.assert_allclose(color_imagenet.prior(dataclasses.replace(small(photos), side=256)), np.load(out))
    assert "toy: most frequent is a 80, b 70" in capsys.readouterr().err


def saved(folder, images):
    for index, image in enumerate(images):
        Image.fromarray(image).save(folder / f"{index}.png")
    return f"photos:{folder}"


def test_a_folder_of_two_photos_is_one_to_train_on_and_one_to_test(tmp_path):
    config = small(saved(tmp_path, [PHOTOS[0]["image"], PHOTOS[1]["image"]]), prior_photos=1)
    data = color_imagenet.data(config)
    assert [len(data.splits[split].source) for split in ("train", "test")] == [1, 1]
    assert next(train_batches(data, seed=0, start=0))["image"].shape == (2, 16, 16, 1)
    assert color_imagenet.prior(config).sum() == pytest.approx(1)


def test_grey_photos_have_no_colours_to_learn_from(tmp_path):
    """Mode L, RGB of equal channels, and a tint of less than 5 units."""
    grey = PHOTOS[0]["image"][..., 0]
    tint = np.stack([np.minimum(grey, 250) + 3, grey, grey], -1)
    assert 1 < np.abs(rgb2lab(tint)[..., 1:]).max() < 5
    source = saved(tmp_path, [grey, grey, grey[..., None].repeat(3, -1), tint])
    with pytest.raises(UserError, match="no colours to learn from: all are grey"):
        colour_prior(source, side=16)
    saved(tmp_path, [grey, grey, grey, PHOTOS[1]["image"]])
    assert colour_prior(source, side=16).argmax() == GREY_BIN


def test_priors_that_cannot_be_right_are_refused(tmp_path):
    file = tmp_path / "prior.npy"
    with pytest.raises(UserError, match="no such file; write it by python -m experiments"):
        read_prior(str(file))
    complex_, structured = np.full(313, 1j / 313), np.zeros(313, [("p", float), ("q", float)])
    nan = np.full(313, np.nan)
    for wrong in (np.ones(313), np.full(312, 1 / 312), complex_, structured, np.full(313, "a"), nan):
        np.save(file, wrong)
        with pytest.raises(UserError, match="not 313 probabilities"):
            read_prior(str(file))
    np.save(file, smoothed(np.eye(313)[4]))
    with pytest.raises(UserError, match="most frequent is a -90, b 90, a colour that no photos are full of"):
        read_prior(str(file))
    for damaged in (b"no array", b"", b"PK\x03\x04 and so on", b"\x93NUMPY\x01\x00"):
        file.write_bytes(damaged)
        with pytest.raises(UserError, match="not a NumPy file"):
            read_prior(str(file))
    with zipfile.ZipFile(file, "w"):
        pass
    with pytest.raises(UserError, match="not"):
        read_prior(str(file))


def test_bins_that_a_file_says_are_impossible_are_so_rare_that_float32_can_invert_it(tmp_path):
    given = np.zeros(313, np.float32)
    given[[GREY_BIN, 130]] = 0.75, 0.25
    given[0] = 1e-45
    np.save(tmp_path / "prior.npy", given)
    prior = read_prior(str(tmp_path / "prior.npy"))
    assert prior.sum() == pytest.approx(1, abs=1e-12) and prior[130] == pytest.approx(0.25, rel=1e-6)
    np.testing.assert_allclose(np.delete(prior, [GREY_BIN, 130]), 1e-9, rtol=1e-6)


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


def test_steps_of_adam_are_the_releases(photos):
    """What decays is added to the gradient before Adam averages it: it outweighs the second one's, of opposite sign."""
    _, recipe, _ = begun(photos)
    tx = recipe.stages[0].objectives["colour"].tx
    w, first, second = np.float64([2.0, -1.0]), np.zeros(2), np.zeros(2)
    state = tx.init(jnp.float32(w))
    for step, g in enumerate(np.float64([[0.3, 0.0005], [-0.1, 0.0009], [0.02, -0.004]]), 1):
        updates, state = tx.update(jnp.float32(g), state, jnp.float32(w))
        g = g + 1e-3 * w
        first, second = 0.9 * first + 0.1 * g, 0.99 * second + 0.01 * g**2
        expected = -1e-3 * first / (1 - 0.9**step) / (np.sqrt(second / (1 - 0.99**step)) + 1e-8)
        np.testing.assert_allclose(updates, expected, rtol=1e-3)
        w = w + expected
    assert w[1] > -1 + 2e-3  # without decay the second would have gone down at first


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


def test_baselines_are_grey_the_mean_and_the_priors_colours(photos, tmp_path):
    chances = np.zeros(313)
    chances[[GREY_BIN, 100, 150, 200]] = 0.4, 0.3, 0.2, 0.1
    np.save(tmp_path / "prior.npy", chances)
    config = small(photos, prior=str(tmp_path / "prior.npy"))
    data = color_imagenet.data(config)
    answers = color_imagenet.answers(config, data)
    batch = next(eval_batches(data, "test"))
    found = {name: np.asarray(predict({}, {}, batch)["ab"]) for name, predict in answers.items()}
    assert not found["grey"].any() and found["grey"].shape == (2, 32, 32, 2)
    true = np.mean([colour.test_example(photo, side=32)["ab"].mean((0, 1)) for photo in PHOTOS], 0)
    np.testing.assert_allclose(found["mean"][1, 5, 7], true, rtol=1e-4)
    drawn = found["random"][0].reshape(-1, 2)
    share = np.array([(drawn == bin).all(-1).mean() for bin in AB_BINS])
    assert share.sum() == pytest.approx(1) and not share[chances < 1e-6].any()
    error = np.sqrt(chances * (1 - chances) / len(drawn))
    assert (np.abs(share - chances) <= 4 * error).all()


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


def test_bands_of_a_photo_together_are_the_photo(monkeypatch):
    config, image, rng = small("toy"), picture(5, (61, 43)), np.random.default_rng(0)
    prediction = {name: np.float32(rng.normal(size=(32, 32, 2)) * 30) for name in ("ab", "mean", "mode")}
    whole = color_imagenet.export(config, image, prediction)
    assert set(whole) == {"colour", "mean", "mode"} and not np.array_equal(whole["mean"], whole["mode"])
    for pixels in (7 * 43, 1):
        monkeypatch.setattr(color_imagenet, "BAND", pixels)
        for name, bands in color_imagenet.export(config, image, prediction).items():
            np.testing.assert_allclose(np.int32(bands), whole[name], atol=1)
            assert (bands == whole[name]).mean() > 0.999
    assert set(color_imagenet.export(config, image, {"ab": prediction["ab"]})) == {"colour"}


@pytest.fixture
def run(photos, tmp_path):
    """A run with weights that were drawn."""
    config, _, state = begun(photos)
    run = Run(tmp_path, color_imagenet.experiment, config)
    run.state = state
    return run


def test_old_photos_get_colours_at_their_size_and_keep_their_lightness(run, tmp_path, real_data):
    files = sorted((real_data / "colorization" / "legacy_gray").iterdir())
    with Image.open(files[0]) as photo:
        for mode in ("L", "RGB"):
            photo.convert(mode).save(tmp_path / f"{mode}.png")
    images = [read_image(path) for path in (*files, tmp_path / "L.png", tmp_path / "RGB.png")]
    found = [pictures for _, pictures in run.predict(images)]
    for image, pictures in zip(images, found, strict=True):
        assert set(pictures) == {"colour", "mean", "mode"}
        for picture_ in pictures.values():
            assert picture_.shape == image.shape and picture_.dtype == np.uint8
        shown = pictures["colour"]
        inside = (shown.min(-1) > 0) & (shown.max(-1) < 255)  # what sRGB can show
        assert inside.mean() > 0.1 and (shown.max(-1) != shown.min(-1)).mean() > 0.1
        assert np.abs(rgb2lab(shown)[inside, 0] - rgb2lab(image)[inside, 0]).max() < 1
    for name, picture_ in found[-1].items():
        np.testing.assert_array_equal(picture_, found[-2][name])


def test_photos_of_a_pixel_and_of_a_line(run):
    images = [picture(0, (1, 1)), picture(0, (1, 300)), picture(0, (300, 1))]
    for image, (_, pictures) in zip(images, run.predict(images), strict=True):
        assert all(shown.shape == image.shape for shown in pictures.values())


def test_the_regression_starts_from_another_runs_network(photos, tmp_path, monkeypatch):
    first, _, other = begun(photos)
    claim(tmp_path, color_imagenet.experiment, "full", first)
    config = small(photos, answer="ab", start=str(tmp_path))
    with monkeypatch.context() as patch:
        patch.setattr(Run, "state", other.replace(step=jnp.int32(first.steps)))
        ours = begun(photos, seed=3, answer="ab", start=str(tmp_path))[2].params
        traced = jax.eval_shape(color_imagenet.recipe(config).pretrained, ours)
    assert jax.tree.map(jnp.shape, traced) == jax.tree.map(jnp.shape, ours)
    for name, params in ours[NET].items():
        pairs = zip(jax.tree.leaves(params), jax.tree.leaves(other.params[NET][name]), strict=True)
        assert all(np.array_equal(a, b) for a, b in pairs) == (name != "out")
    assert ours[NET]["out"]["kernel"].shape[-1] == 2
    np.testing.assert_allclose(ours[PRIOR]["probability"], color_imagenet.prior(config), rtol=1e-6)


def test_runs_that_training_cannot_start_from(photos, tmp_path, monkeypatch):
    first, _, other = begun(photos)
    starts = lambda name, **options: color_imagenet.begun(small(photos, start=str(tmp_path / name), **options), {})  # noqa: E731
    with pytest.raises(UserError, match="no run here"):
        starts("nowhere")
    claim(tmp_path / "ours", color_imagenet.experiment, "quick", first)
    with pytest.raises(UserError, match=r"has --width 0\.0156\d*, not 0\.125"):
        starts("ours", width=0.125)
    monkeypatch.setattr(Run, "state", other)
    with pytest.raises(UserError, match="has made 0 of its 2 steps; let it end first"):
        starts("ours")
    claim(tmp_path / "pose", pose_hourglass.experiment, "quick", pose_hourglass.CONFIGS["quick"])
    with pytest.raises(UserError, match=r"give a run of experiments\.color_imagenet"):
        starts("pose")


@pytest.mark.parametrize(
    ("options", "what"),
    [
        (dict(crop=36), "multiples of 8"),
        (dict(crop=264, side=256), "at most as large"),
        (dict(uniform=1.5), "--uniform 1.5: give at most 1"),
        (dict(temperature=-1.0), "--temperature must be at least 0"),
        (dict(statistics=1.0), "--statistics 1.0: give less than 1"),
    ],
)
def test_wrong_options_are_refused(options, what):
    with pytest.raises(UserError, match=what):
        dataclasses.replace(CONFIGS["quick"], **options).check()
