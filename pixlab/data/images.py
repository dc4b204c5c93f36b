"""Picture files to arrays and back: colour images as RGB bytes, depth and labels as exact integers.

Pillow decodes everything: it is small, always there, and reads the 16 bits of a grey PNG unchanged.
"""

from __future__ import annotations

import io
import os
import re
import threading
from pathlib import Path
from typing import NamedTuple

import numpy as np

from pixlab.errors import UserError

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
COLOUR_TYPES = {0: "grey", 2: "RGB (3 channels)", 3: "palette", 4: "grey + alpha (2 channels)", 6: "RGBA (4 channels)"}
MAX_MM = 65535  # the largest 16-bit value: depth PNGs end at 65.535 m
PIXELS = 250_000_000  # of the largest picture that is read: telephones take 200 million
_OPENING = threading.Lock()


class PngHeader(NamedTuple):
    """What the IHDR chunk of a PNG says about its samples."""

    bits: int
    colour_type: int


def read_bytes(path) -> bytes:
    """The bytes of a file. Raises UserError when there is no such file, it cannot be read, or it is empty."""
    try:
        data = Path(path).read_bytes()
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; check the path") from None
    except IsADirectoryError:
        raise UserError(f"{path}: is a folder; give the files in it") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); check its type and permissions") from None
    if not data:
        raise UserError(f"{path}: the file is empty; copy or download it again")
    return data


def _data_and_name(source, name) -> tuple[bytes, str]:
    if not isinstance(source, bytes | bytearray | memoryview):
        return read_bytes(source), name or os.fspath(source)
    if not len(source):
        raise UserError(f"{name or 'image bytes'}: no bytes; copy or download the file again")
    return bytes(source), name or "image bytes"


def read_image(source: str | os.PathLike | bytes, *, name: str | None = None) -> np.ndarray:
    """A colour image as RGB.

    source: a path, or the encoded bytes of a file (then `name` stands for it in error messages).
    Returns uint8 [H, W, 3], turned upright as EXIF says. Grey and 1-bit images repeat their value in three channels,
    16-bit ones keep the high byte (as Pillow does for 16-bit RGB), transparency is laid over white, palette and CMYK
    become RGB; of an animation the first picture counts.
    Raises UserError when the file is absent, empty, truncated or no image, or has more than PIXELS pixels.
    """
    from PIL import Image, ImageOps

    data, name = _data_and_name(source, name)
    try:
        with _opened(data, name) as image:
            image.load()
            ImageOps.exif_transpose(image, in_place=True)
            if image.mode.startswith("I"):
                values = np.asarray(image)
                if values.min() < 0 or values.max() > 65535:
                    raise ValueError("more than 16 bits a sample")
                return np.repeat((values.astype(np.int64) >> 8).astype(np.uint8)[..., None], 3, axis=-1)
            if image.mode == "F":
                raise ValueError("floating-point samples")
            if "A" in image.getbands() or "a" in image.getbands() or "transparency" in image.info:
                image = image.convert("RGBA")
                image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
            return np.array(image if image.mode == "RGB" else image.convert("RGB"))
    except UserError:
        raise
    except Exception as error:  # Pillow's decoders raise many kinds; all mean that this file is not a usable image
        raise UserError(f"{name}: not a readable image ({_one_line(error)}); save it again as PNG or JPEG") from error


def is_grey(data: bytes, name: str) -> bool:
    """Whether a readable picture file, which messages call `name`, has one channel beside transparency."""
    with _opened(data, name) as image:
        return image.mode in ("1", "L", "LA") or image.mode.startswith("I")


def _opened(data: bytes, name: str):
    """Pillow's image, not decoded yet. Raises UserError above PIXELS: a small file can be made to fill the memory.

    Pillow itself warns of fewer than photos have, when it reads the header: its limit is off meanwhile.
    """
    from PIL import Image

    with _OPENING:
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            image = Image.open(io.BytesIO(data))
        finally:
            Image.MAX_IMAGE_PIXELS = limit
    if image.width * image.height > PIXELS:
        size = f"{image.width}x{image.height} pixels, more than {PIXELS / 1e6:g} million"
        image.close()
        raise UserError(f"{name}: has {size}; make it smaller, or cut it into pieces")
    return image


def _one_line(error: BaseException) -> str:
    """What an exception says, without the object that it names."""
    return " ".join(re.sub(r" <.*>", "", str(error)).split()) or type(error).__name__


def png_header(data: bytes, name: str) -> PngHeader:
    """Bits and colour type that a PNG's header states. Raises UserError when the bytes are not a PNG."""
    if len(data) < 26 or not data.startswith(PNG_SIGNATURE):
        raise UserError(f"{name}: not a PNG file; depth and labels must be PNG (JPEG and WebP change the values)")
    return PngHeader(bits=data[24], colour_type=data[25])


def _png_values(data: bytes, name: str) -> np.ndarray:
    try:
        with _opened(data, name) as image:
            image.load()
            values = np.array(image)
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"{name}: damaged PNG ({_one_line(error)}); copy or make the file again") from error
    return values.astype(np.uint8 if values.dtype == np.uint8 else np.uint16)


def read_depth_png(source: str | os.PathLike | bytes, *, name: str | None = None) -> np.ndarray:
    """The integers of a one-channel 8- or 16-bit PNG, exactly.

    Returns uint8 or uint16 [H, W]; the file says nothing of the unit (`RgbdFolder` takes the scale).
    Raises UserError when the file is absent, damaged, not a PNG, or has another number of channels or bits.
    """
    data, name = _data_and_name(source, name)
    bits, colour_type = png_header(data, name)
    if colour_type != 0:
        found = COLOUR_TYPES.get(colour_type, "unknown")
        raise UserError(f"{name}: depth must have one channel but this PNG is {found}; save it as 16-bit grey")
    if bits not in (8, 16):
        raise UserError(f"{name}: depth must have 8 or 16 bits but this PNG has {bits}; save it as 16-bit grey")
    return _png_values(data, name)


def read_label_png(source: str | os.PathLike | bytes, *, name: str | None = None) -> np.ndarray:
    """The class numbers of a label PNG: 1-, 8- or 16-bit grey values, or palette indices.

    Returns int32 [H, W]. Raises UserError as `read_depth_png` does.
    """
    data, name = _data_and_name(source, name)
    bits, colour_type = png_header(data, name)
    if colour_type != 3 and (colour_type != 0 or bits not in (1, 8, 16)):
        found = COLOUR_TYPES.get(colour_type, "unknown")
        wanted = "1-, 8- or 16-bit grey or palette, whose values are the classes,"
        raise UserError(f"{name}: labels must be {wanted} but this PNG is {bits}-bit {found}")
    return _png_values(data, name).astype(np.int32)


def encode_png(values: np.ndarray, *, level: int = 6) -> bytes:
    """PNG bytes: see `save_png`."""
    out = io.BytesIO()
    save_png(out, values, level=level)
    return out.getvalue()


def save_png(file: io.BufferedIOBase, values: np.ndarray, *, level: int = 6) -> None:
    """Write uint8 [H, W], uint16 [H, W] or uint8 [H, W, 3] to an open file as PNG, without a copy of the encoded bytes;
    lossless. level: zlib's, 0 (fast) to 9 (small)."""
    from PIL import Image

    Image.fromarray(np.ascontiguousarray(values)).save(file, "PNG", compress_level=level)


def write_depth_png(path: str | os.PathLike, metres: np.ndarray) -> None:
    """Write depth as a 16-bit PNG in millimetres, rounded; 0 = no measurement.

    metres: [H, W] or [H, W, 1]; values that are not finite or not positive become 0, values past 65.535 m become
    65535. Raises UserError when the array has another shape.
    """
    metres = np.asarray(metres, np.float64)
    if metres.ndim == 3 and metres.shape[-1] == 1:
        metres = metres[..., 0]
    if metres.ndim != 2:
        raise UserError(f"{path}: depth must be [H, W] or [H, W, 1] but has shape {metres.shape}")
    metres = np.where(np.isfinite(metres), metres, 0)
    Path(path).write_bytes(encode_png(np.clip(np.rint(metres * 1000), 0, MAX_MM).astype(np.uint16)))
