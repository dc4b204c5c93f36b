#!/usr/bin/env bash
# A Cloud TPU slice of any size: one queued resource, the same command on all of its hosts.
#
#   export BUCKET=... REPOSITORY=...
#   launch/tpu_pod.sh create      ask for the slice, wait until it is there
#   launch/tpu_pod.sh install     clone, install, mount the bucket on every host (again: the newest code)
#   launch/tpu_pod.sh run         start training on every host (again: goes on from the last checkpoint)
#   launch/tpu_pod.sh status      the slice's state; on every host, whether it trains, and its last line
#   launch/tpu_pod.sh logs        follow the first host's output
#   launch/tpu_pod.sh stop        SIGTERM: all hosts save the same step and end
#   launch/tpu_pod.sh delete
#
# --dry-run prints the commands only. Every variable can be given in the environment.
# Data that was prepared anywhere goes into the bucket's folder data first:
#   gcloud storage cp -r ~/tensorflow_datasets/* "gs://$BUCKET/data/"
set -euo pipefail
source "$(dirname "$0")/common.sh"
one_word "$@"

: "${NAME:=pixlab}"
: "${ZONE:=us-central1-a}"
: "${TYPE:=v5litepod-16}"
: "${RUNTIME:=v2-alpha-tpuv5-lite}"
: "${TIER:=}" # --spot: cheaper, may be taken away; --reserved: from your reservation
: "${COMMAND:=python -m experiments.depth_nyu alexnet}"

everywhere() {
  do_it gcloud compute tpus tpu-vm ssh "$NAME" --zone "$ZONE" --worker=all --command "$1"
}

first() {
  do_it gcloud compute tpus tpu-vm ssh "$NAME" --zone "$ZONE" --worker=0 --command "$1"
}

state() {
  do_it gcloud compute tpus queued-resources describe "$NAME" --zone "$ZONE" --format='value(state.state)'
}

running="{ kill -0 \$(cat ~/$NAME.pid); } 2> /dev/null"

case "$1" in
create)
  do_it gcloud compute tpus queued-resources create "$NAME" --node-id "$NAME" --zone "$ZONE" \
    --accelerator-type "$TYPE" --runtime-version "$RUNTIME" ${TIER:+"$TIER"}
  while [ -z "$dry" ]; do
    now=$(state)
    echo "$(date +%T) $now"
    case "$now" in
    ACTIVE) break ;;
    FAILED | SUSPENDED)
      echo "error: the request has ended as $now; delete it, then create it anew" >&2
      exit 2
      ;;
    esac
    sleep 30
  done
  ;;
install)
  need BUCKET "the name of the bucket for data and runs, which all hosts see"
  need REPOSITORY "the URL that git clones pixlab from"
  everywhere "set -e; [ -d pixlab ] || git clone -q '$REPOSITORY' pixlab; cd pixlab; git pull -q; \
python3 -m pip install -q uv; python3 -m uv venv -q --allow-existing --python 3.12 .venv; \
python3 -m uv pip install -q -e '.[tpu]'" # the hosts' own Python is too old
  everywhere "set -e; command -v gcsfuse > /dev/null || { \
curl -fsS https://packages.cloud.google.com/apt/doc/apt-key.gpg | sudo tee /usr/share/keyrings/gcsfuse.asc > /dev/null; \
echo deb '[signed-by=/usr/share/keyrings/gcsfuse.asc]' https://packages.cloud.google.com/apt \
gcsfuse-\$(lsb_release -cs) main | sudo tee /etc/apt/sources.list.d/gcsfuse.list; \
sudo apt-get -qq update; sudo apt-get -qq install -y gcsfuse; }; \
mkdir -p ~/bucket; mountpoint -q ~/bucket || \
gcsfuse --implicit-dirs --rename-dir-limit 100000 --metadata-cache-ttl-secs 0 '$BUCKET' ~/bucket"
  ;;
run)
  everywhere "if $running; then echo '$NAME is running; stop it first' >&2; exit 2; fi; \
mountpoint -q ~/bucket || { echo 'no bucket is mounted: install first' >&2; exit 2; }; \
cd pixlab && . .venv/bin/activate && export TFDS_DATA_DIR=~/bucket/data && \
{ nohup $COMMAND --hosts many --run ~/bucket/runs/$NAME < /dev/null >> ~/$NAME.log 2>&1 & echo \$! > ~/$NAME.pid; }"
  ;;
status)
  state
  everywhere "if $running; then echo running; else echo not running; fi; tail -n 1 ~/$NAME.log"
  ;;
logs)
  first "tail -n 50 -F ~/$NAME.log"
  ;;
stop)
  first "kill -TERM \$(cat ~/$NAME.pid)"
  ;;
delete)
  do_it gcloud compute tpus queued-resources delete "$NAME" --zone "$ZONE" --force --quiet
  ;;
*) usage ;;
esac
