"""Data sets of people and their joints."""

from __future__ import annotations

from pixlab.data.flic_joints import ORIGIN
from pixlab.data.pipeline import Source
from pixlab.data.prepared import Entry, by_hand_dir, data_dir, folder_entry, need, open_prepared
from pixlab.data.rgbd_sets import prepare_rooms, rooms_ready


def flic(config: str, split: str) -> Source:
    """TFDS flic: "small", "full" or "plus". Raises UserError with the command that prepares it."""

    def read() -> Source:
        from pixlab.data.flic import Flic

        return Flic(data_dir(), split, config=config)

    name = "flic" if config == "small" else f"flic:{config}"
    need(name, _flic_ready(config))
    return open_prepared(name, read)


def _prepare_figures() -> str:
    return f"{prepare_rooms()}; figures are drawn in them"


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


ENTRIES = (
    Entry(
        "figures",
        "2000 + 200 pictures of procedural people with 15 joints, drawn in the rooms when they are read",
        "made on this machine, the same everywhere",
        "Apache-2.0, as pixlab",
        "nothing beyond rooms",
        lambda: "nothing",
        rooms_ready,
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
    folder_entry(
        "flic_joints",
        "FLIC's joints without its pictures, for experiments/pose_repair.py: 3,987 + 1,016 people",
        "train.h5 and valid.h5 in one folder",
        f"{ORIGIN}, from Sapp & Taskar, CVPR 2013",
        "cite Sapp & Taskar",
    ),
    folder_entry(
        "pose_folder",
        "your own folder of pictures with joints.json (pixlab/data/people.py has the layout)",
        'joints.json: [{"file": "NAME.jpg", "joints": [[x, y, visible], ...]}, ...]',
    ),
)
