"""What data there is, where it comes from, whether it is prepared, how to prepare it and how to open it."""

from __future__ import annotations

import functools
import os
import pathlib
from collections.abc import Callable
from typing import NamedTuple

from pixlab.data.pipeline import Source
from pixlab.errors import UserError


def data_dir() -> pathlib.Path:
    """Where prepared data is kept: TFDS_DATA_DIR, default ~/tensorflow_datasets."""
    return pathlib.Path(os.environ.get("TFDS_DATA_DIR", "~/tensorflow_datasets")).expanduser()


def by_hand_dir(name: str) -> pathlib.Path:
    """Where files go that are downloaded by hand (TFDS's own convention)."""
    return data_dir() / "downloads" / "manual" / name


class Entry(NamedTuple):
    """One data set."""

    name: str
    what: str
    origin: str
    licence: str
    size: str
    by_hand: Callable[[], str]
    prepared: Callable[[], bool] | None  # None: there is nothing to prepare
    prepare: Callable[[], str]  # returns what to say at the end

    def state(self) -> str:
        """Whether it is prepared, and if not, by which command."""
        if self.prepared is None:
            return f"needs no preparation; --source {self.name}:PATH"
        return "prepared" if self.prepared() else f"not prepared; python -m pixlab data prepare {self.name}"


def rooms(split: str) -> Source:
    """The built-in rooms, made on first use. Raises UserError where they are damaged."""

    def read() -> Source:
        from pixlab.data.builders.rooms import RoomsSource

        _prepare_rooms()
        return RoomsSource(data_dir(), split)

    if not _rooms_ready():
        prepare("rooms", _prepare_rooms)
    return _open("rooms", read)


def nyu_depth_v2(split: str, *, normals: bool) -> Source:
    """TFDS nyu_depth_v2. Raises UserError with the command that prepares it."""

    def read() -> Source:
        from pixlab.data.builders.nyu_depth_v2 import NyuDepthV2

        return NyuDepthV2(data_dir(), split, normals=normals, cache=_cache("nyu_depth_v2"))

    _need("nyu_depth_v2", _nyu_ready())
    return _open("nyu_depth_v2", read)


def nyu_labeled(split: str, *, normals: bool, classes: int, path: str = "") -> Source:
    """The official labelled frames in `path`, or where `data list` says. Raises UserError where files are absent."""
    from pixlab.data.nyu_labeled import NyuLabeled

    if not path:
        _need("nyu_labeled", _labeled_ready())
    folder = pathlib.Path(path) if path else by_hand_dir("nyu_labeled")
    return NyuLabeled(folder, split, classes=classes, normals=normals, cache=_cache("nyu_labeled"))


def rgbd_folder(path: str, split: str, *, normals: bool) -> Source:
    """Anyone's folder of RGB-D frames; see pixlab/data/rgbd_folder.py for its layouts."""
    from pixlab.data.rgbd_folder import RgbdFolder

    folder = pathlib.Path(path).expanduser()
    return RgbdFolder(folder, split, normals=normals, cache=_cache("rgbd_folder", folder))


def flic(config: str, split: str) -> Source:
    """TFDS flic: "small", "full" or "plus". Raises UserError with the command that prepares it."""

    def read() -> Source:
        from pixlab.data.flic import Flic

        return Flic(data_dir(), split, config=config)

    name = "flic" if config == "small" else f"flic:{config}"
    _need(name, _flic_ready(config))
    return _open(name, read)


def prepare(name: str, how: Callable[[], str]) -> str:
    """What `how` says in the end. Raises UserError where the data cannot be fetched, read or written."""
    try:
        return how()
    except UserError:
        raise
    except Exception as error:  # of TFDS, of the network, of the file system
        lines = str(error).splitlines() or [repr(error)]
        reason = next((line for line in lines if "No space left" in line), lines[0])[:150]
        raise UserError(f"{name} cannot be prepared in {data_dir()} ({reason}); mend that and try again") from error


def _open(name: str, read: Callable[[], Source]) -> Source:
    """What `read` opens, with the remedy that error messages name where the prepared files are damaged."""
    remedy = f"delete {data_dir() / name.partition(':')[0]} and run: python -m pixlab data prepare {name}"
    try:
        source = read()
    except UserError:
        raise
    except Exception as error:  # whatever TFDS raises for damaged files
        reason = (str(error).splitlines() or [repr(error)])[0][:150]
        raise UserError(f"{name} cannot be opened ({reason}); {remedy}") from error
    source.remedy = remedy
    return source


def _need(name: str, ready: bool) -> None:
    if not ready:
        raise UserError(f"{name} is not prepared in {data_dir()}; run: python -m pixlab data prepare {name}")


def _cache(*parts: str | pathlib.Path) -> pathlib.Path:
    """Where normals fitted to depth are kept."""
    names = [part if isinstance(part, str) else str(part.resolve()).strip("/").replace("/", "-") for part in parts]
    return data_dir().joinpath("pixlab_normals", *names)


def _prepare_rooms() -> str:
    from pixlab.data.builders.rooms import prepare

    builder = prepare(data_dir())
    return f"rooms is prepared in {builder.data_path}"


def _prepare_figures() -> str:
    return f"{_prepare_rooms()}; figures are drawn in them"


def _rooms_ready() -> bool:
    return any((data_dir() / "rooms").glob("*/dataset_info.json"))


def _nyu_ready() -> bool:
    return any((data_dir() / "nyu_depth_v2").glob("*/dataset_info.json"))


def _prepare_nyu() -> str:
    from pixlab.data.builders.nyu_depth_v2 import Builder

    archive = by_hand_dir("nyudepthv2.tar.gz")
    builder = Builder(data_dir=data_dir(), file_format="array_record", archive=archive if archive.exists() else None)
    builder.download_and_prepare()
    return f"nyu_depth_v2 is prepared in {builder.data_path}"


def _flic_ready(config: str) -> bool:
    folders = [data_dir() / "flic" / each for each in ("small", config)]
    return all(any(folder.glob("*/dataset_info.json")) for folder in folders)


def _prepare_flic(config: str) -> str:
    from pixlab.data.builders.flic import Builder

    for each in dict.fromkeys(("small", config)):  # small has the test frames of all
        builder = Builder(config=each, data_dir=data_dir(), file_format="array_record", by_hand=by_hand_dir("flic"))
        builder.download_and_prepare()
    return f"flic is prepared in {builder.data_path}"


def _flic_by_hand(files: str) -> str:
    return f"nothing, or where Google Drive refuses, {files} into {by_hand_dir('flic')}"


def _labeled_ready() -> bool:
    return (by_hand_dir("nyu_labeled") / "nyu_depth_v2_labeled.mat").exists()


def _prepare_labeled() -> str:
    from pixlab.data.nyu_labeled import NyuLabeled

    folder = by_hand_dir("nyu_labeled")
    if not _labeled_ready():
        raise UserError(f"nyu_labeled is downloaded by hand: {_labeled_by_hand()}")
    counts = {split: len(NyuLabeled(folder, split)) for split in ("train", "test")}
    return f"nyu_labeled is ready in {folder}: {counts['train']} training and {counts['test']} test frames"


def _explain_folder(name: str) -> str:
    return f"{name} needs no preparation: give --source {name}:PATH"


def _labeled_by_hand() -> str:
    files = "nyu_depth_v2_labeled.mat and splits.mat (cs.nyu.edu/~silberman) and classMapping40.mat"
    return f"{files} (github.com/ankurhanda/nyuv2-meta-data), into {by_hand_dir('nyu_labeled')}"


CATALOGUE = (
    Entry(
        "rooms",
        "850 + 120 procedural furnished rooms, 120x160: depth, normals, labels, stereo, flow",
        "made on this machine, the same everywhere, on first use",
        "Apache-2.0, as pixlab",
        "100 MB",
        lambda: "nothing",
        _rooms_ready,
        _prepare_rooms,
    ),
    Entry(
        "nyu_depth_v2",
        "NYU Depth v2: 47,584 Kinect frames of 249 scenes and the 654 official test frames, 480x640, depth in-painted",
        "TFDS, from FastDepth's export of Silberman et al., ECCV 2012",
        "research use; cite Silberman et al.",
        "34 GB archive; normals, fitted when first asked for, another 85 GB",
        lambda: f"nothing, or nyudepthv2.tar.gz at {by_hand_dir('nyudepthv2.tar.gz')}",
        _nyu_ready,
        _prepare_nyu,
    ),
    Entry(
        "nyu_labeled",
        "NYU Depth v2, the 795 + 654 labelled frames, 480x640: depth, 894/40/13/4 labels, normals by plane fitting",
        "Silberman et al., ECCV 2012",
        "research use; cite Silberman et al.",
        "2.8 GB",
        _labeled_by_hand,
        _labeled_ready,
        _prepare_labeled,
    ),
    Entry(
        "rgbd_folder",
        "your own folder of RGB images and 16-bit depth (pixlab/data/rgbd_folder.py has the layouts)",
        "you",
        "yours",
        "any",
        lambda: "NAME_rgb.jpg, NAME_depth.png in millimetres, optionally train.txt and test.txt or frames.csv",
        None,
        functools.partial(_explain_folder, "rgbd_folder"),
    ),
    Entry(
        "figures",
        "2000 + 200 pictures of procedural people with 15 joints, drawn in the rooms when they are read",
        "made on this machine, the same everywhere",
        "Apache-2.0, as pixlab",
        "nothing beyond rooms",
        lambda: "nothing",
        _rooms_ready,
        _prepare_figures,
    ),
    Entry(
        "flic",
        "FLIC: 3,987 + 1,016 film frames, 480x720, of one person each with 11 joints of the upper body",
        "TFDS, from Sapp & Taskar, CVPR 2013",
        "see bensapp.github.io/flic-dataset.html; cite Sapp & Taskar",
        "300 MB archive",
        lambda: _flic_by_hand("FLIC.zip"),
        lambda: _flic_ready("small"),
        lambda: _prepare_flic("small"),
    ),
    Entry(
        "flic:full",
        "all 20,928 frames of FLIC with the occluded, non-frontal and wrongly labelled people; tests are those of flic",
        "TFDS, from Sapp & Taskar, CVPR 2013",
        "see bensapp.github.io/flic-dataset.html; cite Sapp & Taskar",
        "1.2 GB archive, and flic",
        lambda: _flic_by_hand("FLIC-full.zip"),
        lambda: _flic_ready("full"),
        lambda: _prepare_flic("full"),
    ),
    Entry(
        "flic:plus",
        "FLIC-plus: the frames of flic:full that share no scene with the tests; tests are those of flic",
        "Tompson et al., NIPS 2014 (cims.nyu.edu/~tompson/flic_plus.htm), of FLIC by Sapp & Taskar",
        "see bensapp.github.io/flic-dataset.html; cite both",
        "1.2 GB archive, the same as flic:full's, and flic",
        lambda: _flic_by_hand("FLIC-full.zip and tr_plus_indices.mat"),
        lambda: _flic_ready("plus"),
        lambda: _prepare_flic("plus"),
    ),
    Entry(
        "pose_folder",
        "your own folder of pictures with joints.json (pixlab/data/people.py has the layout)",
        "you",
        "yours",
        "any",
        lambda: 'joints.json: [{"file": "NAME.jpg", "joints": [[x, y, visible], ...]}, ...]',
        None,
        functools.partial(_explain_folder, "pose_folder"),
    ),
)
