"""Data sets of photos: what there is, how it is prepared and opened."""

from __future__ import annotations

import functools
from pathlib import Path

from pixlab.data.photos import decoded
from pixlab.data.pipeline import Example, Source
from pixlab.data.prepared import Entry, by_hand_dir, data_dir, folder_entry, need, open_prepared, open_records
from pixlab.errors import NoSplit

NAME = "photos"  # of our own builder
PARTS = {  # of each prepared set: which of its records a split is
    "t91": {"train": "photos"},
    "set5": {"test": "photos"},
    "set14": {"test": "photos"},
    "bsd100": {"test": "photos"},
    "urban100": {"test": "photos"},
    "general100": {"train": "photos", "test": "photos"},
    "div2k": {"train": "train", "test": "validation"},
    "imagenet2012": {"train": "train", "test": "validation"},
    "places365_small": {"train": "train", "test": "validation"},
}
SMALL = tuple(name for name, parts in PARTS.items() if "photos" in parts.values())  # those of our own builder


class Photos:
    """The photos of one part of a set that TFDS prepared as array_record: see `pixlab.data.photos.open_photos`.

    Raises NoSplit for a part that was not prepared, and UserError for other formats, which take TensorFlow.
    """

    def __init__(self, folder: Path, part: str):
        self.folder, self.part = folder, part
        self._records, images = open_records(folder, part)
        self._image = "hr" if "hr" in images else "image"

    def __len__(self) -> int:
        return len(self._records)

    def __getitem__(self, index: int) -> Example:
        return decoded(self._records[int(index)][self._image], self.record_name(index))

    def record_name(self, index: int) -> str:
        """What to call a photo in messages."""
        return f"{self.folder}: {self.part} record {index}"


def open_set(name: str, split: str) -> Source:
    """The photos of `split` ("train", "test" or "all") of a prepared set. Raises UserError with the command for it."""
    parts = PARTS[name]
    if split not in (*parts, "all"):
        raise NoSplit(f"{name}: no split '{split}'; it has {' and '.join(parts)}")
    part = parts[split] if split in parts else "+".join(dict.fromkeys(parts.values()))
    found = _prepared(name)
    need(name, bool(found))
    return open_prepared(name, lambda: Photos(found[0], part), _folder(name))


def _folder(name: str) -> Path:
    return data_dir() / NAME / name if name in SMALL else data_dir() / name


def _prepared(name: str) -> list[Path]:
    """The folders with its records, the newest version first."""
    return sorted((path.parent for path in _folder(name).glob("**/dataset_info.json")), reverse=True)


def _prepare(name: str) -> str:
    """By a builder of ours, as records that are read without TensorFlow."""
    from pixlab.data.builders import large_photos, photos

    options = dict(data_dir=data_dir(), file_format="array_record")
    if name in SMALL:
        builder = photos.Builder(config=name, by_hand=by_hand_dir(NAME), **options)
    elif name == "imagenet2012":
        builder = large_photos.ImageNet2012(by_hand=by_hand_dir(""), **options)
    else:
        builder = {"div2k": large_photos.Div2k, "places365_small": large_photos.Places365Small}[name](**options)
    builder.download_and_prepare()
    return f"{name} is prepared in {builder.data_path}"


def _by_hand(name: str) -> str:
    if name in SMALL:
        or_nothing = "" if name == "general100" else "nothing, or "
        return f"{or_nothing}its pictures into {by_hand_dir(NAME) / name}, or an archive of them there as {name}.zip"
    if name == "imagenet2012":
        return f"ILSVRC2012_img_train.tar and ILSVRC2012_img_val.tar into {by_hand_dir('')}"
    return "nothing"


def _entry(name: str, what: str, origin: str, licence: str, size: str) -> Entry:
    return Entry(
        name,
        what,
        origin,
        licence,
        size,
        functools.partial(_by_hand, name),
        lambda: bool(_prepared(name)),
        functools.partial(_prepare, name),
    )


RESEARCH = "research use; no terms are stated"
SRCNN = "github.com/tegg89/SRCNN-Tensorflow"
ENTRIES = (
    _entry("t91", "91 small photos that super-resolution is trained on", f"Yang et al., TIP 2010, as in {SRCNN}",
           RESEARCH, "20 MB archive, the same for set5 and set14"),
    _entry("set5", "5 photos that super-resolution is tested on", f"Bevilacqua et al., BMVC 2012, as in {SRCNN}",
           RESEARCH, "20 MB archive"),
    _entry("set14", "14 photos, one of them grey, that super-resolution is tested on",
           f"Zeyde et al., 2010, as in {SRCNN}", RESEARCH, "20 MB archive"),
    _entry("bsd100", "100 photos, 481x321, that super-resolution is tested on: the validation photos of BSDS500",
           "Martin et al., ICCV 2001; Arbelaez et al., TPAMI 2011 (github.com/BIDS/BSDS500)",
           "non-commercial research and education", "70 MB archive"),
    _entry("urban100", "100 photos of buildings, about 1024x768, that super-resolution is tested on",
           "Huang et al., CVPR 2015 (github.com/jbhuang0604/SelfExSR)", RESEARCH, "400 MB archive"),
    _entry("general100", "100 photos without compression that FSRCNN is trained on besides t91, or for tests",
           "Dong et al., ECCV 2016 (mmlab.ie.cuhk.edu.hk/projects/FSRCNN.html)", RESEARCH, "50 MB"),
    _entry("div2k", "DIV2K: 800 + 100 photos, 2040 pixels wide or high, for super-resolution",
           "TFDS, from Agustsson & Timofte, CVPRW 2017", "academic research; see data.vision.ee.ethz.ch/cvl/DIV2K",
           "4 GB archives"),
    _entry("imagenet2012", "ImageNet, ILSVRC 2012: 1,281,167 + 50,000 photos, used without their labels",
           "TFDS, from Russakovsky et al., IJCV 2015 (image-net.org)", "non-commercial research, on application",
           "144 GB archives"),
    _entry("places365_small", "Places365: 1,803,460 + 36,500 photos of 256x256, used without their labels",
           "TFDS, from Zhou et al., TPAMI 2017 (places2.csail.mit.edu)", "research and education", "25 GB archives"),
    folder_entry(
        "photos",
        "your own folder of photos; in folders train/ and test/, or every tenth is for testing",
        "a folder of PNG, JPEG, BMP, WebP, TIFF, GIF, PPM, PGM files, and folders of them",
    ),
)  # fmt: skip
