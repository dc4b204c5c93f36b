"""The notebooks, run from the first cell to the last as a user would, with a small run on few images."""

import base64
import json
import os
import pathlib
import re
import shlex
import subprocess

import numpy as np
import pytest
from frames import write_frames
from PIL import Image

from pixlab.data.images import read_depth_png, read_image
from pixlab.data.rooms import frame

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")
pytest.importorskip("ipykernel")

ROOT = pathlib.Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "launch").glob("*.ipynb"))
TINY = shlex.split(
    "quick --scales 2 --width 0.0625 --frame 80 104 --crop 76 100 --truth 80 104 --batch 2 --coarse-steps 3 "
    "--fine-steps 1 --workers 1 --source rgbd_folder:frames"
)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """The folder that the notebooks run in."""
    folder = tmp_path_factory.mktemp("notebooks")
    write_frames(folder / "frames", range(6))
    (folder / "frames" / "train.txt").write_text("0\n1\n2\n3\n")
    (folder / "frames" / "test.txt").write_text("4\n5\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TFDS_DATA_DIR", str(folder / "data"))
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        patch.setenv("IPYTHONDIR", str(folder / "ipython"))
        patch.setenv("PYTHONPATH", str(ROOT))
        patch.setenv("JAX_NUM_CPU_DEVICES", "2")
        patch.setenv("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
        yield folder


def execute(name: str, place: pathlib.Path, **parameters) -> dict[str, list]:
    """Run a notebook with other parameters; returns the outputs of each cell."""
    notebook = nbformat.read(ROOT / "launch" / f"{name}.ipynb", as_version=4)
    cells = {cell.id: cell for cell in notebook.cells}
    assert set(parameters) <= set(re.findall(r"^(\w+) =", cells["parameters"].source, re.MULTILINE))
    cells["parameters"].source += "".join(f"\n{key} = {value!r}" for key, value in parameters.items())
    nbclient.NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(place)}}).execute()
    return {name: cell.get("outputs", []) for name, cell in cells.items()}


def texts(outputs) -> str:
    return "".join(output.get("text", "") for output in outputs)


def pictures(outputs) -> list[np.ndarray]:
    """The pictures that a cell shows."""
    found = [output["data"]["image/png"] for output in outputs if "image/png" in output.get("data", {})]
    return [read_image(base64.b64decode(picture)) for picture in found]


@pytest.fixture(scope="module")
def depth(place) -> dict[str, list]:
    return execute("colab_depth", place, OPTIONS=TINY, RUN="runs/tiny")


def test_training_ends_with_the_table_and_its_rows(depth, place):
    result = json.loads((place / "runs" / "tiny" / "result.json").read_text())
    assert result["step"] == 3 and "2 x cpu" in texts(depth["train"])
    (shown,) = (output["data"]["text/html"] for output in depth["scores"])
    rows = re.findall(r'<th scope="row">(.*?)</th>(.*?)</tr>', shown)
    assert [name for name, _ in rows] == [row[0] for row in result["rows"]] * 2  # a table for depth, one for normals
    assert {"this run", "mean", "mean per row"} < {name for name, _ in rows}
    numbers = [float(x) for _, row in rows for x in re.findall(r"<td>(?:<b>)?(-?[\d.]+)<", row)]
    split = result["columns"].index("normal/mean")
    true = [x for part in (slice(1, split), slice(split, None)) for row in result["rows"] for x in row[part]]
    np.testing.assert_allclose(numbers, [x for x in true if x is not None], rtol=1e-3, atol=1e-3)


def test_the_run_s_pictures_are_shown(depth, place):
    shown = pictures(depth["pictures"])
    kept = [
        np.asarray(Image.open(path).convert("RGB")) for path in (place / "runs/tiny/pictures").glob("*_0000003.png")
    ]
    assert len(shown) == len(kept) == 4  # depth and normals of both test images
    assert all(any(np.array_equal(picture, other) for other in kept) for picture in shown)
    assert min(picture.std() for picture in shown) > 20


def test_a_room_is_predicted(depth):
    assert "'depth': " in texts(depth["predict"]) and "(80, 104, 3)" in texts(depth["predict"])
    (shown,) = pictures(depth["predict"])
    assert len(np.unique(shown.reshape(-1, 3), axis=0)) > 1000


def test_own_photos_are_predicted_by_the_trained_run(depth, place):
    (place / "photos").mkdir()
    Image.fromarray(frame(7, height=240, width=320)["image"]).resize((1300, 975)).save(place / "photos" / "large.jpg")
    Image.fromarray(frame(8, height=90, width=70)["image"]).save(place / "photos" / "upright.png")
    (place / "photos" / "notes.txt").write_text("not a photo")
    photos = execute("colab_photos", place, RUN="runs/tiny", OUT="out/here")
    assert texts(photos["run"]) == "runs/tiny: trained for 3 steps\n"
    assert texts(photos["photos"]).startswith("notes.txt: not a readable image")
    large, upright = pictures(photos["predict"])
    assert 3 * 434 < large.shape[1] < 3 * 434 + 120  # every third pixel of photo, depth and normals
    assert min(len(np.unique(shown.reshape(-1, 3), axis=0)) for shown in (large, upright)) > 1000
    for name, size in [("large.jpg", (975, 1300)), ("upright.png", (90, 70))]:
        millimetres = read_depth_png(place / "out" / "here" / f"{name}_depth.png")
        assert millimetres.shape == size and 500 < np.median(millimetres) < 10_000 and millimetres.std() > 10
        assert read_image(place / "out" / "here" / f"{name}_normal.png").shape == (*size, 3)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_are_valid_and_kept_without_outputs(path):
    notebook = nbformat.read(path, as_version=nbformat.NO_CONVERT)
    nbformat.validate(notebook)
    assert (notebook.nbformat, notebook.nbformat_minor) == (4, 5)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert code and not [cell.id for cell in code if cell.outputs or cell.execution_count]
    assert all(re.fullmatch("[a-z-]+", cell.id) for cell in notebook.cells)  # given by hand: they do not change


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_installing_keeps_the_runtime_s_jax(path, tmp_path):
    """The cell's two commands, with a stand-in for pip, since the cell does nothing where pixlab is installed."""
    here = "jax==0.11.1 jaxlib==0.11.1 jaxtyping==0.2.0 libtpu==0.0.30 numpy==2.0.2"
    (tmp_path / "pip").write_text(f"""#!/bin/sh
[ "$1" != freeze ] || printf '%s\\n' {here}
[ "$1" = freeze ] || printf '%s\\n' "$@" > asked.txt
""")
    (tmp_path / "pip").chmod(0o755)
    (cell,) = (cell for cell in nbformat.read(path, as_version=4).cells if cell.id == "install")
    commands = "\n".join(re.findall(r"^ +!(.*)$", cell.source, re.MULTILINE))
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    subprocess.run(["sh", "-ec", commands], cwd=tmp_path, env={"PATH": path}, check=True)
    assert (tmp_path / "keep.txt").read_text().split() == ["jax==0.11.1", "jaxlib==0.11.1", "libtpu==0.0.30"]
    asked = (tmp_path / "asked.txt").read_text().splitlines()
    assert asked == ["install", "-q", "-c", "keep.txt", "git+{REPOSITORY}"]
