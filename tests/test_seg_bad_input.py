"""Labels that are wrong, odd or empty: one clear line that names the file, or training and scoring go on."""

import dataclasses
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from experiments import seg_camvid
from pixlab import seg_task
from pixlab.data.pipeline import examples, train_batches
from pixlab.errors import UserError
from pixlab.metrics.segmentation import segmentation_metrics


def picture(height=24, width=32):
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


def stripes(height=24, width=32):
    """Sky above road, of which the last row is void; no car."""
    label = np.zeros((height, width), np.uint8)
    label[height // 2 :], label[-1] = 1, 255
    return label


def put(folder, name, image, label):
    Image.fromarray(image).save(folder / f"{name}.png")
    (label if isinstance(label, Image.Image) else Image.fromarray(label)).save(folder / f"{name}_label.png")


def settings(folder, image, label, **changes):
    """The config of a folder whose only training picture has this label; that of the test picture is right."""
    for split in ("train", "test"):
        (folder / split).mkdir(parents=True)
    put(folder / "train", "p", image, label)
    put(folder / "test", "q", picture(), stripes())
    (folder / "classes.txt").write_text("sky\nroad\ncar\n")
    small = dict(source=f"label_folder:{folder}", size=(24, 32), crop=(16, 16), batch=1, workers=1)
    return dataclasses.replace(seg_camvid.CONFIGS["quick"], **(small | changes))


@pytest.mark.parametrize(
    ("label", "words"),
    [
        (np.full((24, 32), 3, np.uint8), r"p_label\.png: has a label 3, but its 3 classes are 0 to 2, .*correct"),
        (stripes(24, 30), r"p\.png is 32x24 but its label .*p_label\.png is 30x24; the two must have one size"),
        (picture(), r"p_label\.png: labels must be .*, but this PNG is 8-bit RGB"),
    ],
)
def test_a_label_that_cannot_be_learnt_stops_training_with_one_line(tmp_path, label, words):
    with pytest.raises(UserError, match=words) as raised:
        next(train_batches(seg_task.data(settings(tmp_path, picture(), label)), seed=0, start=0))
    assert "\n" not in str(raised.value)


def test_of_a_palette_the_numbers_are_taken_and_not_the_colours(tmp_path):
    label = Image.fromarray(stripes(), "P")
    label.putpalette([2, 2, 2, 1, 1, 1] + 250 * [200, 9, 9])
    (example,) = examples(seg_task.data(settings(tmp_path, picture(), label)).splits["train"])
    np.testing.assert_array_equal(example["label"][..., 0], stripes())


def test_a_picture_smaller_than_the_window_is_enlarged(tmp_path):
    config = settings(tmp_path, picture(4, 6), stripes(4, 6))
    (whole,) = examples(seg_task.data(config).splits["train"])
    expected = np.repeat([0, 1, 255], [12, 6, 6])  # of rows 0 0 1 255
    np.testing.assert_array_equal(whole["label"][..., 0], np.broadcast_to(expected[:, None], (24, 32)))
    batch = next(train_batches(seg_task.data(config), seed=0, start=0))
    assert batch["image"].shape == (1, 16, 16, 3) and set(np.unique(batch["label"])) <= {0, 1, 255}


@pytest.mark.parametrize("weights", ["none", "median_frequency"])
def test_a_picture_without_any_label_changes_neither_loss_nor_scores_of_labels(tmp_path, weights):
    config = settings(tmp_path, picture(), stripes(), class_weights=weights)
    logits = np.random.default_rng(1).normal(size=(2, 24, 32, 3)).astype(np.float32)
    label = np.stack([stripes(), np.full((24, 32), 255)]).astype(np.int32)[..., None]

    def loss(logits, label):
        return seg_task.cross_entropy(config, logits, {"label": jnp.asarray(label)})

    value, gradient = jax.value_and_grad(loss)(jnp.asarray(logits), label)
    assert float(value) == pytest.approx(float(loss(jnp.asarray(logits[:1]), label[:1])), rel=1e-6)
    assert np.isfinite(gradient).all() and np.abs(gradient[0]).max() > 0 and not np.any(gradient[1])
    value, gradient = jax.value_and_grad(loss)(jnp.asarray(logits[1:]), label[1:])
    assert value == 0 and not np.any(gradient)
    scores = {}
    for name, metric in seg_task.metrics(config).items():
        stats = jax.jit(metric.stats, compiler_options={"xla_backend_optimization_level": 0})
        one, void = (
            jax.device_get(stats({"logits": jnp.asarray(logits[i])}, {"label": jnp.asarray(label[i])})) for i in (0, 1)
        )
        scores[name] = metric.result(one), metric.result(metric.merge(one, void))
    assert scores["label"][0] == pytest.approx(scores["label"][1])
    # where nothing is true the outlines of what is predicted are wrong, as for the authors' script
    assert scores["outline"][1]["boundary_f1"] == pytest.approx(scores["outline"][0]["boundary_f1"] / 2)


def test_a_class_that_never_occurs_has_no_weight_and_counts_as_the_convention_says(tmp_path):
    config = settings(tmp_path, picture(), stripes(), class_weights="median_frequency")
    np.testing.assert_allclose(seg_task.weights(config), [23 / 24, 23 / 22, 0])  # 12 and 11 of 23 rows, median 1/2
    label = {"label": jnp.asarray(stripes(), jnp.int32)[..., None]}
    right = {"label": jnp.minimum(label["label"], 1)}
    for absent, mean in (("nanmean", 1.0), ("gt-present", 1.0), ("zero", 2 / 3)):
        metric = segmentation_metrics(3, ignore=255, absent=absent)
        assert metric.result(jax.device_get(metric.stats(right, label)))["mean_iu"] == pytest.approx(mean)
    scores = seg_task.metrics(config)["label"]  # what a run is scored by
    assert scores.result(jax.device_get(scores.stats(right, label)))["mean_iu"] == 1.0


def test_weights_of_labels_without_a_class_name_the_source(tmp_path):
    config = settings(tmp_path, picture(), np.full((24, 32), 255, np.uint8), class_weights="median_frequency")
    with pytest.raises(UserError, match=r"label_folder:.*: its training labels .*--class-weights none") as raised:
        seg_task.weights(config)
    assert "\n" not in str(raised.value)
    assert seg_task.weights(dataclasses.replace(config, class_weights="none")) is None


@pytest.mark.parametrize("names", ["sky\nroad\ncar\n", "sky\nroad\ncar\nvoid\n", "void\nsky\nroad\ncar\n", None])
def test_a_run_keeps_the_classes_that_it_began_with(tmp_path, names):
    plain, file = settings(tmp_path, picture(), stripes()), tmp_path / "classes.txt"
    file.write_text(names) if names else file.unlink()
    began = seg_task.classes(plain)
    config = plain.settled()
    assert config.settled() == config and seg_task.classes(config) == began
    assert len(examples_of(config)) == 1
    file.write_text("road\nsky\ncar\nvoid\n")
    assert seg_task.classes(config) == began != seg_task.classes(plain)
    for other in (lambda: seg_task.data(config), lambda: config.on(config.source)):
        with pytest.raises(UserError, match=r"label_folder:.*: class 0 is 'road', but for this run '(sky|void|cl)"):
            other()
    shutil.rmtree(tmp_path)
    assert seg_task.classes(config) == began  # which is all that predictions need


def test_a_folder_without_names_may_lack_the_last_classes(tmp_path):
    config = settings(tmp_path / "own", picture(), np.where(stripes() == 1, 2, stripes()))
    (tmp_path / "own" / "classes.txt").unlink()
    config, other = config.settled(), settings(tmp_path / "other", picture(), stripes()).source
    assert config.names == ("class 0", "class 1", "class 2")
    (tmp_path / "other" / "classes.txt").unlink()
    assert config.on(other).names == config.names and len(examples_of(config.on(other))) == 1
    put(tmp_path / "other" / "train", "p", picture(), np.full((24, 32), 3, np.uint8))
    with pytest.raises(UserError, match=r"p_label\.png: has a label 3, but its 3 classes are 0 to 2"):
        examples_of(config.on(other))


@pytest.mark.parametrize(
    ("label", "words"),
    [
        (
            np.zeros((24, 32), np.uint8),
            r"p_label\.png and all other labels have class 0 alone, and 255 is none; number",
        ),
        (np.full((24, 32), 1000, np.uint16), r"1001 classes, but 256 at most; number labels without gaps"),
    ],
)
def test_a_mask_of_0_and_255_is_not_two_classes_and_gaps_in_their_numbers_are_not_many(tmp_path, label, words):
    config = settings(tmp_path, picture(), label)
    put(tmp_path / "test", "q", picture(), np.uint8(255 * stripes().clip(0, 1)))
    (tmp_path / "classes.txt").unlink()
    with pytest.raises(UserError, match=words):
        config.settled()


def examples_of(config):
    return list(examples(seg_task.data(config).splits["train"]))


def test_a_run_is_scored_on_data_of_its_classes_alone(tmp_path):
    config = settings(tmp_path, picture(), stripes()).settled()
    with pytest.raises(UserError, match="camvid: class 1 is 'building', but for this run 'road'; take data"):
        config.on("camvid")
    rooms = seg_camvid.CONFIGS["quick"]
    assert rooms.settled() == rooms == rooms.on("rooms") and config.on(config.source) == config
    with pytest.raises(UserError, match=r"class \d+ is '.*', but for this run '.*'; take data"):
        rooms.on(config.source)
