"""Large photos window by window: the same as in one piece, in little memory."""

import io
import pathlib
import re
import resource
import sys
import tracemalloc

import enlarge
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pixlab.__main__ import main
from pixlab.errors import UserError
from pixlab.tiles import Tiles, put, windows

ROOT = pathlib.Path(__file__).parents[1]


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


# Windows


@settings(deadline=None)
@given(st.integers(1, 90), st.integers(1, 90), st.integers(1, 20), st.integers(0, 9))
def test_windows_have_one_shape_and_keep_every_pixel_once_with_its_surroundings(height, width, room, halo):
    size = room + 2 * halo
    found = windows(height, width, Tiles(size, halo))
    kept = np.zeros((height, width), int)
    for window in found:
        kept[window.kept_rows, window.kept_columns] += 1
        for seen, part, length in zip(window[:2], window[2:], (height, width), strict=True):
            assert seen.stop - seen.start == min(size, length) and seen.start >= 0 and seen.stop <= length
            assert seen.start == 0 or part.start - seen.start >= halo
            assert seen.stop == length or seen.stop - part.stop >= halo
            assert part.start < part.stop
    assert (kept == 1).all()
    fewest = [max(1, -(-(n - 2 * halo) // room)) if n > size else 1 for n in (height, width)]
    assert len(found) == fewest[0] * fewest[1]


@settings(deadline=None)
@given(st.integers(1, 90), st.integers(1, 90), st.integers(1, 4), st.integers(0, 3), st.integers(1, 5))
def test_windows_on_a_grid_begin_at_its_multiples(height, width, room, halo, grid):
    size = (room + 2 * halo) * grid
    found = windows(height, width, Tiles(size, halo * grid, grid=grid))
    kept = np.zeros((height, width), int)
    for window in found:
        kept[window.kept_rows, window.kept_columns] += 1
        for seen, part, length in zip(window[:2], window[2:], (height, width), strict=True):
            assert seen.start % grid == 0 and seen.stop <= length
            assert seen.start == 0 or part.start - seen.start >= halo * grid
            assert seen.stop == length or seen.stop - part.stop >= halo * grid
    assert (kept == 1).all()
    assert len({(w.rows.stop - w.rows.start, w.columns.stop - w.columns.start) for w in found}) == 1


def test_a_window_needs_room():
    for wrong in ((8, 4), (0, 0), (9, -1), (9, 4, 0)):
        with pytest.raises(ValueError, match="size above twice the halo"):
            Tiles(*wrong)
    assert len(windows(10, 20, Tiles(9, 4))) == 2 * 12  # a pixel at a time


def test_parts_of_another_size_are_a_mistake():
    (window, *_) = windows(30, 9, Tiles(12, 2))
    for part in (np.zeros((12, 9, 3)), np.zeros((24, 24)), 3.0, {"no": "map"}):
        with pytest.raises(ValueError, match=r"'a' of a window is .* not \(24, 18\)"):
            put({}, {"a": part}, window, (30, 9), 2)


# The same as in one piece

SIZES = ((1, 1), (23, 25), (24, 24), (25, 24), (57, 3), (50, 71))


@pytest.mark.parametrize(("padding", "scale"), [("zero", 1), ("edge", 3)])
def test_windows_give_what_the_whole_photo_gives(tmp_path, padding, scale):
    one, whole = (
        enlarge.untrained(tmp_path, padding=padding, scale=scale, window=window, width=4) for window in (24, 0)
    )
    photos = [noise(*size, seed) for seed, size in enumerate(SIZES)]
    for photo, ours, theirs in zip(photos, one.predict(photos, batch=3), whole.predict(photos), strict=True):
        for (name, mine), other in zip(ours[0].items(), theirs[0].values(), strict=True):
            assert name == "high" and mine.dtype == other.dtype == np.float32
            assert mine.shape == (scale * photo.shape[0], scale * photo.shape[1], 3)
            np.testing.assert_allclose(mine, other, atol=1e-4)
        assert set(ours[1]) == {"high", "red"} and (photo.size < 99 or np.ptp(ours[1]["high"]) > 60)
        for name, picture in ours[1].items():
            assert picture.dtype == np.uint8 and picture.shape == theirs[1][name].shape
            assert np.abs(picture.astype(int) - theirs[1][name]).max() <= 1


def test_a_halo_that_is_too_small_shows(tmp_path):
    """The equality above is not for nothing: one pixel less, and it is gone."""
    photo = noise(60, 60)
    ((whole, _),) = enlarge.untrained(tmp_path, window=0).predict([photo])
    for less, close in ((0, True), (1, False)):
        ((one, _),) = enlarge.untrained(tmp_path, halo=enlarge.REACH - less).predict([photo])
        assert np.allclose(one["high"], whole["high"], atol=1e-4) == close


def test_photos_come_one_by_one_in_their_order(tmp_path):
    run, taken = enlarge.untrained(tmp_path, width=2), []
    sizes = [(10, 10), (10, 10), (30, 10), (10, 12), (26, 26), (9, 9), (9, 9), (9, 9)]

    def photos():
        for number, size in enumerate(sizes):
            taken.append(number)
            yield np.full((*size, 3), 20 * number, np.uint8)

    seen = []
    for number, (maps, pictures) in enumerate(run.predict(photos(), batch=2, maps=False)):
        assert maps == {} and pictures["red"].shape == tuple(2 * n for n in sizes[number])
        seen.append(len(taken))
    assert seen == [2, 2, 3, 5, 5, 7, 7, 8]


def test_each_device_takes_one_window_at_a_time_and_one_program_does_for_all(tmp_path, monkeypatch):
    run, shapes = enlarge.untrained(tmp_path, width=2), []

    def apply(batch):
        shapes.append(batch["image"].shape)
        return {"high": np.zeros((len(batch["image"]), 48, 48, 3), np.float32)}

    monkeypatch.setattr("pixlab.predict._apply", lambda run: apply)
    ((_, pictures),) = run.predict([noise(60, 60)], maps=False)
    assert run.mesh.size == 2 and shapes == [(2, 24, 24, 3)] * 8 and pictures["high"].shape == (120, 120, 3)


def test_memory_is_that_of_the_pictures_and_of_few_windows(tmp_path):
    run, photo = enlarge.untrained(tmp_path, width=2, window=64), noise(500, 600)
    pictures = 4 * photo.size * (1 + 1 / 3)  # twice as large each way: colours, and red alone
    peaks = {}
    for maps in (False, True):
        list(run.predict([photo[:100]], maps=maps))  # compiled
        tracemalloc.start()
        list(run.predict([photo], maps=maps))
        peaks[maps] = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert pictures < peaks[False] < 1.3 * pictures
    assert peaks[True] > pictures + 4 * 4 * photo.size


# What is said meanwhile


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_progress_of_large_photos_alone(tmp_path, monkeypatch, capsys):
    run = enlarge.untrained(tmp_path, width=2)
    photos = [noise(20, 20), noise(60, 50)]
    list(run.predict(photos))
    assert capsys.readouterr().err == ""
    list(run.predict(photos, progress=True))
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("window ") and "photo 2, 50x60" in lines[0] and "\r" not in "".join(lines)
    assert re.match(r"window 12/12  photo 2, 50x60", lines[-1])
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", terminal := Terminal())
        list(run.predict(photos, progress=True))
    assert "100% |" in terminal.getvalue() and "window 12/12  photo 2, 50x60" in terminal.getvalue()


# The command line


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return enlarge.main(["quick", "--run", str(tmp_path_factory.mktemp("runs") / "run")])


def test_photos_of_every_kind_and_of_many_windows(run, tmp_path, capsys):
    rgb = noise(31, 70)
    grey = rgb[..., 0]
    exif = Image.Exif()
    exif[0x0112] = 8  # to be turned a quarter to the left
    deep = np.arange(40 * 30, dtype=np.uint16).reshape(40, 30) * 50
    transparent = np.dstack([rgb, np.full(rgb.shape[:2], 255, np.uint8)])
    palette, inks = Image.fromarray(rgb).quantize(16), Image.fromarray(rgb).convert("CMYK")
    expected = {
        "grey": np.dstack([grey] * 3),
        "alpha": rgb,
        "deep": np.dstack([(deep >> 8).astype(np.uint8)] * 3),
        "palette": np.asarray(palette.convert("RGB")),
        "inks": np.asarray(inks.convert("RGB")),
        "turned": np.rot90(rgb),
        "dot": rgb[:1, :1],
    }
    files = {
        "grey": Image.fromarray(grey), "alpha": Image.fromarray(transparent), "deep": Image.fromarray(deep),
        "palette": palette, "inks": inks, "turned": Image.fromarray(rgb), "dot": Image.fromarray(rgb[:1, :1]),
    }  # fmt: skip
    paths = [tmp_path / f"{name}.{'tiff' if name == 'inks' else 'png'}" for name in files]
    for path, image in zip(paths, files.values(), strict=True):
        image.save(path, **({"exif": exif} if path.stem == "turned" else {}))
    main(["predict", str(run.folder), *map(str, paths), "--out", str(tmp_path / "out")])
    said = capsys.readouterr()
    assert len(said.out.splitlines()) == 2 * len(paths)
    assert {line.split("  ")[1].split(",")[0] for line in said.err.splitlines()} == {
        f"photo {n}" for n in (1, 2, 3, 4, 5, 6)
    }
    wanted = run.predict([np.ascontiguousarray(x) for x in expected.values()])
    for name, (_, pictures) in zip(expected, wanted, strict=True):
        for what in ("high", "red"):
            written = np.asarray(Image.open(tmp_path / "out" / f"{name}_{what}.png"))
            assert np.abs(written.astype(int) - pictures[what]).max() <= 1


def test_a_full_disk_leaves_no_half_written_picture(run, tmp_path, capsys):
    """The limit on the size of files stands for the disk: some of the picture is written before it fails."""
    Image.fromarray(noise(40, 40)).save(tmp_path / "a.png")
    out = tmp_path / "out"
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (3000, hard))
    try:
        with pytest.raises(SystemExit) as stopped:
            main(["predict", str(run.folder), str(tmp_path / "a.png"), "--out", str(out)])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    line = capsys.readouterr().err.splitlines()[-1]
    assert stopped.value.code == 2 and list(out.iterdir()) == []
    assert line.startswith(f"error: {out / 'a_high.png'}: cannot be written (File too large)")


def test_a_photo_that_is_too_large_is_one_line_and_the_others_are_predicted(run, tmp_path, monkeypatch, capsys):
    paths = [tmp_path / "big.png", tmp_path / "small.png"]
    for path, size in zip(paths, (50, 20), strict=True):
        Image.fromarray(noise(size, size)).save(path)
    monkeypatch.setattr("pixlab.data.images.PIXELS", 2000)
    with pytest.raises(SystemExit) as stopped:
        main(["predict", str(run.folder), *map(str, paths), "--out", str(tmp_path / "out")])
    said = capsys.readouterr()
    assert stopped.value.code == 2 and len(said.out.splitlines()) == 2
    assert said.err == (
        f"error: {paths[0]}: has 50x50 pixels, more than 0.002 million; make it smaller, or cut it into pieces\n"
    )


def test_a_photo_without_memory_for_what_it_becomes_is_named():
    window = windows(10, 10, Tiles(10, 0))[0]
    with pytest.raises(UserError, match=r"100000000x100000000, .* GiB, more than there is memory for"):
        put({}, {"x4": np.zeros((10, 10, 3))}, window, (10**8, 10**8), 1)
