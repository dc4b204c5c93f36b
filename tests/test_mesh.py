"""However many devices there are, and however they share the work, training does the same."""

from unittest import mock

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import toy

from pixlab import mesh
from pixlab.core import Aux, Objective, Recipe, Stage
from pixlab.errors import UserError
from pixlab.hlo import Collective, collectives
from pixlab.net import Net, init_all
from pixlab.train import compiled

BATCH = 16


class Convolutions(nn.Module):
    """Two layers without statistics or dropout."""

    @nn.compact
    def __call__(self, x, train: bool = False):
        return nn.Conv(1, (3, 3))(nn.tanh(nn.Conv(16, (3, 3))(x)))


def nothing(params, carry, batch):
    return {}


def plain() -> Recipe:
    """One network, one loss."""
    net = Net("net", Convolutions(), ((1, 8, 8, 3),))

    def loss(params, carry, batch, key):
        return jnp.mean((net(params, carry, batch["image"])[0] - batch["truth"]) ** 2), Aux()

    return Recipe(net.init, (Stage(5, {"blur": Objective(("net",), loss, optax.sgd(0.05, momentum=0.9))}),), nothing)


def staged() -> Recipe:
    """Two networks in turn, with batch statistics, dropout and averaged parameters."""
    return toy.recipe(toy.Config(first=3, second=3, sgd=True, lr=0.1))


def adversarial() -> Recipe:
    """Two networks against each other, the second on the images that the first has just made."""
    maker, judge = Net("maker", Convolutions(), ((1, 8, 8, 3),)), Net("judge", Convolutions(), ((1, 8, 8, 1),))

    def make(params, carry, batch, key):
        fake = maker(params, carry, batch["image"])[0]
        return jnp.mean(nn.softplus(-judge(params, carry, fake)[0])), Aux(out={"fake": fake}, logs={"x": fake.mean()})

    def tell(params, carry, batch, key):
        real, fake = (judge(params, carry, batch[name])[0] for name in ("truth", "fake"))
        return jnp.mean(nn.softplus(-real)) + jnp.mean(nn.softplus(fake)), Aux()

    sgd = optax.sgd(0.1)
    objectives = {"make": Objective(("maker",), make, sgd), "tell": Objective(("judge",), tell, sgd)}
    return Recipe(init_all(maker, judge), (Stage(5, objectives),), nothing)


def trained(recipe: Recipe, **options):
    """(final state, logs of every step) of a few steps with these options of the mesh."""
    options = toy.Config(batch=BATCH, **options)
    here = mesh.training_mesh(options)
    program, key, logs = compiled(recipe, here, options), jax.random.key(1), []
    images = toy.frames(BATCH * recipe.steps, seed=3)
    state = program.start(key)
    for step in range(recipe.steps):
        frames = images[step * BATCH : (step + 1) * BATCH]
        batch = {name: np.stack([frame[name] for frame in frames]) for name in frames[0]}
        index = recipe.stage_at(step)
        if step and index != recipe.stage_at(step - 1):
            state = program.enter[index](state)
        state, now = program.steps[index](state, mesh.share_batch(batch, here), key)
        logs.append({name: float(value) for name, value in now.items()})
    return state, logs


def same(a, b) -> None:
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-6)


@pytest.fixture
def split_all(monkeypatch):
    monkeypatch.setattr(mesh, "SMALL", 2)  # these networks are tiny: whole arrays would be no test


def test_a_cpu_is_one_device_for_heavy_networks():
    options = toy.Config(batch=BATCH)
    assert mesh.training_mesh(options, parameters=2**26 - 1).size == 8  # virtual devices, more than cores
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mesh, "cores", lambda: 8)
        assert mesh.training_mesh(options, parameters=2**26 - 1).size == 8
        assert mesh.training_mesh(options, parameters=2**26).size == 1
        assert mesh.training_mesh(toy.Config(batch=BATCH, devices=8), parameters=2**26).size == 8
        assert mesh.training_mesh(toy.Config(batch=BATCH, fsdp=2), parameters=2**26).size == 8


@pytest.mark.parametrize("recipe", [plain, staged, adversarial])
@pytest.mark.parametrize("options", [{"devices": 8}, {"devices": 8, "fsdp": 4}, {"devices": 4, "fsdp": 4}], ids=str)
def test_training_on_many_devices_is_training_on_one(recipe, options, split_all):
    state, logs = trained(recipe(), devices=1)
    other, others = trained(recipe(), **options)
    same(jax.device_get(state), jax.device_get(other))
    same(logs, others)
    assert jax.tree.leaves(other.params)[0].sharding.num_devices == options["devices"]


def test_parameters_and_optimiser_state_are_split(split_all):
    state, _ = trained(plain(), devices=8, fsdp=4)
    for tree in (state.params, state.opt):
        kernels = [x for x in jax.tree.leaves(tree) if x.ndim == 4]
        assert kernels and all(x.addressable_shards[0].data.size == x.size // 4 for x in kernels)
    assert state.step.is_fully_replicated


@pytest.mark.parametrize("recipe", [plain, adversarial])
@pytest.mark.parametrize("options", [{"devices": 1}, {"devices": 4}, {"devices": 4, "fsdp": 2}], ids=str)
def test_a_batch_in_parts_is_the_batch(recipe, options, split_all):
    state, logs = trained(recipe(), devices=1)
    for parts in (2, 4):
        other, others = trained(recipe(), accumulate=parts, **options)
        same(jax.device_get(state), jax.device_get(other))
        same(logs, others)


def test_batch_statistics_move_once_for_every_part():
    recipe = staged()
    state, _ = trained(recipe, devices=1, accumulate=2)
    whole, _ = trained(recipe, devices=1)
    moved, once = (s.carry["coarse"]["batch_stats"]["BatchNorm_0"]["var"] for s in (state, whole))
    assert np.all(np.abs(np.asarray(moved) - 1) > 1.5 * np.abs(np.asarray(once) - 1))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"devices": 9}, "--devices 9: there are 8"),
        ({"devices": 3}, "--batch 16 does not divide over 3 devices; use a multiple of 3"),
        ({"devices": 8, "fsdp": 3}, "--fsdp 3 does not divide the 8 devices"),
        ({"devices": 8, "accumulate": 4}, "in 4 parts; use a multiple of 32"),
    ],
)
def test_numbers_that_do_not_go_together_are_one_line(options, words):
    with pytest.raises(UserError, match=words):
        mesh.training_mesh(toy.Config(batch=BATCH, **options))


def test_a_mesh_of_given_devices():
    there = jax.devices()[4:]
    assert set(mesh.training_mesh(toy.Config(batch=BATCH), there).devices.flat) == set(there)
    with pytest.raises(UserError, match="--devices 5: there are 4"):
        mesh.training_mesh(toy.Config(batch=BATCH, devices=5), there)


def chip(id: int, host: int) -> jax.Device:
    """What a mesh asks of a device that is not here."""
    return mock.Mock(spec=jax.Device, id=id, process_index=host, platform="tpu")


def test_rows_of_a_batch_lie_in_the_order_of_the_hosts_that_read_them():
    hosts = [0, 0, 1, 1, 1, 1, 0, 0]
    there = [chip(id, host) for id, host in enumerate(hosts)]
    found = mesh.training_mesh(toy.Config(batch=BATCH, fsdp=2), there).devices
    assert [d.process_index for d in found.flat] == sorted(hosts)
    assert [d.id for d in found.flat] == [0, 1, 6, 7, 2, 3, 4, 5]


def test_accelerators_that_would_stand_idle():
    there = [chip(id, id // 4) for id in range(16)]
    with pytest.raises(
        UserError, match="--batch 30 does not divide over 16 devices; use a multiple of 16, or give --de"
    ):
        mesh.training_mesh(toy.Config(batch=30), there)
    assert mesh.make_mesh(30, there=there).size == 15  # for use of a trained run


def started(recipe, **options):
    """(the first stage's step, a state, a batch) on the mesh of these options."""
    options = toy.Config(batch=BATCH, **options)
    here = mesh.training_mesh(options)
    program, frames = compiled(recipe, here, options), toy.frames(BATCH, seed=3)
    batch = mesh.share_batch({name: np.stack([frame[name] for frame in frames]) for name in frames[0]}, here)
    return program.steps[0], program.start(jax.random.key(0)), batch


def test_a_step_takes_over_the_memory_of_the_state_before(split_all):
    step, state, batch = started(plain(), devices=8, fsdp=4)
    step(state, batch, jax.random.key(0))
    assert all(x.is_deleted() for x in jax.tree.leaves(state.params))
    assert not any(x.is_deleted() for x in jax.tree.leaves(batch))


def communication(recipe, **options) -> list[Collective]:
    step, state, batch = started(recipe, **options)
    return collectives(step.lower(state, batch, jax.random.key(0)).compile().as_text())


def test_data_parallel_sums_the_gradients_once_and_nothing_else():
    [found] = communication(plain(), devices=8)
    assert found.kind == "all-reduce"
    parameters = 3 * 3 * 3 * 16 + 16 + 3 * 3 * 16 + 1
    assert found.bytes == 4 * (parameters + 1)  # with the loss


def test_batch_statistics_add_their_own_sums_alone():
    found = communication(staged(), devices=8)
    assert {each.kind for each in found} == {"all-reduce"}
    assert len(found) == 3  # forward, backward, gradients
    assert sum(each.bytes for each in found) < 4 * (3 * 3 * 3 * 4 + 3 * 3 * 4 + 100)


def test_split_parameters_are_gathered_and_their_gradients_summed(split_all):
    found = communication(plain(), devices=8, fsdp=4)
    assert {each.kind for each in found} <= {"all-reduce", "all-gather", "reduce-scatter"}
    assert sum(each.kind == "all-gather" for each in found) == 3
