"""What experiments on super-resolution share, and what is their own: losses, stages, optimisers, pictures."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from experiments import depth_nyu, perceptual_sr, perceptual_style, sr_div2k, sr_t91, srgan_div2k
from experiments.sr_published import published
from pixlab import cli, plan, superres_task
from pixlab.core import enter, make_step, start
from pixlab.data import superres
from pixlab.data.photos import decoded, open_photos
from pixlab.data.pipeline import eval_batches, examples
from pixlab.data.rgbd import BLANK
from pixlab.data.windows import Cut
from pixlab.errors import UserError
from pixlab.metrics.fidelity import comparable
from pixlab.nn.colour import rgb_to_ycbcr, ycbcr_to_rgb
from pixlab.nn.imresize import imresize
from pixlab.options import Options
from pixlab.predict import predict
from pixlab.run import Run, started
from pixlab.train import predictions

jit = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})  # compiling is what takes time


def differ(a, b):
    """Which networks of two sets of parameters differ."""
    same = jax.tree.map(np.array_equal, a, b)
    return {name for name in a if not all(jax.tree.leaves(same[name]))}


def test_the_busiest_part_is_drawn():
    image = np.full((150, 130, 1), 0.5, np.float32)
    image[70:100, 40:80] = np.random.default_rng(0).random((30, 40, 1))
    top, left = superres_task.busiest(image)
    assert 70 + 30 - superres_task.DETAIL <= top <= 70 and 40 + 40 - superres_task.DETAIL <= left <= 40
    assert superres_task.busiest(image[:20, :30]) == (0, 0)


def test_luminance_gets_bicubic_colours():
    image = np.random.default_rng(0).integers(0, 256, (9, 7, 3), np.uint8)
    config = sr_t91.Config(scale=2)
    high = np.full((18, 14, 1), 0.4, np.float32)
    out = superres_task.export(config, "low", image, {"high": high})["x2"]
    ycbcr = imresize(rgb_to_ycbcr(image / 255), 2.0)
    ycbcr[..., 0] = 0.4
    expected = np.floor(255 * np.clip(ycbcr_to_rgb(ycbcr), 0, 1) + 0.5)
    assert np.abs(out - expected).max() <= 1  # float32 against float64
    rgb = np.random.default_rng(1).random((18, 14, 3)).astype(np.float32)
    colour = superres_task.export(config, "colour", image, {"high": rgb})["x2"]
    assert np.abs(colour - 255 * rgb).max() <= 0.5001


def test_published_rows_are_found_by_set_and_scale():
    assert published(("bicubic", "SRCNN 9-5-5, ImageNet"), "set14", 3) == {
        "bicubic": {"psnr": 27.55, "ssim": 0.7742},
        "SRCNN 9-5-5, ImageNet": {"psnr": 29.28, "ssim": 0.8209},
    }
    assert published(("EDSR", "VDSR"), "div2k", 2) == {"EDSR": {"psnr": 35.03}}
    assert published(("VDSR",), "photos:mine", 3) == published(("VDSR",), "set5", 8) == {}


@pytest.mark.parametrize("windows", [(9, 1, 5), (9, 3, 5), (9, 5, 5)])
def test_srcnn_learns_from_windows_whose_border_does_not_matter(windows):
    """What lies around a window changes nothing of the part of the answer that the loss sees."""
    config = sr_t91.Config(scale=2, windows=windows)
    cut = sr_t91.cut(config)
    learns, _ = sr_t91.networks(config)
    params, carry = learns.init(jax.random.key(0))
    rng = np.random.default_rng(0)
    around = rng.random((1, cut.size + 20, cut.size + 20, 1)).astype(np.float32)
    window = around[:, 10:-10, 10:-10]
    side = cut.size - 2 * cut.border
    apply = jit(lambda image: sr_t91.middle(learns(params, carry, image)[0], (side, side)))
    alone, inside = apply(window), apply(around)
    np.testing.assert_allclose(alone, inside, atol=1e-6)
    assert np.std(np.asarray(alone)) > 0


def test_vdsrs_clipping_bounds_what_a_gradient_adds():
    config = sr_t91.Config(net="vdsr", optimiser="sgd", lr=0.1, steps=8)
    tx = sr_t91.optimiser(config)
    weight = {"w": jnp.asarray([1.0, -2.0])}
    state, velocity, w = tx.init(weight), np.zeros(2), np.array([1.0, -2.0])
    for step in range(8):
        gradient = np.array([100.0, 0.01])
        updates, state = tx.update({"w": jnp.asarray(gradient, jnp.float32)}, state, {"w": jnp.asarray(w, jnp.float32)})
        rate = 0.1 * 0.1 ** (step // 2)
        theta = sr_t91.CLIP
        velocity = 0.9 * velocity + rate * np.clip(gradient + 1e-4 * w, -theta / rate, theta / rate)
        np.testing.assert_allclose(updates["w"], -velocity, rtol=1e-5)
        w = w - velocity


def test_mdsrs_training_crops_are_not_scored():
    recipe = sr_div2k.recipe(sr_div2k.Config(net="mdsr", blocks=1, width=2, patch=8))
    with pytest.raises(UserError, match="score whole photos"):
        recipe.predict({}, {}, {"image_x2": np.zeros((1, 8, 8, 3))})


def test_mdsr_learns_one_scale_per_step_and_all_in_time():
    config = sr_div2k.Config(net="mdsr", blocks=1, width=4, patch=8, steps=9, lr=1e-2, batch=2)
    recipe = sr_div2k.recipe(config)
    rng = np.random.default_rng(0)
    batch = {}
    for scale in sr_div2k.SCALES:
        batch[f"image_x{scale}"] = jnp.asarray(rng.random((2, 8, 8, 3)), jnp.float32)
        batch[f"high_x{scale}"] = jnp.asarray(rng.random((2, 8 * scale, 8 * scale, 3)), jnp.float32)
    loss = recipe.stages[0].objectives["mdsr"].loss
    params, carry = recipe.init(jax.random.key(0))
    gradient = jit(jax.grad(lambda p, key: loss(p, carry, batch, key)[0]))
    seen = set()
    for seed in range(12):
        grads = gradient(params, jax.random.key(seed))["mdsr"]
        moved = {name for name, part in grads.items() if any(np.any(x) for x in jax.tree.leaves(part))}
        ends = {name[:2] for name in moved if name.startswith("x")}
        assert len(ends) == 1 and {"head", "tail", "body"} <= moved
        seen |= ends
    assert seen == {"x2", "x3", "x4"}


@pytest.fixture(scope="module")
def adversaries():
    config = dataclasses.replace(
        srgan_div2k.CONFIGS["quick"], blocks=1, width=4, patch=8, batch=2, warm_steps=1, steps=1
    )
    recipe = srgan_div2k.recipe(config)
    rng = np.random.default_rng(0)
    batch = {"image": rng.random((2, 8, 8, 3)), "high": rng.random((2, 32, 32, 3))}
    return recipe, {name: jnp.asarray(x, jnp.float32) for name, x in batch.items()}


def test_srgan_warms_up_its_generator_alone_and_then_trains_both(adversaries):
    recipe, batch = adversaries
    state = start(recipe, jax.random.key(0))
    warm, logs = jit(make_step(recipe.stages[0]))(state, batch, jax.random.key(1))
    assert differ(state.params, warm.params) == {"generator"} and set(logs) == {"warm-up/loss", "warm-up/grad_norm"}
    both, logs = jit(make_step(recipe.stages[1]))(enter(recipe.stages[1], warm), batch, jax.random.key(1))
    assert differ(warm.params, both.params) == {"generator", "discriminator"}
    assert differ(warm.carry, both.carry) == {"generator", "discriminator"}  # each moves its own statistics
    for name in ("probability_real", "probability_fake", "accuracy"):
        assert 0 <= float(logs[f"discriminator/{name}"]) <= 1
    total = float(logs["generator/content"]) + 1e-3 * float(logs["generator/adversarial"])
    np.testing.assert_allclose(float(logs["generator/loss"]), total, rtol=1e-5)
    assert len(predictions(recipe)) == 3


def test_the_adversary_pulls_on_the_generator(adversaries):
    recipe, batch = adversaries
    params, carry = recipe.init(jax.random.key(0))
    fooling = recipe.stages[1].objectives["generator"].loss
    pull = jit(jax.grad(lambda p: fooling(p, carry, batch, jax.random.key(0))[1].logs["generator/adversarial"]))
    grads = pull(params)
    assert any(np.any(x) for x in jax.tree.leaves(grads["generator"]))


def test_a_larger_scale_starts_from_what_a_smaller_one_has_learnt(tmp_path):
    for seed in range(2):
        pixels = np.random.default_rng(seed).integers(0, 256, (48, 48, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{seed}.png")
    photos = f"photos:{tmp_path}"
    small = sr_div2k.Config(
        source=photos, test=photos, blocks=1, width=4, patch=8, batch=2, steps=1, run=str(tmp_path / "x2")
    )
    run = cli.execute(sr_div2k.experiment, "edsr_x2", small)
    larger = dataclasses.replace(small, scale=4, start=str(tmp_path / "x2"), run="")
    recipe = sr_div2k.recipe(larger)
    random = recipe.init(jax.random.key(5))[0]
    begun = recipe.pretrained(random)
    np.testing.assert_array_equal(begun["edsr"]["head"]["kernel"], run.state.params["edsr"]["head"]["kernel"])
    np.testing.assert_array_equal(
        begun["edsr"]["enlarge"]["conv2"]["kernel"], random["edsr"]["enlarge"]["conv2"]["kernel"]
    )
    with pytest.raises(UserError, match="none of its parameters"):
        started(str(tmp_path / "x2"))({"other": {"kernel": jnp.zeros(3)}})


@pytest.mark.parametrize(
    "config",
    [
        *[sr_t91.Config(scale=n) for n in (2, 3, 4)],
        *[sr_t91.Config(net=net, scale=n) for net in ("fsrcnn", "espcn") for n in (2, 3, 4)],
        sr_t91.Config(net="vdsr", scale=3, depth=5),
        *[sr_div2k.Config(blocks=n, width=2, scale=4) for n in (1, 2)],
        sr_div2k.Config(net="mdsr", blocks=1, width=2, scale=3),
        sr_div2k.Config(net="srresnet", blocks=2, width=2, scale=3),
    ],
    ids=lambda config: f"{config.net}-x{config.scale}",
)
def test_no_answer_depends_on_more_than_the_halo(config):
    """The gradient of one pixel of the answer, with respect to all that the network sees."""
    module = sr_t91 if isinstance(config, sr_t91.Config) else sr_div2k
    recipe = module.recipe(config)
    halo = module.tiles(config).halo
    unit = config.scale if config.net in ("srcnn", "vdsr") else 1  # of pixels that the network sees, for one of a photo
    side = (2 * halo + 3) * unit
    channels = 1 if module is sr_t91 else 3
    params, carry = recipe.init(jax.random.key(0))
    image = jnp.asarray(np.random.default_rng(0).random((1, side, side, channels)), jnp.float32)
    reach = 0
    for phase in {0, config.scale - 1}:  # of the first and the last pixel that the middle one becomes
        at = (side // unit // 2) * config.scale + phase
        answer = jit(jax.grad(lambda x, at=at: recipe.predict(params, carry, {"image": x})["high"][0, at, at].sum()))
        size = np.abs(np.asarray(answer(image))).sum((0, 2, 3))
        rows = np.flatnonzero(size > 1e-6 * size.max()) // unit  # what is less is rounding
        reach = max(reach, *np.abs(rows - side // unit // 2).tolist())
    assert 0 < reach <= halo - 2 and halo <= reach + 7  # two are left for bicubic interpolation; little is wasted


@pytest.mark.parametrize(
    ("module", "config"),
    [
        (sr_t91, sr_t91.Config(scale=3)),
        (sr_t91, sr_t91.Config(scale=2, windows=(9, 5, 5))),
        (sr_t91, sr_t91.Config(net="fsrcnn", scale=3)),
        (sr_t91, sr_t91.Config(net="espcn", scale=2)),
        (sr_t91, sr_t91.Config(net="vdsr", scale=3, depth=6)),
        (sr_div2k, sr_div2k.Config(blocks=1, width=4, scale=2)),
        (sr_div2k, sr_div2k.Config(blocks=1, width=4, scale=3, ensemble=True)),
        (sr_div2k, sr_div2k.Config(net="mdsr", blocks=1, width=4, scale=4)),
        (sr_div2k, sr_div2k.Config(net="srresnet", blocks=1, width=4, scale=4)),
        (srgan_div2k, srgan_div2k.Config(content="mse", blocks=1, width=4, patch=8)),
        (perceptual_sr, perceptual_sr.Config(loss="pixels", blocks=1, width=4, patch=8)),
        (perceptual_sr, perceptual_sr.Config(loss="pixels", blocks=1, width=4, patch=8, scale=8)),
    ],
    ids=lambda x: getattr(x, "net", ""),
)
def test_windows_put_together_are_the_whole(module, config, tmp_path):
    chosen = module.experiment.tiles(config)
    small = dataclasses.replace(chosen, size=2 * chosen.halo + 6)
    runs = [
        Run(tmp_path, dataclasses.replace(module.experiment, tiles=lambda _, use=use: use), config)
        for use in (small, None)
    ]
    runs[1].state = runs[0].state = start(runs[0].recipe, jax.random.key(0))
    side = small.size + 9
    photo = np.random.default_rng(0).integers(0, 256, (side, small.size - 3, 3), np.uint8)
    ((tiled, files),), ((whole, pictures),) = (list(predict(run, [photo])) for run in runs)
    assert whole["high"].shape[0] == side * config.scale and np.std(whole["high"]) > 0
    np.testing.assert_allclose(tiled["high"], whole["high"], atol=1e-4 * np.abs(whole["high"]).max())
    name = f"x{config.scale}"
    assert np.abs(np.int32(files[name]) - pictures[name]).max() <= 1


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (srgan_div2k.Config(), "needs VGG-19's weights"),
        (srgan_div2k.Config(content="mse", weights="vgg19.pth"), "no VGG-19"),
        (perceptual_sr.Config(), "belong together"),
        (sr_t91.Config(net="espcn", optimiser="sgd"), "--net must be one of"),
        (sr_div2k.Config(net="srresnet", residual_scale=0.1), "EDSR's"),
        (sr_div2k.Config(net="mdsr", scale=8), "--scale must be one of"),
        (sr_t91.Config(net="vdsr", scale=8), "--scale must be one of"),
        (sr_t91.Config(net="vdsr", source="t91+div2k"), "give smaller --source"),
        (sr_t91.Config(net="espcn", windows=(9, 5, 5)), "SRCNN's"),
        (sr_t91.Config(depth=5), "VDSR's"),
        (perceptual_style.Config(weights="vgg16.pth", vgg_width=0.5), "whole VGG-16"),
    ],
)
def test_options_that_do_not_go_together(config, message):
    with pytest.raises(UserError, match=message):
        config.check()


def test_a_style_is_square_and_its_own_photo_keeps_its_content():
    config = dataclasses.replace(perceptual_style.CONFIGS["quick"], size=32, blocks=1, width=4, vgg_width=1 / 16)
    wide = np.random.default_rng(0).integers(0, 256, (40, 64, 3), np.uint8)
    cut = perceptual_style.square(wide, 40)
    np.testing.assert_allclose(cut, wide[:, 12:52] / 255, atol=1e-6)
    recipe = perceptual_style.recipe(config)
    params, carry = recipe.init(jax.random.key(0))
    photo = jnp.asarray(perceptual_style.square(wide, 32))[None]
    predict = jit(recipe.predict)
    scored = predict(params, carry, {"image": photo, "photo": photo})
    again = predict(params, carry, {"image": photo, "photo": scored["styled"]})
    assert float(again["content"][0]) == pytest.approx(0, abs=1e-6) and float(scored["content"][0]) > 0
    assert set(predict(params, carry, {"image": photo})) == {"styled"}


def test_a_style_is_read_before_training_and_not_to_predict(tmp_path):
    config = dataclasses.replace(perceptual_style.CONFIGS["quick"], size=32, blocks=1, width=4, vgg_width=1 / 16)
    picture = tmp_path / "style.png"
    config = dataclasses.replace(config, style=str(picture))
    with pytest.raises(UserError, match=r"style\.png"):
        config.check()
    run = Run(tmp_path, perceptual_style.experiment, config)
    run.state = start(run.recipe, jax.random.key(0))
    photos = [np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8) for size in ((1, 1), (7, 30), (16, 20))]
    made = [pictures["styled"] for _, pictures in run.predict(photos)]
    assert [x.shape for x in made] == [photo.shape for photo in photos]
    with pytest.raises(UserError, match=r"style\.png"):
        run.recipe.render({}, {})
    Image.fromarray(photos[2]).save(picture)
    config.check()


def test_a_run_is_scored_as_the_set_asks(tmp_path):
    """By RGB on DIV2K, by luminance elsewhere, a grey photo by what it is."""
    for name, mode in (("a", "RGB"), ("b", "L")):
        pixels = np.random.default_rng(3).integers(0, 256, (40, 44, 3), np.uint8)
        Image.fromarray(pixels).convert(mode).save(tmp_path / f"{name}.png")
    config = sr_div2k.Config(blocks=1, width=4, patch=8, batch=2, steps=1, test="div2k")
    run = Run(tmp_path, sr_div2k.experiment, config)
    run.state = start(run.recipe, jax.random.key(0))
    assert list(run.recipe.metrics) == ["rgb_x2"]
    source = f"photos:{tmp_path}"
    found = run.evaluate(source=source)
    assert set(found) == {"rgb_luminance_x2/psnr", "rgb_luminance_x2/ssim"}
    each = []
    for path in sorted(tmp_path.glob("*.png")):
        example = superres.test_example(decoded(path.read_bytes(), "photo"), scale=2, kind="colour")
        made = run.recipe.predict(run.state.params, {}, {"image": jnp.asarray(example["image"])[None]})["high"][0]
        pair = comparable(np.float64(made), np.float64(example["high"]), 2, channel="luminance", eight_bits=True)
        each.append(10 * np.log10(255**2 / np.mean((pair[0] - pair[1]) ** 2)))
    assert found["rgb_luminance_x2/psnr"] == pytest.approx(np.mean(each), abs=1e-3)


@pytest.mark.parametrize("net", ["srcnn", "fsrcnn", "espcn"])
def test_large_sets_give_pieces_that_fit_the_network(net):
    config = sr_t91.Config(net=net, scale=3, source="imagenet2012")
    crop = sr_t91.cut(config)
    frame = {"image": np.random.default_rng(0).integers(0, 256, (200, 150, 3), np.uint8)}
    rng = np.random.default_rng(0)
    one = superres.train_example(frame, rng, scales=(3,), kind=sr_t91.kind(config), crop=crop)
    recipe = sr_t91.recipe(dataclasses.replace(config, batch=1))
    params, carry = recipe.init(jax.random.key(0))
    batch = {name: jnp.asarray(x)[None] for name, x in one.items()}
    loss = recipe.stages[0].objectives[net].loss
    alone, _ = jit(loss)(params, carry, batch, jax.random.key(0))
    answer = jit(recipe.predict)(params, carry, batch)["high"]
    middle = sr_t91.middle(answer, batch["high"].shape[1:3])  # SRCNN's zeros around reach no pixel of it
    assert float(alone) == pytest.approx(float(jnp.mean((middle - batch["high"]) ** 2)), rel=1e-4)
    learns, _ = sr_t91.networks(config)
    assert learns(params, carry, batch["image"])[0].shape[1] >= one["high"].shape[0] > 8


def test_another_source_is_scored_and_of_a_folder_that_is_trained_on_what_is_not(tmp_path):
    config = sr_t91.Config(source="t91", test="set5")
    assert (config.tested, config.on("set14").source, config.on("set14").test) == ("set5", "", "set14")
    both = dataclasses.replace(config, source=f"t91+photos:{tmp_path}").on(f"photos:{tmp_path}/")
    assert both.source == f"t91+photos:{tmp_path}" and both.test == f"photos:{tmp_path}/"
    assert dataclasses.replace(config, test="").tested == "t91"
    frames = depth_nyu.Config().on("rgbd_folder:mine")
    assert frames.source == frames.tested == "rgbd_folder:mine" and Options().tested == ""
    blank = plan.without_data(config)
    assert (blank.source, blank.test) == (BLANK, BLANK)


def test_init_says_what_training_starts_from():
    def deviations(net, init):
        learns, _ = sr_t91.networks(sr_t91.Config(net=net, init=init))
        params, _ = learns.init(jax.random.key(0))
        return {path[1].key: np.std(x) for path, x in jax.tree.leaves_with_path(params) if x.ndim == 4}

    helpful, paper = (deviations("srcnn", init) for init in ("helpful", "paper"))
    assert all(value == pytest.approx(1e-3, rel=0.1) for value in paper.values())
    assert helpful["conv1"] == pytest.approx((2 / 81) ** 0.5, rel=0.1)
    assert deviations("fsrcnn", "paper")["enlarge"] == pytest.approx(1e-3, rel=0.1)
    assert deviations("fsrcnn", "helpful")["enlarge"] > 0.01
    assert all(sr_t91.CONFIGS[name].init == "paper" for name in ("srcnn", "srcnn_935", "srcnn_955"))


def test_windows_of_training_are_scored_where_the_network_answers():
    config = sr_t91.Config(steps=1)
    recipe, (learns, _) = sr_t91.recipe(config), sr_t91.networks(config)
    params, carry = recipe.init(jax.random.key(0))
    image = jax.random.uniform(jax.random.key(1), (2, 33, 33, 1))
    made = recipe.predict(params, carry, {"image": image, "high": jnp.zeros((2, 21, 21, 1))})["high"]
    np.testing.assert_allclose(made, learns(params, carry, image)[0], atol=1e-6)


def test_photos_that_were_trained_on_need_not_be_there_to_score_others(tmp_path):
    run = Run(tmp_path, sr_t91.experiment, sr_t91.Config(source="t91", test="set5"))
    assert (run.scored().config.source, run.scored().config.test) == ("", "set5")
    assert run.scored("train").config == run.config
    assert run.scored(source="set14").config.test == "set14"


@pytest.mark.parametrize("names", [("photos:{}", "photos:{}/part"), ("t91+photos:{}/part", "photos:{}")])
def test_folders_in_one_another_are_not_trained_and_tested_on(tmp_path, names):
    (tmp_path / "part").mkdir()
    for name in ("a.png", "part/b.png"):
        Image.fromarray(np.zeros((40, 40, 3), np.uint8)).save(tmp_path / name)
    source, test = (name.format(tmp_path) for name in names)
    with pytest.raises(UserError, match="share no photo"):
        superres.superres_data(source, test, scale=2, kind="low", train=superres.Crop(8), batch=1, workers=1)
    for name in ("train", "test"):
        (tmp_path / name).mkdir()
        Image.fromarray(np.zeros((40, 40, 3), np.uint8)).save(tmp_path / name / "c.png")
    whole, part = f"photos:{tmp_path}", f"photos:{tmp_path / 'test'}"
    data = superres.superres_data(whole, part, scale=2, kind="low", train=superres.Crop(8), batch=1, workers=1)
    assert [len(split.source) for split in data.splits.values()] == [1, 1]


def test_a_photo_too_small_to_score_is_named_before_training(tmp_path, capsys):
    for name, size in (("a.png", (40, 40)), ("b.png", (3, 3)), ("c.png", (40, 40))):
        Image.fromarray(np.zeros((*size, 3), np.uint8)).save(tmp_path / name)
    few = dict(scale=3, kind="low", batch=2, workers=1)
    data = superres.superres_data("", f"photos:{tmp_path}", train=superres.Crop(8), **few)
    with pytest.raises(UserError, match=r"b\.png: a photo of 3x3 pixels is too small to score at x3; .* needs 17 rows"):
        list(examples(data.splits["test"]))
    with pytest.raises(UserError, match=r"b\.png: a photo of 3x3"):
        list(eval_batches(data, "test"))
    superres.train_split(open_photos(f"photos:{tmp_path}", "all"), Cut(8, 8), (3,), "low")
    assert capsys.readouterr().err == "note: 1 of 3 photos are smaller than a window and left out\n"


def test_style_is_scored_on_photos_that_are_only_to_test(tmp_path):
    (tmp_path / "test").mkdir()
    Image.fromarray(np.zeros((40, 50, 3), np.uint8)).save(tmp_path / "test" / "a.png")
    config = dataclasses.replace(perceptual_style.CONFIGS["quick"], source=f"photos:{tmp_path}")
    assert list(perceptual_style.data(config).splits) == ["test"]
