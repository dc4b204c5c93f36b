"""Time, communication and the largest batch, by hand."""

import pytest

from pixlab import roofline
from pixlab.chips import GIB, Chip
from pixlab.hlo import Collective
from pixlab.roofline import Step

CHIP = Chip(memory=16 * GIB, flops=100.0, bandwidth=10.0, links=5.0, slices=("2x2",))


def step(**fields) -> Step:
    return Step(**dict(stage="one", steps=10, flops=400.0, bytes=30.0, memory=8.0 * GIB) | fields)


def test_a_step_takes_the_slower_of_arithmetic_and_memory():
    assert roofline.seconds(step(), CHIP, 4) == 4.0  # 400 / 100 against 30 / 10
    assert roofline.seconds(step(bytes=50.0), CHIP, 4) == 5.0
    assert roofline.total([step(), step(bytes=50.0, steps=3)], CHIP, 4) == 10 * 4.0 + 3 * 5.0


def test_chips_send_in_rings():
    sums, gathers, scatters = (Collective(kind, 40, 1) for kind in ("all-reduce", "all-gather", "reduce-scatter"))
    assert roofline.sent(step(collectives=[sums]), 4) == 2 * 3 / 4 * 40
    assert roofline.sent(step(collectives=[sums]), 1) == 0
    halves = [gathers._replace(group=2), scatters._replace(group=2)]
    assert roofline.sent(step(collectives=halves), 4) == 40 / 2 + 40  # each half of 80 scattered
    assert roofline.sent(step(collectives=[gathers, scatters]), 4) == 3 / 4 * 40 + 3 * 40  # among all
    assert roofline.sent(step(collectives=[sums._replace(group=2)]), 8) == 40
    assert roofline.sent(step(collectives=[sums._replace(looped=True), sums], loops=3), 2) == 4 * 40
    assert roofline.seconds(step(collectives=[sums]), CHIP, 4) == 4.0 + 60 / 5


def groups_on(chips: int, compiled: int, fsdp: int, *before: Collective) -> list[int]:
    return [each.group for each in roofline.scaled(step(collectives=before), compiled, chips, fsdp).collectives]


def test_on_other_chips_groups_of_fsdp_stay_and_others_grow():
    gathers, scatters = Collective("all-gather", 40, 1, group=4), Collective("reduce-scatter", 40, 1, group=4)
    within, copies, everyone = (Collective("all-reduce", 40, 1, group=n) for n in (4, 2, 8))
    unnamed = Collective("all-reduce", 40, 1)
    before = gathers, scatters, within, copies, everyone, unnamed
    assert groups_on(8, 8, 4, *before) == [4, 4, 4, 2, 8, 8]
    assert groups_on(64, 8, 4, *before) == [4, 4, 4, 16, 64, 64]
    assert groups_on(4, 8, 4, *before) == [4, 4, 4, 1, 4, 4]
    assert groups_on(64, 16, 4, gathers, scatters, within) == [4, 4, 16]  # four copies, each on four chips
    assert groups_on(32, 8, 1, gathers, copies) == [16, 8]  # within groups that are not of --fsdp


def test_what_is_scattered_on_more_chips_is_the_same_as_a_whole():
    scatters = step(collectives=[Collective("reduce-scatter", 40, 1, group=4)])
    assert roofline.sent(roofline.scaled(scatters, 4, 8, 1), 8) == 7 / 8 * 160
    assert roofline.sent(roofline.scaled(scatters, 8, 16, 4), 16) == 3 / 4 * 160


@pytest.mark.parametrize(("fsdp", "loops", "sent"), [(1, 1, 2 * 7 / 8 * 80), (1, 3, 6 * 7 / 8 * 80), (4, 3, 20.0)])
def test_more_chips_than_of_one_copy_sum_gradients(fsdp, loops, sent):
    single = step(gradients=80.0, loops=loops)
    assert roofline.sent(roofline.scaled(single, fsdp, fsdp, fsdp), fsdp) == 0
    assert roofline.sent(roofline.scaled(single, fsdp, 8, fsdp), 8) == sent
    assert roofline.sent(roofline.scaled(single, 2 * fsdp, 8, fsdp), 8) == 0  # its own are in the program


def test_the_largest_batch_is_where_the_line_through_two_meets_the_memory():
    assert roofline.largest([(2, 3.0), (10, 5.0)], 8.0) == 22
    assert roofline.largest([(4, 9.0), (2, 7.0)], 8.0) == 3
    assert roofline.largest([(1, 9.0)], 8.0) == 0 and roofline.largest([(2, 11.0), (1, 10.0)], 8.0) == 0
