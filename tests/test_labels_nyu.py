"""The labels experiment: what the networks see, what is scored, how much a class counts, how fast a layer learns."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from experiments import depth_nyu, labels_nyu
from experiments.depth_nyu_eigen2014 import CONFIGS as EIGEN2014
from experiments.depth_nyu_eigen2014 import optimiser as optimiser_2014
from experiments.depth_nyu_eigen2014 import part as part_2014
from pixlab import core, maps, rgbd_task
from pixlab.data import transforms
from pixlab.data.images import write_depth_png
from pixlab.data.rgbd import rgbd_data
from pixlab.errors import UserError
from pixlab.metrics.crops import EIGEN_REGION, Crop
from pixlab.run import Run, claim

TINY = dict(width=1 / 16, frame=(80, 104), crop=(76, 100), truth=(160, 208), batch=2, coarse_steps=1, fine_steps=1)


def small(**options):
    return labels_nyu.Config(**TINY | {"classes": 5, **options})


@pytest.fixture(scope="module", autouse=True)
def compiled_fast():
    """Compiling fast matters more than fast code."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Four frames of noise, of which one has a rare class."""
    rng, place = np.random.default_rng(3), tmp_path_factory.mktemp("labelled")
    for number in range(4):
        label = rng.integers(0, 4, (80, 104)).astype(np.uint8)
        if number == 1:
            label[:8, :8] = 5
        Image.fromarray(rng.integers(0, 256, (80, 104, 3), np.uint8)).save(place / f"{number}_rgb.png")
        write_depth_png(place / f"{number}_depth.png", rng.uniform(1, 4, (80, 104, 1)).astype(np.float32))
        Image.fromarray(label).save(place / f"{number}_label.png")
    (place / "train.txt").write_text("0\n1\n2\n")
    (place / "test.txt").write_text("3\n")
    return place


def test_measured_geometry_is_scored_at_the_pixels_of_the_image():
    config = small(geometry="true")
    rng = np.random.default_rng(0)
    depth = rng.uniform(1, 9, (160, 208, 1)).astype(np.float32)
    raw = {"image": np.zeros((160, 208, 3), np.uint8), "depth": depth, "normal": depth * np.float32([1, 2, 3])}
    expected = transforms.centre(transforms.resize(raw, size=config.frame), size=config.crop)
    whole = {name: jnp.asarray(raw[name])[None] for name in ("depth", "normal")}
    got = rgbd_task.central(config, whole, ("depth", "normal"))
    for name in ("depth", "normal"):
        np.testing.assert_array_equal(got[name][0], expected[name])


def test_scores_count_the_nearest_prediction_inside_what_is_covered():
    config = small()
    rng = np.random.default_rng(1)
    logits, label = rng.normal(size=(33, 45, 6)).astype(np.float32), rng.integers(0, 6, (160, 208, 1)).astype(np.int32)
    region = depth_nyu.part(config).in_middle_of(config.frame)
    rows, columns = region.slices(160, 208)
    right = total = 0
    for y in range(rows.start, rows.stop):
        for x in range(columns.start, columns.stop):
            if label[y, x, 0]:
                i = int((y - rows.start + 0.5) * 33 / (rows.stop - rows.start))
                j = int((x - columns.start + 0.5) * 45 / (columns.stop - columns.start))
                total += 1
                right += int(np.argmax(logits[i, j]) == label[y, x, 0])
    metric = labels_nyu.metrics(config)["label"]
    stats = jax.tree.map(np.asarray, metric.stats({"logits": jnp.asarray(logits)}, {"label": jnp.asarray(label)}))
    assert metric.result(stats)["pixel_accuracy"] == pytest.approx(right / total, abs=1e-7)
    assert stats.sum() == total


def test_class_weights_are_those_of_the_training_frames(folder):
    config = small(source=f"rgbd_folder:{folder}", class_weights="median_frequency")
    labels = [np.asarray(Image.open(folder / f"{number}_label.png")) for number in range(3)]
    frequency = {}
    for c in range(1, 6):
        having = [label for label in labels if (label == c).any()]
        if having:
            frequency[c] = sum((x == c).sum() for x in having) / sum((x > 0).sum() for x in having)
    median = np.median(list(frequency.values()))
    expected = [median / frequency[c] if c in frequency else 0 for c in range(6)]
    np.testing.assert_allclose(labels_nyu.weights(config), expected, rtol=1e-12)
    assert expected[5] > 10 and expected[4] == 0 and labels_nyu.weights(small()) is None


def test_labels_beyond_the_classes_are_refused_when_read(folder):
    sizes = dict(frame=(80, 104), crop=(76, 100), truth=(80, 104), batch=2, workers=1, maps=("label",))
    split = rgbd_data(f"rgbd_folder:{folder}", **sizes, classes=4).splits["train"]
    assert split.map(split.source[0])["label"].max() == 3
    for read in (split.map, lambda frame: split.augment(frame, np.random.default_rng(0))):
        with pytest.raises(UserError, match="label 5, but there are 4 classes"):
            read(split.source[1])
    with pytest.raises(UserError, match="give --classes 16"):
        labels_nyu.data(small(source="rooms"))


def test_class_files_are_the_nearest_classes_of_the_covered_part():
    label = np.array([[[1], [2], [3]], [[4], [5], [0]]])
    photo = np.zeros((6, 10, 3), np.uint8)
    files = maps.label_files(photo, label, classes=6, covers=Crop(1, 5, 2, 8, 6, 10))
    expected = np.pad(label[..., 0].repeat(2, 0).repeat(2, 1), ((1, 1), (2, 2)), mode="edge")
    np.testing.assert_array_equal(files["label"], expected)
    assert files["label"].dtype == np.uint8 and (files["label_colour"][expected == 0] == 128).all()
    assert len({tuple(rgb) for rgb in files["label_colour"].reshape(-1, 3)}) == 6
    with pytest.raises(UserError, match="8-bit"):
        maps.label_files(photo, label, classes=300)


def rates(tx, params):
    """By path: what one step adds to weights of 0 for a gradient of 1, and to weights of 1 for a gradient of 0."""
    pairs = []
    for weight, gradient in ((0.0, 1.0), (1.0, 0.0)):
        values, grads = (jax.tree.map(lambda x, v=v: jnp.full((1,), v), params) for v in (weight, gradient))
        updates, _ = tx.update(grads, tx.init(values), values)
        paths = jax.tree_util.tree_leaves_with_path(updates)
        pairs.append({"/".join(str(k.key) for k in path): -float(x[0]) for path, x in paths})
    return {path: (rate, pairs[1][path] / rate) for path, rate in pairs[0].items()}


def test_learning_rates_of_labels():
    params, _ = jax.eval_shape(labels_nyu.recipe(small(geometry="true")).init, jax.random.key(0))
    got = rates(depth_nyu.optimiser(small(), 1.0, 1), params)
    table = {
        "scale1/trunk/conv3/kernel": (0.001, 5e-4), "scale1/fc2/kernel": (0.1, 1e-5),
        "scale2/first/conv1/kernel": (0.001, 1e-4), "scale2/first/conv1_depth/kernel": (0.001, 1e-4),
        "scale3/first/conv1_normal/kernel": (0.001, 1e-4), "scale2/labels/conv4/kernel": (0.01, 1e-4),
        "scale2/labels/conv5/kernel": (0.001, 1e-4), "scale3/labels/conv3/kernel": (0.01, 1e-4),
        "scale3/labels/conv4/bias": (0.001, 1e-4),
    }  # fmt: skip
    for path, expected in table.items():
        assert got[path] == pytest.approx(expected, rel=1e-4), path


def test_learning_rates_of_the_two_scales_of_2014():
    from experiments.depth_nyu_eigen2014 import recipe

    config = dataclasses.replace(EIGEN2014["coarse_fine"], width=1 / 16, frame=(80, 104), crop=(76, 100))
    params, _ = jax.eval_shape(recipe(config).init, jax.random.key(0))
    table = {"coarse/trunk": (0.001, 5e-4), "coarse/fc": (0.1, 1e-4), "fine/conv1": (0.001, 1e-4),
             "fine/conv2": (0.01, 1e-4), "fine/conv3": (0.001, 1e-4)}  # fmt: skip
    got = rates(optimiser_2014(config, 1), params)
    assert len(got) == 20
    for path, pair in got.items():
        (expected,) = (value for start, value in table.items() if path.startswith(start))
        assert pair == pytest.approx(expected, rel=1e-4), path


def test_the_map_of_2014_covers_the_region_that_is_scored():
    region = part_2014(EIGEN2014["coarse_fine"]).in_middle_of((240, 320))
    for size in ((240, 320), (480, 640), (120, 160)):
        assert region.slices(*size) == EIGEN_REGION.slices(*size)


@pytest.fixture(scope="module")
def depth_run(tmp_path_factory):
    """A depth run that has been started: random networks, saved."""
    from pixlab.checkpoint import Checkpoints
    from pixlab.train import abstract_state

    where = tmp_path_factory.mktemp("runs") / "depth"
    config = depth_nyu.Config(**TINY, optimiser="adam")
    claim(where, depth_nyu.experiment, "alexnet", config)
    run = Run.open(where)
    state = core.enter(run.recipe.stages[-1], core.start(run.recipe, jax.random.key(5)))
    state = state.replace(step=jnp.int32(run.recipe.steps))
    checkpoints = Checkpoints(where / "checkpoints", abstract_state(run.recipe, run.mesh))
    checkpoints.save(state, step=run.recipe.steps, batches=0)
    checkpoints.close()
    return run, state


def test_predicted_geometry_comes_from_the_depth_run_which_is_held(depth_run):
    run, theirs = depth_run
    config = small(geometry="predicted", depth_run=str(run.folder), optimiser="adam", lr=1e-3)
    recipe = labels_nyu.recipe(config)
    key = jax.random.key(0)
    state = jax.jit(lambda k: core.start(recipe, k, recipe.pretrained))(key)

    def same(a, b):
        return all(jax.tree.leaves(jax.tree.map(np.array_equal, a, b)))

    assert same(state.params["geometry"], theirs.params)
    batch = {"image": jax.random.uniform(key, (2, 76, 100, 3)), "label": jnp.ones((2, 76, 100, 1), jnp.int32)}
    predict = jax.jit(recipe.predict)
    before = predict(state.params, {}, batch)["logits"]
    farther = jax.tree.map(lambda x: x, state.params)
    farther["geometry"]["scale3"]["depth"]["conv4"]["bias"] += 0.5
    assert float(jnp.abs(predict(farther, {}, batch)["logits"] - before).max()) > 1e-6
    after, _ = jax.jit(core.make_step(recipe.stages[0]))(state, batch, key)
    assert same(after.params["geometry"], theirs.params)
    assert not same(after.params["scale2"], state.params["scale2"])


def test_a_depth_run_that_does_not_fit_is_refused(depth_run, tmp_path):
    run, _ = depth_run
    with pytest.raises(UserError, match="needs --depth-run"):
        labels_nyu.recipe(small(geometry="predicted"))
    with pytest.raises(UserError, match="no run here"):
        labels_nyu.recipe(small(geometry="predicted", depth_run=str(tmp_path)))
    with pytest.raises(UserError, match=r"takes images of \(76, 100\)"):
        labels_nyu.recipe(small(geometry="predicted", depth_run=str(run.folder), crop=(68, 92)))
    claim(tmp_path / "alone", depth_nyu.experiment, "alexnet", depth_nyu.Config(**TINY, tasks=("depth",)))
    with pytest.raises(UserError, match="predicts depth and normals"):
        labels_nyu.recipe(small(geometry="predicted", depth_run=str(tmp_path / "alone")))
    begun = Run.open(run.folder)
    begun.state = run.state.replace(step=jnp.int32(1))
    with pytest.raises(UserError, match=f"has made 1 of its {run.recipe.steps} steps; let it end first"):
        begun.finished_params()
    with pytest.raises(UserError, match="photos lack"):
        labels_nyu.photo(small(geometry="true"), np.zeros((50, 70, 3), np.uint8))


def test_figures_stand_beside_runs_of_the_same_kind_only():
    rows = labels_nyu.published(labels_nyu.CONFIGS["rgb_scales123"])
    assert rows["scale 1+2+3"] == {"label/pixel_accuracy": 0.753} and len(rows) == 4
    assert labels_nyu.published(labels_nyu.CONFIGS["classes13"])["scale 2"] == {"label/pixel_accuracy": 0.651}
    assert not labels_nyu.published(labels_nyu.CONFIGS["classes40"])
    assert not labels_nyu.published(labels_nyu.CONFIGS["quick"])
