# shellcheck shell=bash
# How OpenClaw is run, the same when its code is compiled into the image and in a sandbox.
export NODE_ENV=production
# Without this it starts itself a second time to use a compile cache of its own choice.
export OPENCLAW_PACKAGED_COMPILE_CACHE_RESPAWNED=1
# The configuration switches plugins off; this also spares reading some sixty manifests, several times, at each start.
export OPENCLAW_DISABLE_BUNDLED_PLUGINS=1
# There is no internet: no downloads, no updates.
export OPENCLAW_OFFLINE=1 OPENCLAW_NO_AUTO_UPDATE=1
# Every Node in the sandbox, the children and worker threads of the gateway too, resolves imports from memory.
export NODE_OPTIONS="--require /app/resolve.cjs"
