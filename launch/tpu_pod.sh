#!/usr/bin/env bash
# A Cloud TPU slice of any size: one queued resource, the same command on all of its hosts.
#
#   launch/tpu_pod.sh create      ask for the slice, wait until it is there
#   launch/tpu_pod.sh install     clone, install, mount the bucket on every host
#   launch/tpu_pod.sh run         start training on every host (again: goes on from the last checkpoint)
#   launch/tpu_pod.sh logs        follow the first host's output
#   launch/tpu_pod.sh stop        SIGTERM: all hosts save the same step and end
#   launch/tpu_pod.sh delete
#
# --dry-run before the word prints the commands only. Every variable can be given in the environment.
set -euo pipefail

: "${NAME:=pixlab}"
: "${ZONE:=us-central1-a}"
: "${TYPE:=v5litepod-16}"
: "${RUNTIME:=v2-alpha-tpuv5-lite}"
: "${REPOSITORY:=https://github.com/pixlab/pixlab.git}"
: "${BUCKET:=my-bucket}" # holds data and runs: every host must see the same run folder
: "${COMMAND:=python3 -m experiments.depth_nyu alexnet}"

dry=""
if [ "${1:-}" = --dry-run ]; then
  dry=yes
  shift
fi

do_it() {
  if [ -n "$dry" ]; then
    printf '%q ' "$@"
    printf '\n'
  else
    "$@"
  fi
}

everywhere() {
  do_it gcloud compute tpus tpu-vm ssh "$NAME" --zone "$ZONE" --worker=all --command "$1"
}

case "${1:-}" in
create)
  do_it gcloud compute tpus queued-resources create "$NAME" --node-id "$NAME" --zone "$ZONE" \
    --accelerator-type "$TYPE" --runtime-version "$RUNTIME"
  state() { gcloud compute tpus queued-resources describe "$NAME" --zone "$ZONE" --format='value(state.state)'; }
  while [ -z "$dry" ] && [ "$(state)" != ACTIVE ]; do
    echo "$(date +%T) $(state)"
    sleep 30
  done
  ;;
install)
  everywhere "git clone -q $REPOSITORY pixlab; cd pixlab && git pull -q && pip install -q -e '.[tpu]'"
  everywhere "mkdir -p ~/bucket && (mountpoint -q ~/bucket || gcsfuse --implicit-dirs $BUCKET ~/bucket)"
  ;;
run)
  everywhere "cd pixlab && TFDS_DATA_DIR=~/bucket/data nohup $COMMAND --hosts many \
--run ~/bucket/runs/$NAME > ~/$NAME.log 2>&1 &"
  ;;
logs)
  do_it gcloud compute tpus tpu-vm ssh "$NAME" --zone "$ZONE" --worker=0 --command "tail -n 50 -f ~/$NAME.log"
  ;;
stop)
  do_it gcloud compute tpus tpu-vm ssh "$NAME" --zone "$ZONE" --worker=0 --command "pkill -TERM -f bucket/runs/$NAME"
  ;;
delete)
  do_it gcloud compute tpus queued-resources delete "$NAME" --zone "$ZONE" --force --quiet
  ;;
*)
  sed -n '2,12p' "$0"
  exit 2
  ;;
esac
