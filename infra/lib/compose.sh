# shellcheck shell=bash
# shellcheck disable=SC2153 # what is used here comes from the settings
# Docker Compose, whichever this machine has, and the services of one deployment.

# Sets COMPOSE: Compose v2 where it is there or can be installed, else Debian's docker-compose 1.29.
need_compose() {
  find_compose && return
  if apt-cache show docker-compose-v2 >/dev/null 2>&1; then
    install_packages docker-compose-v2
  else
    install_packages docker-compose
  fi
  find_compose || die "there is no Docker Compose on this machine: install docker-compose by hand."
}

find_compose() {
  if docker compose version >/dev/null 2>&1; then
    COMPOSE=(docker compose)
  elif command -v docker-compose >/dev/null; then
    COMPOSE=(docker-compose)
  else
    return 1
  fi
}

# Only our own variables: none of the operator's environment gets in by its name.
compose() {
  env -i PATH="$PATH" HOME="$HOME" ${DOCKER_HOST:+DOCKER_HOST="$DOCKER_HOST"} \
    "${COMPOSE[@]}" --project-name "$CLAWKAKA_DEPLOYMENT" --env-file "$STATE/compose/variables.env" \
    -f "$ROOT/infra/compose.yaml" "$@" 9>&-
}

container() { echo "$CLAWKAKA_DEPLOYMENT-$1"; }

# start_service <name> <seconds>: starts it, or replaces it if anything about it changed, and waits until it is well.
start_service() {
  local name=$1 before after
  before=$(container_id "$name")
  compose up -d --no-deps --no-build "$name" >"$LOGS/compose-$name.log" 2>&1 ||
    die "Compose could not start $name." "$LOGS/compose-$name.log"
  wait_until_healthy "$name" "$2"
  after=$(container_id "$name")
  if [[ $before == "$after" ]]; then
    say "$name runs and is current"
  elif [[ -n $before ]]; then
    say "$name is replaced and ready"
  else
    say "$name: ready"
  fi
}

# remove_services <name>…: those that are there.
remove_services() {
  local name
  for name in "$@"; do
    [[ -n $(container_id "$name") ]] || continue
    compose rm --stop --force "$name" >"$LOGS/compose-$name.log" 2>&1 ||
      die "Compose could not remove $name." "$LOGS/compose-$name.log"
    say "$name is not needed any more, and removed"
  done
}

container_id() { docker inspect -f '{{.Id}}' "$(container "$1")" 2>/dev/null || true; }

wait_until_healthy() {
  local name=$1 seconds=$2 tries state
  for ((tries = 0; tries < seconds * 2; tries++)); do
    state=$(docker inspect -f '{{.State.Health.Status}} {{.RestartCount}}' "$(container "$name")" 2>/dev/null || true)
    case $state in
      'healthy '*) return ;;
      # What ends again and again will not become well.
      *' '[3-9]) break ;;
    esac
    ((tries == 0 || tries % 20)) || say "  … waiting for $name, $((tries / 2)) s: $(last_words <(docker logs --tail 5 "$(container "$name")" 2>&1))"
    sleep 0.5
  done
  docker logs --tail 40 "$(container "$name")" >"$LOGS/$name.log" 2>&1 || true
  docker inspect -f '{{range .State.Health.Log}}{{.Output}}{{end}}' "$(container "$name")" >>"$LOGS/$name.log" 2>&1 || true
  die "$name does not become well: mend what its log says, then run this again." "$LOGS/$name.log"
}

# One container that runs and ends. Its own words say what went wrong.
run_migrations() {
  local status
  compose up -d --no-deps --no-build --force-recreate migrate >"$LOGS/compose-migrate.log" 2>&1 ||
    die "Compose could not start the migrations." "$LOGS/compose-migrate.log"
  status=$(docker wait "$(container migrate)")
  docker logs "$(container migrate)" >"$LOGS/migrate.log" 2>&1
  ((status == 0)) || die "the database could not be brought up to date; what ran before runs on." "$LOGS/migrate.log"
  say "$(tail -n 1 "$LOGS/migrate.log")"
}
