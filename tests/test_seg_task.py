"""What experiments that give every pixel a class share."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from experiments import seg_camvid
from pixlab import plan, seg_task
from pixlab.__main__ import main
from pixlab.data.label_classes import CAMVID
from pixlab.data.pipeline import examples, train_batches
from pixlab.errors import UserError
from pixlab.losses.segmentation import class_counts, median_frequency_weights


@pytest.fixture(scope="module")
def roads(tmp_path_factory) -> str:
    """CamVid's layout: sky above road, a car, and void at the bottom; of the test picture all of it is void."""
    folder, rng = tmp_path_factory.mktemp("roads"), np.random.default_rng(0)
    for split, count in (("train", 3), ("test", 2)):
        for part in (split, f"{split}annot"):
            (folder / part).mkdir()
        for index in range(count):
            label = np.zeros((24, 32), np.uint8)
            label[12:], label[14:20, 4 : 8 + 4 * index], label[22:] = 3, 8, 11
            if (split, index) == ("test", 1):
                label[:] = 11
            image = np.uint8(20 * label[..., None] + rng.integers(0, 10, (24, 32, 3)))
            Image.fromarray(image).save(folder / split / f"{index}.png")
            Image.fromarray(label).save(folder / f"{split}annot" / f"{index}.png")
    return f"camvid:{folder}"


def config(roads, **changes):
    small = dict(source=roads, size=(24, 32), crop=(16, 16), batch=2, width=1 / 16, steps=2, workers=1)
    return dataclasses.replace(seg_camvid.CONFIGS["quick"], **(small | changes))


def test_windows_and_whole_pictures(roads):
    data = seg_task.data(config(roads))
    batch = next(train_batches(data, seed=0, start=0))
    assert batch["image"].shape == (2, 16, 16, 3) and batch["label"].shape == (2, 16, 16, 1)
    assert set(np.unique(batch["label"])) <= {0, 3, 8, 11}
    first, void = examples(data.splits["test"])
    assert first["label"].shape == (24, 32, 1) and set(np.unique(first["label"])) == {0, 3, 8, 11}
    assert np.all(void["label"] == CAMVID.ignore)


def test_void_is_neither_learnt_nor_scored(roads):
    settings = config(roads, class_weights="segnet")
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(1, 4, 5, 11)).astype(np.float32)
    label = rng.integers(0, 12, (1, 4, 5, 1)).astype(np.int32)
    value = seg_task.cross_entropy(settings, jnp.asarray(logits), {"label": jnp.asarray(label)})
    total, count = 0.0, 0
    for scores, (true,) in zip(logits.reshape(-1, 11), label.reshape(-1, 1), strict=True):
        if true != 11:
            total += seg_task.SEGNET[true] * (np.log(np.exp(scores).sum()) - scores[true])
            count += 1
    assert float(value) == pytest.approx(total / count, rel=1e-5)
    metric = seg_task.metrics(settings)["label"]
    found = metric.result(jax.device_get(metric.stats({"logits": jnp.asarray(logits[0])}, {"label": label[0]})))
    right = (logits.argmax(-1) == label[..., 0]) & (label[..., 0] != 11)
    assert found["pixel_accuracy"] == pytest.approx(right.sum() / count)


def test_the_most_frequent_class_of_each_row_needs_no_network(roads):
    settings = config(roads)
    data = seg_task.data(settings)
    rows = seg_task.most_frequent(settings, data)["most frequent class of each row"](
        {}, {}, {"image": jnp.zeros((1, 24, 32, 3))}
    )
    assert (
        np.argmax(rows["logits"][0, :, 0], -1)[:22].tolist() == [0] * 12 + [3] * 10
    )  # the car is narrower than the road
    assert rows["logits"].shape == (1, 24, 32, 11)


def test_median_frequency_is_that_of_the_training_labels(roads):
    settings = config(roads, class_weights="median_frequency")
    labels = [example["label"] for example in examples(seg_task.data(settings).splits["train"])]
    counts = sum(class_counts(label, classes=11, ignore=11) for label in labels)
    np.testing.assert_allclose(seg_task.weights(settings), median_frequency_weights(counts))
    assert seg_task.weights(config(roads)) is None


def test_a_run_learns_and_predict_writes_numbers_colours_and_legend(roads, tmp_path):
    run = seg_camvid.experiment.main(
        ["quick", "--source", roads, "--size", "24", "32", "--crop", "24", "32", "--width", "0.1", "--steps", "60"]
        + ["--batch", "2", "--workers", "1", "--average", "3", "--run", str(tmp_path / "run")]
    )
    assert run.result["rows"][0][1] > 0.6  # three colours
    photo = tmp_path / "photo.jpg"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (50, 70, 3), np.uint8)).save(photo)
    main(["predict", str(tmp_path / "run"), str(photo), "--out", str(tmp_path / "out")])
    label = np.asarray(Image.open(tmp_path / "out" / "photo_label.png"))
    shown = np.asarray(Image.open(tmp_path / "out" / "photo_label_colour.png"))
    legend = json.loads((tmp_path / "out" / "photo_legend.json").read_text())
    assert label.shape == (50, 70) and label.max() < 11 and list(legend) == list(CAMVID.names)
    assert min(np.asarray(Image.open(tmp_path / "out" / "photo_overlay.png")).shape[:2]) > 240
    for entry in legend.values():
        colour = [int(entry["colour"][i : i + 2], 16) for i in (1, 3, 5)]
        assert np.all(shown[label == entry["label"]] == colour)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (dict(crop=(32, 32)), "is larger than --size"),
        (dict(source="rooms", class_weights="segnet"), "take median_frequency"),
        (dict(zoom=0.5), "--zoom must be at least 1"),
        (dict(steps=0), "--steps must be at least 1"),
    ],
)
def test_wrong_options(roads, changes, words):
    with pytest.raises(UserError, match=words):
        config(roads, **changes).check()


@pytest.mark.parametrize("net", seg_camvid.NETS)
def test_every_network_gives_a_score_for_each_class_of_each_pixel(net, roads):
    settings = config(roads, net=net, width=1 / 32)
    recipe = seg_camvid.recipe(settings)
    shapes = jax.eval_shape(recipe.init, jax.random.key(0))
    made = jax.eval_shape(recipe.predict, *shapes, {"image": jnp.zeros((1, 24, 33, 3))})
    assert made["logits"].shape == (1, 24, 33, 11)
    paper = seg_camvid.experiment.papers(settings)
    assert not paper or seg_camvid.CONFIGS[paper].net == net


@pytest.mark.parametrize("source", ["camvid", "camvid:PATH"])
def test_a_plan_is_of_a_network_with_the_classes_of_the_source(source):
    settings = dataclasses.replace(seg_camvid.CONFIGS["segnet_basic"], source=source)
    blank = plan.without_data(settings)
    blank.check()
    params, _ = jax.eval_shape(seg_camvid.recipe(blank).init, jax.random.key(0))
    assert sum(x.size for x in jax.tree.leaves(params)) == 1_416_587
    np.testing.assert_array_equal(seg_task.weights(blank), seg_task.SEGNET)
    assert plan.example(seg_task.data(blank))["image"].shape == (360, 480, 3)
