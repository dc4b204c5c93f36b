import io
import os
import struct

import numpy as np
import pytest
from PIL import Image
from tensorboardX.crc32c import crc32c
from tensorboardX.proto.event_pb2 import Event, SessionLog

from pixlab.errors import UserError
from pixlab.log import Log, read_scalars


def events(folder):
    """Every event under tensorboard/, each record's checksums verified as TFRecord defines them."""

    def masked(data):
        value = crc32c(data)
        return ((value >> 15 | value << 17) + 0xA282EAD8) & 0xFFFFFFFF

    found = []
    for path in sorted((folder / "tensorboard").iterdir()):
        data = path.read_bytes()
        while data:
            (size,), (check,) = struct.unpack("<Q", data[:8]), struct.unpack("<I", data[8:12])
            body, (last,) = data[12 : 12 + size], struct.unpack("<I", data[12 + size : 16 + size])
            assert check == masked(data[:8]) and last == masked(body)
            found.append(Event.FromString(body))
            data = data[16 + size :]
    return found


def fill(log, steps):
    for step in steps:
        log.scalars(step, {"train/a/loss": np.float32(1 / step), "train/b, quoted/loss": step * 1e-9})
        if step % 5 == 0:
            log.scalars(step, {"test/rmse": step})


def test_values_come_back_exactly(tmp_path):
    log = Log(tmp_path)
    log.resume(0)
    fill(log, range(1, 8))
    log.scalars(8, {"train/a/loss": float("nan")})
    table = read_scalars(tmp_path)  # flushed: nothing was closed
    assert list(table) == ["train/a/loss", "train/b, quoted/loss", "test/rmse"]
    assert table["train/a/loss"][3] == float(np.float32(1 / 3))
    assert table["train/b, quoted/loss"] == {step: step * 1e-9 for step in range(1, 8)}
    assert table["test/rmse"] == {5: 5.0}
    assert np.isnan(table["train/a/loss"][8])
    log.close()
    assert read_scalars(tmp_path / "nowhere") == {}


def test_a_resumed_run_leaves_the_bytes_of_an_uninterrupted_one(tmp_path):
    whole, broken = Log(tmp_path / "whole"), Log(tmp_path / "broken")
    for log in (whole, broken):
        log.resume(0)
    fill(whole, range(1, 21))
    fill(broken, range(1, 15))
    with open(tmp_path / "broken/metrics.csv", "a") as file:
        file.write("15,train/a/lo")  # killed in the middle of a line
    again = Log(tmp_path / "broken")
    again.resume(10)
    fill(again, range(11, 21))
    assert (tmp_path / "broken/metrics.csv").read_bytes() == (tmp_path / "whole/metrics.csv").read_bytes()
    for log in (whole, broken, again):
        log.close()


def test_truncated_last_line_is_not_a_value(tmp_path):
    (tmp_path / "metrics.csv").write_text("step,name,value\n1,loss,0.5\n2,loss,0.12")  # was 0.125
    assert read_scalars(tmp_path) == {"loss": {1: 0.5}}
    log = Log(tmp_path)
    log.resume(2)
    log.scalars(2, {"loss": 0.125})
    log.close()
    assert read_scalars(tmp_path) == {"loss": {1: 0.5, 2: 0.125}}


def test_start_from_nothing_empties_an_old_record(tmp_path):
    picture = np.zeros((2, 2, 3), np.uint8)
    for _ in range(2):
        log = Log(tmp_path)
        log.resume(0)
        log.scalars(0, {"test/rmse": 3.0})
        log.scalars(7, {"test/rmse": 2.0})
        log.picture(7, "depth", picture)
        log.close()
    assert (tmp_path / "metrics.csv").read_text() == "step,name,value\n0,test/rmse,3.0\n7,test/rmse,2.0\n"
    assert [event.step for event in events(tmp_path) if event.HasField("summary")] == [0, 7, 7]
    log.resume(0)
    assert list((tmp_path / "pictures").iterdir()) == [] and read_scalars(tmp_path) == {}


def test_tensorboard_gets_scalars_pictures_and_the_purge(tmp_path):
    picture = np.random.default_rng(0).integers(0, 256, (6, 9, 3), dtype=np.uint8)
    log = Log(tmp_path)
    log.resume(0)
    fill(log, [4, 5])
    log.picture(5, "depth/strip", picture)
    log.resume(4)
    fill(log, [5])
    log.close()
    found = events(tmp_path)
    assert found[0].file_version == "brain.Event:2"
    got = [(e.step, v.tag, v.simple_value) for e in found for v in e.summary.value if not v.HasField("image")]
    train = [(s, n, v) for s in (4, 5) for n, v in (("train/a/loss", 1 / s), ("train/b, quoted/loss", s * 1e-9))]
    want = [*train, (5, "test/rmse", 5.0), *train[2:], (5, "test/rmse", 5.0)]
    assert [g[:2] for g in got] == [w[:2] for w in want]
    np.testing.assert_allclose([g[2] for g in got], [w[2] for w in want], rtol=1e-6)
    (image,) = [v for e in found for v in e.summary.value if v.HasField("image")]
    assert image.tag == "depth/strip" and (image.image.height, image.image.width) == (6, 9)
    np.testing.assert_array_equal(np.array(Image.open(io.BytesIO(image.image.encoded_image_string))), picture)
    (purge,) = [e for e in found if e.HasField("session_log")]
    assert purge.session_log.status == SessionLog.START and purge.step == 5


def test_pictures_are_kept_up_to_the_resumed_step(tmp_path):
    rng = np.random.default_rng(0)
    shots = {step: rng.integers(0, 256, (3, 4, 3), dtype=np.uint8) for step in (5, 10, 15)}
    log = Log(tmp_path)
    for step, shot in shots.items():
        log.picture(step, "test/depth", shot)
    log.resume(10)
    log.close()
    names = sorted(path.name for path in (tmp_path / "pictures").iterdir())
    assert names == ["test-depth_0000005.png", "test-depth_0000010.png"]
    for step, name in zip((5, 10), names, strict=True):
        np.testing.assert_array_equal(np.array(Image.open(tmp_path / "pictures" / name)), shots[step])


def test_an_inactive_log_is_silent(tmp_path):
    log = Log(tmp_path / "run", active=False)
    log.resume(0)
    log.scalars(1, {"loss": 1.0})
    log.picture(1, "depth", np.zeros((2, 2, 3), np.uint8))
    log.status("running", 1, 2)
    log.close()
    assert not (tmp_path / "run").exists()


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_full_disk_is_one_clear_line(tmp_path):
    (tmp_path / "metrics.csv").symlink_to("/dev/full")
    log = Log(tmp_path)
    with pytest.raises(UserError, match="disk is full") as caught:
        log.scalars(1, {"loss": 1.0})
    assert "\n" not in str(caught.value) and str(tmp_path) in str(caught.value)
    with pytest.raises(UserError, match="disk is full"):
        log.close()
    log.close()


def test_a_file_in_the_way_is_a_user_error(tmp_path):
    (tmp_path / "run").write_text("not a folder")
    with pytest.raises(UserError, match="cannot write the log"):
        Log(tmp_path / "run").resume(0)
