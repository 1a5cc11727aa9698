#!/bin/bash
# Boots the gateway while the image is built, on an empty state and on a used one, and has it answer a message each time,
# so that its compiled code is part of the image.
set -euo pipefail
# shellcheck source=environment.sh
source /app/environment.sh

export HOME=/tmp/warm OPENCLAW_STATE_DIR=/tmp/warm/openclaw OPENCLAW_CONFIG_PATH=/tmp/warm/openclaw.json
mkdir -p "$HOME"
sed -e 's/{{GATEWAY_TOKEN}}/warm/; s/{{MODEL}}/warm/g; s#{{BROKER_URL}}#http://127.0.0.1:3010#' \
    -e 's#/state/#/tmp/warm/#' openclaw.json > "$OPENCLAW_CONFIG_PATH"
(umask 077 && echo warm > /tmp/warm/broker-token)

ready() {
  node -e 'fetch("http://127.0.0.1:18789/readyz").then((r) => process.exit(r.ok ? 0 : 1), () => process.exit(1))'
}

node measure/model.mjs 127.0.0.1 3010 &
model=$!

# warm [options of every Node in it]: one start, one turn, one stop.
warm() {
  local gateway
  NODE_OPTIONS="$NODE_OPTIONS $*" NODE_COMPILE_CACHE=/app/compile-cache node node_modules/openclaw/openclaw.mjs gateway run &
  gateway=$!
  for _ in {1..240}; do
    ready && break
    kill -0 "$gateway"
    sleep 0.5
  done
  timeout 120 node warm.mjs
  sleep 5 # what it loads when it has nothing else to do
  # Node writes the cache as it exits, so the exit must be a clean one.
  kill -TERM "$gateway"
  wait "$gateway"
}

# Node names the cache's folder also by V8's flags. Threads under the changed flag write to a folder that no sandbox
# looks into: theirs comes from the second start, which also finds what the first one left.
NODE_COMPILE_CACHE=/app/compile-cache node -e 0
right=(compile-cache/*)
warm --require /app/keep.cjs
warm
find compile-cache -mindepth 1 -maxdepth 1 ! -path "${right[0]}" -exec rm -r {} +

kill "$model"
rm -rf "$HOME" /tmp/openclaw*
chmod -R a+rX compile-cache
