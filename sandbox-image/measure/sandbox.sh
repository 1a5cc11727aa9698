# shellcheck shell=bash
# One sandbox, hardened as the worker creates it, for measure.sh and test.sh. Both source this file.
# Everything made here is named $try, carries the label clawkaka.try, and is removed when the script ends.

here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
image=${SANDBOX_IMAGE:-clawkaka-sandbox:dev}
try=clawkaka-try-$$
subnet=${TRY_SUBNET:-10.97.$((RANDOM % 256))}
sandbox_ip=$subnet.9
host_ip=$subnet.1
gateway_token=gateway-token-$RANDOM$RANDOM
uid=200123
scratch=$(mktemp -d)

remove_everything() {
  docker rm -f "$try" "$try-model" >/dev/null 2>&1 || true
  docker volume rm "$try" >/dev/null 2>&1 || true
  docker network rm "$try" >/dev/null 2>&1 || true
  rm -rf "$scratch"
}
trap remove_everything EXIT

# Runs one of our scripts outside the sandbox, on the host's network, with the image's own node.
outside() {
  docker run --rm --network host --label clawkaka.try -v "$here:/src:ro" --entrypoint node "$image" "/src/$1" "${@:2}"
}

create_network() {
  docker network create --internal --label clawkaka.try --subnet "$subnet.0/24" --gateway "$host_ip" \
    -o com.docker.network.bridge.enable_icc=false "$try" >/dev/null
}

# The scripted model listens where the broker would: on the host's side of the sandbox's network.
start_model() {
  docker run -d --name "$try-model" --network host --label clawkaka.try -v "$here:/src:ro" \
    --entrypoint node "$image" /src/measure/model.mjs "$host_ip" 3010 >/dev/null
}

make_files() {
  outside measure/files.mjs device.json > "$scratch/device.json"
  outside measure/files.mjs openclaw.json "$gateway_token" "http://$host_ip:3010" > "$scratch/openclaw.json"
}

create_volume() { docker volume create --label clawkaka.try "$try" >/dev/null; }

create_sandbox() {
  docker create --name "$try" --hostname slot-123 --network "$try" --ip "$sandbox_ip" --user "$uid:$uid" --label clawkaka.try \
    --read-only --tmpfs /tmp:size=256m,mode=1777 --cap-drop ALL --security-opt no-new-privileges --init \
    --pids-limit 512 --memory 2g --sysctl net.ipv6.conf.all.disable_ipv6=1 -v "$try:/state" "$image" >/dev/null
}

# With a new token for the broker each time, as the worker does.
put_files() {
  broker_token=broker-token-$RANDOM$RANDOM
  echo "$broker_token" > "$scratch/broker-token"
  tar -C "$scratch" --owner=$uid --group=$uid --mode=0600 -cf - openclaw.json broker-token device.json | docker cp - "$try:/state" >/dev/null
}

milliseconds() { echo $(($(date +%s%N) / 1000000)); }

# wait_for <path> <milliseconds since the epoch>: prints how long after that moment the path answered 200.
wait_for() {
  local path=$1 since=$2
  for _ in {1..2400}; do
    if curl -sf -m 1 -o /dev/null "http://$sandbox_ip:18789$path"; then
      echo $(($(milliseconds) - since))
      return
    fi
    [[ $(docker inspect -f '{{.State.Running}}' "$try") == true ]] || break
    sleep 0.05
  done
  docker logs --tail 20 "$try" >&2
  echo "the sandbox did not answer $path" >&2
  return 1
}

talk() { outside measure/talk.mjs "ws://$sandbox_ip:18789" "$gateway_token" "$1"; }

# field <name> reads one field of a line of JSON on standard input (strings without quotes).
field() { docker run --rm -i --network none --entrypoint node "$image" -e "
  const value = JSON.parse(require('fs').readFileSync(0, 'utf8').trim().split('\n').at(-1))['$1'];
  console.log(Array.isArray(value) ? value.join(' ') : value);"; }

volume_kilobytes() { docker run --rm --network none -v "$try:/state:ro" --user 0 --entrypoint du "$image" -sk /state | cut -f1; }
