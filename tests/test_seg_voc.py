"""Rates, multipliers and policies of the networks on VOC, what each stage learns, and which labels are learnt."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from experiments import seg_camvid, seg_voc, seg_voc_deeplab, seg_voc_dilated, seg_voc_refinenet
from pixlab import seg_task
from pixlab.errors import UserError
from pixlab.models.context import Context
from pixlab.models.deeplab import multi_scale
from pixlab.nn.upsample import resize_corners

jit = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})


def moves(tx, names, steps=1, value=2.0, gradient=3.0):
    """How far each parameter net/NAME, worth `value`, moves in each of the steps under a constant gradient."""
    params, found = nested(names, value), []
    grads, state = nested(names, gradient), tx.init(params)
    for _ in range(steps):
        updates, state = tx.update(grads, state, params)
        params = optax.apply_updates(params, updates)
        flat = jax.tree_util.tree_leaves_with_path(updates)
        by_name = {"/".join(key.key for key in path[1:]): float(x) for path, x in flat}
        found.append([by_name[name] for name in names])
    return np.array(found)


def nested(names, value):
    """Parameters of one network by their paths, all worth `value`."""
    tree = {}
    for name in names:
        *folders, last = name.split("/")
        functools.reduce(lambda at, key: at.setdefault(key, {}), folders, tree)[last] = jnp.float32(value)
    return {"net": tree}


def test_fcn_learns_biases_at_twice_the_rate_without_decay_a_hundredth_each_stage():
    recipe = seg_voc.recipe(dataclasses.replace(seg_voc.CONFIGS["fcn8s"], width=1 / 64, source="blank:voc2012"))
    assert [list(stage.objectives) for stage in recipe.stages] == [["fcn32s"], ["fcn16s"], ["fcn8s"]]
    assert [stage.steps for stage in recipe.stages] == [100_000] * 3
    names = ["trunk/conv1_1/kernel", "trunk/conv1_1/bias", "score_fr/kernel"]
    decayed = 3 + 5e-4 * 2
    for stage, rate in zip(recipe.stages, (1e-10, 1e-12, 1e-14), strict=True):
        (objective,) = stage.objectives.values()
        first, second = moves(objective.tx, names, steps=2)
        np.testing.assert_allclose(first, -rate * np.array([decayed, 2 * 3, decayed]), rtol=1e-5)
        np.testing.assert_allclose(second, 1.99 * first, rtol=1e-5)  # momentum 0.99


def test_a_fixed_network_learns_its_scores_alone():
    tx = seg_voc.optimiser(seg_voc.CONFIGS["fcn32s_fixed"], 1.0)
    names = ["trunk/conv1_1/kernel", "fc6/bias", "score_fr/kernel", "score_fr/bias"]
    np.testing.assert_allclose(moves(tx, names), [[0, 0, -3.001, -6]], rtol=1e-5)


def test_each_stage_of_fcn_adds_scores_that_stay_zero_before():
    settings = dataclasses.replace(seg_voc.CONFIGS["quick"], crop=(32, 40), size=(32, 40), width=1 / 64)
    recipe = seg_voc.recipe(settings)
    params, carry = jax.eval_shape(recipe.init, jax.random.key(0))
    rng = np.random.default_rng(0)
    params = jax.tree.map(lambda x: jnp.asarray(0.3 * rng.normal(size=x.shape), jnp.float32), params)
    batch = {
        "image": jnp.asarray(rng.uniform(size=(1, 32, 40, 3)), jnp.float32),
        "label": jnp.asarray(rng.integers(0, 5, (1, 32, 40, 1)), jnp.int32),
    }
    moving = []
    for stage in recipe.stages[:2]:
        (objective,) = stage.objectives.values()
        scores = {name: tree for name, tree in params["fcn"].items() if name.startswith("score_")}

        def value(scores, of=objective):
            return of.loss({"fcn": params["fcn"] | scores}, carry, batch, jax.random.key(0))[0]

        grads = jit(jax.grad(value))(scores)
        moving.append({name for name in grads if np.any(grads[name]["kernel"])})
    assert moving == [{"score_fr"}, {"score_fr", "score_pool4"}]


def test_deeplabs_last_layer_learns_ten_times_as_fast_and_the_rate_falls_by_a_power():
    settings = dataclasses.replace(seg_voc_deeplab.CONFIGS["aspp_l"], steps=4)
    names = ["trunk/conv5_3/kernel", "fc6_12/bias", "fc8_12/kernel", "fc8_12/bias"]
    found = moves(seg_voc_deeplab.optimiser(settings), names, steps=4)
    value, speed = np.full(4, 2.0), np.zeros(4)
    for step in range(4):
        each = (3 + 5e-4 * np.array([value[0], 0, value[2], 0])) * [1, 2, 10, 20]
        speed = 0.9 * speed + each
        move = -1e-3 * (1 - step / 4) ** 0.9 * speed
        np.testing.assert_allclose(found[step], move, rtol=1e-5)
        value = value + move


def test_the_first_deeplabs_rate_falls_in_steps():
    tx = seg_voc_deeplab.optimiser(dataclasses.replace(seg_voc_deeplab.CONFIGS["large_fov_v1"], decay=0.0))
    params = {"net": {"fc6_12": {"kernel": jnp.zeros(())}}}

    def step(state, _):
        updates, state = tx.update(jax.tree.map(jnp.ones_like, params), state, params)
        return state, updates["net"]["fc6_12"]["kernel"]

    _, found = jit(lambda: jax.lax.scan(step, tx.init(params), length=4001))()
    np.testing.assert_allclose(found[jnp.array([1999, 2000, 4000])], [-1e-2, -1e-3, -1e-4], rtol=1e-4)  # 1 / (1 - 0.9)


def test_resnets_normalisation_is_held():
    names = ["trunk/bn1/scale", "trunk/conv1/kernel", "rate6/kernel", "rate6/bias"]
    found = moves(seg_voc_deeplab.optimiser(seg_voc_deeplab.CONFIGS["resnet101"]), names)
    np.testing.assert_allclose(found[0], -2.5e-4 * np.array([0, 3.001, 30.01, 60]), rtol=1e-5)
    refine = moves(seg_voc_refinenet.optimiser(seg_voc_refinenet.CONFIGS["resnet50"]), [*names[:2], "adapt4/kernel"])
    np.testing.assert_allclose(refine[0], -5e-4 * np.array([0, 0.3001, 3.001]), rtol=1e-5)


def test_fcns_scores_have_a_rate_of_their_own_on_camvid():
    settings = dataclasses.replace(seg_camvid.CONFIGS["fcn8s"], score_rate=50.0)
    found = moves(seg_camvid.optimiser(settings), ["trunk/conv1_1/kernel", "fc6/kernel", "score_pool3/kernel"])
    np.testing.assert_allclose(found[0], -1e-3 * 3.001 * np.array([1, 1, 50]), rtol=1e-5)


@pytest.mark.parametrize(("net", "norm"), [("segnet", (3.001, 3)), ("segnet_basic", (3.001, 3.001))])
def test_segnets_rates_are_those_of_its_releases(net, norm):
    names = ["conv1_bn/scale", "conv1_bn/bias", "conv1/kernel", "conv1/bias"]
    settings = dataclasses.replace(seg_camvid.CONFIGS[net], lr=1.0)
    found = moves(seg_camvid.optimiser(settings), names)
    np.testing.assert_allclose(found[0], -np.array([*norm, 3.001, 6]), rtol=1e-6)


@pytest.mark.parametrize("experiment", [seg_voc, seg_voc_deeplab, seg_voc_refinenet])
@pytest.mark.parametrize(("photo", "part"), [((375, 500), 1.0), ((1000, 1300), None)])
def test_photos_are_seen_as_pictures_of_their_size_are_scored(experiment, photo, part):
    settings = dataclasses.replace(next(c for c in experiment.CONFIGS.values() if c.keep), source="blank:voc2012")
    image = np.random.default_rng(0).integers(0, 256, (*photo, 3), np.uint8)
    scored = seg_task.data(settings).splits["test"].map({"image": image, "label": np.zeros((*photo, 1), np.int32)})
    seen = seg_task.photo(settings, image)["image"]
    assert (seen.shape[:2] == photo) == (part == 1.0) and tuple(scored["seen"]) == seen.shape[:2]
    np.testing.assert_allclose(scored["image"][: seen.shape[0], : seen.shape[1]], seen, atol=1 / 255)


def test_answers_of_deeplab_lie_on_their_pixels_in_photos_of_any_size():
    scores = jnp.asarray(np.random.default_rng(0).normal(size=(1, 5, 9, 2)), jnp.float32)
    exact, wider = (seg_task.enlarged(scores, size, stride=8) for size in ((33, 65), (35, 70)))
    np.testing.assert_allclose(exact, resize_corners(scores, (33, 65)), atol=1e-5)
    np.testing.assert_allclose(wider[:, :33, :65], exact, atol=1e-5)


@pytest.mark.parametrize(("cells", "every"), [(5, 8), (3, 16)])
def test_deeplab_learns_the_labels_under_its_scores(cells, every):
    settings = dataclasses.replace(seg_voc_deeplab.CONFIGS["aspp_l"], source="blank:voc2012")
    rng = np.random.default_rng(0)
    label = rng.integers(0, 21, (1, 33, 33, 1)).astype(np.int32)
    label[0, 0, :16] = 255
    logits = rng.normal(size=(1, cells, cells, 21)).astype(np.float32)
    value = seg_voc_deeplab.at_scores(settings, jnp.asarray(logits), {"label": jnp.asarray(label)})
    terms = []
    for i in range(cells):
        for j in range(cells):
            if (true := label[0, i * every, j * every, 0]) != 255:
                terms.append(np.log(np.exp(logits[0, i, j]).sum()) - logits[0, i, j, true])
    assert len(terms) < cells**2 and float(value) == pytest.approx(np.mean(terms), rel=1e-5)


def test_refinenet_learns_the_labels_in_the_middle_of_its_scores_and_enlarges_them_there():
    settings = dataclasses.replace(
        seg_voc_refinenet.CONFIGS["quick"], source="blank:voc2012", width=1 / 64, dtype="float32"
    )
    rng = np.random.default_rng(0)
    label = rng.integers(0, 21, (1, 12, 20, 1)).astype(np.int32)
    label[0, 2, :10] = 255
    logits = rng.normal(size=(1, 3, 5, 21)).astype(np.float32)
    value = seg_voc_refinenet.at_scores(settings, jnp.asarray(logits), {"label": jnp.asarray(label)})
    terms = []
    for i in range(3):
        for j in range(5):
            if (true := label[0, 4 * i + 2, 4 * j + 2, 0]) != 255:
                terms.append(np.log(np.exp(logits[0, i, j]).sum()) - logits[0, i, j, true])
    assert len(terms) < 15 and float(value) == pytest.approx(np.mean(terms), rel=1e-5)
    recipe = seg_voc_refinenet.recipe(settings)
    params, carry = jit(recipe.init)(jax.random.key(0))
    image = jnp.asarray(rng.random((1, 64, 64, 3)), jnp.float32)
    found = np.asarray(jit(recipe.predict)(params, carry, {"image": image})["logits"])
    assert found.shape == (1, 64, 64, 21)
    # linear between centres, which lie at 4 i + 1.5: from pixels 4 i + 2 and 4 i + 3 on both sides follow
    centres = 1.5 * found[:, 2:-2:4] - 0.5 * found[:, 3:-1:4]
    for pixel, part in ((4, 5 / 8), (5, 7 / 8)):
        mixed = (1 - part) * centres[:, :-1] + part * centres[:, 1:]
        np.testing.assert_allclose(found[:, pixel : 4 * 14 + pixel : 4], mixed, atol=1e-4 * np.abs(found).max())


def test_scores_lie_on_their_pixels():
    cells = jnp.arange(3.0)[None, :, None, None] + 10 * jnp.arange(4.0)[None, None, :, None]
    found = np.asarray(seg_task.enlarged(cells, (24, 32), stride=8))[0, :, :, 0]
    for y in range(24):
        for x in range(32):
            assert found[y, x] == pytest.approx(min(y / 8, 2) + 10 * min(x / 8, 3), abs=1e-5)


@pytest.mark.parametrize("scale", [0.5, 0.75, 1.0])
def test_scales_of_deeplab_lie_on_one_another_in_photos_of_any_size(scale):
    """A picture that says where its pixels are, and a network that gives every eighth of them."""
    places = np.stack([*np.mgrid[:375, :500], np.zeros((375, 500))], axis=-1)[None]
    found, (single,) = multi_scale(lambda image: image[:, ::8, ::8], jnp.asarray(places, jnp.float32), scales=(scale,))
    seen = np.asarray(single)[0, -1, -1]  # the last cell; beyond it the nearest goes on
    np.testing.assert_allclose(found[0, ..., :2], np.minimum(places[0, ::8, ::8, :2], seen[:2]), atol=1e-2)
    assert found.shape == (1, 47, 63, 3) and (seen[:2] > (365, 490)).all()


@pytest.fixture(scope="module")
def dilated():
    """Config, recipe and parameters of a narrow front end without a context module."""
    settings = dataclasses.replace(
        seg_voc_dilated.CONFIGS["front"], width=1 / 64, source="blank:voc2012", weights="", crop=(380, 388)
    )
    recipe, rng = seg_voc_dilated.recipe(settings), np.random.default_rng(0)
    shapes = jax.eval_shape(recipe.init, jax.random.key(0))[0]
    params = jax.tree.map(lambda x: np.float32(rng.normal(size=x.shape) / np.sqrt(x.size / x.shape[-1])), shapes)
    return settings, recipe, params


def test_the_dilated_network_answers_where_it_learns(dilated):
    """Of a window to learn from the inner pixels count: the loss is that of the answer at the first pixel of a cell."""
    settings, _, params = dilated
    recipe = seg_voc_dilated.recipe(dataclasses.replace(settings, context="basic", context_steps=1))
    params |= {"context": Context(False).init(jax.random.key(0), jnp.zeros((1, 8, 8, 21)))["params"]}
    rng = np.random.default_rng(1)
    inner = rng.random((1, 8, 16, 3), np.float32)
    whole = np.pad(inner, ((0, 0), (186, 186), (186, 186), (0, 0)), mode="reflect")
    label = np.full((1, 380, 388, 1), 255, np.int32)
    label[:, 186:-186, 186:-186] = rng.integers(0, 21, (1, 8, 16, 1))
    answer = jax.nn.log_softmax(jit(recipe.predict)(params, {}, {"image": inner})["logits"])
    batch, objective = {"image": whole, "label": label}, recipe.stages[1].objectives["context"]
    value, _ = jit(objective.loss)(params, {}, batch, jax.random.key(0))
    terms = [-answer[0, 0, x, label[0, 186, 186 + x, 0]] for x in (0, 8)]
    assert float(value) == pytest.approx(float(np.mean(terms)), rel=1e-4) and np.ptp(answer) > 0.1


def test_a_picture_in_a_window_is_answered_like_the_photo_itself(dilated):
    _, recipe, params = dilated
    image = np.random.default_rng(2).random((1, 27, 45, 3), np.float32)
    window = np.pad(image, ((0, 0), (0, 13), (0, 3), (0, 0)))
    alone = jit(recipe.predict)(params, {}, {"image": image})["logits"]
    found = jit(recipe.predict)(params, {}, {"image": window, "seen": np.int32([[27, 45]])})["logits"]
    np.testing.assert_allclose(found[:, :27:8, :45:8], alone[:, ::8, ::8], atol=1e-5 * float(np.abs(alone).max()))
    assert np.ptp(alone) > 1e-3


@pytest.mark.parametrize("module", [seg_voc, seg_voc_deeplab])
def test_published_rows_are_of_the_named_networks(module):
    for name in module.PUBLISHED:
        assert module.row(module.CONFIGS[name]) == name
        assert all(0 < x < 1 for row in module.published(module.CONFIGS[name]).values() for x in row.values())
        assert module.published(dataclasses.replace(module.CONFIGS[name], source="rooms")) == {}
    assert seg_voc.published(seg_voc.CONFIGS["fcn8s"])["FCN-8s, CVPR"]["label/mean_iu"] == pytest.approx(0.627)


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (dataclasses.replace(seg_voc.CONFIGS["fcn8s"], strides=(8, 16)), "--strides must be one of 32 | 32 16"),
        (dataclasses.replace(seg_voc.CONFIGS["alexnet"], strides=(32, 16)), "--strides must be one of 32,"),
        (dataclasses.replace(seg_voc.CONFIGS["fcn8s"], at_once=True), "--strides 8 with it"),
        (dataclasses.replace(seg_voc.CONFIGS["alexnet"], padded=True), "--padded is for"),
        (dataclasses.replace(seg_voc_deeplab.CONFIGS["aspp_l"], scales=()), "--scales and --rates need"),
        (dataclasses.replace(seg_voc_deeplab.CONFIGS["aspp_l"], rates=(6, 6)), "--rates none twice"),
        (dataclasses.replace(seg_voc_deeplab.CONFIGS["aspp_l"], crop=(320, 320)), "multiples of 8 and one more"),
        (dataclasses.replace(seg_voc_dilated.CONFIGS["front"], crop=(372, 500)), "larger than 372"),
        (dataclasses.replace(seg_voc_dilated.CONFIGS["front"], context="basic"), "--context-steps"),
        (dataclasses.replace(seg_camvid.CONFIGS["unet"], weights="x.h5"), "--net fcn8s"),
        (dataclasses.replace(seg_camvid.CONFIGS["unet"], shrink=0.0), "--shrink 0.0"),
    ],
)
def test_wrong_options(config, words):
    with pytest.raises(UserError, match=words.replace("|", r"\|")):
        config.check()
