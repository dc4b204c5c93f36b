"""Sources of photos by name: benchmark sets, large sets of TFDS, anyone's folder, and several of them together."""

from __future__ import annotations

import bisect
import itertools
import os
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pixlab.data.images import is_grey, read_bytes, read_image
from pixlab.data.pipeline import Example, Source
from pixlab.data.rgbd import BLANK
from pixlab.errors import NoSplit, UserError

NAMED = (
    "t91", "set5", "set14", "bsd100", "urban100", "general100", "div2k", "imagenet2012", "places365_small", "rooms",
)  # fmt: skip
SOURCES = f"{', '.join(NAMED)} and photos:PATH"
SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".gif"}
EVERY = 10  # of a folder without train/ and test/, each so-many-th photo is for testing
MEMORY = 2 << 30  # bytes


def open_photos(name: str, split: str) -> Source:
    """The photos of `split` ("train", "test" or "all") of one of SOURCES, or of several, joined by comma or plus sign.

    A frame has "image" uint8 [h, w, 3] (grey photos repeat their value) and "grey" [], whether the file was grey.
    Raises UserError for an unknown name, a split that is not there, and where files are absent or damaged.
    """
    parts = split_names(name)
    if len(parts) == 1:
        return _open(name, split)
    found, missing = [], []
    for part in parts:
        try:
            found.append(_open(part, split))
        except NoSplit as error:
            missing.append(error)
    if not found:
        raise missing[0]
    return Joined(found)


def open_apart(name: str, split: str, other: str) -> Source:
    """`open_photos` where the other split comes from `other`: of a folder that is in one of them only, all photos.

    (Unless it has folders train/ and test/, which say what each is for.)
    """
    whole = lambda part: part.startswith("photos:") and not overlap(part, other) and not _folders(part[7:])  # noqa: E731
    found, missing = [], []
    for part in split_names(name):
        try:
            found.append(_open(part, "all" if whole(part) else split))
        except NoSplit as error:
            missing.append(error)
    if not found:
        raise missing[0]
    return found[0] if len(found) == 1 else Joined(found)


def split_names(name: str) -> list[str]:
    """The names that are joined in `name`; commas and plus signs in a path stay."""
    return re.split(rf"[,+](?=(?:{'|'.join(NAMED)})(?:[,+]|$)|photos:)", name)


def overlap(name: str, other: str) -> bool:
    """Whether two names have a set or a folder in common, however that is written."""
    return not _places(name).isdisjoint(_places(other))


def apart(name: str, other: str) -> None:
    """Raise UserError where a folder of one name lies in a folder of the other, of which all photos are taken."""
    for outer, inner in ((name, other), (other, name)):
        folders = [part[7:] for part in split_names(outer) if part.startswith("photos:") and not _folders(part[7:])]
        places = (os.path.realpath(os.path.expanduser(folder)) for folder in folders)
        for place in places:
            if found := [path for path in _places(inner) if path.startswith(os.path.join(place, ""))]:
                raise UserError(f"{found[0]} lies in {place}: give folders that share no photo to train and to test on")


def _places(name: str) -> set[str]:
    parts = (part.partition(":") for part in split_names(name))
    return {os.path.realpath(os.path.expanduser(path)) if colon else part for part, colon, path in parts}


def _open(name: str, split: str) -> Source:
    if name == BLANK:
        return [blank_photo()]
    if name == "rooms":
        from pixlab.data import rgbd_sets

        return Pictures(rgbd_sets.rooms(split))
    if name in NAMED:
        from pixlab.data import photo_sets

        return photo_sets.open_set(name, split)
    if name.startswith("photos:") and len(name) > len("photos:"):
        return PhotoFolder(name.removeprefix("photos:"), split)
    raise UserError(f"no photos '{name}'; there are {SOURCES}")


def blank_photo() -> Example:
    """A grey photo of 480x640, as sources give it."""
    return {"image": np.full((480, 640, 3), 128, np.uint8), "grey": np.bool_(False)}


def decoded(data: bytes, name: str) -> Example:
    """A frame of a picture file's bytes, which messages call `name`. Raises UserError where they are no picture."""
    return {"image": read_image(data, name=name), "grey": np.bool_(is_grey(data, name))}


def natural(path: str) -> list[tuple[int, int, str]]:
    """A key to sort names by that takes digits for numbers: t2 before t10."""
    return [(0, int(word), "") if word.isdigit() else (1, 0, word) for word in re.findall(r"[0-9]+|[^0-9]+", path)]


def pictures(names: Sequence[str]) -> list[str]:
    """Those of the file names, with /, that are pictures and not hidden, in natural order."""
    seen = lambda name: not any(part.startswith((".", "__MACOSX")) for part in name.split("/"))  # noqa: E731
    return sorted((n for n in names if os.path.splitext(n)[1].lower() in SUFFIXES and seen(n)), key=natural)


def pictures_in(folder: Path) -> list[str]:
    """Names, from the folder on, of the pictures in it and in the folders in it."""
    return pictures([path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()])


class PhotoFolder:
    """Anyone's folder of pictures, found recursively and sorted by name.

    Folders train/ and test/ in it are these splits; without them every tenth photo, from the first on, is "test" and
    the others "train". "all" is all. Raises UserError where there is no such folder or no photo, NoSplit for a split
    without any; for a picture that cannot be read, when it is read.
    """

    def __init__(self, folder: str | os.PathLike, split: str = "all"):
        self.folder = Path(folder).expanduser()
        if not self.folder.is_dir():
            what = "is a file" if self.folder.exists() else "no such folder"
            raise UserError(f"{self.folder}: {what}; give photos:PATH with the folder that has the photos")
        if split not in ("train", "test", "all"):
            raise NoSplit(f"{self.folder}: no split '{split}'; it has train, test and all")
        names = pictures_in(self.folder)
        if not names:
            raise UserError(f"{self.folder}: no pictures in it; it takes {', '.join(sorted(SUFFIXES))}")
        if split == "all":
            self.names = names
        elif _folders(self.folder):
            self.names = [name for name in names if name.startswith(f"{split}/")]
        else:
            self.names = [name for i, name in enumerate(names) if (split == "test") == (i % EVERY == 0)]
        if not self.names:
            raise NoSplit(f"{self.folder}: no photos in split '{split}', {len(names)} in all")

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Example:
        path = self.folder / self.names[index]
        return decoded(read_bytes(path), os.fspath(path))

    def record_name(self, index: int) -> str:
        """What to call a photo in messages."""
        return os.fspath(self.folder / self.names[index])


def _folders(folder: str | os.PathLike) -> bool:
    """Whether train/ or test/ say where photos belong."""
    return any((Path(folder).expanduser() / split).is_dir() for split in ("train", "test"))


class Pictures:
    """The pictures of a source of other frames."""

    def __init__(self, frames: Source):
        self._frames = frames

    def __len__(self) -> int:
        return len(self._frames)

    def __getitem__(self, index: int) -> Example:
        return {"image": self._frames[index]["image"], "grey": np.bool_(False)}


class Joined:
    """The frames of several sources, one source after the other."""

    def __init__(self, sources: Sequence[Source]):
        self._sources = list(sources)
        self._ends = list(itertools.accumulate(map(len, self._sources)))

    def __len__(self) -> int:
        return self._ends[-1]

    def _place(self, index: int) -> tuple[Source, int]:
        if not 0 <= index < len(self):
            raise IndexError(index)
        which = bisect.bisect_right(self._ends, index)
        return self._sources[which], index - (self._ends[which] - len(self._sources[which]))

    def __getitem__(self, index: int) -> Example:
        source, at = self._place(int(index))
        return source[at]

    def record_name(self, index: int) -> str:
        """What to call a photo in messages."""
        source, at = self._place(index)
        return source.record_name(at) if hasattr(source, "record_name") else f"photo {at}"


class Kept:
    """A source that keeps the frames it has read, as long as they fit in `memory` bytes: decoding takes longest."""

    def __init__(self, source: Source, memory: int = MEMORY):
        self._source, self._left, self._frames = source, memory, {}
        for name in ("record_name", "remedy"):
            if hasattr(source, name):
                setattr(self, name, getattr(source, name))

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, index: int) -> Example:
        frame = self._frames.get(index)
        if frame is None:
            frame = self._source[index]
            size = sum(np.asarray(x).nbytes for x in frame.values())
            if size <= self._left:
                self._left -= size
                self._frames[index] = frame
        return frame
