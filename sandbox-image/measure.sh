#!/bin/bash
# Measures the sandbox image: how long it takes to start, how much a new person costs on disk, how large the model
# request of a one-line message is. usage: SANDBOX_IMAGE=<tag> sandbox-image/measure.sh
set -euo pipefail
# shellcheck source=measure/sandbox.sh
source "$(dirname "${BASH_SOURCE[0]}")/measure/sandbox.sh"

create_network
create_volume
start_model
make_files

began=$(milliseconds)
create_sandbox
put_files
docker start "$try" >/dev/null
healthz=$(wait_for /healthz "$began")
readyz=$(wait_for /readyz "$began")
fresh=$(volume_kilobytes)

first=$(talk hi)
second=$(talk hi)
request=$(docker logs "$try-model" 2>/dev/null | sed -n 1p)

docker stop -t 20 "$try" >/dev/null
put_files
began=$(milliseconds)
docker start "$try" >/dev/null
restart=$(wait_for /readyz "$began")

row() { printf '%-44s %s\n' "$1" "$2"; }
row "image" "$image"
row "image size" "$(($(docker image inspect -f '{{.Size}}' "$image") / 1000000)) MB"
row "create and first start -> /healthz" "$healthz ms"
row "create and first start -> /readyz" "$readyz ms"
row "start again -> /readyz" "$restart ms"
row "first turn, instant model" "$(field turnMs <<< "$first") ms"
row "next turn, instant model" "$(field turnMs <<< "$second") ms"
row "fresh volume" "$fresh KB"
row "model request of a one-line message" "$(field bytes <<< "$request") bytes, tools: $(field tools <<< "$request")"
