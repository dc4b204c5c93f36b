"""As a user meets it: photos, scores, data commands, a notebook, and input that is wrong."""

import dataclasses
import functools
import json
import os
import pathlib
import shlex
import shutil
import subprocess
import sys

import numpy as np
import pytest
from frames import write_frames
from PIL import Image
from skimage.transform import resize

from experiments import depth_nyu, pose_lsp
from pixlab import cli
from pixlab.__main__ import main
from pixlab.data import rgbd_sets
from pixlab.data.builders import rooms as builder
from pixlab.data.images import read_depth_png, read_image, write_depth_png
from pixlab.errors import UserError
from pixlab.models.eigen_fergus import output_positions
from pixlab.predict_command import distinct_names
from pixlab.run import Run

ROOT = pathlib.Path(__file__).parents[1]
CROP = (76, 100)
TINY = shlex.split(
    "quick --scales 2 --tasks depth --width 0.0625 --frame 80 104 --crop 76 100 --truth 80 104 --batch 2 "
    "--coarse-steps 2 --fine-steps 1 --workers 1"
)


@pytest.fixture(scope="module", autouse=True)
def data_dir(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("data")
        patch.setenv("TFDS_DATA_DIR", str(folder))
        yield folder


@pytest.fixture(scope="module")
def frames(tmp_path_factory):
    return write_frames(tmp_path_factory.mktemp("frames"), range(4))


@pytest.fixture(scope="module")
def run(tmp_path_factory, frames):
    folder = tmp_path_factory.mktemp("runs") / "run"
    return depth_nyu.main([*TINY, "--source", f"rgbd_folder:{frames}", "--run", str(folder)])


def fails(capfd, *args) -> str:
    """The one line on standard error that a command ends with, at exit status 2."""
    capfd.readouterr()
    with pytest.raises(SystemExit) as stopped:
        main([str(a) for a in args])
    lines = capfd.readouterr().err.splitlines()
    assert stopped.value.code == 2 and len(lines) == 1 and lines[0].startswith("error: "), lines
    return lines[0]


def train_fails(folder, *args) -> str:
    """The one-line message of training that cannot be."""
    with pytest.raises(UserError) as raised:
        depth_nyu.main([*TINY, "--run", str(folder / "failing"), *map(str, args)])
    assert "\n" not in str(raised.value)
    return str(raised.value)


# Photos


def picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Files of every kind, each with the pixels (upright RGB) that it stands for."""
    folder, kinds = tmp_path_factory.mktemp("photos"), {}
    (folder / "again").mkdir()
    rgb, grey = picture(76, 100), picture(50, 70, 1)[..., 0]
    deep = np.linspace(0, 65535, 40 * 30).reshape(40, 30).astype(np.uint16)
    kinds["room.png"] = rgb
    Image.fromarray(rgb).save(folder / "room.png")
    kinds["again/room.png"] = rgb[::-1]
    Image.fromarray(rgb[::-1]).save(folder / "again" / "room.png")
    kinds["grey.png"] = np.repeat(grey[..., None], 3, -1)
    Image.fromarray(grey).save(folder / "grey.png")
    opaque = np.dstack([rgb, np.full(rgb.shape[:2], 255, np.uint8)])
    kinds["rgba.png"] = rgb
    Image.fromarray(opaque).save(folder / "rgba.png")
    palette = Image.fromarray(picture(33, 44, 2)).quantize(16)
    kinds["palette.png"] = np.asarray(palette.convert("RGB"))
    palette.save(folder / "palette.png")
    kinds["deep.png"] = np.repeat((deep >> 8).astype(np.uint8)[..., None], 3, -1)
    Image.fromarray(deep).save(folder / "deep.png")
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned a quarter clockwise
    kinds["turned.png"] = np.rot90(rgb, -1)
    Image.fromarray(rgb).save(folder / "turned.png", exif=exif)
    kinds["dot.png"] = picture(1, 1, 3)
    Image.fromarray(kinds["dot.png"]).save(folder / "dot.png")
    kinds["panorama.jpg"] = None
    Image.fromarray(picture(20, 3000, 4)).save(folder / "panorama.jpg")
    kinds["panorama.jpg"] = np.asarray(Image.open(folder / "panorama.jpg"))
    return {folder / name: pixels for name, pixels in kinds.items()}


def test_predict_on_photos_of_every_kind(run, photos, tmp_path, capsys):
    out = tmp_path / "new" / "out"
    main(["predict", str(run.folder), *map(str, photos), "--out", str(out)])
    written = capsys.readouterr().out.splitlines()
    names = [path.stem for path in photos]
    names[1] = "room-2"
    assert written == [str(out / f"{name}_{what}.png") for name in names for what in ("depth", "depth_colour")]
    assert {str(path) for path in out.iterdir()} == set(written)
    for name, pixels in zip(names, photos.values(), strict=True):
        ((prediction, files),) = run.predict([np.ascontiguousarray(pixels)])
        depth, shown = Image.open(out / f"{name}_depth.png"), Image.open(out / f"{name}_depth_colour.png")
        assert depth.mode == "I;16" and shown.mode == "RGB"
        assert np.asarray(depth).shape == pixels.shape[:2] == np.asarray(shown).shape[:2]
        np.testing.assert_allclose(np.asarray(depth), files["depth"].astype(int), atol=1)  # batches round differently
        metres = prediction["depth"]
        assert metres.min() * 1000 - 1 <= np.min(depth) and np.max(depth) <= metres.max() * 1000 + 1
    assert not np.array_equal(Image.open(out / "room_depth.png"), Image.open(out / "room-2_depth.png"))


def test_depth_lies_where_the_network_saw_it(run, photos, tmp_path):
    path = next(iter(photos))  # of the network's own size
    main(["predict", str(run.folder), str(path), "--out", str(tmp_path)])
    ((prediction, _),) = run.predict([photos[path]])
    metres = np.asarray(Image.open(tmp_path / "room_depth.png")) / 1000
    rows, columns = depth_nyu.part(run.config).slices(*CROP)
    assert 0 <= output_positions(CROP[0], 3)[0] - rows.start <= 1 <= rows.stop - output_positions(CROP[0], 3)[-1] <= 2
    seen = metres[rows, columns]
    wanted = resize(prediction["depth"][..., 0], seen.shape, order=1, mode="edge", anti_aliasing=False)
    assert np.std(wanted) > 0.01
    np.testing.assert_allclose(seen, wanted, atol=0.002)


@pytest.mark.parametrize("damage", ["truncated", "text", "empty", "absent", "folder"])
def test_an_unreadable_photo_is_one_line_and_the_others_are_predicted(run, photos, tmp_path, capfd, damage):
    good, bad, out = next(iter(photos)), tmp_path / "bad.png", tmp_path / "out"
    content = {"truncated": good.read_bytes()[:5000], "text": b"not a photo", "empty": b""}
    if damage in content:
        bad.write_bytes(content[damage])
    elif damage == "folder":
        bad.mkdir()
    assert str(bad) in fails(capfd, "predict", run.folder, bad, good, "--out", out)
    assert {path.name for path in out.iterdir()} == {"room_depth.png", "room_depth_colour.png"}


def test_files_beside_the_photos_are_not_overwritten(run, photos, tmp_path, capfd):
    photo, other = tmp_path / "a.png", tmp_path / "b.png"
    for path in (photo, other):
        shutil.copy(next(iter(photos)), path)
    write_depth_png(tmp_path / "b_depth.png", np.full((76, 100), 2.0))  # measured
    measured = (tmp_path / "b_depth.png").read_bytes()
    words = fails(capfd, "predict", run.folder, photo, other, "--out", tmp_path)
    assert (
        words
        == f"error: {tmp_path / 'b_depth.png'}: is there already, beside the photos; give another folder with --out"
    )
    assert (tmp_path / "b_depth.png").read_bytes() == measured
    assert (tmp_path / "a_depth.png").exists() and (tmp_path / "a_depth_colour.png").exists()  # made before
    main(["predict", str(run.folder), str(photo), str(photo), "--out", str(tmp_path)])  # a second time changes nothing
    grey = next(path for path in photos if path.name == "grey.png")
    for path in (photo, grey):  # in a folder of results the last call counts
        shutil.copy(path, other)
        main(["predict", str(run.folder), str(other), "--out", str(tmp_path / "results")])
        assert read_depth_png(tmp_path / "results" / "b_depth.png").shape == read_image(path).shape[:2]


def test_names_of_results_differ_whatever_the_photos_are_called():
    paths = ["a/x.png", "b/x.jpg", "b/x-2.png", "c/X.png", "d/x.png", "x_depth.png"]
    names = distinct_names(tuple(map(pathlib.Path, paths)))
    assert names == ["x", "x-2", "x-2-2", "X-3", "x-4", "x_depth"]
    many = distinct_names((pathlib.Path("rgb.png"),) * 20000)
    assert len(set(many)) == 20000 and many[-1] == "rgb-20000"


def test_output_that_nobody_reads_on_is_no_error():
    read, write = os.pipe()
    os.close(read)  # as head does when it has seen enough
    with os.fdopen(write, "wb") as unread:
        ended = subprocess.run(
            [sys.executable, "-m", "pixlab", "data", "list"], cwd=ROOT, stdout=unread, stderr=subprocess.PIPE
        )
    assert ended.returncode == 1 and ended.stderr == b""


def test_predict_says_what_is_wrong(run, photos, tmp_path, capfd):
    good = next(iter(photos))
    (tmp_path / "file").write_text("mine")
    for out in (tmp_path / "file", tmp_path / "file" / "under"):
        assert "give another folder with --out" in fails(capfd, "predict", run.folder, good, "--out", out)
    assert "file: is a file;" in fails(capfd, "predict", run.folder, good, "--out", tmp_path / "file")
    assert (tmp_path / "file").read_text() == "mine"
    assert "no photos" in fails(capfd, "predict", run.folder)
    assert "no run here" in fails(capfd, "predict", tmp_path, good)
    shutil.copy(run.folder / "config.json", tmp_path)
    assert "has no checkpoints" in fails(capfd, "predict", tmp_path, good)


# Scores


def printed(text: str) -> dict[str, str]:
    return dict(line.split() for line in text.splitlines()[1:])


def test_evaluate_prints_the_scores_of_the_run(run, capsys):
    main(["evaluate", str(run.folder)])
    result = json.loads((run.folder / "result.json").read_text())
    ours = dict(zip(result["columns"][1:], result["rows"][0][1:], strict=True))
    said = capsys.readouterr()
    assert said.out.splitlines()[0] == f"1 images of split 'test', {run.config.source}" and not said.err
    assert printed(said.out) == {name: f"{value:.4f}" for name, value in ours.items()}


def test_evaluate_says_what_has_nothing_to_be_measured_on(run, monkeypatch, capsys):
    monkeypatch.setattr(Run, "evaluate", lambda *_: {"depth/rmse": 0.5, "label/mean_iu": float("nan")})
    main(["evaluate", str(run.folder)])
    rows = [line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines()[1:]]
    assert rows == [["depth/rmse", "0.5000"], ["label/mean_iu", "not measured"]]


def test_evaluate_on_another_split_and_another_source(run, frames, tmp_path, capsys):
    main(["evaluate", str(run.folder), "--split", "train"])
    train = printed(capsys.readouterr().out)
    for path in frames.iterdir():  # the same frames, the other way round
        shutil.copy(path, tmp_path)
    (tmp_path / "test.txt").write_text("0\n1\n2\n")
    (tmp_path / "train.txt").write_text("3\n")
    main(["evaluate", str(run.folder), "--source", f"rgbd_folder:{tmp_path}"])
    assert printed(capsys.readouterr().out) == train
    main(["evaluate", str(run.folder)])
    assert printed(capsys.readouterr().out) != train


def test_a_folder_of_test_frames_alone_is_scored_but_not_trained_on(run, frames, tmp_path, capfd):
    for path in frames.iterdir():
        shutil.copy(path, tmp_path)
    (tmp_path / "test.txt").write_text("3\n")
    main(["evaluate", str(run.folder), "--source", f"rgbd_folder:{tmp_path}"])
    alone = printed(capfd.readouterr().out)
    main(["evaluate", str(run.folder)])  # whose test frame is the last of the four too
    assert printed(capfd.readouterr().out) == alone
    words = fails(capfd, "evaluate", run.folder, "--source", f"rgbd_folder:{tmp_path}", "--split", "train")
    assert "no split 'train'; this data has: test" in words
    assert "no images in split 'train'" in train_fails(tmp_path / "runs", "--source", f"rgbd_folder:{tmp_path}")
    (tmp_path / "test.txt").rename(tmp_path / "val.txt")
    assert "no frames in split 'test'; it has val, all" in train_fails(
        tmp_path / "runs", "--source", f"rgbd_folder:{tmp_path}"
    )


def test_evaluate_says_which_splits_and_sources_there_are(run, tmp_path, capfd):
    assert "train, test" in fails(capfd, "evaluate", run.folder, "--split", "validation")
    assert "rgbd_folder:PATH" in fails(capfd, "evaluate", run.folder, "--source", "kitti")
    assert "no such folder" in fails(capfd, "evaluate", run.folder, "--source", f"rgbd_folder:{tmp_path / 'no'}")


# Data


READY = {"rgbd_folder", "flic_joints", "pose_folder", "photos", "label_folder", "boundary_folder"}  # unprepared
NAMES = ["rooms", "nyu_depth_v2", "nyu_labeled", "rgbd_folder", "figures", "flic", "flic:full", "flic:plus"]
NAMES += ["flic_joints", "pose_folder", "t91", "set5", "set14", "bsd100", "urban100", "general100"]
NAMES += ["div2k", "imagenet2012", "places365_small", "photos"]
NAMES += ["camvid", "voc2012", "siftflow", "oxford_iiit_pet", "cityscapes", "scene_parse150", "label_folder"]
NAMES += ["bsds500", "boundary_folder", "isbi2012"]


def test_data_list_names_all_sets_with_their_commands(data_dir, capsys):
    main(["data", "list"])
    text = capsys.readouterr().out
    assert [line.split(": ")[0] for line in text.splitlines()[2:] if line and line[0] != " "] == NAMES
    for name in NAMES:
        assert (f"python -m pixlab data prepare {name}\n" in text) == (name not in READY)
        assert (f"--source {name}:PATH\n" in text) == (name in READY)
    assert text.count(str(data_dir)) == 21  # the folder, and where files downloaded by hand go


def test_data_prepare_of_an_unknown_set_lists_what_there_is(capfd):
    assert fails(capfd, "data", "prepare", "kitti").endswith(", ".join(NAMES))
    assert "classMapping40.mat" in fails(capfd, "data", "prepare", "nyu_labeled")


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ([], ["predict", "evaluate", "export", "weights", "data"]),
        (["export"], ["Run folder, or the name of shipped weights", "--format", "stablehlo", "onnx", "--out"]),
        (
            ["predict"],
            ["python -m pixlab weights", "Run folder, or the name of shipped weights", "Photos, one or more.", "--out"],
        ),
        (["evaluate"], ["Run folder, or the name of shipped weights", "--split", "--source", "rgbd_folder:PATH"]),
        (["data"], ["list", "prepare"]),
        (["data", "prepare"], ["python -m pixlab data list"]),
    ],
)
def test_help_explains_every_argument(args, words, capsys):
    with pytest.raises(SystemExit) as stopped:
        main([*args, "--help"])
    text = capsys.readouterr().out
    assert stopped.value.code == 0 and all(word in text for word in words)


def test_sources_that_are_not_there(tmp_path):
    assert "there are rooms, nyu_depth_v2, nyu_labeled" in train_fails(tmp_path, "--source", "kitti")
    for name in ("nyu_depth_v2", "nyu_labeled"):
        assert train_fails(tmp_path, "--source", name).endswith(f"run: python -m pixlab data prepare {name}")
    (tmp_path / "empty").mkdir()
    assert "NAME_depth.png" in train_fails(tmp_path, "--source", f"rgbd_folder:{tmp_path / 'empty'}")
    assert not (tmp_path / "failing").exists()


def test_colour_and_depth_of_different_size(tmp_path):
    folder = write_frames(tmp_path / "frames", range(3))
    write_depth_png(folder / "0_depth.png", np.ones((40, 52)))
    text = train_fails(tmp_path, "--source", f"rgbd_folder:{folder}")
    assert "0_rgb.png is 104x80" in text and "52x40" in text


def test_frames_smaller_than_the_network_are_enlarged(tmp_path):
    folder = write_frames(tmp_path / "frames", range(3), size=(20, 26))
    run = depth_nyu.main([*TINY, "--source", f"rgbd_folder:{folder}", "--run", str(tmp_path / "run")])
    assert all(np.isfinite(run.result["rows"][0][1:]))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("--frame 60 60 --crop 76 100", "--crop (76, 100) is larger than --frame (60, 60)"),
        ("--frame 34 34 --crop 10 10", "at least 12 rows and columns, got 10"),
        ("--frame 70 70 --crop 63 63 --scales 1", "at least 64x64 pixels, got 63x63"),
        ("--crop 0 10", "--crop must be at least 1, not 0 10"),
        ("--truth 0 10", "--truth must be at least 1, not 0 10"),
        ("--zoom 0.5", "--zoom must be at least 1, not 0.5"),
        ("--batch 0", "--batch must be at least 1, not 0"),
        ("--seed -1", "--seed must be at least 0, not -1"),
        ("--coarse-steps 0", "--coarse-steps must be at least 1, not 0"),
        ("--width -1", "--width must be at least"),
        ("--width nan", "--width must be at least"),
        ("--scales 1 3", "--scales must be one of 1 | 2 | 1 2 | 1 2 3, not 1 3"),
        ("--tasks", "--tasks must be one of depth | normal"),
    ],
)
def test_options_that_no_run_can_have_are_one_line_and_leave_no_folder(frames, tmp_path, options, words):
    assert words in train_fails(tmp_path, "--source", f"rgbd_folder:{frames}", *options.split())
    assert not (tmp_path / "failing").exists()


def halve(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def overwrite(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 3 : len(data) // 3 + 2000] = bytes(2000)
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("files", "damage"),
    [("*.array_record-*", halve), ("*.array_record-*", overwrite), ("dataset_info.json", halve)],
    ids=["half", "overwritten", "index"],
)
def test_damaged_rooms_say_what_to_delete_and_what_to_run(few_rooms, tmp_path, monkeypatch, files, damage):
    shutil.copytree(few_rooms, tmp_path / "data")
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "data"))
    for path in (tmp_path / "data").rglob(files):
        damage(path)
    text = train_fails(tmp_path, "--source", "rooms")
    assert text.startswith("rooms") and "cannot be" in text
    assert text.endswith(f"; delete {tmp_path / 'data' / 'rooms'} and run: python -m pixlab data prepare rooms")
    shutil.rmtree(tmp_path / "data" / "rooms")  # what it says helps
    main(["data", "prepare", "rooms"])
    assert len(rgbd_sets.rooms("train")) == 4


@pytest.fixture
def few_rooms(tmp_path_factory, monkeypatch):
    """A data folder with rooms, fewer than usual so that they are made in a second."""
    few = functools.partial(builder.prepare, train=4, test=2, workers=1, progress=False)
    monkeypatch.setattr(builder, "prepare", few)
    folder = tmp_path_factory.getbasetemp() / "few_rooms"
    builder.prepare(folder)
    return folder


def test_the_papers_command_says_which_source_everyone_has_to_bring():
    own = cli.papers_own(pose_lsp.experiment, "joint")
    assert own == "python -m experiments.pose_lsp joint --source pose_folder:PATH"
    assert cli.parse(pose_lsp.experiment, shlex.split(own)[3:])[1].source == "pose_folder:PATH"
    assert cli.papers_own(depth_nyu.experiment, "alexnet") == "python -m experiments.depth_nyu alexnet"


# A notebook


def test_from_a_notebook(run, frames):
    assert run.result["rows"][0][0] == "this run"
    scores = run.evaluate()
    assert list(scores) == run.result["columns"][1:]
    np.testing.assert_allclose(list(scores.values()), run.result["rows"][0][1:], rtol=1e-6)
    photo = np.asarray(Image.open(frames / "0_rgb.png"))
    ((prediction, files),) = run.predict([photo])
    assert prediction["depth"].ndim == 3 and files["depth"].shape == photo.shape[:2]
    with pytest.raises(UserError, match=r"uint8 \[h, w, 3\], not float64 \[80, 104\]"):
        list(run.predict([np.zeros((80, 104))]))
    with pytest.raises(UserError, match="there are rooms"):
        depth_nyu.main([*TINY, "--source", "kitti"])


def test_photos_of_several_network_sizes_come_back_in_their_order(run):
    own = dataclasses.replace(run.experiment, photo=lambda config, photo: {"image": photo[:, :, :1] / np.float32(255)})
    mean = dataclasses.replace(run.recipe, predict=lambda params, carry, batch: {"mean": batch["image"].mean((1, 2))})
    other = Run(run.folder, dataclasses.replace(own, recipe=lambda config: mean), run.config)
    other.experiment = dataclasses.replace(other.experiment, export=lambda config, photo, out: {"size": photo.shape})
    photos = [np.full((4 + i % 3, 5, 3), 10 * i, np.uint8) for i in range(11)]
    found = [(float(out["mean"][0]), files["size"]) for out, files in other.predict(photos, batch=4)]
    assert [shape for _, shape in found] == [photo.shape for photo in photos]
    np.testing.assert_allclose([mean for mean, _ in found], [10 * i / 255 for i in range(11)], rtol=1e-6)


def test_from_a_shell_the_same_mistake_is_one_line(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(sys, "argv", ["depth_nyu", *TINY, "--source", "kitti", "--run", str(tmp_path)])
    with pytest.raises(SystemExit) as stopped:
        depth_nyu.main()
    text = capsys.readouterr().err
    assert stopped.value.code == 2 and text.startswith("error: no data source 'kitti'") and text.count("\n") == 1
