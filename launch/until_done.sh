#!/usr/bin/env bash
# In a pod: until_done.sh RUN COMMAND...   runs COMMAND with --run RUN and hands SIGTERM on to it.
#
# A run that is stopped, because its machine is wanted back for instance, ends with status 0 when all is saved; a cluster
# would take it for done. Without a result the first pod ends with 143 instead, and the cluster starts it again.
set -euo pipefail

run=$1
shift
trap 'kill -TERM $!' TERM
"$@" --run "$run" &
wait $! || wait $! # the first ends when the signal comes
[ "${JOB_COMPLETION_INDEX:-0}" != 0 ] || [ -e "$run/result.json" ] || exit 143
