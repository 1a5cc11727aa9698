#!/bin/bash
# What the product costs and how fast it is: each number with its floor, measured in the same run.
set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
for piece in say settings machine docker postgres build; do
  # shellcheck source=/dev/null
  source "$ROOT/infra/lib/$piece.sh"
done

usage() {
  cat <<'END'
./infra/bench.sh [--quick] [words…]

Measures on this machine (Debian or Ubuntu, as root), after installing and building what is missing: how fast webhooks
are stored (webhook-latency, webhook-throughput), how long somebody new waits (new-person, with a warm pool
pooled-person) and somebody whose sandbox sleeps (wake), what one who sleeps costs (stopped), somebody new, a wake and a
start of the image alone beside OpenClaw's own fleet (fleet), what we add to a turn (relay) and what a hostile agent next
door adds (neighbour), memory and a core with ten thousand people (memory), and what a turn sends to the model
(model-request). Words pick rows by parts of these names. WhatsApp and the model are simulated; everything else is real.

Prints one line of JSON for each number, {"name","value","unit","floor","ratio"}, on standard output; progress and a
table of must, aim and reached on standard error. All rows take some forty minutes and up to 10 GB of memory.

It works in deployments of its own (ck-bench-…), which it removes, and puts load on loopback only. Nothing of a
deployment that runs on this machine is touched, but what it does meanwhile shows in the numbers.

  --quick   a short run to see that everything can be measured: its numbers say little
  --help    this page

  CLAWKAKA_BIN, SANDBOX_IMAGE   measure this program and this image, and not what is built here
END
}

main() {
  case ${1:-} in
    --help | -h) usage && exit ;;
  esac
  # Standard output is for the figures.
  exec 3>&1 1>&2
  need_root
  start_clean
  trap 'rm -rf "$LOGS"' EXIT
  headline "This machine"
  [[ -x $ROOT/target/release/clawkaka ]] || need_space
  need_tools
  need_rust
  need_docker
  need_postgres
  [[ -x $(postgres_bin)/pgbench ]] ||
    die "there is no pgbench in $(postgres_bin): install the package postgresql-contrib."
  headline "Building"
  build_release
  build_image
  headline "Measuring"
  # Clusters live below it: on a disk, for a file system in memory would make commits free.
  TMPDIR=/var/tmp "$ROOT/target/release/clawkaka-bench" "$@" 1>&3
}

# Nobody's settings change what is measured; which Docker engine it runs on stays the machine's choice.
start_clean() {
  local name image=${SANDBOX_IMAGE:-}
  cd "$ROOT"
  for name in $(setting_names | grep -vx DOCKER_HOST); do unset "$name" "${name}_FILE"; done
  unset CARGO_TARGET_DIR SQLX_OFFLINE SQLX_OFFLINE_DIR
  if [[ -n $image ]]; then export SANDBOX_IMAGE=$image; fi
  LOGS=$(mktemp -d /tmp/clawkaka-bench-logs.XXXXXX)
}

main "$@"
