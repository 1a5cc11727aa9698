#!/bin/bash
# The whole product on this machine. Everything it does is skipped when it is done already.
set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
for piece in say settings machine docker postgres process build walls simulator; do
  # shellcheck source=/dev/null
  source "$ROOT/infra/lib/$piece.sh"
done

usage() {
  cat <<'END'
./infra/up.sh [--prepare]

Runs Clawkaka on this machine (Debian or Ubuntu, as root): installs what is missing, builds, starts Postgres, the
walls around the sandboxes and `clawkaka serve`, writes a first message and prints the answer. Without credentials in
.env, WhatsApp and the model are simulated. Safe to run again: what is up to date stays as it is.

  --prepare   only the set-up: packages, Docker, release build, sandbox image, walls
  --help      this page

Settings come from the environment, then from .env at the repository's root (see .env.example), then from the
state folder; `clawkaka serve --help` lists them. The scripts' own:

  CLAWKAKA_DEPLOYMENT   the deployment's name (clawkaka). Several live side by side; another name gives other
                        ports, addresses and uids (infra/lib/settings.sh has the formula)
  CLAWKAKA_STATE        the state folder (/var/lib/clawkaka/<deployment>): database, secrets, logs

./infra/nuke.sh removes all of it.
END
}

main() {
  local only_prepare=no
  case ${1:-} in
    '') ;;
    --prepare) only_prepare=yes ;;
    --help | -h) usage && exit ;;
    *) usage >&2 && die "there is no option \"$1\"." ;;
  esac
  need_root
  name_deployment
  make_state_folder
  lock_deployment
  prepare
  if [[ $only_prepare == yes ]]; then
    headline "Prepared in $SECONDS s"
    exit
  fi
  start_everything
  introduce
}

prepare() {
  headline "This machine"
  [[ -x $ROOT/target/release/clawkaka ]] || need_space
  need_tools
  need_rust
  need_docker
  need_postgres
  load_settings
  headline "Building"
  build_release
  build_image
  headline "Walls"
  check_subnet
  put_up_walls
  keep_walls_at_boot
}

start_everything() {
  headline "Starting \"$CLAWKAKA_DEPLOYMENT\""
  if [[ $OWN_POSTGRES == yes ]]; then
    start_postgres "$STATE"
    say "Postgres runs in $STATE/postgres"
  fi
  "$ROOT/target/release/clawkaka" migrate >"$LOGS/migrate.log" 2>&1 ||
    die "the database could not be brought up to date." "$LOGS/migrate.log"
  if simulating; then start_simulator; else stop simulator; fi
  start_serve
}

# Replaced when the program or a setting changed, kept when it is well and current.
start_serve() {
  local program=$ROOT/target/release/clawkaka now
  now=$(sha256sum "$program" | cut -d ' ' -f 1)-$(settings_fingerprint)
  if is_current serve "$now" && fetch "http://127.0.0.1:$PORT/readyz" >/dev/null 2>&1; then
    say "clawkaka serve runs and is current"
  else
    if running serve >/dev/null; then say "Stopping the clawkaka serve of before"; fi
    stop serve
    ports | check_ports
    start serve "$program" serve
  fi
  wait_until_ready serve "http://127.0.0.1:$PORT/readyz" "webhooks (port $PORT)" 60
  wait_until_ready serve "http://127.0.0.1:$WORKER_HEALTH_PORT/readyz" "the worker (port $WORKER_HEALTH_PORT)" 60
  remember serve "$now"
}

introduce() {
  local write_again named='' page=''
  if [[ $CLAWKAKA_DEPLOYMENT != clawkaka ]]; then named="CLAWKAKA_DEPLOYMENT=$CLAWKAKA_DEPLOYMENT "; fi
  if [[ $SIMULATED_WHATSAPP == yes ]]; then
    page="
  talk to it     $(control)/ in a browser, as on a phone
                 (from another machine first: ssh -L $SIM_CONTROL_PORT:127.0.0.1:$SIM_CONTROL_PORT root@<this machine>)"
    headline "A first message"
    first_message "Hello! Who are you?"
    write_again="curl -fsS $(control)/say -H 'content-type: application/json' -d '{\"person\": \"$FIRST_PERSON\", \"text\": \"Hi\"}'
                 curl -fsS $(control)/chat/$FIRST_PERSON"
  else
    write_again="a WhatsApp message to your number, once Meta's dashboard has the webhook
                 https://<your host>/whatsapp/webhook (it must reach port $PORT) and WHATSAPP_VERIFICATION_TOKEN,
                 or Kapso's has https://<your host>/kapso/webhook and KAPSO_WEBHOOK_SECRET;
                 with KAPSO_DELIVERY=poll nothing more is needed"
  fi
  cat <<END

Where to look next$page
  write again    $write_again
  log            tail -f $LOGS/serve.log
  health         curl http://127.0.0.1:$PORT/readyz; curl http://127.0.0.1:$WORKER_HEALTH_PORT/readyz
  metrics        curl http://127.0.0.1:$METRICS_PORT/metrics
  sandboxes      docker ps --filter label=clawkaka.deployment=$CLAWKAKA_DEPLOYMENT
  walls          ${named}infra/firewall/walls.sh show
  secrets        $STATE/settings.env (back it up)
  stop           kill \$(cut -d ' ' -f 1 $STATE/run/serve.pid)   ($named./infra/up.sh starts it again)
  remove         $named./infra/nuke.sh

Up in $SECONDS s.
END
}

main "$@"
