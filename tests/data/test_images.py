"""Picture files: every colour mode becomes RGB, every integer of a depth file stays itself."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from pixlab.data.images import encode_png, read_depth_png, read_image, read_label_png, write_depth_png
from pixlab.errors import UserError

RAMP = np.arange(12 * 16 * 3, dtype=np.uint16).reshape(12, 16, 3).astype(np.uint8)
RNG = np.random.default_rng(0)


def encoded(image, kind="PNG", **options):
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def png(bits, colour_type, rows):
    """A PNG made chunk by chunk, so that Pillow's own writer is not what tests Pillow's reader."""

    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    channels = {0: 1, 2: 3, 4: 2, 6: 4}[colour_type]
    header = struct.pack(">IIBBBBB", len(rows[0]) * 8 // bits // channels, len(rows), bits, colour_type, 0, 0, 0)
    body = zlib.compress(b"".join(b"\0" + row for row in rows))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def test_rgb_is_exact_from_path_and_bytes(tmp_path):
    (tmp_path / "a.png").write_bytes(encoded(Image.fromarray(RAMP)))
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), RAMP)
    np.testing.assert_array_equal(read_image((tmp_path / "a.png").read_bytes()), RAMP)


def test_grey_and_one_bit_repeat_in_three_channels():
    grey = RAMP[..., 0]
    np.testing.assert_array_equal(read_image(encoded(Image.fromarray(grey))), np.dstack([grey] * 3))
    bits = grey > 100
    expected = np.dstack([bits.astype(np.uint8) * 255] * 3)
    np.testing.assert_array_equal(read_image(encoded(Image.fromarray(bits))), expected)


def test_sixteen_bits_keep_the_high_byte():
    values = RNG.integers(0, 65536, (5, 7), dtype=np.uint16)
    high = (values >> 8).astype(np.uint8)
    got = read_image(png(16, 0, [row.astype(">u2").tobytes() for row in values]))
    np.testing.assert_array_equal(got, np.dstack([high] * 3))
    colour = RNG.integers(0, 65536, (5, 7, 3), dtype=np.uint16)
    got = read_image(png(16, 2, [row.astype(">u2").tobytes() for row in colour]))
    np.testing.assert_array_equal(got, (colour >> 8).astype(np.uint8))


def test_alpha_is_laid_over_white():
    alpha = np.linspace(0, 255, 12 * 16).reshape(12, 16, 1).round().astype(np.uint8)
    got = read_image(encoded(Image.fromarray(np.concatenate([RAMP, alpha], -1))))
    expected = RAMP * (alpha / 255) + 255 * (1 - alpha / 255)
    np.testing.assert_allclose(got, expected, atol=1)
    grey_alpha = Image.fromarray(np.concatenate([RAMP[..., :1], alpha], -1), "LA")
    expected = np.repeat(RAMP[..., :1] * (alpha / 255) + 255 * (1 - alpha / 255), 3, -1)
    np.testing.assert_allclose(read_image(encoded(grey_alpha)), expected, atol=1)


def test_palette_with_and_without_transparency():
    image = Image.fromarray(np.arange(6, dtype=np.uint8).reshape(2, 3), "P")
    colours = RNG.integers(0, 256, (6, 3), dtype=np.uint8)
    image.putpalette(colours.ravel().tolist())
    np.testing.assert_array_equal(read_image(encoded(image)), colours.reshape(2, 3, 3))
    alpha = np.uint8([255, 0, 100, 255, 0, 255])[:, None]
    over = np.rint(colours * (alpha / 255) + 255 * (1 - alpha / 255))
    got = read_image(encoded(image, transparency=alpha.tobytes()))
    np.testing.assert_allclose(got, over.reshape(2, 3, 3), atol=1)
    colours[4] = 255
    np.testing.assert_array_equal(read_image(encoded(image, transparency=4)), colours.reshape(2, 3, 3))


def test_cmyk_becomes_rgb():
    cmyk = np.zeros((8, 8, 4), np.uint8)
    cmyk[..., 0], cmyk[..., 3] = 255, 51  # all cyan, a fifth black: no red, four fifths green and blue
    for kind, error in (("TIFF", 1), ("JPEG", 3)):  # Adobe's JPEGs hold the inks inverted
        got = read_image(encoded(Image.fromarray(cmyk, "CMYK"), kind))
        np.testing.assert_allclose(got, np.broadcast_to(np.uint8([0, 204, 204]), (8, 8, 3)), atol=error)


def test_the_first_picture_of_an_animation_counts():
    first, second = (Image.fromarray(np.full((4, 6), value, np.uint8)) for value in (40, 200))
    for kind in ("GIF", "PNG", "WEBP"):
        data = encoded(first, kind, save_all=True, append_images=[second], duration=100)
        np.testing.assert_allclose(read_image(data), np.full((4, 6, 3), 40), atol=1)


@pytest.mark.parametrize(
    ("orientation", "upright"),
    [(1, lambda a: a), (3, lambda a: a[::-1, ::-1]), (6, lambda a: np.rot90(a, -1)), (8, np.rot90)],
)
def test_exif_rotation_is_applied(orientation, upright):
    exif = Image.Exif()
    exif[0x0112] = orientation
    np.testing.assert_array_equal(read_image(encoded(Image.fromarray(RAMP), exif=exif)), upright(RAMP))


@pytest.mark.parametrize("read", [read_image, read_depth_png, read_label_png])
def test_absent_empty_and_folder_name_the_file(tmp_path, read):
    with pytest.raises(UserError, match=r"absent\.png: no such file"):
        read(tmp_path / "absent.png")
    (tmp_path / "empty.png").touch()
    with pytest.raises(UserError, match=r"empty\.png: the file is empty"):
        read(tmp_path / "empty.png")
    with pytest.raises(UserError, match="is a folder; give the files in it"):
        read(tmp_path)
    with pytest.raises(UserError, match="frame 7: no bytes"):
        read(b"", name="frame 7")


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP"])
def test_truncated_images_name_the_file_in_one_line(tmp_path, kind):
    noise = RNG.integers(0, 256, (40, 40, 3), dtype=np.uint8)
    data = encoded(Image.fromarray(noise), kind)
    (tmp_path / "cut.img").write_bytes(data[: len(data) // 2])
    with pytest.raises(UserError, match=r"cut\.img: not a readable image") as error:
        read_image(tmp_path / "cut.img")
    assert "\n" not in str(error.value)
    with pytest.raises(UserError, match=r"frame 7: not a readable image \(cannot identify image file\); save it again"):
        read_image(b"these are no pixels", name="frame 7")


@pytest.mark.parametrize("read", [read_image, read_depth_png])
def test_large_photos_are_read_without_a_word_and_larger_ones_are_refused(read, monkeypatch):
    """Pillow warns of fewer pixels than telephones take, and refuses twice as many; here both limits are lowered."""
    grey = RAMP[..., 0]
    data = encoded(Image.fromarray(grey))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    with pytest.raises(Image.DecompressionBombError):
        Image.open(io.BytesIO(data))
    assert read(data).shape[:2] == (12, 16) and Image.MAX_IMAGE_PIXELS == 10
    monkeypatch.setattr("pixlab.data.images.PIXELS", 12 * 16)
    np.testing.assert_array_equal(read(data).reshape(12, 16, -1)[..., 0], grey)
    monkeypatch.setattr("pixlab.data.images.PIXELS", 12 * 16 - 1)
    with pytest.raises(UserError, match=r"frame 7: has 16x12 pixels, more than 0.000191 million; make it smaller"):
        read(data, name="frame 7")
    with pytest.raises(UserError, match="frame 7: not a readable image"):
        read_image(b"no picture", name="frame 7")
    assert Image.MAX_IMAGE_PIXELS == 10


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_depth_integers_are_exact(dtype):
    top = np.iinfo(dtype).max
    values = RNG.integers(0, top, (9, 11), dtype=dtype, endpoint=True)
    values[0, :4] = [0, 1, top - 1, top]
    by_hand = png(8 * values.itemsize, 0, [row.astype(f">u{values.itemsize}").tobytes() for row in values])
    for data in (by_hand, encode_png(values)):
        got = read_depth_png(data)
        assert got.dtype == dtype
        np.testing.assert_array_equal(got, values)
        np.testing.assert_array_equal(read_label_png(data), values)


@pytest.mark.parametrize(("mode", "words"), [("RGB", "RGB"), ("RGBA", "RGBA"), ("LA", "grey"), ("P", "palette")])
def test_depth_of_more_channels_is_refused(mode, words):
    with pytest.raises(UserError, match=f"d.png: depth must have one channel but this PNG is {words}"):
        read_depth_png(encoded(Image.fromarray(RAMP).convert(mode)), name="d.png")


def test_depth_of_few_bits_or_lossy_is_refused():
    # Pillow would stretch 4-bit grey to 0..255: silently other values
    with pytest.raises(UserError, match="8 or 16 bits but this PNG has 4"):
        read_depth_png(png(4, 0, [bytes([0x01, 0x23])] * 2), name="d.png")
    with pytest.raises(UserError, match=r"d\.png: not a PNG file"):
        read_depth_png(encoded(Image.fromarray(RAMP[..., 0]), "JPEG"), name="d.png")
    data = encode_png(RNG.integers(0, 65536, (40, 40), dtype=np.uint16))
    with pytest.raises(UserError, match=r"d\.png: damaged PNG"):
        read_depth_png(data[: len(data) // 2], name="d.png")


def test_labels_of_a_palette_are_its_indices():
    classes = np.arange(12, dtype=np.uint8).reshape(3, 4)
    image = Image.fromarray(classes, "P")
    image.putpalette(RNG.integers(0, 256, 36, dtype=np.uint8).tolist())
    got = read_label_png(encoded(image))
    assert got.dtype == np.int32
    np.testing.assert_array_equal(got, classes)
    np.testing.assert_array_equal(read_label_png(encoded(image, bits=4)), classes)
    with pytest.raises(UserError, match="labels must be"):
        read_label_png(encoded(Image.fromarray(RAMP)))


def test_depth_is_written_in_millimetres(tmp_path):
    metres = np.array([[1.2344, 1.2346, 0.0, -1.0], [np.nan, np.inf, 65.5351, 80.0]])
    expected = [[1234, 1235, 0, 0], [0, 0, 65535, 65535]]
    for array in (metres, metres[..., None].astype(np.float32)):
        write_depth_png(tmp_path / "d.png", array)
        got = read_depth_png(tmp_path / "d.png")
        assert got.dtype == np.uint16
        np.testing.assert_array_equal(got, expected)
    with pytest.raises(UserError, match=r"d\.png: depth must be \[H, W\]"):
        write_depth_png(tmp_path / "d.png", np.ones((2, 2, 3)))
