#!/bin/bash
# Clawkaka as an operator runs it: Compose behind Caddy. Run again, it is the upgrade.
set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
for piece in say settings machine docker process build walls compose images roles funnel; do
  # shellcheck source=/dev/null
  source "$ROOT/infra/lib/$piece.sh"
done

usage() {
  cat <<'END'
./infra/deploy.sh

Deploys Clawkaka on this machine (Debian or Ubuntu, as root), and upgrades it when run again. What you need first:

  1. A domain whose DNS points at this machine, and ports 80 and 443 open to the internet: Meta posts webhooks over
     HTTPS, and Caddy gets the certificate for it by itself. Not with a number at Kapso alone and KAPSO_DELIVERY=poll:
     then nothing comes in, and without a domain neither Caddy nor web is started. And not with
     CLAWKAKA_FUNNEL=tailscale: then this machine's name in your tailnet is the address, and no port need be open.
  2. In Meta's developer dashboard: an app with the product WhatsApp, your number, and a system user's token with
     whatsapp_business_messaging.
  3. A key for any OpenAI-compatible model.

Then:  cp .env.example .env, fill it in (chmod 600 .env), ./infra/deploy.sh

It says at once everything that is missing in .env; installs Docker and Compose; makes the secrets that can be made;
pulls or builds the images; puts up the walls around the sandboxes; starts Postgres, Caddy, web, broker and worker,
each with its own secrets and no others (infra/compose.yaml); waits until all are well; and prints what to type into
Meta's dashboard.

The upgrade is the same command after git pull. Migrations run first, beside the programs that still run; then the two
webs are replaced, one taking the webhooks while the other is away, then broker and worker. No webhook is lost, and no
sandbox is touched. What did not change stays as it is.

At boot Docker starts everything again; where systemd runs, the walls stand before that. Where it does not, run this.

Settings come from the environment, then from .env; `clawkaka serve --help` lists them. For deploy.sh only:

  CLAWKAKA_DOMAIN      the name under which Meta reaches this machine. "localhost" is for trying it out: the
                       certificate is then one of Caddy's own
  CLAWKAKA_FUNNEL      tailscale: the address is this machine's in your tailnet, opened to the internet by Tailscale
                       Funnel, watched, and told to Meta and Kapso. Tailscale must be installed and logged in
  CADDY_HTTP_PORT      80     CADDY_HTTPS_PORT   443     (behind a funnel PORT + 8 and + 9, on loopback)
  CLAWKAKA_BIN         a program that was compiled elsewhere, to go into the image where no registry is reachable
  CLAWKAKA_BUILD       a name for this build, as a label of the image
  CLAWKAKA_DEPLOYMENT, CLAWKAKA_STATE   as for up.sh

State and secrets are in /var/lib/clawkaka/<deployment>: back up its settings.env, without whose master key nothing
stored can be read. ./infra/nuke.sh removes the deployment, but for Caddy's certificates.
END
}

main() {
  case ${1:-} in
    '') ;;
    --help | -h) usage && exit ;;
    *) usage >&2 && die "there is no option \"$1\"." ;;
  esac
  need_root
  name_deployment
  load_deployment
  check_what_is_set
  make_state_folder
  lock_deployment
  headline "This machine"
  need_tools
  need_docker
  need_compose
  say "Docker $(docker version -f '{{.Server.Version}}') and ${COMPOSE[*]} $("${COMPOSE[@]}" version --short)"
  keep_secrets
  read_settings "$STATE/settings.env"
  check_machine
  headline "Images"
  build_image
  make_images
  headline "Secrets and settings"
  hand_out
  headline "Walls"
  check_subnet
  put_up_walls
  keep_walls_at_boot
  headline "Starting \"$CLAWKAKA_DEPLOYMENT\""
  roll
  introduce
}

load_deployment() {
  derive_from_name
  # shellcheck disable=SC2153 # derive_from_name sets it
  default WORKER_HEALTH_PORT "$((PORT + 1))"
  default METRICS_PORT "$((PORT + 2))"
  default BROKER_PORT "$((PORT + 4))"
  default BROKER_METRICS_PORT "$((PORT + 5))"
  default WEB_A_METRICS_PORT "$((PORT + 6))"
  default WEB_B_METRICS_PORT "$((PORT + 7))"
  # In front of Caddy's ports in compose.yaml; nothing is every address, IPv6 too. roles.sh writes it down.
  export CADDY_ADDRESS=
  if has_funnel; then
    CADDY_ADDRESS=127.0.0.1:
    default CADDY_HTTP_PORT "$((PORT + 8))"
    default CADDY_HTTPS_PORT "$((PORT + 9))"
  fi
  default CADDY_HTTP_PORT 80
  default CADDY_HTTPS_PORT 443
}

# Everything that only the operator can give. All of it at once, each with what to do.
check_what_is_set() {
  local missing=()
  if has_funnel; then
    # Says itself what is missing of Tailscale.
    CLAWKAKA_DOMAIN=$("$FUNNEL" name) || missing+=("CLAWKAKA_FUNNEL: what Tailscale lacks is said above")
  elif is_set CLAWKAKA_FUNNEL; then
    missing+=("CLAWKAKA_FUNNEL: is \"$(value_of CLAWKAKA_FUNNEL)\": write tailscale, or nothing")
  fi
  ! has_web || has_funnel || lacks CLAWKAKA_DOMAIN "the name under which Meta reaches this machine, such as assistant.example.org"
  # A number at Meta, or one at Kapso, or both.
  if has_kapso; then
    lacks KAPSO_PHONE_NUMBER_ID "Kapso's dashboard: the number's id"
    lacks KAPSO_API_KEY "Kapso's dashboard: a key of the project"
    is_polled || lacks KAPSO_WEBHOOK_SECRET "a word you think of; give Kapso's webhook the same one"
  fi
  if has_meta || ! has_kapso; then
    lacks WHATSAPP_APP_SECRET "Meta's dashboard: App settings > Basic > App secret"
    lacks WHATSAPP_ACCESS_TOKEN "a system user's token with whatsapp_business_messaging"
    lacks WHATSAPP_SENDER_PHONE_NUMBER_ID "Meta's dashboard: WhatsApp > API setup > Phone number ID"
  fi
  lacks LLM_API_KEY "the key for your model's endpoint (LLM_BASE_URL)"
  lacks LLM_MODEL "the model's name, as that endpoint knows it"
  if is_set CLAWKAKA_DOMAIN && [[ ! $CLAWKAKA_DOMAIN =~ ^[a-z0-9.-]+$ ]]; then
    missing+=("CLAWKAKA_DOMAIN: is \"$CLAWKAKA_DOMAIN\": write only the name, such as assistant.example.org")
  fi
  if is_set DATABASE_URL; then
    missing+=("DATABASE_URL: this deployment keeps a Postgres of its own: remove it")
  fi
  local name
  for name in $(plain_names); do
    if is_set "$name" && [[ $(value_of "$name") == *[\"\'\$\#\\]* || $(value_of "$name") == *$'\n'* ]]; then
      missing+=("$name: must not contain quotes, \$, # or \\")
    fi
  done
  if ((${#missing[@]})); then
    printf 'Before it can be deployed, mend this in %s (cp .env.example .env):\n' "$ROOT/.env"
    printf '  %s\n' "${missing[@]}"
    exit 78
  fi
  if [[ -f $ROOT/.env && $(stat -c %a "$ROOT/.env") != ?00 ]]; then
    warn "others on this machine can read your secrets: chmod 600 $ROOT/.env"
  fi
}

# Who sets one of a provider's settings wants a number there.
has_meta() { any_is_set WHATSAPP_APP_SECRET WHATSAPP_ACCESS_TOKEN WHATSAPP_SENDER_PHONE_NUMBER_ID; }
has_kapso() { any_is_set KAPSO_PHONE_NUMBER_ID KAPSO_API_KEY KAPSO_WEBHOOK_SECRET; }
# Kapso is asked what came, and brings nothing.
is_polled() { [[ $(value_of KAPSO_DELIVERY) == poll ]]; }
# Whether anybody brings anything, or is to: lines are also added by command.
has_web() { has_meta || ! has_kapso || ! is_polled || is_set CLAWKAKA_DOMAIN || has_funnel; }

# lacks <setting> "where to get it"
lacks() {
  is_set "$1" || missing+=("$1: $2")
}

check_machine() {
  local name
  for name in serve simulator; do
    if running "$name" >/dev/null; then
      die "up.sh runs this deployment already ($name): ./infra/nuke.sh removes that, or set CLAWKAKA_DEPLOYMENT to another name."
    fi
  done
  ! has_web || ports_of caddy CADDY_HTTP_PORT CADDY_HTTPS_PORT WEB_A_METRICS_PORT WEB_B_METRICS_PORT
  ports_of broker BROKER_PORT BROKER_METRICS_PORT
  ports_of worker WORKER_HEALTH_PORT METRICS_PORT
  if has_web && ! has_funnel && ! getent hosts "$CLAWKAKA_DOMAIN" >/dev/null; then
    warn "$CLAWKAKA_DOMAIN has no address yet: Caddy cannot get a certificate until its DNS points at this machine"
  fi
}

# ports_of <service> <setting>…: free, unless they are its own already.
ports_of() {
  local name
  [[ -z $(container_id "$1") ]] || return 0
  for name in "${@:2}"; do echo "${!name} $name"; done | check_ports
}

hand_out() {
  write_secrets
  write_webs_keys
  write_settings
  export CLAWKAKA_SITE=${CLAWKAKA_DOMAIN:-}
  if has_funnel; then CLAWKAKA_SITE=http://$CLAWKAKA_DOMAIN; fi
  write_variables
  say "Each role has its own, in $STATE/secrets"
}

# Migrations first, then one role after the other. All of this may be run again at any point.
roll() {
  start_service postgres 120
  run_migrations
  if has_web; then
    # One web after the other, so that one is always there; and before Caddy, so that the first request finds them.
    start_service web-a 120
    start_service web-b 120
    start_service caddy 60
  fi
  start_service broker 120
  start_service worker 180
  if has_funnel; then
    keep_funnel_open
    register_webhooks
  else
    close_funnel
  fi
  if has_web; then
    check_from_outside
  else
    # From before, when there was something to take in. The worker asks by now.
    remove_services caddy web-a web-b
  fi
}

# As Meta comes in: by name, over TLS, through Caddy.
check_from_outside() {
  local tries
  if has_funnel; then
    FUNNEL_TARGET=$(funnel_target) "$FUNNEL" status >"$LOGS/outside.log" 2>&1 ||
      warn "$(last_words "$LOGS/outside.log")"
    return
  fi
  for ((tries = 0; tries < 60; tries++)); do
    if curl -fsSk --noproxy '*' --max-time 10 --connect-to "$CLAWKAKA_DOMAIN:443:127.0.0.1:$CADDY_HTTPS_PORT" \
      "https://$CLAWKAKA_DOMAIN/healthz" >/dev/null 2>"$LOGS/outside.log"; then
      say "https://$CLAWKAKA_DOMAIN answers"
      return
    fi
    ((tries % 10)) || say "  … waiting for Caddy's certificate: $(last_words "$LOGS/outside.log")"
    sleep 1
  done
  warn "https://$CLAWKAKA_DOMAIN does not answer yet: does its DNS point here, are ports 80 and 443 open? docker logs $(container caddy)"
}

# A name in a tailnet is nothing to type into dashboards: the providers are told where we are. What they refuse is
# for the operator, who is told below what to enter.
register_webhooks() {
  if has_meta; then tell_provider Meta "$(value_of WHATSAPP_SENDER_PHONE_NUMBER_ID)" verification-token; fi
  if has_kapso && ! is_polled; then tell_provider Kapso "$(value_of KAPSO_PHONE_NUMBER_ID)" kapso-secret webhook-secret; fi
}

# tell_provider <whose> <number> <secret's file> [its option]
tell_provider() {
  local log=$LOGS/webhook-$1.log
  if docker exec -i "$(container worker)" clawkaka line webhook "$2" --url "https://$CLAWKAKA_DOMAIN" --as deploy.sh \
    "--${4:-$3}-file" - <"$STATE/secrets/$3" >"$log" 2>&1 9>&-; then
    say "$1 posts its webhooks to https://$CLAWKAKA_DOMAIN"
  else
    warn "$1 did not take the address by itself, so enter it as below: $(last_words "$log")"
  fi
}

introduce() {
  local port='' named='' web=''
  if has_web; then
    web=",
                 :$WEB_A_METRICS_PORT and :$WEB_B_METRICS_PORT (web)"
  fi
  [[ $CADDY_HTTPS_PORT == 443 ]] || has_funnel || port=:$CADDY_HTTPS_PORT
  if [[ $CLAWKAKA_DEPLOYMENT != clawkaka ]]; then named="CLAWKAKA_DEPLOYMENT=$CLAWKAKA_DEPLOYMENT "; fi
  if has_meta; then
    cat <<END

In Meta's dashboard (WhatsApp > Configuration)
  callback URL   https://$CLAWKAKA_DOMAIN$port/whatsapp/webhook
  verify token   $(<"$STATE/secrets/verification-token")
  subscribe to   messages
END
  fi
  if has_kapso && is_polled; then
    printf '\nKapso is asked for messages, and needs no webhook.\n'
  elif has_kapso; then
    cat <<END

In Kapso's dashboard (the number > Webhooks)
  URL            https://$CLAWKAKA_DOMAIN$port/kapso/webhook
  secret         KAPSO_WEBHOOK_SECRET
  events         whatsapp.message.received, .sent, .delivered, .read and .failed; payload version v2
END
  fi
  cat <<END
Then write to your number.

Where to look next
  containers     docker ps --filter label=clawkaka.deployment=$CLAWKAKA_DEPLOYMENT
  log            docker logs -f $(container worker)     (also: web-a, web-b, broker, caddy, postgres)
  health         curl http://127.0.0.1:$WORKER_HEALTH_PORT/readyz
  metrics        curl http://127.0.0.1:$METRICS_PORT/metrics (worker), :$BROKER_METRICS_PORT (broker)$web
  database       docker exec -it $(container postgres) psql clawkaka
  walls          ${named}infra/firewall/walls.sh show
  secrets        $STATE/settings.env (back it up)
  upgrade        git pull && $named./infra/deploy.sh
  remove         $named./infra/nuke.sh

Deployed in $SECONDS s.
END
}

main "$@"
