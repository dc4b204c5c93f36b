"""Collectives, read from lines as XLA writes them."""

import pytest

from pixlab.hlo import Collective, collectives, group_size

TPU = """\
%add.clone (x: f32[], y: f32[]) -> f32[] {
}

%all-reduce-scatter.5 (input_0: f32[384,1024], input_1: f32[3,3,96,64]) -> (f32[384,256], f32[3,3,24,64]) {
  %all-reduce.62 = (f32[384,1024]{1,0:T(8,128)}, f32[3,3,96,64]{3,2,1,0:T(8,128)}) all-reduce(%input_0, %input_1), \
channel_id=1, replica_groups={{0,1,2,3},{4,5,6,7}}, use_global_device_ids=true, to_apply=%add.clone
}

%wide.region_0.49_spmd.sunk (wide.param.0: (s32[], f32[], /*index=2*/f32[384,256])) -> (s32[], f32[]) {
  %all-reduce.118 = (f32[]{:T(128)}, bf16[16]{0:T(256)}) all-reduce(%pow.324, %reduce.358), channel_id=2, \
replica_groups=mesh['axis_0'=4] {'axis_0'}, to_apply=%add.clone
}

ENTRY %main.83_spmd (param.4: s32[], param.5: f32[1024]) -> (s32[], f32[1024]) {
  %all-gather.8 = f32[3,3,96,64]{3,2,1,0:T(8,128)} all-gather(%param.14), channel_id=4, dimensions={2}
  %fusion.450 = (f32[384,256]{1,0:T(8,128)}, f32[3,3,24,64]{3,2,1,0:T(8,128)}) fusion(%p.1, %fusion.3), kind=kCustom, \
calls=%all-reduce-scatter.5, metadata={op_name="jit(step)/fc1/dot_general"}
  %while.78 = (s32[]{:T(128)}, f32[]) while(%t.1), condition=%wide.region_48.50_spmd, body=%wide.region_0.49_spmd.sunk
}
"""

GPU = """\
ENTRY %main (p: f32[4,8]) -> f32[32,8] {
  %all-gather-start = (f32[4,8]{1,0}, f32[32,8]{1,0}) all-gather-start(%p), dimensions={0}
  %all-gather-done = f32[32,8]{1,0} all-gather-done(%all-gather-start)
  %reduce-scatter.1 = f32[4,8]{1,0} reduce-scatter(%all-gather-done), dimensions={0}, to_apply=%add
}
"""

PERMUTES = """\
ENTRY %main (p: f32[4], q: u32[]) -> f32[4] {
  %collective-permute-start = (f32[4]{0}, f32[4]{0}) collective-permute-start(%p), source_target_pairs={{0,1},{1,0}}
  %collective-permute-done = f32[4]{0} collective-permute-done(%collective-permute-start)
  %collective-permute-start.1 = (f32[4]{0:T(128)}, f32[4]{0:T(128)}, u32[]{:T(128)}, u32[]{:T(128)}) \
collective-permute-start(%p), channel_id=1, source_target_pairs={{0,1},{1,0}}
  %collective-permute-start.2 = (u32[], u32[], u32[], u32[]) collective-permute-start(%q), channel_id=2
  %collective-permute.3 = f32[4]{0} collective-permute(%p), source_target_pairs={{0,1},{1,0}}
}
"""

PIECES = """\
%async_collective_fusion.1 (p: bf16[8]) -> bf16[32] {
  %all-gather.1 = bf16[32]{0:T(128)} all-gather(%p), channel_id=9, replica_groups={{0,1,2,3}}, dimensions={0}, \
use_global_device_ids=true, frontend_attributes={chain_id="0"}
}

%async_collective_fusion.2 (p: bf16[8]) -> bf16[32] {
  %all-gather.2 = bf16[32]{0:T(128)} all-gather(%p), channel_id=9, replica_groups={{0,1,2,3}}, dimensions={0}, \
use_global_device_ids=true, frontend_attributes={chain_id="0"}
}

ENTRY %main (p: bf16[8]) -> bf16[64] {
  %all-gather.3 = bf16[64]{0:T(128)} all-gather(%p), channel_id=8, replica_groups={{0,1,2,3,4,5,6,7}}, dimensions={0}
}
"""


def test_a_tpus_program():
    assert collectives(TPU) == [
        Collective("all-reduce", 4 + 2 * 16, 2, looped=True, group=4),
        Collective("all-gather", 4 * 9 * 96 * 64, 1),
        Collective("reduce-scatter", 4 * (384 * 256 + 9 * 24 * 64), 2, group=4),  # not the all-reduce in the fusion too
    ]


def test_what_is_begun_and_done_counts_once():
    assert collectives(GPU) == [Collective("all-gather", 4 * 32 * 8, 1), Collective("reduce-scatter", 4 * 4 * 8, 1)]
    assert [each.bytes for each in collectives(PERMUTES)] == [16, 16, 4, 16]


def test_what_is_done_in_pieces_counts_once():
    assert collectives(PIECES) == [Collective("all-gather", 64, 1, group=4), Collective("all-gather", 128, 1, group=8)]


@pytest.mark.parametrize(
    ("groups", "size"),
    [
        ("{{0,1},{2,3}}", 2),
        ("{{0,1,2,3,4,5,6,7}}", 8),
        ("{{0},{1}}", 1),
        ("[4,2]<=[8]", 2),
        ("[2,4]<=[4,2]T(1,0)", 4),
        ("mesh['a'=8] {'a'}", 8),
        ("mesh['a'=1,'b'=4,'c'=2], device_ids=([2,4]T(1,0)) {'b'}", 4),
        ("mesh['a'=2,'b'=4] {'a','b'}", 8),
        ("mesh['a'=2,'b'=4] {'b':(2)2}", 2),
        ("{}", 0),
    ],
)
def test_the_size_of_groups_in_all_ways_of_writing_them(groups, size):
    line = f"%a = f32[4]{{0}} all-reduce(%p), channel_id=1, replica_groups={groups}, use_global_device_ids=true"
    assert group_size(line) == size
    assert group_size(line.partition(", replica")[0]) == 0
