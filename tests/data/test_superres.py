"""Examples of super-resolution: protocols against worked ones, windows against a loop, pieces against whole photos."""

import functools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pixlab.data.degrade import modcrop, piece, seen, truth
from pixlab.data.photos import PhotoFolder
from pixlab.data.pipeline import eval_batches, examples, train_batches
from pixlab.data.superres import Crop, photo_example, superres_data, test_example, train_example
from pixlab.data.windows import Cut, Windows, turned, whole
from pixlab.errors import NoSplit, UserError
from pixlab.nn.imresize import imresize, imresize_uint8

test_example.__test__ = False  # it is no test
BICUBIC = {"set5": {2: 33.66, 3: 30.39, 4: 28.42}, "set14": {2: 30.24, 3: 27.55, 4: 26.00}}  # published, dB


def smooth():
    """A colour picture of 48x60 by formulas."""
    i, j = np.mgrid[:48, :60]
    r = 128 + 90 * np.sin(i / 5) * np.cos(j / 7)
    g = 110 + 80 * np.cos((i + j) / 6)
    b = 140 + 60 * np.sin((i - 2 * j) / 9)
    return np.clip(np.floor(np.stack([r, g, b], -1) + 0.5), 0, 255).astype(np.uint8)


def photo(height=40, width=50, seed=0, grey=False):
    image = np.random.default_rng(seed).integers(0, 256, (height, width, 1 if grey else 3), np.uint8)
    return {"image": np.repeat(image, 3 // image.shape[2], -1), "grey": np.bool_(grey)}


def psnr(ours, high, shave):
    """In dB, ours rounded to 8 bits."""
    ours = np.clip(np.floor(255 * ours + 0.5), 0, 255) - np.rint(255 * high)
    return 10 * np.log10(255**2 / np.mean(np.square(ours[shave:-shave, shave:-shave])))


# Test examples


def test_luminance_is_that_of_matlab():
    y = truth({"image": smooth()}, "enlarged")
    assert y.shape == (48, 60, 1) and y[0, :4, 0].tolist() == [158, 157, 154, 150] and int(y.sum()) == 337989
    grey = photo(grey=True)
    np.testing.assert_array_equal(truth(grey, "low"), grey["image"][..., :1])  # a grey file is its own luminance
    squeezed = truth({"image": grey["image"]}, "low")
    np.testing.assert_allclose(squeezed, 16 + 219 / 255 * grey["image"][..., :1], atol=0.51)


@pytest.mark.parametrize(("scale", "score"), [(2, 58.7027), (3, 55.3728), (4, 51.2382)])
def test_bicubic_interpolation_scores_what_it_should(scale, score):
    for kind in ("enlarged", "low"):
        example = test_example({"image": smooth()}, scale=scale, kind=kind)
        assert abs(psnr(example["bicubic"], example["high"], scale) - score) < 1e-3


def test_what_the_networks_see():
    frame = photo(41, 50)
    y = truth(frame, "low")[:40, :48].astype(float)
    low = imresize(y, 0.25) / 255
    examples = {kind: test_example(frame, scale=4, kind=kind) for kind in ("enlarged", "low", "colour")}
    assert all(x.dtype == np.float32 for example in examples.values() for x in example.values())
    np.testing.assert_allclose(examples["low"]["image"], low, atol=1e-7)
    np.testing.assert_allclose(examples["enlarged"]["image"], imresize(low, 4.0), atol=1e-7)
    np.testing.assert_array_equal(examples["enlarged"]["image"], examples["low"]["bicubic"])
    np.testing.assert_array_equal(np.rint(255 * examples["enlarged"]["high"]), y)
    colour = imresize_uint8(frame["image"][:40, :48], 0.25)  # rounded after each direction
    np.testing.assert_array_equal(np.rint(255 * examples["colour"]["image"]), colour)
    np.testing.assert_allclose(255 * examples["colour"]["image"], colour, atol=1e-4)
    np.testing.assert_array_equal(np.rint(255 * examples["colour"]["bicubic"]), imresize_uint8(colour, 4.0))


def test_a_photo_to_predict_on_is_at_low_resolution():
    frame = photo(7, 9)
    y = truth(frame, "low") / 255.0
    np.testing.assert_allclose(photo_example(frame["image"], scale=3, kind="low")["image"], y, atol=1e-7)
    np.testing.assert_allclose(
        photo_example(frame["image"], scale=3, kind="enlarged")["image"], imresize(y, 3.0), atol=1e-6
    )
    colour = photo_example(frame["image"], scale=3, kind="colour")["image"]
    np.testing.assert_array_equal(np.rint(255 * colour), frame["image"])
    assert photo_example(np.zeros((1, 1, 3), np.uint8), scale=4, kind="enlarged")["image"].shape == (4, 4, 1)


@pytest.mark.parametrize("name", BICUBIC)
def test_bicubic_interpolation_of_the_benchmarks_scores_what_is_published(real_data, name):
    photos = PhotoFolder(real_data / "superres" / name)
    for scale, published in BICUBIC[name].items():
        examples = [test_example(photos[i], scale=scale, kind="enlarged") for i in range(len(photos))]
        mean = np.mean([psnr(example["image"], example["high"], scale) for example in examples])
        assert abs(mean - published) < 0.01  # one of set14 is grey: as RGB it would make 26.09


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_sizes_that_the_factor_does_not_divide(scale):
    for height, width in ((scale, scale), (2 * scale + 1, 3 * scale - 1), (7, 11)):
        image = photo(height, width)["image"]
        cropped = modcrop(image, scale)
        assert cropped.shape[:2] == (height // scale * scale, width // scale * scale)
        np.testing.assert_array_equal(cropped, image[: cropped.shape[0], : cropped.shape[1]])
        assert test_example({"image": image}, scale=scale, kind="colour")["high"].shape == cropped.shape
    with pytest.raises(UserError, match=rf"a photo of 1x1 pixels is too small for x{scale}; take it out"):
        test_example(photo(1, 1), scale=scale, kind="low")


# Windows


def by_loop(photos, cut, scales, kind):
    """All windows, written out."""
    found = []
    for frame in photos:
        for downsize in cut.downsizes:
            for scale in scales:
                image = frame["image"] if downsize == 1 else imresize_uint8(frame["image"], downsize)
                high = truth(frame | {"image": image}, kind)
                rows, columns = (n // scale * scale for n in high.shape[:2])
                if not rows or not columns:
                    continue
                high = high[:rows, :columns]
                low = seen(high, scale, kind)
                unit = 1 if kind == "enlarged" else scale
                for y in range(0, low.shape[0] - cut.size + 1, cut.stride):
                    for x in range(0, low.shape[1] - cut.size + 1, cut.stride):
                        part = high[y * unit : (y + cut.size) * unit, x * unit : (x + cut.size) * unit]
                        inside = slice(cut.border, part.shape[0] - cut.border)
                        found.append((low[y : y + cut.size, x : x + cut.size], part[inside, inside]))
    return found


@pytest.mark.parametrize(
    ("cut", "scales", "kind"),
    [
        (Cut(33, 14), (3,), "enlarged"),  # SRCNN
        (Cut(33, 14, border=6), (3,), "enlarged"),
        (Cut(7, 7), (3,), "low"),  # FSRCNN
        (Cut(10, 4, border=2, downsizes=(1.0, 0.9, 0.6)), (2,), "low"),
        (Cut(17, 14), (3,), "low"),  # ESPCN
        (Cut(41, 41, downsizes=(1.0, 0.7, 0.5)), (2, 3, 4), "enlarged"),  # VDSR
        (Cut(12, 5), (4,), "colour"),
    ],
)
def test_windows_are_those_of_a_loop(cut, scales, kind):
    photos = [photo(61, 90, 1), photo(100, 83, 2, grey=True), photo(20, 9, 3)]
    windows, expected = Windows(photos, cut, scales, kind), by_loop(photos, cut, scales, kind)
    assert len(windows) == len(expected) and windows.left_out == 1
    order = np.random.default_rng(0).permutation(len(expected))
    for index in order[:60]:
        image, high = expected[index]
        window = windows[int(index)]
        np.testing.assert_array_equal(window["image"], image.astype(np.float32))
        np.testing.assert_array_equal(window["high"], high)
        example = whole(window)
        assert {name: x.dtype for name, x in example.items()} == {"image": np.float32, "high": np.float32}
        np.testing.assert_array_equal(np.rint(255 * example["high"]), high)
    for index in (len(windows), -1):
        with pytest.raises(IndexError):
            windows[index]


def test_windows_of_the_91_photos(real_data):
    photos = PhotoFolder(real_data / "superres" / "t91")
    assert len(Windows(photos, Cut(33, 14), (3,), "enlarged")) == 21884


def test_photos_that_have_no_window():
    with pytest.raises(UserError, match="none of the 2 photos has 99x99 pixels, which a window takes"):
        Windows([photo(90, 200), photo(200, 90)], Cut(33, 14), (3,), "low")
    with pytest.raises(UserError, match="windows of several scales have one size only where"):
        Windows([photo()], Cut(5, 5), (2, 3), "colour")


def test_windows_are_turned_and_mirrored_alike_and_in_all_ways():
    window = Windows([photo(30, 30)], Cut(8, 3), (2,), "low")[3]
    seen_ways = {}
    for seed in range(60):
        example = turned(window, np.random.default_rng(seed), turns=True, flips=True)
        fit = [
            (k, flip)
            for k in range(4)
            for flip in (1, -1)
            if np.array_equal(example["image"], np.rot90(window["image"], k)[:, ::flip])
            and np.array_equal(np.rint(255 * example["high"]), np.rot90(window["high"], k)[:, ::flip])
        ]
        assert len(fit) == 1
        seen_ways[fit[0]] = example
    assert len(seen_ways) == 8
    for options, ways in (({"turns": False, "flips": True}, 2), ({"turns": True, "flips": False}, 4)):
        found = {turned(window, np.random.default_rng(s), **options)["image"].tobytes() for s in range(40)}
        assert len(found) == ways


# Pieces of photos


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_a_piece_is_that_of_the_whole_photo(data):
    scale, kind = data.draw(st.sampled_from((2, 3, 4))), data.draw(st.sampled_from(("enlarged", "low", "colour")))
    size = data.draw(st.integers(1, 9))
    frame = photo(*(data.draw(st.integers(size * scale, 70)) for _ in "hw"), data.draw(st.integers(0, 99)))
    high = modcrop(truth(frame, kind), scale)
    top, left = (data.draw(st.integers(0, n // scale - size)) for n in high.shape[:2])
    image, part = piece(frame, scale, kind, top=top, left=left, size=size)
    unit = scale if kind == "enlarged" else 1
    expected = seen(high, scale, kind)[top * unit : (top + size) * unit, left * unit : (left + size) * unit]
    np.testing.assert_allclose(image, expected, rtol=0, atol=1e-12)
    expected = high[top * scale : (top + size) * scale, left * scale : (left + size) * scale]
    np.testing.assert_array_equal(part, expected)


def test_random_pieces_lie_everywhere_and_in_each_way():
    frame, crop = photo(9, 8), Crop(2, turns=True, flips=True)
    take = functools.partial(train_example, frame, scales=(3,), kind="colour")
    places = {
        np.array(frame["image"][3 * y : 3 * y + 6, 3 * x : 3 * x + 6]).tobytes(): (y, x) for y in range(2) for x in (0,)
    }
    plain = [take(np.random.default_rng(s), crop=Crop(2)) for s in range(30)]
    found = {np.rint(255 * example["high"]).astype(np.uint8).tobytes() for example in plain}
    assert found == set(places)
    ways = {take(np.random.default_rng(s), crop=crop)["high"].tobytes() for s in range(200)}
    assert len(ways) == 16
    same = [take(np.random.default_rng(7), crop=crop) for _ in range(2)]
    np.testing.assert_array_equal(same[0]["image"], same[1]["image"])


def test_the_piece_without_random_numbers_is_the_middle():
    frame = photo(50, 34)
    example = train_example(frame, None, scales=(2,), kind="colour", crop=Crop(5, turns=True, flips=True))
    np.testing.assert_array_equal(np.rint(255 * example["high"]), frame["image"][20:30, 12:22])


def test_several_scales_have_a_piece_each():
    example = train_example(photo(80, 90), np.random.default_rng(0), scales=(2, 3, 4), kind="colour", crop=Crop(6))
    assert {name: x.shape for name, x in example.items()} == {
        **{f"image_x{s}": (6, 6, 3) for s in (2, 3, 4)},
        **{f"high_x{s}": (6 * s, 6 * s, 3) for s in (2, 3, 4)},
    }
    for s in (2, 3, 4):
        low = imresize_uint8(np.rint(255 * example[f"high_x{s}"]).astype(np.uint8), 1 / s)[2:-2, 2:-2]
        np.testing.assert_array_equal(np.rint(255 * example[f"image_x{s}"])[2:-2, 2:-2], low)


def test_a_piece_may_lack_a_border():
    pieces = [
        train_example(photo(60, 70), np.random.default_rng(0), scales=(3,), kind="low", crop=Crop(8, border=border))
        for border in (0, 5)
    ]
    np.testing.assert_array_equal(pieces[0]["image"], pieces[1]["image"])
    np.testing.assert_array_equal(pieces[0]["high"][5:-5, 5:-5], pieces[1]["high"])


def test_a_set_is_not_scored_on_what_is_trained_on():
    with pytest.raises(UserError, match="no photos of its own to test on"):
        superres_data("t91+general100", "general100", scale=2, kind="low", train=Cut(4, 4), batch=1, workers=1)


@pytest.mark.parametrize("size", [(1, 1), (5, 90), (23, 23)])
def test_photos_smaller_than_a_piece_are_continued_by_their_mirror_image(size):
    frame = photo(*size)
    example = train_example(frame, np.random.default_rng(0), scales=(4,), kind="colour", crop=Crop(6))
    assert example["high"].shape == (24, 24, 3) and example["image"].shape == (6, 6, 3)
    rows = np.rint(255 * example["high"]).astype(int)
    if size[0] == 5:
        np.testing.assert_array_equal(rows[5:10], rows[:5][::-1])
    elif size[0] == 23:
        np.testing.assert_array_equal(rows[:23, :23], frame["image"])
        np.testing.assert_array_equal(rows[23], rows[22])
    else:
        assert (rows == frame["image"]).all()


# The data of a run


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Photos to train on and others to test on, of several sizes and kinds."""
    ours, theirs = tmp_path_factory.mktemp("train"), tmp_path_factory.mktemp("test")
    for i in range(4):
        Image.fromarray(photo(50 + 3 * i, 47, i)["image"]).save(ours / f"{i}.png")
    Image.fromarray(photo(30, 31, 9)["image"]).save(theirs / "0.png")
    Image.fromarray(photo(20, 43, 9)["image"][..., 0]).save(theirs / "1.png")
    Image.fromarray(photo(30, 31, 8)["image"]).convert("RGBA").save(theirs / "2.png")
    return f"photos:{ours}", f"photos:{theirs}"


TRAINS = [
    dict(kind="enlarged", train=Cut(33, 5, border=6)),
    dict(kind="enlarged", train=Cut(21, 7, downsizes=(1.0, 0.7), turns=True, flips=True), scales=(2, 3)),
    dict(kind="low", train=Cut(7, 3, turns=True)),
    dict(kind="colour", train=Crop(8, turns=True, flips=True)),
    dict(kind="colour", train=Crop(6, flips=True), scales=(2, 3, 4)),
]


@pytest.mark.parametrize("options", TRAINS, ids=lambda o: f"{o['kind']}-{type(o['train']).__name__}")
def test_training_batches_depend_on_seed_and_number_alone(folders, options):
    data = superres_data(*folders, scale=3, batch=5, workers=3, **options)
    reference = [batch for batch, _ in zip(train_batches(data, seed=1, start=0), range(6), strict=False)]
    again = superres_data(*folders, scale=3, batch=5, workers=1, **options)
    resumed = train_batches(again, seed=1, start=4)
    for name, x in next(resumed).items():
        np.testing.assert_array_equal(x, reference[4][name])
        assert x.dtype == np.float32 and x.shape[0] == 5
    assert not np.array_equal(*(next(iter(b.values())) for b in (reference[0], reference[1])))
    (example,) = [next(iter(examples(data.splits["train"])))]
    assert {name: x.shape for name, x in example.items()} == {n: x.shape[1:] for n, x in reference[0].items()}


def test_test_photos_come_one_by_one(folders):
    data = superres_data(*folders, scale=3, kind="low", train=Cut(7, 3), batch=4, workers=1)
    assert set(data.splits) == {"train", "test"} and data.splits["test"].alone
    found = [{name: x.shape for name, x in batch.items()} for batch in eval_batches(data, "test")]
    assert [shapes["high"] for shapes in found] == [(1, 30, 30, 1), (1, 18, 42, 1), (1, 30, 30, 1)]
    assert all(shapes["image"][1] == shapes["high"][1] // 3 for shapes in found)
    assert [shapes["bicubic"] for shapes in found] == [shapes["high"] for shapes in found]
    several = superres_data(*folders, scale=2, scales=(2, 4), kind="enlarged", train=Cut(9, 9), batch=4, workers=1)
    batches = list(eval_batches(several, "test"))
    assert batches[1]["image"].shape[1:3] == (20, 42)
    np.testing.assert_array_equal(np.rint(255 * batches[1]["high"][0, ..., 0]), photo(20, 43, 9)["image"][:, :42, 0])
    colour = superres_data(*folders, scale=2, kind="colour", train=Crop(4), batch=4, workers=1)
    shapes = [[batch[name].shape[-1] for name in ("image", "high")] for batch in eval_batches(colour, "test")]
    assert shapes[1] == [3, 1] and shapes[0] == [3, 3]  # the second photo is grey


def test_sources_of_training_and_of_testing(folders, tmp_path):
    make = functools.partial(superres_data, scale=2, kind="colour", batch=2, workers=1)
    cut = dict(train=Crop(4))
    alone = make("", folders[1], **cut)  # what a trained run is tested on
    assert set(alone.splits) == {"test"} and len(alone.splits["test"].source) == 3
    apart = make(*folders, **cut)
    assert (len(apart.splits["train"].source), len(apart.splits["test"].source)) == (4, 3)
    for test in ("", folders[0]):
        one = make(folders[0], test, **cut)
        assert (len(one.splits["train"].source), len(one.splits["test"].source)) == (3, 1)
    both = make("+".join(folders), folders[1], **cut)  # a tenth of the second one, at least one, is not trained on
    assert (len(both.splits["train"].source), len(both.splits["test"].source)) == (6, 1)
    blank = make("blank", "blank", **cut)
    assert next(train_batches(blank, seed=0, start=0))["high"].shape == (2, 8, 8, 3)
    with pytest.raises(NoSplit, match="set5: no split 'train'; it has test"):
        make("set5", folders[1], **cut)
    with pytest.raises(UserError, match="no photos 'kitti'"):
        make("kitti", folders[1], **cut)


def test_a_photo_that_cannot_be_read_ends_training_with_its_name(folders, tmp_path):
    (tmp_path / "0.png").write_bytes(b"text")
    for train in (Crop(4), Cut(4, 4)):
        with pytest.raises(UserError, match=r"0\.png: not a readable image"):
            data = superres_data(f"photos:{tmp_path}", folders[1], scale=2, kind="low", train=train, batch=1, workers=1)
            next(train_batches(data, seed=0, start=0))


def test_windows_are_views_of_photos_kept_in_memory(folders):
    """Loosely: a slice is taken, and nothing is computed anew."""
    data = superres_data(*folders, scale=3, kind="enlarged", train=Cut(33, 2), batch=8, workers=1)
    windows = data.splits["train"].source
    first = windows[0]["image"]
    assert windows[0]["image"].base is first.base is not None
