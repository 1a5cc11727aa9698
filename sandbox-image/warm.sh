#!/bin/bash
# Boots the gateway once while the image is built, so that its compiled code is part of the image.
set -euo pipefail
# shellcheck source=environment.sh
source /app/environment.sh

export HOME=/tmp/warm OPENCLAW_STATE_DIR=/tmp/warm/openclaw OPENCLAW_CONFIG_PATH=/tmp/warm/openclaw.json
export NODE_COMPILE_CACHE=/app/compile-cache
mkdir -p "$HOME"
sed -e 's/{{GATEWAY_TOKEN}}/warm/; s/{{MODEL}}/warm/g; s#{{BROKER_URL}}#http://127.0.0.1:9#; s/{{BROKER_TOKEN}}/warm/' \
    -e 's#/state/#/tmp/warm/#' /app/openclaw.json > "$OPENCLAW_CONFIG_PATH"

node /app/node_modules/openclaw/openclaw.mjs gateway run &
gateway=$!
for _ in {1..600}; do
  if node -e 'fetch("http://127.0.0.1:18789/readyz").then((r) => process.exit(r.ok ? 0 : 1), () => process.exit(1))'; then
    sleep 5 # what it loads after being ready
    kill -TERM "$gateway" && wait "$gateway" || true # node writes the cache as it exits
    ls /app/compile-cache
    rm -rf "$HOME" /tmp/openclaw
    exit 0
  fi
  kill -0 "$gateway" || exit 1
  sleep 0.5
done
echo "warm: the gateway did not become ready" >&2
exit 1
