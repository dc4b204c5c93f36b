"""Boundaries of several annotators: masks and .mat files by hand, agreement by a double loop, what is wrong by name."""

import io

import numpy as np
import pytest
import scipy.io
from PIL import Image

from pixlab.data.boundary_sets import BoundaryFolder, agreed, open_boundaries, packed, read_boundaries, unpacked
from pixlab.data.images import encode_png
from pixlab.errors import NoSplit, UserError


def picture(seed, height=5, width=7):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def drawn(seed, annotators, height=5, width=7):
    return (np.random.default_rng(50 + seed).random((height, width, annotators)) < 0.3).astype(np.uint8)


def mat(boundaries):
    """A file as BSDS500 has them: a 1xn cell of structs, each with a segmentation and its boundaries."""
    cells = np.empty((1, boundaries.shape[-1]), object)
    for k in range(boundaries.shape[-1]):
        segments = np.ones(boundaries.shape[:2], np.uint16)
        cells[0, k] = {"Segmentation": segments, "Boundaries": boundaries[..., k]}
    out = io.BytesIO()
    scipy.io.savemat(out, {"groundTruth": cells})
    return out.getvalue()


def official(root, parts):
    for split, seeds in parts.items():
        (root / "images" / split).mkdir(parents=True)
        (root / "groundTruth" / split).mkdir(parents=True)
        for seed in seeds:
            Image.fromarray(picture(seed)).save(root / "images" / split / f"{seed}.png")
            (root / "groundTruth" / split / f"{seed}.mat").write_bytes(mat(drawn(seed, 4 + seed % 3)))
    (root / "images" / "train" / "Thumbs.db").write_bytes(b"")
    return root


def masks(root, counts):
    (root / "train").mkdir()
    for seed, count in counts.items():
        Image.fromarray(picture(seed)).save(root / "train" / f"{seed}.webp", lossless=True)
        (root / "train" / f"{seed}_gt.png").write_bytes(encode_png(packed(drawn(seed, count))))
    return root


def same(source, numbers):
    assert len(source) == len(numbers)
    for i, (seed, count) in enumerate(numbers):
        np.testing.assert_array_equal(source[i]["image"], picture(seed))
        np.testing.assert_array_equal(source[i]["boundaries"], drawn(seed, count))
        assert source[i]["boundaries"].dtype == np.uint8


@pytest.mark.parametrize("inside", ["", "data", "BSDS500/data"])
def test_the_official_layout_from_three_places(tmp_path, inside):
    official(tmp_path / inside, {"train": (10, 2), "val": (3,), "test": (4, 5)})
    same(open_boundaries(f"boundary_folder:{tmp_path}", "train"), [(2, 6), (10, 5)])  # in natural order
    same(open_boundaries(f"boundary_folder:{tmp_path}", "trainval"), [(2, 6), (10, 5), (3, 4)])
    same(open_boundaries(f"boundary_folder:{tmp_path}", "test"), [(4, 5), (5, 6)])
    with pytest.raises(NoSplit, match="no split 'dev'; it has test, train, val"):
        BoundaryFolder(tmp_path, "dev")


def test_masks_of_sixteen_bits(tmp_path):
    masks(tmp_path, {1: 5, 2: 9, 3: 16})
    same(BoundaryFolder(tmp_path, "train"), [(1, 5), (2, 9), (3, 16)])
    mask = np.array([[0, 0b1000000000000001]], np.uint16)
    np.testing.assert_array_equal(np.argwhere(unpacked(mask, 16)), [[0, 1, 0], [0, 1, 15]])
    with pytest.raises(UserError, match="17 annotators drew boundaries, but a mask has 16 bits"):
        packed(np.ones((2, 2, 17), np.uint8))


def test_an_annotator_who_drew_nothing_counts_where_the_index_says_so(tmp_path):
    masks(tmp_path, {1: 3})
    (tmp_path / "index.csv").write_text("set,id,split,annotators\ntest,1,test,9\ntrain,1,train,5\n")
    got = BoundaryFolder(tmp_path, "train")[0]["boundaries"]
    np.testing.assert_array_equal(got, np.concatenate([drawn(1, 3), np.zeros((5, 7, 2))], -1))
    (tmp_path / "index.csv").write_text("set,id,annotators\ntrain,1,2\n")
    with pytest.raises(UserError, match=r"1_gt\.png: annotator 3 drew boundaries, but it has 2"):
        BoundaryFolder(tmp_path, "train")[0]
    (tmp_path / "index.csv").write_text("set,id,annotators\ntrain,1,many\n")
    with pytest.raises(UserError, match=r"index\.csv: must have columns set, id and annotators, a number"):
        BoundaryFolder(tmp_path, "train")


@pytest.mark.parametrize(("annotators", "least"), [(5, 3), (2, 3), (6, 1)])
def test_agreement(annotators, least):
    boundaries = drawn(7, annotators)
    got = agreed(boundaries, least=least)
    for y in range(5):
        for x in range(7):
            votes = sum(boundaries[y, x, k] for k in range(annotators))
            sure = votes >= least or votes == annotators
            assert got["edge"][y, x, 0] == float(sure) and got["valid"][y, x, 0] == float(sure or votes == 0)
    assert set(np.unique(got["edge"])) == {0, 1}


def test_what_is_wrong_with_files(tmp_path):
    official(tmp_path, {"train": (1, 2)})
    (tmp_path / "groundTruth" / "train" / "1.mat").write_bytes(b"text")
    with pytest.raises(UserError, match=r"1\.mat: not boundaries as BSDS500 has them .*; fetch the file again") as got:
        BoundaryFolder(tmp_path)[0]
    assert "\n" not in str(got.value)
    (tmp_path / "groundTruth" / "train" / "2.mat").write_bytes(mat(drawn(2, 4, width=6)))
    with pytest.raises(UserError, match=r"2\.png is 7x5 but its boundaries .*2\.mat are 6x5"):
        BoundaryFolder(tmp_path)[1]
    (tmp_path / "groundTruth" / "train" / "2.mat").unlink()
    with pytest.raises(UserError, match=r"2\.png: has no boundaries; add .*groundTruth/train/2\.mat"):
        BoundaryFolder(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="no pictures with boundaries in it; it takes images/SPLIT"):
        BoundaryFolder(tmp_path / "empty")
    with pytest.raises(UserError, match="no such folder"):
        BoundaryFolder(tmp_path / "absent")
    with pytest.raises(UserError, match="no boundaries 'bsds'; there are rooms, bsds500 and boundary_folder:PATH"):
        open_boundaries("bsds", "train")
    other = io.BytesIO()
    scipy.io.savemat(other, {"other": np.ones(3)})
    with pytest.raises(UserError, match="x: not boundaries"):
        read_boundaries(other.getvalue(), "x")
    (tmp_path / "masks").mkdir()
    masks(tmp_path / "masks", {1: 3})
    (tmp_path / "masks" / "train" / "1_gt.png").write_bytes(encode_png(picture(1)))
    with pytest.raises(UserError, match=r"1_gt\.png: labels must be .* grey .* this PNG is 8-bit RGB"):
        BoundaryFolder(tmp_path / "masks")[0]


def test_boundaries_lie_beside_their_pictures_in_folders_of_folders(tmp_path):
    for seed in (1, 2):  # of one name
        (tmp_path / "train" / f"part{seed}").mkdir(parents=True)
        Image.fromarray(picture(seed)).save(tmp_path / "train" / f"part{seed}" / "a.png")
        truth = tmp_path / "train" / f"part{seed}" / "a_gt.png"
        truth.write_bytes(encode_png(packed(drawn(seed, 3))))
    same(BoundaryFolder(tmp_path), [(1, 3), (2, 3)])
    (tmp_path / "train" / "part1" / "a.png").unlink()
    with pytest.raises(UserError, match=r"part1/a_gt\.png: has boundaries, but of no picture beside it; add that or"):
        BoundaryFolder(tmp_path)


def test_the_real_subset_of_bsds500(real_data):
    if not (folder := real_data / "bsds500").is_dir():
        pytest.skip(f"needs {folder.name} among the real images")
    for split, number in (("train", 60), ("bsd68", 28), ("test", 18)):
        source = BoundaryFolder(folder, split)
        assert len(source) == number
        for i in range(0, number, 9):
            frame = source[i]
            assert sorted(frame["image"].shape[:2]) == [321, 481] and 4 <= frame["boundaries"].shape[-1] <= 9
            share = frame["boundaries"].mean((0, 1))
            assert (share < 0.15).all() and 0.001 < agreed(frame["boundaries"])["edge"].mean() < 0.1
