"""Collectives, read from lines as XLA writes them."""

from pixlab.hlo import Collective, collectives

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


def test_a_tpus_program():
    assert collectives(TPU) == [
        Collective("all-reduce", 4 + 2 * 16, 2, looped=True),
        Collective("all-gather", 4 * 9 * 96 * 64, 1),
        Collective("reduce-scatter", 4 * (384 * 256 + 9 * 24 * 64), 2),  # once, though the fusion has an all-reduce
    ]


def test_what_is_begun_and_done_counts_once():
    assert collectives(GPU) == [Collective("all-gather", 4 * 32 * 8, 1), Collective("reduce-scatter", 4 * 4 * 8, 1)]
