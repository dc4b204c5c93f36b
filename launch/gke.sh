#!/usr/bin/env bash
# A TPU slice in a GKE cluster: one pod on each of its hosts, as a JobSet.
#
#   export IMAGE=... BUCKET=...
#   launch/gke.sh create      a node pool with the slice
#   launch/gke.sh image       build the container, push it
#   launch/gke.sh run         start training (again: goes on from the last checkpoint, with what has changed)
#   launch/gke.sh status
#   launch/gke.sh logs        follow the first host's output
#   launch/gke.sh stop        SIGTERM: all hosts save the same step and end
#   launch/gke.sh delete      the node pool
#   launch/gke.sh xpk         instead of run, in a cluster that XPK made and that has BUCKET as storage at /bucket
#
# --dry-run prints the commands only. Every variable can be given in the environment. What the cluster must have:
# JobSet (https://jobset.sigs.k8s.io), the add-on GcsFuseCsiDriver, Workload Identity; the pods' service account needs
# roles/storage.objectUser on the bucket. `gcloud container clusters get-credentials` chooses the cluster.
# Data that was prepared anywhere goes into the bucket's folder data first:
#   gcloud storage cp -r ~/tensorflow_datasets/* "gs://$BUCKET/data/"
set -euo pipefail
source "$(dirname "$0")/common.sh"
one_word "$@"

: "${NAME:=pixlab}"
: "${CLUSTER:=pixlab}"
: "${LOCATION:=us-central1}"
: "${TYPE:=v5litepod-16}" # as XPK calls the slice; the three below are the same for GKE
: "${MACHINE:=ct5lp-hightpu-4t}"
: "${ACCELERATOR:=tpu-v5-lite-podslice}"
: "${TOPOLOGY:=4x4}"
: "${CHIPS:=4}" # of a host
: "${TIER:=}"   # --spot: cheaper, may be taken away; --reservation-affinity=any: from your reservation
: "${SERVICE_ACCOUNT:=default}"
: "${COMMAND:=python -m experiments.depth_nyu alexnet}"

HOSTS=$((${TOPOLOGY//x/*} / CHIPS))
here=$(dirname "$0")

manifest() {
  local text name
  text=$(<"$here/gke_jobset.yaml")
  for name in NAME HOSTS CHIPS ACCELERATOR TOPOLOGY IMAGE BUCKET SERVICE_ACCOUNT COMMAND; do
    text=${text//"\${$name}"/"${!name}"}
  done
  printf '%s\n' "$text"
}

case "$1" in
create)
  do_it gcloud container node-pools create "$NAME" --cluster "$CLUSTER" --location "$LOCATION" \
    --machine-type "$MACHINE" --tpu-topology "$TOPOLOGY" --num-nodes "$HOSTS" ${TIER:+"$TIER"}
  ;;
image)
  need IMAGE "REGISTRY/NAME:TAG of the container"
  do_it docker build -f "$here/Containerfile" --build-arg EXTRA=tpu -t "$IMAGE" "$here/.."
  do_it docker push "$IMAGE"
  ;;
run)
  need BUCKET "the name of the bucket for data and runs"
  need IMAGE "REGISTRY/NAME:TAG of the container"
  do_it kubectl delete jobset "$NAME" --ignore-not-found --cascade=foreground # one that has ended, or is to change
  if [ -n "$dry" ]; then
    echo "kubectl apply -f - <<'END'"
    manifest
    echo END
  else
    manifest | kubectl apply -f -
  fi
  ;;
status)
  do_it kubectl get jobset,pods -l "jobset.sigs.k8s.io/jobset-name=$NAME"
  ;;
logs)
  first="jobset.sigs.k8s.io/jobset-name=$NAME,batch.kubernetes.io/job-completion-index=0"
  do_it kubectl logs -f --tail=50 -c pixlab -l "$first"
  ;;
stop)
  do_it kubectl delete jobset "$NAME" --cascade=foreground
  ;;
delete)
  do_it gcloud container node-pools delete "$NAME" --cluster "$CLUSTER" --location "$LOCATION" --quiet
  ;;
xpk)
  need BUCKET "the name of the storage, a bucket, for data and runs"
  need IMAGE "REGISTRY/NAME:TAG of the container"
  do_it xpk workload create --cluster "$CLUSTER" --workload "$NAME" --tpu-type "$TYPE" --num-slices 1 \
    --docker-image "$IMAGE" --storage "$BUCKET" --max-restarts 20 --termination-grace-period-seconds 300 \
    --command "TFDS_DATA_DIR=/bucket/data exec bash launch/until_done.sh /bucket/runs/$NAME $COMMAND --hosts many \
--host-timeout 600"
  ;;
*) usage ;;
esac
