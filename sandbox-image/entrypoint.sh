#!/bin/bash
# Starts one person's OpenClaw. Everything it needs is in /state, put there by the platform before every start:
#   openclaw.json  the whole configuration
#   broker-token   what the gateway pays its model calls with, new at every start; a configuration that changed would
#                  have OpenClaw go through all of its migrations again, three seconds of each wake
#   device.json    the one device that may come in
set -euo pipefail
umask 077
# shellcheck source=environment.sh
source /app/environment.sh

state=/state
for file in "$state"/{openclaw.json,broker-token,device.json}; do
  [[ -r $file ]] || { echo "entrypoint: $file is missing or unreadable" >&2; exit 66; }
done

export HOME=$state/home
export OPENCLAW_STATE_DIR=$state/openclaw
export OPENCLAW_CONFIG_PATH=$state/openclaw.json
mkdir -p "$HOME" "$OPENCLAW_STATE_DIR" "$state/workspace"

# Node looks for compiled code in a folder named by its version and by our uid, and each sandbox has a uid of its own.
export NODE_COMPILE_CACHE=/tmp/compile-cache
mkdir -p "$NODE_COMPILE_CACHE"
for baked in /app/compile-cache/v*; do
  name=${baked##*/}
  ln -sfn "$baked" "$NODE_COMPILE_CACHE/${name%-*}-$UID"
done

# The agent may rewrite its workspace; only what is missing comes from the image.
cp -rn /app/workspace/. "$state/workspace/"

# Approved once, there is normally nothing to do, so the check waits until the start is over; it stays, because a
# restored or damaged database forgets the approval.
marker=$state/openclaw/approved-device.json
wait=2
cmp -s "$state/device.json" "$marker" && wait=30
# An orphan on purpose: init reaps it, and the gateway never learns of it.
( { sleep "$wait"; exec node /app/approve.mjs "$state/device.json" "$marker"; } & )

exec node /app/node_modules/openclaw/openclaw.mjs gateway run
