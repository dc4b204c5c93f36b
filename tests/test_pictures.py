import numpy as np
import pytest
import skimage.color

from pixlab import colours, pictures
from pixlab.errors import UserError

# Entries 0, 64, 128, 191 and 255 of the published tables of 256 colours.
TABLES = {
    "viridis": {0: (68, 1, 84), 64: (59, 82, 139), 128: (33, 145, 140), 191: (94, 201, 98), 255: (253, 231, 37)},
    "magma": {0: (0, 0, 4), 64: (81, 18, 124), 128: (183, 55, 121), 191: (252, 137, 97), 255: (252, 253, 191)},
    "turbo": {0: (48, 18, 59), 64: (40, 188, 235), 128: (164, 252, 60), 191: (251, 126, 33), 255: (122, 4, 3)},
}


def room(height=12, width=16, seed=0):
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width].astype(np.float32)
    image = rng.random((height, width, 3)).astype(np.float32)
    depth = (1 + 0.25 * y + 0.1 * x)[..., None]
    return image, depth, np.ones_like(depth)


@pytest.mark.parametrize("name", TABLES)
def test_colour_maps_are_the_published_ones(name):
    places = list(TABLES[name])
    values = np.array([places], np.float32)
    got = colours.colour(values, low=0.0, high=255.0, name=name)[0].astype(int)
    np.testing.assert_allclose(got, [TABLES[name][place] for place in places], atol=3)


@pytest.mark.parametrize("name", ["viridis", "magma"])
def test_lightness_rises_evenly(name):
    ramp = np.linspace(2, 5, 200, dtype=np.float32)[None]
    light = skimage.color.rgb2lab(colours.colour(ramp, low=2.0, high=5.0, name=name))[0, :, 0]
    assert np.all(np.diff(light) > -0.35)  # rounding to 8 bits
    straight = np.linspace(light[0], light[-1], 200)
    assert np.abs(light - straight).max() < 6


def test_turbo_never_repeats_a_colour():
    rgb = colours.colour(np.linspace(0, 1, 150, dtype=np.float32)[None], low=0.0, high=1.0)[0].astype(int)
    apart = np.abs(rgb[:, None] - rgb[None]).sum(-1) + 99 * np.eye(150, dtype=int)
    assert apart.min() > 2


def test_values_out_of_range_are_clipped_and_bad_ones_grey():
    values = np.array([[-5.0, 1.0, 2.0, 9.0, np.nan, np.inf, 1.5]], np.float32)
    valid = np.array([[1, 1, 1, 1, 1, 1, 0]])
    rgb = colours.colour(values, low=1.0, high=2.0, valid=valid)[0]
    np.testing.assert_array_equal(rgb[0], rgb[1])
    np.testing.assert_array_equal(rgb[2], rgb[3])
    assert not np.array_equal(rgb[1], rgb[2])
    np.testing.assert_array_equal(rgb[4:], np.full((3, 3), 128))


def test_flat_map_and_unknown_name():
    flat = np.full((2, 2), 3.0, np.float32)
    np.testing.assert_array_equal(colours.colour(flat, low=3.0, high=3.0)[0, 0], (48, 18, 59))
    with pytest.raises(UserError, match="magma, turbo, viridis"):
        colours.colour(flat, low=0.0, high=1.0, name="jet")


def test_normals_point_where_the_colours_say():
    wall, floor, right, slant = (0, 0, -1), (0, -1, 0), (1, 0, 0), (0.6, 0, -0.8)
    normal = np.array([[wall, floor, right, slant, (0, 0, 0)]], np.float32)
    rgb = colours.normals_to_rgb(normal)[0]
    want = [(128, 128, 255), (128, 255, 128), (255, 128, 128), (204, 128, 230), (128, 128, 128)]
    np.testing.assert_allclose(rgb.astype(int), want, atol=1)
    masked = colours.normals_to_rgb(normal, valid=np.array([[0, 1, 1, 1, 1]]))[0]
    np.testing.assert_array_equal(masked[0], (128, 128, 128))
    np.testing.assert_array_equal(masked[1:], rgb[1:])


def test_palette_is_distinct_to_the_eye_and_stable():
    palette = colours.distinct_colours(40)
    lab = skimage.color.rgb2lab(np.concatenate([palette, [[128, 128, 128]]]).astype(np.uint8)[None])[0]
    apart = np.linalg.norm(lab[:, None] - lab[None], axis=-1) + 1e3 * np.eye(41)
    assert apart.min() > 20
    np.testing.assert_array_equal(colours.distinct_colours(7), palette[:7])
    assert len(np.unique(colours.distinct_colours(255), axis=0)) == 255
    palette[:] = 0  # the caller's copy
    assert colours.distinct_colours(1).any()


def test_labels_take_their_palette_and_strangers_are_grey():
    palette = np.array([(1, 2, 3), (40, 50, 60), (7, 8, 9)], np.uint8)
    label = np.array([[0, 1, 2, 3, -1, 255]])
    grey = (128, 128, 128)
    rgb = colours.labels_to_rgb(label, palette)[0]
    np.testing.assert_array_equal(rgb, [(1, 2, 3), (40, 50, 60), (7, 8, 9), grey, grey, grey])
    np.testing.assert_array_equal(colours.labels_to_rgb(label, palette, ignore=1)[0, 1], grey)


@pytest.mark.parametrize(
    "low, high, want", [(0, 10, [0, 2, 4, 6, 8, 10]), (0.7, 3.1, [1, 1.5, 2, 2.5, 3]), (5, 5, [5])]
)
def test_ticks_are_round(low, high, want):
    assert pictures.ticks(float(low), float(high)) == pytest.approx(want)


def find(canvas, image):
    """Row and column where `image` stands in `canvas`, or None."""
    rows, columns = canvas.shape[0] - image.shape[0] + 1, canvas.shape[1] - image.shape[1] + 1
    corner = (canvas[:rows, :columns] == image[0, 0]).all(-1)
    for y, x in zip(*np.nonzero(corner), strict=True):
        if np.array_equal(canvas[y : y + image.shape[0], x : x + image.shape[1]], image):
            return int(y), int(x)
    return None


def image_of(panel):
    """A panel of 16 columns as a strip shows it."""
    return panel.repeat(15, 0).repeat(15, 1)


def test_strip_holds_its_panels_exactly_in_order():
    rng = np.random.default_rng(0)
    a, b, c = (rng.integers(0, 256, (10, width, 3), dtype=np.uint8) for width in (14, 14, 20))
    out = pictures.strip([("a", a), ("b", b), ("c", c, pictures.Scale(0.0, 2.0, "m"))], zoom=3)
    places = [find(out, one.repeat(3, 0).repeat(3, 1)) for one in (a, b, c)]
    assert None not in places
    assert len({y for y, _ in places}) == 1
    assert places[0][1] + 3 * 14 < places[1][1] and places[1][1] + 3 * 14 < places[2][1]
    assert min(find(pictures.strip([("a", a)]), a.repeat(18, 0).repeat(18, 1))) > 0  # 18 x 14 = 252 >= 240


def test_strip_brings_a_half_size_panel_to_full_size():
    rng = np.random.default_rng(1)
    full, half = (rng.integers(0, 256, (s * 5, s * 7, 3), dtype=np.uint8) for s in (2, 1))
    out = pictures.strip([("full", full), ("half", half)], zoom=2)
    assert find(out, half.repeat(4, 0).repeat(4, 1)) is not None


def test_strip_writes_titles_bars_and_legend():
    image = np.zeros((40, 250, 3), np.uint8)
    scale = pictures.Scale(0.0, 4.0, "m", "viridis")
    plain = pictures.strip([("", image, scale), ("", image, scale)])
    titled = pictures.strip([("truth", image, scale), ("", image, scale)])
    changed = np.nonzero((plain != titled).any(-1))
    top, left = find(plain, image)
    assert changed[0].max() < top and left - 3 <= changed[1].min() and changed[1].max() < left + 250
    below = plain[top + 40 :]
    ramp = np.linspace(0, 4, 2 * 250 + (plain.shape[1] - 500) // 3, dtype=np.float32)[None]
    assert find(below, colours.colour(ramp, low=0.0, high=4.0, name="viridis")) is not None  # one bar for both
    other = pictures.strip([("", image, scale), ("", image, scale._replace(high=8.0))])
    assert find(other[top + 40 :], colours.colour(ramp, low=0.0, high=4.0, name="viridis")) is None
    keyed = pictures.strip([("", image)], legend=[(f"class {i}", (200, i, 7)) for i in range(9)])
    for i in range(9):
        assert ((keyed == (200, i, 7)).all(-1)).sum() > 150


def test_depth_strip_puts_truth_and_prediction_on_one_scale():
    image, depth, valid = room()
    valid[2:4, 3:6] = 0
    prediction = depth * np.where(depth > 3, 1.2, 0.7).astype(np.float32)
    out = pictures.depth_strip(image, depth, valid, prediction, low=1.0, high=5.0, error_high=2.0)
    mask = valid[..., 0]
    error = np.abs(prediction - depth)[..., 0]
    for want in (
        np.round(image * 255).astype(np.uint8),
        colours.colour(depth[..., 0], low=1.0, high=5.0, valid=mask),
        colours.colour(prediction[..., 0], low=1.0, high=5.0),
        colours.colour(error, low=0.0, high=2.0, name="magma", valid=mask),
    ):
        assert find(out, want.repeat(15, 0).repeat(15, 1)) is not None


def test_depth_strip_scale_depends_on_the_truth_alone():
    image, depth, valid = room()
    near, far = (pictures.depth_strip(image, depth, valid, depth * f) for f in (1.0, 3.0))
    low, high = np.percentile(depth, [1, 99])
    truth = colours.colour(depth[..., 0], low=low, high=high).repeat(15, 0).repeat(15, 1)
    assert find(near, truth) == find(far, truth) is not None


def test_depth_strip_compares_at_the_truths_size():
    image, depth, valid = room()
    small = depth[::2, ::2]
    exact = small.repeat(2, 0).repeat(2, 1)
    large = np.random.default_rng(0).random((36, 48, 1)).astype(np.float32)
    large[1::3, 1::3] = depth  # the centre of each 3 x 3
    black = colours.colour(np.zeros((12, 16)), low=0.0, high=1.0, name="magma")
    for truth, prediction in ((exact, small), (depth, large)):
        out = pictures.depth_strip(image, truth, valid, prediction, low=1.0, high=5.0)
        y, _ = find(out, colours.colour(truth[..., 0], low=1.0, high=5.0).repeat(15, 0).repeat(15, 1))
        np.testing.assert_array_equal(out[y : y + 180, -247:-7], black.repeat(15, 0).repeat(15, 1))


def test_depth_strip_without_any_measurement():
    image, depth, valid = room()
    out = pictures.depth_strip(image, depth * 0, valid * 0, depth)
    assert find(out, np.full((180, 240, 3), 128, np.uint8)) is not None


def test_normals_strip_shows_the_angle():
    image, _, valid = room()
    angle = np.radians(np.linspace(0, 60, 16, dtype=np.float32))
    truth = np.zeros((12, 16, 3), np.float32) + np.float32([0, 0, -1])
    prediction = 5 * np.stack([np.sin(angle), 0 * angle, -np.cos(angle)], -1)[None].repeat(12, 0)
    out = pictures.normals_strip(image, truth, valid, prediction, error_high=90.0)
    ramp = np.linspace(0, 60, 16, dtype=np.float32)[None].repeat(12, 0)
    want = colours.colour(ramp, low=0.0, high=90.0, name="magma").astype(int).repeat(15, 0).repeat(15, 1)
    y, x = find(out, colours.normals_to_rgb(prediction / 5).repeat(15, 0).repeat(15, 1))
    error = out[y : y + 180, x + 240 + 7 : x + 240 + 7 + 240].astype(int)  # the gap is half the letters' size of 15
    assert np.abs(error - want).max() <= 2


def test_label_strip_marks_wrong_pixels_and_names_the_classes_present():
    image, _, _ = room()
    names, palette = ["void", "wall", "floor", "bed"], colours.distinct_colours(4)
    truth = np.ones((12, 16, 1), np.int32)
    truth[:, 8:] = 2
    truth[0] = 0
    prediction = truth.copy()
    prediction[3:5, 2:9] = 2
    out = pictures.label_strip(image, truth, prediction, names)
    error = np.zeros((12, 16, 3), np.uint8) + np.uint8(pictures._RIGHT)
    error[3:5, 2:8] = pictures._WRONG  # from column 8 on class 2 is right
    error[0] = 128
    for want in (error, colours.labels_to_rgb(truth[..., 0], palette, ignore=0)):
        assert find(out, want.repeat(15, 0).repeat(15, 1)) is not None
    assert ((out == palette[2]).all(-1)).sum() > ((out == palette[3]).all(-1)).sum() == 0  # no bed, no legend of it
    assert not (out == palette[0]).all(-1).any()  # nor of what is ignored, which is "not scored"
    below = find(out, image_of(error))[0] + 12 * 15
    assert (out[below:] == 128).all(-1).sum() > 150
    scored = np.where(truth == 0, 1, truth)
    assert not (pictures.label_strip(image, scored, prediction, names)[below:] == 128).all(-1).any()


def test_label_strip_tells_a_grey_class_from_what_is_not_scored():
    image, _, _ = room()
    palette = np.array([(128, 128, 128), (200, 0, 0)], np.uint8)
    truth = np.zeros((12, 16, 1), np.int32)
    truth[6:] = 255
    out = pictures.label_strip(image, truth, np.ones_like(truth), ("sky", "wall"), ignore=255, palette=palette)
    assert find(out, image_of(np.where(truth == 0, np.uint8([128] * 3), np.uint8(0)))) is not None


def test_grid_keeps_its_strips():
    rng = np.random.default_rng(2)
    wide, thin = (rng.integers(0, 255, (5, width, 3), dtype=np.uint8) for width in (30, 20))
    out = pictures.grid([wide, thin])
    np.testing.assert_array_equal(out[:5], wide)
    np.testing.assert_array_equal(out[5:, :20], thin)
    assert (out[5:, 20:] == 255).all()


def test_label_overlay_paints_classes_over_grey_and_names_those_that_occur():
    image = np.random.default_rng(0).integers(0, 256, (4, 6, 3), dtype=np.uint8)
    label = np.array([[0, 0, 1, 1, 2, 3], [0, 0, 1, 1, 2, 2], [9, 9, 1, 1, 2, 2], [1, 1, 1, 1, 2, 2]])[..., None]
    palette = np.array([(9, 9, 9), (200, 0, 0), (0, 180, 40), (0, 0, 250), (250, 250, 0)], np.uint8)
    out = pictures.label_overlay(image, label, ("void", "a", "b", "c", "absent"), ignore=0, palette=palette)
    want = np.zeros((4, 6, 3))
    for (y, x), number in np.ndenumerate(label[..., 0]):
        red, green, blue = image[y, x].astype(float)
        grey = 0.299 * red + 0.587 * green + 0.114 * blue
        bare = number in (0, 9)  # ignored, or no class
        want[y, x] = grey if bare else 0.45 * grey + 0.55 * palette[number]
    top, left = 28, 7  # below the title
    shown = out[top : top + 4 * 80, left : left + 6 * 80].astype(int)
    np.testing.assert_allclose(shown[::80, ::80], want, atol=1)
    np.testing.assert_array_equal(shown, shown[::80, ::80].repeat(80, 0).repeat(80, 1))
    below = out[top + 4 * 80 :]
    counts = [(below == colour).all(-1).sum() for colour in palette]
    assert min(counts[1:4]) > 150 and counts[0] == counts[4] == 0


@pytest.mark.parametrize(
    ("size", "expected"), [((20, 30), (320, 480)), ((3, 2000), (3, 2000)), ((1, 1), (480, 480)), ((900, 90), (900, 90))]
)
def test_label_overlay_has_room_for_names_whatever_the_photo(size, expected):
    name = "a class with a long name for whoever reads it"
    label = np.zeros((*size, 1), np.int32)
    out = pictures.label_overlay(np.zeros((*size, 3), np.uint8), label, (name,), ignore=None)
    height, width = expected
    assert height < out.shape[0] < height + 110 and out.shape[1] >= width
    ink = np.nonzero((out[28 + height + 1 :] < 100).all(-1).any(0))[0]
    assert ink.max() < out.shape[1] - 7  # the name ends on the paper


def test_label_overlay_letters_grow_with_the_photo():
    heights = []
    for side in (480, 1920):
        image = np.full((side, side, 3), 200, np.uint8)
        out = pictures.label_overlay(image, np.zeros((side, side, 1), np.int32), ("H",), ignore=None)
        ink = np.nonzero((out[side + 2 * max(15, side // 40) :] < 100).all(-1).any(1))[0]
        heights.append(ink.max() - ink.min())
    assert 3 < heights[1] / heights[0] < 4 and heights[0] > 7
