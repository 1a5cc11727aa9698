#!/bin/bash
# Starts one person's OpenClaw. Everything it needs is in /state, put there by the platform before every start:
#   openclaw.json  the whole configuration      device.json  the one device we let in
set -euo pipefail
umask 077

state=/state
for file in "$state/openclaw.json" "$state/device.json"; do
  [[ -r $file ]] || { echo "entrypoint: $file is missing or unreadable" >&2; exit 78; }
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
# Without this OpenClaw starts itself a second time to use a cache folder of its own choice.
export OPENCLAW_PACKAGED_COMPILE_CACHE_RESPAWNED=1

# The agent may rewrite its workspace; only what is missing comes from the image.
cp -rn /app/workspace/. "$state/workspace/"

# In the background, and orphaned on purpose: init reaps it, the gateway need not know.
( node /app/approve.mjs & )

exec node /app/node_modules/openclaw/openclaw.mjs gateway run
