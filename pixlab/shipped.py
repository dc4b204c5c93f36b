"""Weights that come with pixlab: small trained networks, each a folder in `pixlab/weights`.

A folder has `config.json` as a run's has it, `weights.npz` with the parameters of what predicts, and `record.json`,
which says what they score. `python -m experiments.ship` writes it.
"""

from __future__ import annotations

import json
import os
import pathlib
from typing import Any

import flax.traverse_util
import jax
import numpy as np

from pixlab.core import Nets, Recipe, State
from pixlab.errors import UserError

FOLDER = pathlib.Path(__file__).parent / "weights"
WEIGHTS, RECORD = "weights.npz", "record.json"
LIST = "python -m pixlab weights"


def names() -> list[str]:
    """The shipped names."""
    return sorted(path.parent.name for path in FOLDER.glob(f"*/{WEIGHTS}") if not path.parent.name.startswith("."))


def folder_of(run: str | os.PathLike) -> pathlib.Path:
    """`run` itself, or the folder of the shipped weights of this name where `run` is no folder."""
    folder = pathlib.Path(run)
    return FOLDER / folder if not folder.is_dir() and str(folder) in names() else folder


def is_shipped(folder: pathlib.Path) -> bool:
    """Whether a folder has shipped weights in place of checkpoints."""
    return (folder / WEIGHTS).exists()


def write_weights(path: pathlib.Path, params: Nets, carry: Nets, step: int) -> None:
    """Write what predicts after `step` steps: floating-point numbers as float32."""
    np.savez_compressed(path, step=np.int32(step), **as_arrays(params, carry))


def as_arrays(params: Nets, carry: Nets) -> dict[str, np.ndarray]:
    """{"params/NETWORK/LAYER/...": array} of networks, floating-point numbers as float32."""
    flat = flax.traverse_util.flatten_dict({"params": params, "carry": carry}, sep="/")
    arrays = {name: np.asarray(x) for name, x in flat.items()}
    return {n: x.astype(np.float32) if np.issubdtype(x.dtype, np.floating) else x for n, x in arrays.items()}


def read_weights(path: pathlib.Path, recipe: Recipe) -> State:
    """The state that `write_weights` wrote, on the host, without optimisers and without networks that do not predict.

    Raises UserError if the file is damaged, or holds other networks than `recipe` makes.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = dict(file)
        step = arrays.pop("step")
    except Exception as error:  # a zip file's reader raises many kinds
        raise UserError(f"{path}: damaged ({error}); install pixlab again") from None
    made = dict(zip(("params", "carry"), jax.eval_shape(recipe.init, jax.random.key(0)), strict=True))
    there = flax.traverse_util.unflatten_dict(arrays, sep="/")
    for kind, nets in there.items():
        for name, tree in nets.items():
            if name in made.get("params", {}) and _shapes(made[kind].get(name)) != _shapes(tree):
                raise UserError(f"{path}: '{name}' is another network than this code makes; use the code that wrote it")
    if not set(there.get("params", {})) <= set(made["params"]):
        raise UserError(f"{path}: holds other networks than this code makes; use the code that wrote it")
    return State(step=step, params=there.get("params", {}), carry=there.get("carry", {}), opt={})


def _shapes(tree: Any) -> Any:
    return jax.tree.map(np.shape, tree)


def listed() -> str:
    """The shipped weights with what they are, what they score and their size, as text."""
    lines = []
    for name in names():
        saved, record = (json.loads((FOLDER / name / file).read_text()) for file in ("config.json", RECORD))
        lines.append(f"{name}: {saved.get('about') or record['command']}")
        rows = [("from", f"{record['command']}, {record['date']}")]
        for part in (record, *record["elsewhere"]):
            scores = ", ".join(f"{metric} {value:.4g}" for metric, value in part["metrics"].items())
            rows.append(("scores", f"{part['data']['name']}: {scores}"))
        rows.append(("size", f"{(FOLDER / name / WEIGHTS).stat().st_size / 1000:.0f} kB"))
        lines += [f"  {what:8} {text}" for what, text in rows] + [""]
    return "\n".join([*lines, "python -m pixlab predict NAME photo.jpg" if lines else "none are shipped"])
