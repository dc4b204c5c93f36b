"""FLIC (Frames Labeled In Cinema; Sapp & Taskar, MODEC, CVPR 2013) as TFDS knows it, prepared without TensorFlow.

Name, version, features, and the configs `small` (3,987 training and 1,016 test frames) and `full` are those of the
stock TFDS builder `flic`, and so is what is read back; a directory that the stock builder prepared as array_record
works as well. The stock rule takes what examples.mat marks as train or test, which in `full` are those of `small` (so
the TFDS catalogue has it); here `full` has a split more, `other`, of what is marked neither: 20,928 in all.

`plus` is FLIC-plus of Tompson, Jain, LeCun & Bregler, NIPS 2014 (arXiv 1406.2984): training frames of `full` without
the scenes of the test frames, by their list tr_plus_indices.mat. The list is taken as MATLAB counts, from 1.

The pictures are read out of the archive as they are: nothing is unpacked to disk, nothing is encoded anew.
"""

from __future__ import annotations

import contextlib
import io
import os
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from tensorflow_datasets.core.download.checksums import UrlInfo

from pixlab.errors import UserError

NAME, VERSION = "flic", "2.0.0"
FOLDERS = {"small": "FLIC", "full": "FLIC-full", "plus": "FLIC-full"}  # of the archive, which is named like it
LIST = "tr_plus_indices.mat"
URLS = {
    "FLIC.zip": "https://drive.google.com/uc?id=0B4K3PZp8xXDJN0Fpb0piVjQ3Y3M&export=download",
    "FLIC-full.zip": "https://drive.google.com/uc?id=0B4K3PZp8xXDJd2VwblhhOVBfMDg&export=download",
    LIST: "https://cims.nyu.edu/~tompson/data/tr_plus_indices.mat",
}
SUMS = {
    "FLIC.zip": (300257553, "778a4847f068592af40e959381c153838e4f68bb1d798e3824a9d88e5b881955"),
    "FLIC-full.zip": (1183926041, "2b1866888d424158e4aae6a5057f2b200f9747b7bfd5c8e3fdfa142699415bc3"),
}
WHAT = {
    "small": "The 5,003 frames of the MODEC paper.",
    "full": "All 20,928 labelled frames, among them occluded, non-frontal and wrongly labelled people.",
    "plus": "FLIC-plus: training frames of full that share no scene with the test frames.",
}
HITS, MOVIE, COORDS, FILE, FRAME, TORSO, TRAIN, TEST = 0, 1, 2, 3, 5, 6, 7, 8  # columns of examples.mat
POINTS = 29  # of the body, most of them never labelled


class Builder(tfds.core.GeneratorBasedBuilder, skip_registration=True):  # the stock builder holds the name
    """TFDS builder: `Builder(config="small", data_dir=..., file_format="array_record").download_and_prepare()`.

    by_hand: folder with FLIC.zip (for `small`), FLIC-full.zip (`full` and `plus`) and tr_plus_indices.mat (`plus`); a
    file that is not there is downloaded. Raises UserError for a file that cannot be downloaded, is cut short, or holds
    other things.
    """

    name = NAME
    VERSION = tfds.core.Version(VERSION)
    BUILDER_CONFIGS = [tfds.core.BuilderConfig(name=key, version=VERSION, description=WHAT[key]) for key in FOLDERS]
    url_infos = {
        URLS[name]: UrlInfo(size=size, checksum=sha256, filename=name) for name, (size, sha256) in SUMS.items()
    }

    def __init__(self, *, by_hand: str | os.PathLike, **options: Any):
        self.by_hand = Path(by_hand).expanduser()
        super().__init__(**options)

    def _info(self) -> tfds.core.DatasetInfo:
        features = {
            "image": tfds.features.Image(shape=(480, 720, 3), encoding_format="jpeg"),
            "poselet_hit_idx": tfds.features.Sequence(np.uint16),
            "moviename": tfds.features.Text(),
            "xcoords": tfds.features.Sequence(np.float64),
            "ycoords": tfds.features.Sequence(np.float64),
            "currframe": tfds.features.Tensor(shape=(), dtype=np.float64),
            "torsobox": tfds.features.BBoxFeature(),
        }
        return tfds.core.DatasetInfo(
            builder=self,
            description=__doc__.splitlines()[0],
            features=tfds.features.FeaturesDict(features),
            homepage="https://bensapp.github.io/flic-dataset.html",
        )

    def _split_generators(self, dl_manager):
        config = self.builder_config.name
        folder = FOLDERS[config]
        archive = self._file(f"{folder}.zip", dl_manager)
        examples = read_examples(archive, folder)
        if config == "plus":
            splits = {"train": read_list(self._file(LIST, dl_manager), len(examples))}
        else:
            splits = {"train": marked(examples, TRAIN), "test": marked(examples, TEST)}
        if config == "full" and (other := sorted(set(range(len(examples))).difference(*splits.values()))):
            splits["other"] = other
        return {split: self._generate_examples(archive, folder, examples, rows) for split, rows in splits.items()}

    def _file(self, name: str, dl_manager) -> Path:
        """The file as it lies in `by_hand`, or as downloaded."""
        path = self.by_hand / name
        if path.exists():
            return path
        try:
            return Path(dl_manager.download(URLS[name]))
        except Exception as error:  # of TFDS and of the network, and Google Drive's page that says "over quota"
            reason = (str(error).splitlines() or [repr(error)])[0][:150]
            raise UserError(
                f"{name} cannot be downloaded ({reason}); fetch {URLS[name]} with a browser and put it at {path}"
            ) from error

    def _generate_examples(
        self, archive: Path, folder: str, examples: np.ndarray, rows: Sequence[int]
    ) -> Iterator[tuple[int, dict[str, Any]]]:
        with reading(archive) as file:
            for row in rows:
                member = f"{folder}/images/{examples[row][FILE]}"
                yield row, example(f"{archive}: {member}", examples[row], file.read(member))


@contextlib.contextmanager
def reading(archive: Path) -> Iterator[zipfile.ZipFile]:
    """The zip archive, to read members from. Raises UserError where it is damaged or a member is not in it."""
    try:
        with zipfile.ZipFile(archive) as file:
            yield file
    except KeyError as error:  # zipfile's, which names the member
        raise UserError(f"{archive}: {error.args[0]}; {_again(archive)}") from error
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError) as error:
        raise UserError(f"{archive}: not a whole zip archive ({error}); {_again(archive)}") from error


def read_examples(archive: Path, folder: str) -> np.ndarray:
    """FOLDER/examples.mat of the archive: a record [n] for each frame. Raises UserError when it is something else."""
    import scipy.io

    with reading(archive) as file:
        data = file.read(f"{folder}/examples.mat")
    try:
        examples = scipy.io.loadmat(io.BytesIO(data), squeeze_me=True, mat_dtype=True)["examples"]
        if examples[0][COORDS].shape != (2, POINTS) or len(examples.dtype) <= TEST:
            raise ValueError("other columns")
    except Exception as error:  # scipy raises many kinds
        raise UserError(f"{archive}: its examples.mat is not FLIC's ({error!r}); {_again(archive)}") from error
    return examples


def read_list(path: Path, count: int) -> list[int]:
    """Rows of examples.mat, which has `count`, that FLIC-plus consists of: the file's numbers, less 1, in order.

    Raises UserError for another file, and for numbers that are not from 1 to `count`.
    """
    import scipy.io

    try:
        (values,) = (value for key, value in scipy.io.loadmat(path).items() if not key.startswith("__"))
        numbers = np.unique(values.ravel()).astype(np.int64)
        least, most = numbers[0], numbers[-1]
    except Exception as error:  # scipy raises many kinds
        raise UserError(f"{path}: not a list of examples ({error!r}); {_again(LIST)}") from error
    if least < 1 or most > count:
        raise UserError(f"{path}: has numbers {least} to {most}, not within 1 to {count}; {_again(LIST)}")
    return (numbers - 1).tolist()


def marked(examples: np.ndarray, column: int) -> list[int]:
    """Rows where `column` is true."""
    return [row for row, one in enumerate(examples) if one[column]]


def example(name: str, row: np.void, picture: bytes) -> dict[str, Any]:
    """One example as the features want it, the picture as it is (encoding an array would take TensorFlow).

    Raises UserError, which names `name`, when the bytes are no picture.
    """
    from PIL import Image

    try:
        with Image.open(io.BytesIO(picture)) as image:
            width, height = image.size
    except OSError as error:
        raise UserError(f"{name}: not a picture; download the archive again") from error
    # TFDS takes boxes within the picture only, which nobody has made sure of outside the stock splits
    x1, y1, x2, y2 = np.clip(row[TORSO] / np.array([width, height, width, height]), 0, 1)
    return {
        "image": io.BytesIO(picture),
        "poselet_hit_idx": np.atleast_1d(row[HITS]).astype(np.uint16),
        "moviename": row[MOVIE],
        "xcoords": row[COORDS][0],
        "ycoords": row[COORDS][1],
        "currframe": row[FRAME],
        "torsobox": tfds.features.BBox(ymin=y1, xmin=x1, ymax=y2, xmax=x2),
    }


def _again(file: str | Path) -> str:
    """What to do about a file that is damaged."""
    name = Path(file).name
    return f"download {URLS.get(name, name)} again"
