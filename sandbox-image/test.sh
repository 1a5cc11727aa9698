#!/bin/bash
# Boots the image as hardened as the worker does and checks what the worker relies on.
# usage: SANDBOX_IMAGE=<tag> sandbox-image/test.sh
set -euo pipefail
# shellcheck source=measure/sandbox.sh
source "$(dirname "${BASH_SOURCE[0]}")/measure/sandbox.sh"

passed=0
failed=0

# is <what> <expected> <seen>
is() {
  if [[ $2 == "$3" ]]; then
    passed=$((passed + 1)); echo "ok    $1"
  else
    failed=$((failed + 1)); echo "FAIL  $1: expected '$2', saw '$3'"
  fi
}

# at_most <what> <limit> <seen>
at_most() { is "$1 ($3, at most $2)" yes "$( (($3 <= $2)) && echo yes || echo no)"; }

inside() { docker exec "$try" sh -c "$1" 2>/dev/null || true; }

# What OpenClaw went through its migrations for: its version, and fingerprints of its configuration.
migrations() {
  inside 'node -p "const { DatabaseSync } = require(\"node:sqlite\");
    new DatabaseSync(\"/state/openclaw/state/openclaw.sqlite\", { readOnly: true })
      .prepare(\"select app_version from schema_meta where meta_key = ?\").get(\"startup-migrations\").app_version"'
}

# The limit on starting is far from a quick start's time, so that a busy machine passes, and far from the five minutes
# OpenClaw waits when it takes a dead predecessor for a live one.

# Starts the sandbox and has it answer one message; the tester's device and the stranger's are tried on the way.
start_and_talk() {
  local what=$1 rows=$2 began seen
  put_files
  began=$(milliseconds)
  docker start "$try" >/dev/null
  at_most "$what: ready, milliseconds" 150000 "$(wait_for /readyz "$began" || echo 999999)"
  seen=$(talk hi)
  is "$what: admin connection from outside" "operator.admin operator.read operator.write" "$(field adminScopes <<< "$seen")"
  is "$what: people's connection from outside" "operator.read operator.write" "$(field peopleScopes <<< "$seen")"
  is "$what: another device stays out" PAIRING_REQUIRED "$(field stranger <<< "$seen")"
  is "$what: the scripted model's answer" "Hello from the scripted model." "$(field answer <<< "$seen")"
  is "$what: rows in the conversation" "$rows" "$(field rows <<< "$seen")"
}

create_network
create_volume
start_model
make_files

create_sandbox
docker start "$try" >/dev/null
is "without its files it does not start" 66 "$(docker wait "$try")"

start_and_talk "first start" 2
request=$(docker logs "$try-model" 2>/dev/null | sed -n 1p)
at_most "bytes of a one-line model request" 30000 "$(field bytes <<< "$request")"
is "tools the model is offered" "edit exec read write" "$(field tools <<< "$request" | tr ' ' '\n' | sort | xargs)"
is "the provider's key" "Bearer $broker_token" "$(field key <<< "$request")"
at_most "kilobytes of a volume after one turn" 8000 "$(volume_kilobytes)"

is "runs as its own uid" "$uid" "$(inside 'id -u')"
is "has no capabilities" 0000000000000000 "$(inside 'sed -n "s/CapEff:\t//p" /proc/1/status')"
is "cannot gain privileges" 1 "$(inside 'sed -n "s/NoNewPrivs:\t//p" /proc/1/status')"
is "cannot write outside its volume and /tmp" refused "$(inside 'touch /app/x || echo refused')"
is "has no IPv6" "" "$(inside 'cat /proc/net/if_inet6')"
# Had we guessed the folder's name wrong, Node would have made a second one beside our link.
is "uses the compiled code of the image" "l" "$(inside 'find /tmp/compile-cache -mindepth 1 -printf %y')"
# shellcheck disable=SC2016 # the sandbox's own shell is to expand it
nodes=$(inside 'for one in /proc/[0-9]*; do case $(readlink "$one/exe") in */node)
  grep -qz "^NODE_OPTIONS=.*--require /app/resolve.cjs" "$one/environ" && echo with || echo without ;; esac; done')
is "resolves imports from memory, in each of its processes" with "$(sort -u <<< "$nodes")"
is "leaves no process of ours behind" 0 "$(inside 'cat /proc/[0-9]*/cmdline' | tr '\0' ' ' | grep -c approve.mjs || true)"

# Positive control first: the same search finds the tokens where they belong.
is "tokens are in their files" yes "$(inside "grep -q $gateway_token /state/openclaw.json && grep -q $broker_token /state/broker-token && echo yes")"
is "no token in docker inspect" 0 "$(docker inspect "$try" | grep -c -e "$gateway_token" -e "$broker_token" || true)"
is "no token in the log" 0 "$(docker logs "$try" 2>&1 | grep -c -e "$gateway_token" -e "$broker_token" || true)"

migrated=$(migrations)
is "has gone through its migrations once" yes "$([[ -n $migrated ]] && echo yes)"

inside 'echo "{}" > /state/openclaw.json; echo "# mine" > /state/workspace/SOUL.md'
docker kill "$try" >/dev/null
docker wait "$try" >/dev/null
start_and_talk "killed and started" 4
is "the agent's configuration is gone" "$(sha256sum < "$scratch/openclaw.json")" "$(inside 'cat /state/openclaw.json' | sha256sum)"
is "the agent's own workspace is kept" "# mine" "$(inside 'cat /state/workspace/SOUL.md')"
is "a new token for the broker is no reason to go through all migrations" "$migrated" "$(migrations)"

docker kill "$try" >/dev/null
docker rm -f "$try" >/dev/null
create_sandbox
start_and_talk "killed, removed and created again" 6

# The marker says approved, the gateway has forgotten: the late check repairs that.
outside measure/forget.mjs "ws://$sandbox_ip:18789" "$gateway_token"
docker stop -t 20 "$try" >/dev/null
start_and_talk "device forgotten, marker kept" 8

echo "$passed passed, $failed failed"
((failed == 0))
