"""The only loop: steps, saves, scores, and stops well.

Bit-exact by construction: step k of a run is a function of the state after k steps, of global batch k and of the
run's key, so a run that was killed and resumed ends with the same parameters as one never stopped.
"""

from __future__ import annotations

import contextlib
import functools
import math
import pathlib
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax

from pixlab import core
from pixlab.accumulate import in_parts
from pixlab.checkpoint import Checkpoints
from pixlab.core import Batch, Recipe, State
from pixlab.data.pipeline import Data, eval_batches, train_batches
from pixlab.errors import Known, UserError
from pixlab.evaluate import Evaluator, Predict, draw
from pixlab.hosts import StopRequest, first_host, several
from pixlab.log import Log
from pixlab.mesh import everywhere, replicated, share_batch, split, together, training_mesh, wait_on_cpu
from pixlab.options import Options
from pixlab.page import write_page
from pixlab.progress import Progress
from pixlab.trace import Trace


class NonFinite(Known):
    """A loss or gradient became NaN or infinite: it is that of the whole batch, so that all processes see it."""


class Stopped(Exception):
    """The run was asked to stop; all is saved."""


def train(recipe: Recipe, data: Data, folder: pathlib.Path, options: Options) -> State:
    """Train `recipe` on `data` in run `folder`, from its newest checkpoint if there is one; returns the final state.

    Raises Stopped after SIGTERM or Ctrl-C (all saved), NonFinite when a loss or gradient is not finite (the last
    checkpoint is good), and UserError for input that cannot be read (saved up to that step) or a full disk.
    """
    mesh = mesh_of(recipe, options)
    key = everywhere(jax.random.key(options.seed), mesh)
    program = compiled(recipe, mesh, options)
    checkpoints = Checkpoints(folder / "checkpoints", abstract_state(recipe, mesh))
    found = checkpoints.restore()
    state, batches_read = found or (program.start(key), 0)
    done = int(state.step)
    log = Log(folder, active=first_host())
    log.resume(done)
    progress = Progress(recipe.steps, start=done, active=first_host())
    if found:
        progress.write(f"going on from the checkpoint of step {done}")
    evaluators = [Evaluator(predict, recipe.metrics, mesh) for predict in predictions(recipe)]
    batches = train_batches(data, seed=options.seed, start=batches_read)
    stages = stage_names(recipe)
    trace = Trace(folder, done, options.profile)
    waiting: tuple[int, str, dict[str, jax.Array]] | None = None

    def settle() -> None:
        """Fetch the newest step's logs, stop the run if they are not finite, write them down."""
        nonlocal waiting
        if waiting is not None:
            step, stage_name, logs = waiting
            waiting, values = None, {name: float(v) for name, v in jax.device_get(logs).items()}
            check_finite(values, step, checkpoints.steps())
            if step % options.log_every == 0 or step == recipe.steps:
                log.scalars(step, {f"train/{name}": value for name, value in values.items()})
            progress.update(step, stage_name, loss_of(values), data.batch)

    def save() -> None:
        settle()
        checkpoints.save(state, step=done, batches=batches_read)

    def look(state: State, evaluate: Evaluator) -> None:
        """Score and draw in the middle of training."""
        scores = evaluate(state, eval_batches(data, "test"))
        log.scalars(done, {f"test/{name}": value for name, value in scores.items()})
        draw(recipe, data, state, log, evaluate, done)
        report("running")
        progress.skip()

    def report(state: str) -> None:
        log.status(state, done, recipe.steps, stages=stages)
        if first_host():
            write_page(folder)

    with StopRequest() as stop:
        try:
            while done < recipe.steps:
                trace.at(done, state)
                index = recipe.stage_at(done)
                stage_name, _ = stages[index]
                try:
                    batch = share_batch(next(batches), mesh)
                except UserError:
                    if not several():  # the others wait for this step and would not save along
                        save()
                    raise
                with jax.profiler.StepTraceAnnotation("train", step_num=done):
                    state, logs = program.steps[index](state, batch, key)
                wait_on_cpu((state, logs))
                settle()  # of the step before, while the device works on this one
                done, batches_read, waiting = done + 1, batches_read + 1, (done + 1, stage_name, logs)
                asked, stage_state = stop.at(done), state
                due = _due(done, options.eval_every) and done < recipe.steps
                if due and not asked:
                    look(stage_state, evaluators[index])
                next_index = recipe.stage_at(done)
                if next_index != index:
                    state = program.enter[next_index](state)
                if asked or next_index != index or done == recipe.steps or _due(done, options.save_every):
                    save()
                    progress.skip()
                if asked:
                    if due:  # first saved, as whoever stops a run may not wait long
                        look(stage_state, evaluators[index])
                    report("stopped")
                    raise Stopped(f"{asked}: saved step {done} of {recipe.steps}; the same command goes on")
                del stage_state
        except UserError:
            with contextlib.suppress(UserError):  # a full disk takes no report either
                report("failed")
            raise
        finally:
            trace.close()
            progress.close()
            log.close()
            checkpoints.close()
    return state


def parameters(recipe: Recipe) -> int:
    """Trainable and frozen numbers of the recipe's networks."""
    params, _ = jax.eval_shape(recipe.init, jax.random.key(0))
    return sum(leaf.size for leaf in jax.tree.leaves(params))


def mesh_of(recipe: Recipe, options: Options, there: Sequence[jax.Device] = ()) -> jax.sharding.Mesh:
    """The mesh that `recipe` is trained on, of the devices `there` (empty: of this machine)."""
    return training_mesh(options, there, parameters=parameters(recipe))


class Program(NamedTuple):
    """The jitted functions of a run: the start, and for each stage how it is entered and its step."""

    start: Callable[[jax.Array], State]
    enter: list[Callable[[State], State]]
    steps: list[Callable[[State, Batch, jax.Array], tuple[State, dict[str, jax.Array]]]]


def compiled(recipe: Recipe, mesh: jax.sharding.Mesh, options: Options) -> Program:
    """The run's functions on `mesh`, batches in `options.accumulate` parts; a step takes its state's memory over."""

    def wrap(gradient):
        return together(in_parts(gradient, options.accumulate), mesh)

    start = functools.partial(core.start, recipe, pretrained=recipe.pretrained)
    begun = jax.eval_shape(functools.partial(core.start, recipe), jax.random.key(0))
    enter, steps = [], []
    for stage in recipe.stages:
        into = functools.partial(core.enter, stage)
        where = split(mesh, jax.eval_shape(into, begun))
        enter.append(jax.jit(into, out_shardings=where))
        step = core.make_step(stage, wrap)
        steps.append(jax.jit(step, donate_argnums=0, out_shardings=(where, replicated(mesh))))
    return Program(jax.jit(start, out_shardings=split(mesh, begun)), enter, steps)


def stage_names(recipe: Recipe) -> list[tuple[str, int]]:
    """(name, steps) of every stage; a stage is called after its objectives."""
    return [("+".join(stage.objectives), stage.steps) for stage in recipe.stages]


def predictions(recipe: Recipe) -> list[Predict]:
    """How to predict in each stage: as it says, in the last one as the recipe says."""
    return [stage.predict or recipe.predict for stage in recipe.stages[:-1]] + [recipe.predict]


def predict_after(recipe: Recipe, step: int) -> Predict:
    """How to predict once `step` steps are done: as in the stage that made the last of them."""
    return predictions(recipe)[recipe.stage_at(max(step - 1, 0))]


def abstract_state(recipe: Recipe, mesh: jax.sharding.Mesh) -> Callable[[int], State]:
    """A function of the step: the shapes, types and shardings of the state after that many steps."""

    def like(step: int) -> State:
        stage = recipe.stages[recipe.stage_at(step)]
        start = jax.eval_shape(lambda: core.enter(stage, core.start(recipe, jax.random.key(0))))
        shape = lambda x, sharding: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding)  # noqa: E731
        return jax.tree.map(shape, start, split(mesh, start))

    return like


def check_finite(values: dict[str, float], step: int, saved: list[int]) -> None:
    """Raise NonFinite, naming step and objective, if a loss or gradient norm is NaN or infinite."""
    for name, value in values.items():
        objective, _, kind = name.rpartition("/")
        if kind in ("loss", "grad_norm") and not math.isfinite(value):
            kept = f"the checkpoint of step {max(saved)} is good" if saved else "no checkpoint had been saved"
            raise NonFinite(
                f"step {step}: {kind} of objective '{objective}' is {value}; stopped, {kept}; "
                "try a lower learning rate or gradient clipping"
            )


def loss_of(values: dict[str, float]) -> float:
    """The loss that the progress line shows: the sum over the objectives."""
    return sum(value for name, value in values.items() if name.endswith("/loss"))


def _due(step: int, every: int) -> bool:
    return every > 0 and step % every == 0
