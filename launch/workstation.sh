#!/usr/bin/env bash
# One machine with one or more GPUs: installs into .venv, trains on all of them, starts again if it is killed.
#
#   launch/workstation.sh [--dry-run] depth_nyu alexnet --batch 64
set -euo pipefail
source "$(dirname "$0")/common.sh"
cd "$(dirname "$0")/.."

: "${PYTHON:=python3}"
: "${EXTRA:=cuda12}"
: "${TRIES:=5}"

[ $# -gt 0 ] || usage

[ -x .venv/bin/python ] || do_it "$PYTHON" -m venv .venv
do_it .venv/bin/pip install -q -e ".[$EXTRA]"
for try in $(seq "$TRIES"); do
  status=0
  do_it .venv/bin/python -m "experiments.$1" "${@:2}" || status=$?
  case "$status" in
  0 | 2 | 3 | 130) exit "$status" ;; # done or stopped; a mistake; a loss that is not finite; Ctrl-C
  esac
  echo "ended with $status; try $try of $TRIES" >&2
done
exit 1
