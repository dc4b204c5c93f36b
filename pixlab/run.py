"""A run: a folder with a config, checkpoints and results, and what one can do with it."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import json
import os
import pathlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from pixlab import shipped
from pixlab.checkpoint import restore_for_use
from pixlab.core import Batch, Nets, Recipe, State, eval_params
from pixlab.data.pipeline import Data, Example
from pixlab.errors import UserError
from pixlab.evaluate import Evaluator, Predict, scored_batches
from pixlab.mesh import everywhere, make_mesh, one_cpu
from pixlab.options import Options
from pixlab.provenance import provenance
from pixlab.tiles import Tiles
from pixlab.train import abstract_state, parameters, predict_after

PATIENT = {  # options that leave the result as it is
    "run", "hosts", "coordinator", "processes", "process", "host_timeout", "devices", "fsdp", "workers", "profile",
    "log_every", "save_every", "eval_every",
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Experiment:
    """A paper on a data set: what `experiments/*.py` defines and the command line runs."""

    name: str  # the module: experiments.depth_nyu
    configs: Mapping[str, Options]  # the rows of the paper's table; the first is the one that needs no name
    recipe: Callable[[Any], Recipe]
    data: Callable[[Any], Data]
    baselines: Callable[[Any, Data], Mapping[str, Predict]] = lambda config, data: {}
    published: Callable[[Any], Mapping[str, Mapping[str, float]]] = lambda config: {}
    paper: str | Callable[[Any], str] = ""  # the config that is the paper's, or which one it is for a config
    about: Mapping[str, str] = dataclasses.field(default_factory=dict)  # what a config is, for --help
    photo: Callable[[Any, np.ndarray], Example] | None = None  # (config, uint8 [h,w,3]) -> example for predict
    export: Callable[[Any, np.ndarray, Batch], dict[str, np.ndarray]] | None = None  # (config, photo, prediction)
    tiles: Callable[[Any], Tiles | None] = lambda config: None  # windows of large photos; None: seen in one piece

    def papers(self, config: Any) -> str:
        """The config that is the paper's, for whoever runs `config`; "" where there is none."""
        return self.paper(config) if callable(self.paper) else self.paper

    def main(self, args: Sequence[str] | None = None) -> Run:
        """Run the command line `args` (default: the process's own) and return the finished run."""
        from pixlab import cli

        return cli.main(self, args)


class Run:
    """A run folder, opened."""

    def __init__(self, folder: pathlib.Path, experiment: Experiment, config: Options):
        self.folder, self.experiment, self.config = pathlib.Path(folder), experiment, config
        self.recipe = experiment.recipe(config)
        self.mesh = make_mesh(config.batch, devices=int(one_cpu(parameters(self.recipe))))
        self._state: State | None = None

    @classmethod
    def open(cls, folder: str | pathlib.Path) -> Run:
        """The run in `folder`, or the shipped weights of that name. Raises UserError where there is none."""
        folder = shipped.folder_of(folder)
        saved = read_config(folder)
        try:
            experiment = importlib.import_module(saved["experiment"]).experiment
        except ModuleNotFoundError:
            raise UserError(f"{folder}: its experiment {saved['experiment']} is not importable from here") from None
        return cls(folder, experiment, from_fields(experiment, saved["config"], saved["fields"]))

    @property
    def state(self) -> State:
        """The trained state, restored on first use."""
        if self._state is None and shipped.is_shipped(self.folder):
            self._state = everywhere(shipped.read_weights(self.folder / shipped.WEIGHTS, self.recipe), self.mesh)
        elif self._state is None:
            like = abstract_state(self.recipe, self.mesh)
            self._state, _ = restore_for_use(self.folder / "checkpoints", like)
        return self._state

    @state.setter
    def state(self, state: State) -> None:
        self._state = state

    @property
    def result(self) -> dict[str, Any]:
        """The final table, as `result.json` holds it. Raises UserError before the run has ended."""
        path = self.folder / "result.json"
        if shipped.is_shipped(self.folder):
            raise UserError(f"{self.folder}: shipped weights come without a result; {shipped.RECORD} has their scores")
        if not path.exists():
            raise UserError(f"{self.folder}: has no result yet; the command that started it goes on with it")
        return json.loads(path.read_text())

    @property
    def unfinished(self) -> str:
        """What whoever uses the run should know of it; "" if it was trained to its end."""
        step, steps = int(self.state.step), self.recipe.steps
        return f"{self.folder}: has made {step} of its {steps} steps" if step < steps else ""

    def finished_params(self) -> Nets:
        """What predictions are made with, on the host. Raises UserError if training has not ended."""
        with jax.ensure_compile_time_eval():  # asked for while the start of another run's training is traced
            if (done := int(self.state.step)) < self.recipe.steps:
                raise UserError(f"{self.folder}: has made {done} of its {self.recipe.steps} steps; let it end first")
            return jax.device_get(eval_params(self.state))

    def on(self, source: str) -> Run:
        """The run as if its data were of another `source`."""
        if not source:
            return self
        if (config := self.config.on(source)) == self.config:
            return self
        other = Run(self.folder, self.experiment, config)
        other._state = self._state
        return other

    def data(self, source: str = "") -> Data:
        """The run's data, or the same of another `source`."""
        return self.experiment.data(self.on(source).config)

    def scored(self, split: str = "test", source: str = "") -> Run:
        """The run on what `evaluate` scores it on; for test photos those that it was trained on need not be there."""
        return self.on(source or (self.config.tested if split == "test" else ""))

    def evaluate(self, split: str = "test", source: str = "") -> dict[str, float]:
        """{metric: value} over a split, on the run's own data or on another `source`, as that is scored."""
        scored = self.scored(split, source)
        data = scored.data()
        if split not in data.splits:
            raise UserError(f"no split '{split}'; this data has: {', '.join(data.splits)}")
        predict = predict_after(self.recipe, int(self.state.step))
        return Evaluator(predict, scored.recipe.metrics, self.mesh)(self.state, scored_batches(data, split))

    def predict(
        self, photos: Iterable[np.ndarray], *, batch: int = 8, maps: bool = True, progress: bool = False
    ) -> Iterator[tuple[Batch, dict[str, Any]]]:
        """(prediction, pictures by suffix) for each uint8 photo [h,w,3]: see `pixlab.predict.predict`."""
        from pixlab.predict import predict

        return predict(self, photos, batch=batch, maps=maps, progress=progress)


def started(folder: str) -> Callable[[Nets], Nets]:
    """For Recipe.pretrained: the parameters, with those of the finished run in `folder` where name and shape are alike.

    An empty `folder` leaves them as they are. Raises UserError for a run that is not finished or that has none of them.
    """

    def start(params: Nets) -> Nets:
        theirs = dict(jax.tree_util.tree_leaves_with_path(Run.open(folder).finished_params()))
        path = jax.tree_util.tree_leaves_with_path(params)
        fits = {at for at, x in path if at in theirs and theirs[at].shape == x.shape}
        if not fits:
            raise UserError(f"--start {folder}: none of its parameters has the name and shape of one of this run's")
        return jax.tree_util.tree_map_with_path(lambda at, x: jnp.asarray(theirs[at]) if at in fits else x, params)

    return start if folder else lambda params: params


def find_experiment(name: str) -> Experiment:
    """The experiment of a module: depth_nyu stands for experiments.depth_nyu. Raises UserError where there is none."""
    module = name if "." in name else f"experiments.{name}"
    try:
        return importlib.import_module(module).experiment
    except (ModuleNotFoundError, AttributeError) as error:
        if isinstance(error, ModuleNotFoundError) and not module.startswith(error.name or module):
            raise  # it is there, but something that it imports is not
        raise UserError(
            f"no experiment '{name}' is importable from here; give a module such as experiments.depth_nyu"
        ) from None


def read_config(folder: pathlib.Path) -> dict[str, Any]:
    """The saved config of a run folder. Raises UserError where there is none or it is damaged."""
    path = folder / "config.json"
    if not path.exists():
        ours = f", and shipped are {', '.join(shipped.names())}" if shipped.names() else ""
        raise UserError(
            f"{folder}: no run here (config.json is missing); runs are made by python -m experiments.NAME{ours}"
        )
    try:
        saved = json.loads(path.read_text())
        return {name: saved[name] for name in ("experiment", "config", "fields")}
    except (ValueError, KeyError, TypeError):
        raise UserError(f"{path}: damaged; write it anew by deleting it and giving the run's command again") from None


def from_fields(experiment: Experiment, name: str, fields: Mapping[str, Any]) -> Options:
    """The config `name` of `experiment` with `fields` as read from JSON."""
    base = experiment.configs.get(name) or next(iter(experiment.configs.values()))
    known = {f.name for f in dataclasses.fields(base)}
    if unknown := sorted(set(fields) - known):
        raise UserError(f"{experiment.name}: the saved config has options it does not know: {', '.join(unknown)}")
    return dataclasses.replace(base, **{k: tuple(v) if isinstance(v, list) else v for k, v in fields.items()})


def claim(folder: pathlib.Path, experiment: Experiment, name: str, config: Options) -> None:
    """Make `folder` the folder of this run, or note a further start in it.

    Raises UserError if it holds a run with another config.
    """
    fields = json.loads(json.dumps(dataclasses.asdict(config)))
    if (folder / "config.json").exists():
        saved = read_config(folder)
        theirs = saved["fields"]
        changed = [k for k in fields if k not in PATIENT and fields[k] != theirs.get(k)]
        if saved["experiment"] != experiment.name or changed:
            what = "; ".join(f"{k} {theirs.get(k)!r} there, {fields[k]!r} here" for k in changed)
            what = what if saved["experiment"] == experiment.name else f"of {saved['experiment']}"
            raise UserError(f"{folder} holds another run ({what}); choose another folder with --run, or delete it")
        with contextlib.suppress(UserError):  # a full disk: scoring needs none of it
            path = folder / "config.json"
            whole = json.loads(path.read_text())
            write_json(path, whole | {"resumed": [*whole.get("resumed", []), provenance()]})
        return
    if folder.is_dir() and {path.name for path in folder.iterdir()} - {"config.json.tmp"}:
        raise UserError(f"{folder} is not empty and not a run; choose another folder with --run")
    saved = {"experiment": experiment.name, "config": name, "fields": fields, "provenance": provenance()}
    write_json(folder / "config.json", saved)


@contextlib.contextmanager
def alone(folder: pathlib.Path) -> Iterator[None]:
    """While active, no other process trains in `folder`, which is made. Raises UserError if one does."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        place = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise UserError(f"{folder}: cannot be a run folder ({error.strerror}); choose another with --run") from None
    try:
        import fcntl

        fcntl.flock(place, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(place)
        raise UserError(f"{folder}: another process trains there; wait for it, or choose another with --run") from None
    except (ImportError, OSError):  # a system or a file system without locks
        pass
    try:
        yield
    finally:
        os.close(place)


def write_json(path: pathlib.Path, value: Any) -> None:
    """Write JSON so that a kill or a full disk leaves the old file or the new one, never half."""
    temporary = path.with_name(path.name + ".tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(json.dumps(value, indent=1) + "\n")
        os.replace(temporary, path)
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror})") from None
