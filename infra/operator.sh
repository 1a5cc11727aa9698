#!/bin/bash
# The operator's commands on a deployment of this machine, with its settings.
set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
for piece in say settings machine docker postgres process build walls compose funnel; do
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
  line list | add | remove LINE | test LINE [--to NUMBER] | webhook LINE --url URL
                                    the numbers that people write to; secrets from files or standard input
  send --to ID|NUMBER --text TEXT|- | --template LANGUAGE=NAME | --image FILE | --document FILE [--key KEY] [--wait]
                                    says something to one person, as ourselves, once
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
    if [[ -t 0 && -t 1 ]]; then
      terminal=(-it)
    elif [[ $1 == line || $1 == send ]]; then
      # What is typed or piped in is for the command: secrets, a text, a yes.
      terminal=(-i)
    fi
    if [[ $1 == line && (${2:-} == add || ${2:-} == webhook) ]]; then
      hand_in_files "$@"
      return
    fi
    if [[ $1 == send ]]; then
      hand_in_content "$@"
      return
    fi
    exec docker exec "${terminal[@]}" "$(container worker)" clawkaka "$@"
  fi
  for role in worker web-a web-b broker; do
    # Where Kapso is polled there is no web.
    [[ $role != web-* || -n $(container_id "$role") ]] || continue
    echo "$role:" >&2
    docker exec "$(container "$role")" clawkaka "$@" || status=1
  done
  if [[ -f $(funnel_memory) ]]; then FUNNEL_TARGET=$(<"$(funnel_memory)") "$FUNNEL" status || status=1; fi
  return "$status"
}

# The container has none of this machine's files: what is in those that are named goes in by standard input, a line
# each, in the order in which the command asks.
hand_in_files() {
  local -A files=()
  local words=() options=() name
  while (($#)); do
    case $1 in
      --*-file=*) files[${1%%=*}]=${1#*=} ;;
      --*-file)
        (($# > 1)) || die "$1 needs a file."
        files[$1]=$2
        shift
        ;;
      *) words+=("$1") ;;
    esac
    shift
  done
  if ((${#files[@]} == 0)); then
    exec docker exec "${terminal[@]}" "$(container worker)" clawkaka "${words[@]}"
  fi
  for name in "${!files[@]}"; do
    options+=("$name" -)
    [[ ${files[$name]} == - || -r ${files[$name]} ]] || die "there is no file ${files[$name]} to read for $name."
  done
  for name in --access-token-file --api-key-file --app-secret-file --webhook-secret-file --verification-token-file; do
    case ${files[$name]:-} in
      '') ;;
      -) first_line ;;
      *) first_line <"${files[$name]}" ;;
    esac
  done | docker exec -i "$(container worker)" clawkaka "${words[@]}" "${options[@]}"
}

# So does a file that is to be sent, under its own name.
hand_in_content() {
  local words=() content='' name='' named=''
  while (($#)); do
    case $1 in
      --image=* | --document=*) set -- "${1%%=*}" "${1#*=}" "${@:2}" && continue ;;
      --image | --document)
        (($# > 1)) || die "$1 needs a file."
        words+=("$1" -)
        content=$2
        if [[ $1 == --document && $2 != - ]]; then name=${2##*/}; fi
        shift
        ;;
      --name | --name=*) words+=("$1") named=yes ;;
      *) words+=("$1") ;;
    esac
    shift
  done
  if [[ -z $content || $content == - ]]; then
    exec docker exec "${terminal[@]}" "$(container worker)" clawkaka "${words[@]}"
  fi
  [[ -r $content ]] || die "there is no file $content to read."
  if [[ $name && ! $named ]]; then words+=(--name "$name"); fi
  exec docker exec -i "$(container worker)" clawkaka "${words[@]}" <"$content"
}

# Takes no more than it gives, so that the next one has the next line.
first_line() {
  local line=''
  IFS= read -r line || true
  printf '%s\n' "$line"
}

# Nothing may serve the database meanwhile; a container like the worker's does it.
restore_in_containers() {
  local role roles=() terminal=(-T) status=0
  if [[ -t 0 ]]; then terminal=(); fi
  find_compose || die "there is no Docker Compose on this machine: ./infra/deploy.sh installs it."
  for role in web-a web-b broker worker; do
    if [[ -n $(container_id "$role") ]]; then roles+=("$role"); fi
  done
  compose stop "${roles[@]}" >/dev/null
  compose run --rm --no-deps "${terminal[@]}" worker "$@" || status=$?
  compose start "${roles[@]}" >/dev/null
  return "$status"
}

main "$@"
