"""Membranes: windows, weights and scores by hand, and a run that learns."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from draw import draw
from PIL import Image
from scipy import ndimage

from experiments import membrane_isbi
from pixlab import membrane_task
from pixlab.__main__ import main
from pixlab.core import State
from pixlab.data.border_weights import border_weights, components
from pixlab.data.membrane_examples import Kept, train_window, weighted_frame
from pixlab.data.membranes import in_grey, open_membranes, room_frame
from pixlab.data.pipeline import eval_batches, train_batches
from pixlab.errors import UserError
from pixlab.evaluate import Evaluator
from pixlab.losses.malis import lower_of_two
from pixlab.mesh import make_mesh
from pixlab.metrics.membranes import membrane_scores
from pixlab.metrics.partition import isbi_rand_error, pixel_error, rand_error


def slice_and_label(seed: int, height: int = 60, width: int = 70, noise: float = 15) -> tuple[np.ndarray, np.ndarray]:
    """A grid of bright cells, bent, with dark membranes of three pixels."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width] + rng.uniform(0, 20, (2, 1, 1))
    wave = 3 * np.sin((x + y) / 9)
    label = np.uint8(((y + wave) % 20 >= 3) & ((x + wave) % 25 >= 3))
    return np.uint8(np.clip(60 + 120 * label + rng.normal(0, noise, label.shape), 0, 255)), label


@pytest.fixture(scope="module")
def stack(tmp_path_factory) -> str:
    folder = tmp_path_factory.mktemp("stack")
    for index in range(6):
        image, label = slice_and_label(index, noise=60)
        Image.fromarray(image).save(folder / f"{index}.png")
        Image.fromarray(label).save(folder / f"{index}_label.png")
    return f"isbi2012:{folder}"


def config(stack, name="quick", **changes):
    small = dict(source=stack, width=1 / 16, batch=2, steps=2, workers=1)
    return dataclasses.replace(membrane_isbi.CONFIGS[name], **(small | changes))


def frame(seed=0):
    image, label = slice_and_label(seed)
    return {"image": image[..., None], "label": label[..., None].astype(np.int32)}


# Windows


def test_a_window_is_the_mirrored_slice_turned():
    """Of a picture whose values are all different, a window's are where one of the eight ways to lay it puts them."""
    values = np.arange(13 * 17, dtype=np.int32).reshape(13, 17, 1)
    label = (values % 3 > 0).astype(np.int32)
    whole = {"image": values.astype(np.uint8), "label": label, "weight": values.astype(np.float32)}
    padded = np.pad(values[..., 0], 10, mode="reflect")
    seen = set()
    for seed in range(60):
        found = train_window(whole, np.random.default_rng(seed), window=15, answer=5)
        matches = []
        for kind in range(8):
            turned = np.rot90(padded if kind < 4 else padded[:, ::-1], kind % 4)
            views = np.lib.stride_tricks.sliding_window_view(turned, (15, 15))
            same = np.argwhere((views[:, :, 5:10, 5:10] == found["weight"][..., 0]).all((2, 3)))
            matches += [(kind, views[tuple(at)]) for at in same if (views[tuple(at)] < 256).all()]
        assert matches
        kind, view = matches[0]
        seen.add(kind)
        np.testing.assert_allclose(found["image"][..., 0] * 255, view, atol=1e-3)
        np.testing.assert_array_equal(found["label"][..., 0], view[5:10, 5:10] % 3 > 0)
    assert len(seen) > 4


def test_single_pixels_are_as_often_membrane_as_cell():
    whole = weighted_frame(frame(), w0=0, sigma=5, class_weights=(1, 1))
    assert 0.6 < whole["label"].mean() < 0.8 and (whole["weight"] == 1).all()
    draws = [train_window(whole, np.random.default_rng(s), window=95, answer=1) for s in range(300)]
    labels = np.array([x["label"].item() for x in draws])
    assert 0.4 < labels.mean() < 0.6  # five standard deviations are 0.14
    grey = np.array([x["image"][47, 47, 0] for x in draws]) * 255
    assert grey[labels == 1].mean() > 160 and grey[labels == 0].mean() < 80


def test_bent_windows_keep_their_truth():
    whole = weighted_frame(frame(), w0=10, sigma=5, class_weights=(2, 0.5))
    for seed in range(5):
        found = train_window(
            whole, np.random.default_rng(seed), window=64, answer=40, deviation=3, grey=0.1, cells=True
        )
        image, label = found["image"][12:52, 12:52], found["label"]
        assert image[label == 1].mean() > image[label == 0].mean() + 0.3
        assert found["weight"][label == 1].max() == 0.5 and found["weight"][label == 0].min() > 2
        np.testing.assert_array_equal(found["cells"][..., 0], ndimage.label(label[..., 0])[0])
    straight = train_window(whole, np.random.default_rng(0), window=64, answer=40)
    assert not np.array_equal(straight["label"], found["label"])


def test_weights_are_those_of_the_cells_and_classes_balance(stack):
    settings = config(stack)
    labels = [open_membranes(stack, "train").source[i]["label"] for i in range(5)]
    share = np.mean(labels)
    membrane, cell = membrane_task.class_balance(stack)
    assert membrane * (1 - share) == pytest.approx(0.5) and cell * share == pytest.approx(0.5)
    kept = membrane_isbi.data(settings).splits["train"].source
    expected = border_weights(components(labels[2] == 1), w0=10, sigma=5, class_weights=(membrane, cell))
    np.testing.assert_array_equal(kept[2]["weight"], expected)
    assert expected[labels[2] == 0].max() > membrane + 5


def test_kept_frames_are_read_once():
    read = []
    kept = Kept([3, 4], lambda x: read.append(x) or 10 * x)
    assert [kept[i] for i in (0, 1, 1, 0)] == [30, 40, 40, 30] and read == [3, 4] and len(kept) == 2


def test_outlines_of_rooms():
    thing = np.zeros((5, 8, 1), np.int32)
    thing[:, 4:] = 2
    image = np.zeros((5, 8, 3), np.uint8)
    image[..., 1] = 200
    room = room_frame({"image": image, "label": thing})
    np.testing.assert_array_equal(room["label"][..., 0], [[1, 1, 1, 0, 0, 1, 1, 1]] * 5)
    assert (room["image"] == round(0.587 * 200)).all()
    grey = np.random.default_rng(0).integers(0, 256, (9, 9, 1), np.uint8)
    np.testing.assert_array_equal(in_grey(grey.repeat(3, -1)), grey)


# Scores


def test_scores_are_means_over_slices_at_one_threshold():
    thresholds, rng = (0.3, 0.5, 0.7), np.random.default_rng(0)
    metric = membrane_scores(thresholds)
    truths = [slice_and_label(seed)[1][..., None].astype(np.int32) for seed in range(3)]
    guesses = [np.float32(np.clip(0.7 * t + rng.normal(0.15, 0.15, t.shape), 0, 1)) for t in truths]
    truths.append(np.zeros_like(truths[0]))  # no cell at all: only the pixels count
    guesses.append(np.full_like(guesses[0], 0.6))
    total = None
    for guess, truth in zip(guesses, truths, strict=True):
        one = jax.tree.map(np.float64, metric.stats({"interior": guess}, {"label": truth}))
        total = one if total is None else metric.merge(total, one)
    found = metric.result(total)
    pairs = [(t[..., 0], g[..., 0]) for t, g in zip(truths, guesses, strict=True)]
    errors = [pixel_error(*pair) for pair in pairs]
    assert errors[3] == 1 and found["pixel_error"] == pytest.approx(np.mean(errors), rel=1e-5)
    at = [[pixel_error(*pair, threshold=x) for pair in pairs] for x in thresholds]
    assert found["best_pixel_error"] == pytest.approx(min(np.mean(at, axis=1)))
    assert found["best_pixel_error"] < found["pixel_error"]
    plain = [rand_error(ndimage.label(t)[0], ndimage.label(g > 0.5)[0]) for t, g in pairs[:3]]
    assert found["rand_error"] == pytest.approx(np.mean(plain), rel=1e-4)
    alone = metric.result(metric.stats({"interior": guesses[0]}, {"label": truths[0]}))
    assert alone["rand_error"] == pytest.approx(plain[0]) and alone["pixel_error"] == pytest.approx(errors[0])
    assert alone["isbi_rand_error"] == pytest.approx(isbi_rand_error(*pairs[0], thresholds=thresholds))


def challenge(pairs, threshold):
    """(Rand, pixel) errors of slices by the formulas of the challenge's program, squares and pixels added up."""
    both = true = found = hit = missed = wrong = 0
    for truth, interior in pairs:
        inside, guess = truth != 0, interior > threshold
        hit, missed, wrong = (
            hit + (inside & guess).sum(),
            missed + (inside & ~guess).sum(),
            wrong + (guess > inside).sum(),
        )
        cells, parts = ndimage.label(inside)[0], ndimage.label(guess)[0]
        table = np.zeros((cells.max() + 1, parts.max() + 1))
        np.add.at(table, (cells, parts), 1)
        outside = table[1:, 0].sum()  # of cells, predicted to be membrane: in no part
        both += (table[1:, 1:] ** 2).sum() + outside
        true += (table[1:].sum(1) ** 2).sum()
        found += (table[1:, 1:].sum(0) ** 2).sum() + outside
    precision, recall, exact, complete = both / found, both / true, hit / (hit + wrong), hit / (hit + missed)
    return 1 - 2 * precision * recall / (precision + recall), 1 - 2 * exact * complete / (exact + complete)


def test_errors_of_the_challenge_are_its_programs():
    thresholds, rng = (0.3, 0.5, 0.7), np.random.default_rng(1)
    metric, pairs, total = membrane_scores(thresholds), [], None
    for seed, size in enumerate(((60, 60), (40, 70), (90, 50))):
        truth = slice_and_label(seed, *size)[1].astype(np.int32)
        interior = np.float32(np.clip(0.7 * (truth != 0) + rng.normal(0.15, 0.15, truth.shape), 0, 1))
        pairs.append((truth, interior))
        one = metric.stats({"interior": interior[..., None]}, {"label": truth[..., None]})
        one = jax.tree.map(np.float64, one)
        total = one if total is None else metric.merge(total, one)
    found, errors = metric.result(total), [challenge(pairs, x) for x in thresholds]
    assert found["isbi_rand_error"] == pytest.approx(min(rand for rand, _ in errors), rel=1e-9)
    assert found["isbi_pixel_error"] == pytest.approx(min(pixel for _, pixel in errors), rel=1e-9)
    assert all(len({round(x, 3) for x in column}) == 3 for column in zip(*errors, strict=True))
    of_each = np.mean([[challenge([pair], x)[0] for pair in pairs] for x in thresholds], axis=1)
    assert abs(min(of_each) - found["isbi_rand_error"]) > 1e-4  # a mean of the slices' errors would be another figure


def test_affinities_are_the_lower_of_two():
    interior = jnp.asarray([[0.9, 0.2], [0.5, 0.7]], jnp.float32)[None, ..., None]
    above, before = np.moveaxis(np.asarray(lower_of_two(interior))[0], -1, 0)
    np.testing.assert_allclose(above[1], [0.5, 0.2])
    np.testing.assert_allclose(before[:, 1], [0.2, 0.5])


# The whole


def test_slices_of_different_sizes_are_scored_together(tmp_path):
    for split in ("train", "test"):
        (tmp_path / split).mkdir()
        for index, size in enumerate(((60, 70), (64, 72))):
            image, label = slice_and_label(index, *size)
            Image.fromarray(image).save(tmp_path / split / f"{index}.png")
            Image.fromarray(label).save(tmp_path / split / f"{index}_label.png")
    settings = config(f"isbi2012:{tmp_path}", batch=4)
    as_it_is = Evaluator(
        lambda params, carry, batch: {"interior": batch["image"]}, membrane_task.metrics(), make_mesh(4)
    )
    empty = State(step=jnp.zeros((), jnp.int32), params={}, carry={}, opt={})
    scores = as_it_is(empty, eval_batches(membrane_isbi.data(settings), "test"))
    pairs = [slice_and_label(index, *size) for index, size in enumerate(((60, 70), (64, 72)))]
    errors = [np.mean((image > 127.5) != label) for image, label in pairs]
    assert errors[0] != errors[1] and scores["membrane/pixel_error"] == pytest.approx(np.mean(errors), abs=1e-6)


def test_a_run_learns_and_predicts_photos_of_any_size(stack, tmp_path):
    arguments = ["quick", "--source", stack, "--levels", "2", "--window", "60", "--tile", "60", "--border", "0"]
    arguments += ["--steps", "80", "--width", "0.125", "--batch", "4", "--eval-every", "0", "--workers", "1"]
    run = membrane_isbi.experiment.main([*arguments, "--run", str(tmp_path / "run")])
    columns, (ours, *others) = run.result["columns"], run.result["rows"]
    scores = {row[0]: dict(zip(columns, row, strict=True)) for row in (ours, *others)}
    for name in ("pixel_error", "isbi_rand_error"):
        assert scores["this run"][f"membrane/{name}"] < 0.7 * scores["grey values"][f"membrane/{name}"]
    none = scores["no membrane"]["membrane/pixel_error"]
    assert none == pytest.approx(1 - slice_and_label(5)[1].mean(), abs=1e-6)
    assert not [row for row in scores if "published" in row]  # which is of another stack
    image, label = slice_and_label(7, 75, 41, noise=60)
    Image.fromarray(image).save(tmp_path / "grey.png")
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (3, 5, 3), np.uint8)).save(tmp_path / "colour.png")
    photos = [str(tmp_path / f"{name}.png") for name in ("grey", "colour")]
    main(["predict", str(tmp_path / "run"), *photos, "--out", str(tmp_path / "out")])
    shown = {
        name: np.asarray(Image.open(tmp_path / "out" / f"{name}.png"))
        for name in ("grey_membrane", "grey_cells", "grey_cells_colour", "colour_membrane", "colour_cells")
    }
    assert shown["grey_membrane"].shape == (75, 41) and shown["colour_membrane"].shape == (3, 5)
    assert pixel_error(label, 1 - shown["grey_membrane"] / 255) < 0.15
    cells = shown["grey_cells"].astype(int)
    sizes = np.bincount(cells.ravel())[1:]
    assert len(sizes) > 5 and (np.diff(sizes) <= 0).all() and sizes[-1] > 0
    assert np.abs((cells > 0).astype(int) - (shown["grey_membrane"] < 127.5)).mean() < 0.01
    assert (shown["grey_cells_colour"][cells == 0] == 0).all()


def test_malis_is_a_second_stage_that_lowers_its_loss(stack):
    settings = config(stack, levels=1, window=40, tile=40, deviation=0, malis_steps=4, malis_lr=3e-3)
    settings.check()
    recipe, data = membrane_isbi.recipe(settings), membrane_isbi.data(settings)
    batch = jax.tree.map(jnp.asarray, next(train_batches(data, seed=0, start=0)))
    assert len(np.unique(batch["cells"])) > 3
    objective = recipe.stages[1].objectives["malis"]
    params = {"unet": draw(membrane_isbi.nets(settings)[0].module, batch["image"])["params"]}

    def loss(params, batch):
        return objective.loss(params, {}, batch, jax.random.key(1))[0]

    step = jax.jit(jax.value_and_grad(loss), compiler_options={"xla_backend_optimization_level": 0})
    state, losses = objective.tx.init(params), []
    for _ in range(4):
        value, slope = step(params, batch)
        losses.append(float(value))
        change, state = objective.tx.update(slope, state, params)
        params = jax.tree.map(jnp.add, params, change)
    assert losses[-1] < losses[0] < 2


def test_n4_answers_for_a_pixel_of_a_slice_what_it_learns_from_the_window_around_it(stack):
    settings = config(stack, "ciresan", width=1 / 8, batch=1)
    recipe, (learns, _) = membrane_isbi.recipe(settings), membrane_isbi.nets(settings)
    image = np.random.default_rng(0).random((60, 70, 1), np.float32)
    params = {"n4": draw(learns.module, jnp.zeros((1, 95, 95, 1)))["params"]}
    compiled = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
    found = np.asarray(compiled(recipe.predict)(params, {}, {"image": image[None]})["interior"])[0, ..., 0]
    mirrored = np.pad(image, ((47, 47), (47, 47), (0, 0)), mode="reflect")
    places = [(0, 0), (59, 69), (31, 8), (17, 40)]
    views = np.stack([mirrored[y : y + 95, x : x + 95] for y, x in places])
    logits, _ = compiled(lambda p, x: learns(p, {}, membrane_isbi.centred(x)))(params, views)
    expected = jax.nn.softmax(np.reshape(logits, (4, 2)))[:, 1]
    np.testing.assert_allclose([found[at] for at in places], expected, atol=1e-5)
    assert np.ptp(expected) > 1e-3


@pytest.mark.parametrize("name", ["unet", "ciresan"])
def test_networks_have_the_published_size_and_answer_for_whole_slices(stack, name):
    settings = config(stack, name, width=1 / 16, batch=1)
    recipe = membrane_isbi.recipe(settings)
    shapes = jax.eval_shape(recipe.init, jax.random.key(0))
    made = jax.eval_shape(recipe.predict, *shapes, {"image": jnp.zeros((1, 60, 700, 1))})
    assert made["interior"].shape == (1, 60, 700, 1)
    whole = dataclasses.replace(membrane_isbi.CONFIGS[name])
    params, _ = jax.eval_shape(membrane_isbi.recipe(whole).init, jax.random.key(0))
    assert sum(x.size for x in jax.tree.leaves(params)) == {"unet": 31_030_658, "ciresan": 219_290}[name]


def test_only_the_set_itself_has_a_published_row(stack):
    assert membrane_isbi.published(config("rooms")) == membrane_isbi.published(config(stack)) == {}
    (row,) = membrane_isbi.published(membrane_isbi.CONFIGS["ciresan"]).values()
    assert row == {"membrane/isbi_pixel_error": 0.0613, "membrane/isbi_rand_error": 0.0504}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (dict(levels=4, window=570), "does not halve evenly"),
        (dict(levels=4, window=316, tile=188), "--tile 188: has 4 rows of answers; give one with 16 or more"),
        (dict(net="n4", window=96, tile=110), r"size 96 does not fit; take 95 or 16\*k \+ 94"),
        (dict(net="n4", window=95, tile=111), "size 111 does not fit"),
        (dict(net="n4", window=95, tile=95), "--tile 95: has 1 rows of answers"),
        (dict(net="n4", window=95, tile=110, malis_steps=1), "--malis-steps 1: pixels need neighbours"),
        (dict(net="n4", window=94, tile=110), "size 94 does not fit"),
        (dict(sigma=0.0), "--sigma must be at least 0.01"),
        (dict(steps=0), "--steps must be at least 1"),
    ],
)
def test_wrong_options(stack, changes, words):
    with pytest.raises(UserError, match=words):
        config(stack, **changes).check()
