#!/usr/bin/env bash
# Tries the development's overlay on a real cluster: deploys it, lets clients chat, kills pods meanwhile, and has
# `chatctl verify` hold every promise against what the clients saw. Ends with 0 when all of them held.
#
#   deploy/k8s/smoke.sh --context kind-chat [--seconds 90] [--clients 24] [--port 18080] [--keep]
#
#   --context   the cluster, by its name in the kubeconfig. There is no default: this creates and deletes a namespace
#   --seconds   of talk; pods are killed in the first two thirds of it
#   --clients   how many devices take part
#   --port      the first of two free ports of this machine, by which the clients reach the gateways
#   --keep      leave everything as it is at the end
#
# The images have to be in the cluster already, under the names of the overlay: ../README.md says how.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
overlay=$here/overlays/dev
namespace=chat-dev
context='' seconds=90 clients=24 port=18080 keep=''

say() { printf 'smoke: %s\n' "$*" >&2; }
usage() { sed -n '2,13s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2; }
wrong() { say "$1"; usage; exit 2; }
k() { kubectl --context "$context" --namespace "$namespace" "$@"; }

while [[ $# -gt 0 ]]; do
  case $1 in
    --context | --seconds | --clients | --port)
      [[ $# -ge 2 ]] || wrong "$1 needs a value"
      printf -v "${1#--}" '%s' "$2"
      shift 2
      ;;
    --keep) keep=yes; shift ;;
    -h | --help) usage; exit 0 ;;
    *) wrong "unknown: $1" ;;
  esac
done
[[ -n $context ]] || wrong "name the cluster with --context"
for number in "$seconds" "$clients" "$port"; do
  [[ $number =~ ^[1-9][0-9]{0,4}$ ]] || wrong "not a number: $number"
done
((port < 65535)) || wrong "no such port: $port"
command -v kubectl > /dev/null || { say "kubectl is missing"; exit 2; }

jobs_of_ours=()
folder=$(mktemp -d)

finish() {
  local code=$?
  trap - EXIT
  if [[ ${#jobs_of_ours[@]} -gt 0 ]]; then
    kill "${jobs_of_ours[@]}" 2> /dev/null || true
    wait "${jobs_of_ours[@]}" 2> /dev/null || true
  fi
  if [[ $code -ne 0 && -e $folder/deployed ]]; then
    say "what the cluster says:"
    k get pods,jobs,events >&2 || true
  fi
  if [[ -e $folder/deployed && -z $keep ]]; then
    say "deleting the namespace $namespace"
    k delete namespace "$namespace" --wait=false > /dev/null || true
  fi
  rm -rf "$folder"
  exit "$code"
}
trap finish EXIT
trap 'exit 130' INT TERM

deploy() {
  if k get namespace "$namespace" > /dev/null 2>&1; then
    say "the namespace $namespace is there already, and would be deleted at the end: delete it first"
    exit 2
  fi
  say "deploying to $context"
  touch "$folder/deployed"
  kubectl --context "$context" apply -k "$overlay" > "$folder/applied"
  k rollout status statefulset/mysql --timeout=300s >&2
  k rollout status deployment/redis --timeout=120s >&2
  k wait --for=condition=complete job --selector app.kubernetes.io/name=migrations --timeout=300s >&2
  local part
  for part in delivery-worker presence gateway; do k rollout status "deployment/$part" --timeout=300s >&2; done
}

# A forwarding ends with the pod that it leads to: the next one leads to another.
forward() {
  local child=''
  trap '[[ -z $child ]] || kill "$child" 2> /dev/null; exit 0' TERM
  while :; do
    # Not by way of `k`: that would be a shell of its own, and the one to kill is kubectl.
    kubectl --context "$context" --namespace "$namespace" port-forward service/gateway "$1:80" > /dev/null 2>&1 &
    child=$!
    wait "$child" || true
    sleep 0.5
  done
}

open_port() {
  local port_=$1 tries
  for ((tries = 0; tries < 60; tries++)); do
    (: < "/dev/tcp/127.0.0.1/$port_") 2> /dev/null && return 0
    sleep 0.5
  done
  say "no gateway answers on port $port_"
  return 1
}

# In turns: an orderly end, which drains or hands over, and one without a word.
kill_pods() {
  local until=$((SECONDS + seconds * 2 / 3)) turn=0 parts=(gateway delivery-worker presence redis mysql) part pod
  while ((SECONDS < until)); do
    part=${parts[turn % ${#parts[@]}]}
    pod=$(k get pods --selector "app.kubernetes.io/name=$part" --field-selector status.phase=Running --output name | head -n 1)
    if [[ -n $pod ]]; then
      if ((turn / ${#parts[@]} % 2)); then
        say "killing $pod"
        k delete "$pod" --wait=false --force --grace-period=0 > /dev/null 2>&1 || true
      else
        say "ending $pod"
        k delete "$pod" --wait=false > /dev/null || true
      fi
    fi
    turn=$((turn + 1))
    sleep 5
  done
}

secret_of_tokens() {
  local name
  name=$(k get deployment gateway --output \
    'jsonpath={.spec.template.spec.containers[0].env[?(@.name=="CHAT_JWT_SECRET")].valueFrom.secretKeyRef.name}')
  k get secret "$name" --output 'jsonpath={.data.secret}' | base64 -d
}

"$root/dev" environment
chatctl=("$root/.venv/bin/python" -m chatctl)
deploy
for one in "$port" "$((port + 1))"; do
  forward "$one" &
  jobs_of_ours+=($!)
  open_port "$one"
done
CHAT_JWT_SECRET=$(secret_of_tokens)
export CHAT_JWT_SECRET
kill_pods &
jobs_of_ours+=($!)
"${chatctl[@]}" verify --against "ws://127.0.0.1:$port" "ws://127.0.0.1:$((port + 1))" --disturbed --faults none \
  --duration "$seconds" --clients "$clients" --token-command "'${chatctl[0]}' -m chatctl.tokens"
say "every promise held"
