"""Weight files: what PyTorch and others write comes back; what is damaged or hostile is refused, not run."""

import io
import os
import pickle
import sys
import types
import zipfile
from collections import OrderedDict

import h5py
import numpy as np
import pytest
from safetensors.numpy import save_file

from pixlab.errors import UserError
from pixlab.pretrained.files import read_weights

RNG = np.random.default_rng(0)


def equal(got, expected):
    assert got.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(got[name], value)
        assert got[name].dtype == value.dtype and got[name].flags.owndata | got[name].flags.writeable


def torch_archive(path, pickled, storages=None, order=b"little"):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("net/data.pkl", pickled)
        archive.writestr("net/byteorder", order)
        for key, data in (storages or {}).items():
            archive.writestr(f"net/data/{key}", data)


def test_pth_of_pytorch_comes_back(tmp_path):
    torch = pytest.importorskip("torch")
    base = torch.arange(24.0).reshape(4, 6)
    tensors = {
        "plain": base, "transposed": base.T, "slice": base[1:3, 2:5], "scalar": torch.tensor(2.5), "half": base.half(),
        "double": base.double(), "long": torch.tensor([1, -2]), "bool": torch.tensor([True, False]),
        "byte": torch.tensor([3, 255], dtype=torch.uint8), "empty": torch.zeros(0, 3), "last": base[3:, 5:],
    }  # fmt: skip
    expected = {k: v.numpy() for k, v in tensors.items()} | {"brain": np.float32([1.5, -3.0])}
    tensors["brain"] = torch.tensor([1.5, -3.0], dtype=torch.bfloat16)
    torch.save(tensors, tmp_path / "a.pth")
    equal(read_weights(tmp_path / "a.pth"), expected)
    torch.save({"epoch": 3, "state_dict": {"module." + k: v for k, v in tensors.items()}}, tmp_path / "b.pt")
    equal(read_weights(tmp_path / "b.pt"), expected)


def test_state_dict_of_a_module_comes_back(tmp_path):
    torch = pytest.importorskip("torch")
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))
    torch.save(net.state_dict(), tmp_path / "net.pth")  # an OrderedDict with an attribute
    equal(read_weights(tmp_path / "net.pth"), {k: v.numpy() for k, v in net.state_dict().items()})


def test_big_endian_pth(tmp_path):
    """The format by hand: a pickle that names a storage, whose bytes are big-endian."""
    pickled = (
        b"\x80\x02}X\x01\x00\x00\x00wctorch._utils\n_rebuild_tensor_v2\n((X\x07\x00\x00\x00storagectorch\nFloatStorage\n"
        b"X\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x06tQK\x01K\x02K\x02\x86K\x02K\x01\x86\x89}tRs."
    )
    torch_archive(tmp_path / "a.pth", pickled, {"0": np.arange(6, dtype=">f4").tobytes()}, order=b"big")
    equal(read_weights(tmp_path / "a.pth"), {"w": np.float32([[1, 2], [3, 4]])})
    torch_archive(tmp_path / "b.pth", pickled, {"0": np.arange(5, dtype=">f4").tobytes()}, order=b"big")
    with pytest.raises(UserError, match="storage 0 has 20 bytes, not 24"):
        read_weights(tmp_path / "b.pth")
    wide = pickled.replace(b"K\x02K\x02\x86K\x02K\x01\x86", b"K\x02K\x04\x86K\x02K\x01\x86")  # 2x4 cells at stride 2, 1
    torch_archive(tmp_path / "c.pth", wide, {"0": np.arange(6, dtype=">f4").tobytes()}, order=b"big")
    with pytest.raises(UserError, match="beyond its storage"):
        read_weights(tmp_path / "c.pth")


class Call:
    """Pickles as a call of `function`."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("function,name", [
    (os.system, "system"), (eval, "eval"), (getattr, "getattr"), (__import__, "__import__"), (open, "open"),
])  # fmt: skip
def test_hostile_pickle_is_named_and_not_run(tmp_path, function, name):
    mark = tmp_path / "ran"
    attack = {"w": Call(function, f"echo > {mark}") if function is os.system else Call(function, str(mark), "w")}
    torch_archive(tmp_path / "a.pth", pickle.dumps(attack, protocol=2))
    with pytest.raises(UserError, match=rf"asks for \w+\.{name}, which is no part of a tensor; nothing of it was run"):
        read_weights(tmp_path / "a.pth")
    assert not mark.exists()


def test_hostile_pickle_would_have_run(tmp_path):
    """The attack above is real: plain pickle runs it."""
    pickle.loads(pickle.dumps(Call(os.system, f"echo > {tmp_path / 'ran'}")))
    assert (tmp_path / "ran").exists()


def test_pth_may_not_call_a_storage_or_hide_in_an_attribute(tmp_path):
    for index, pickled in enumerate(
        (b"\x80\x02ctorch\nFloatStorage\nK\x03\x85R.", b"\x80\x02ccollections\nabc.sys\n.")
    ):
        torch_archive(tmp_path / f"{index}.pth", pickled)
        with pytest.raises(UserError):
            read_weights(tmp_path / f"{index}.pth")


def test_pth_that_is_no_weight_file(tmp_path):
    torch = pytest.importorskip("torch")
    path = tmp_path / "a.pth"
    torch.save({"w": torch.ones(300)}, path, _use_new_zipfile_serialization=False)
    with pytest.raises(UserError, match=r"before PyTorch 1\.6; convert it"):
        read_weights(path)
    torch.save({"w": torch.ones(300)}, path)
    whole = path.read_bytes()
    for length in (0, 3, 40, len(whole) // 2, len(whole) - 30):
        path.write_bytes(whole[:length])
        with pytest.raises(UserError, match=r"cut off|damaged"):
            read_weights(path)
    middle = whole.find(np.ones(300, np.float32).tobytes()) + 400
    path.write_bytes(whole[:middle] + b"\xff\xff" + whole[middle + 2 :])
    with pytest.raises(UserError, match="damaged"):
        read_weights(path)
    torch_archive(path, pickle.dumps(OrderedDict(epoch=3), protocol=2))
    with pytest.raises(UserError, match="no named tensors"):
        read_weights(path)


def test_safetensors(tmp_path):
    arrays = {"a": RNG.normal(size=(2, 3)).astype(np.float32), "b": np.arange(4), "h": np.float16([1, 2])}
    path = tmp_path / "a.safetensors"
    save_file(arrays, path, metadata={"format": "pt"})
    equal(read_weights(path), arrays)
    whole = path.read_bytes()
    for length in (0, 5, 50, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(UserError, match="damaged"):
            read_weights(path)


def test_safetensors_of_brain_floats(tmp_path):
    torch = pytest.importorskip("torch")
    from safetensors.torch import save_file as save

    save({"a": torch.tensor([1.5, -3.0], dtype=torch.bfloat16)}, tmp_path / "a.safetensors")
    equal(read_weights(tmp_path / "a.safetensors"), {"a": np.float32([1.5, -3.0])})


def test_npz_and_h5(tmp_path):
    arrays = {"x/kernel": RNG.normal(size=(2, 3)).astype(np.float32), "y": np.arange(4)}
    np.savez(tmp_path / "a.npz", **arrays)
    equal(read_weights(tmp_path / "a.npz"), arrays)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for name, value in arrays.items():
            file[name] = value
        file["title"] = "text is not a weight"
    equal(read_weights(tmp_path / "a.h5"), arrays)
    for name in ("a.npz", "a.h5"):
        whole = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(whole[: len(whole) // 2])
        with pytest.raises(UserError, match="damaged"):
            read_weights(tmp_path / name)


@pytest.mark.parametrize("kind", ["npz", "h5", "safetensors", "pth"])
def test_damage_anywhere_is_a_user_error(kind, tmp_path):
    path, arrays = tmp_path / f"a.{kind}", {"x": RNG.normal(size=(2, 3)).astype(np.float32), "y": np.arange(4)}
    if kind == "npz":
        np.savez(path, **arrays)
    elif kind == "h5":
        with h5py.File(path, "w") as file:
            file["x"], file["y"] = arrays["x"], arrays["y"]
    elif kind == "safetensors":
        save_file(arrays, path)
    else:
        torch = pytest.importorskip("torch")
        torch.save({name: torch.from_numpy(value) for name, value in arrays.items()}, path)
    whole, refused = path.read_bytes(), 0
    for _ in range(150):
        damaged = bytearray(whole)
        for place in RNG.integers(len(whole), size=3):
            damaged[place] = RNG.integers(256)
        path.write_bytes(damaged)
        try:
            read_weights(path)  # no checksum covers every byte
        except UserError as error:
            refused += 1
            assert str(path) in str(error) and "\n" not in str(error)
    assert refused > 20


def test_npz_pickles_are_not_opened(tmp_path):
    mark = tmp_path / "ran"
    np.savez(tmp_path / "a.npz", a=np.array([Call(os.system, f"echo > {mark}")], dtype=object))
    with pytest.raises(UserError, match="damaged"):
        read_weights(tmp_path / "a.npz")
    assert not mark.exists()


def test_h5_may_not_point_elsewhere(tmp_path):
    np.arange(4, dtype="<f4").tofile(tmp_path / "secret")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("w", (4,), "<f4", external=[(str(tmp_path / "secret"), 0, 16)])
    with pytest.raises(UserError, match="another file"):
        read_weights(tmp_path / "a.h5")


def test_what_is_not_there_or_of_no_known_kind(tmp_path):
    with pytest.raises(UserError, match=r"no weight file .*none\.pth; give a local file"):
        read_weights(tmp_path / "none.pth")
    with pytest.raises(UserError, match=r"no weight file models/vgg\.pth"):
        read_weights("models/vgg.pth")  # looks like a hub id, but ends like a file
    (tmp_path / "a.txt").write_text("no")
    with pytest.raises(UserError, match="known endings"):
        read_weights(tmp_path / "a.txt")


def test_hub(tmp_path, monkeypatch):
    save_file({"a": np.ones(3, np.float32)}, tmp_path / "model.safetensors")
    asked = []

    def download(repository, name):
        asked.append((repository, name))
        if repository != "timm/vgg16.tv_in1k":
            raise ConnectionError("offline")
        return str(tmp_path / name)

    monkeypatch.setitem(sys.modules, "huggingface_hub", types.SimpleNamespace(hf_hub_download=download))
    equal(read_weights("timm/vgg16.tv_in1k"), {"a": np.ones(3, np.float32)})
    assert asked == [("timm/vgg16.tv_in1k", "model.safetensors")]
    with pytest.raises(UserError, match=r"ConnectionError.*give the path of that file"):
        read_weights("timm/nothing")
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(UserError, match="needs the package huggingface_hub"):
        read_weights("timm/vgg16.tv_in1k")


def test_reading_needs_no_torch(tmp_path, monkeypatch):
    torch = pytest.importorskip("torch")
    buffer = io.BytesIO()
    torch.save({"w": torch.ones(2)}, buffer)
    (tmp_path / "a.pth").write_bytes(buffer.getvalue())
    for name in [n for n in sys.modules if n.split(".")[0] == "torch"]:
        monkeypatch.setitem(sys.modules, name, None)
    equal(read_weights(tmp_path / "a.pth"), {"w": np.ones(2, np.float32)})
