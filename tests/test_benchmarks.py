"""What is timed against PyTorch is the same network there."""

import jax
import jax.numpy as jnp
import pytest

from experiments.benchmarks import restoration, train_step
from experiments.benchmarks.pixlab_nets import pixlab_net

OURS_ALONE = {"alexnet": 55 * 74}  # a bias for each pixel of its depth, which takes no time
SHAPES = train_step.SHAPES | {name: shapes[0] for name, shapes in restoration.SHAPES.items()}


@pytest.mark.parametrize("name", SHAPES)
def test_both_have_as_many_parameters_and_outputs(name):
    torch = pytest.importorskip("torch")
    from experiments.benchmarks.torch_nets import NETS

    _, h, w, c = SHAPES[name]
    ours, variables = jax.eval_shape(pixlab_net(name).init_with_output, jax.random.key(0), jnp.zeros((1, h, w, c)))
    with torch.device("meta"):
        theirs = NETS[name]()
        answer = theirs(torch.zeros(1, c, h, w))
    counted = sum(x.numel() for x in theirs.parameters()) + OURS_ALONE.get(name, 0)
    assert counted == sum(x.size for x in jax.tree.leaves(variables["params"]))
    assert (1, *answer.shape[2:], answer.shape[1]) == ours.shape
