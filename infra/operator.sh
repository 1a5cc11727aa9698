#!/bin/bash
# The operator's commands on a deployment of this machine, with its settings.
set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
for piece in say settings machine docker postgres process build compose; do
  # shellcheck source=/dev/null
  source "$ROOT/infra/lib/$piece.sh"
done

usage() {
  cat <<'END'
./infra/operator.sh <command> [options]

Runs `clawkaka <command>` with the settings of a deployment that up.sh or deploy.sh made on this machine:

  doctor [--json]                   what is wrong, by code, and what to do
  trace <message id> [--json]       where a message is, without its content
  freeze | unfreeze [--line ID | --tenant ID] [--why TEXT]
                                    stop what goes out, and let it go again; webhooks are stored meanwhile
  tenant list | show ID | suspend ID | resume ID | export ID --to PATH | erase ID
  sandbox list | show ID | logs ID | wake ID | pause ID | stop ID
                                    the sandboxes, by their own id or their person's
  backup                            backs up everything that changed, at BACKUP_TO
  sandbox backup ID | snapshots ID | restore ID [--snapshot NAME]
  sandbox upgrade --canary N | --all | ID... | --stop
                                    moves sandboxes to the current image, with a way back
  restore [--before TIME] [--planned]
                                    the whole deployment, into an empty database; it is stopped for that
  nuke [--yes] [--json]             our tables in a database of your own, once ./infra/nuke.sh has removed the rest

`./infra/operator.sh <command> --help` says more. CLAWKAKA_DEPLOYMENT names the deployment (clawkaka).
END
}

main() {
  case ${1:-} in
    '' | --help | -h) usage && exit ;;
  esac
  need_root
  name_deployment
  # After nuke.sh there is no state any more; it needs no more than DATABASE_URL.
  if [[ $1 == nuke && ! -f $STATE/settings.env ]]; then
    exec "$ROOT/target/release/clawkaka" "$@"
  fi
  [[ -f $STATE/settings.env ]] ||
    die "there is no deployment \"$CLAWKAKA_DEPLOYMENT\" on this machine: ./infra/up.sh or ./infra/deploy.sh makes one."
  if docker container inspect "$(container worker)" >/dev/null 2>&1; then
    in_containers "$@"
  else
    load_settings
    # As up.sh named it when it last ran.
    default SANDBOX_IMAGE "$(image_in_log)"
    if [[ $1 == restore && " $* " != *" --help "* ]]; then
      stop serve
      "$ROOT/target/release/clawkaka" "$@"
      echo "Now ./infra/up.sh starts it again."
      return
    fi
    exec "$ROOT/target/release/clawkaka" "$@"
  fi
}

# Each role sees only its own part of what can be wrong; everything else is the worker's.
in_containers() {
  local role status=0 terminal=()
  if [[ $1 == restore && " $* " != *" --help "* ]]; then
    restore_in_containers "$@"
    return
  fi
  if [[ $1 != doctor ]]; then
    # So that Ctrl-C reaches the command, and not only the docker that started it.
    if [[ -t 0 && -t 1 ]]; then terminal=(-it); fi
    exec docker exec "${terminal[@]}" "$(container worker)" clawkaka "$@"
  fi
  for role in worker web-a web-b broker; do
    echo "$role:" >&2
    docker exec "$(container "$role")" clawkaka "$@" || status=1
  done
  return "$status"
}

# Nothing may serve the database meanwhile; a container like the worker's does it.
restore_in_containers() {
  local terminal=(-T) status=0
  if [[ -t 0 ]]; then terminal=(); fi
  find_compose || die "there is no Docker Compose on this machine: ./infra/deploy.sh installs it."
  compose stop web-a web-b broker worker >/dev/null
  compose run --rm --no-deps "${terminal[@]}" worker "$@" || status=$?
  compose start broker worker web-a web-b >/dev/null
  return "$status"
}

main "$@"
