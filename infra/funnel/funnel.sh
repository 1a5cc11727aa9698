#!/bin/bash
# Tailscale Funnel in front of a deployment: the internet reaches it under this machine's name in your tailnet, over
# TLS, without a domain, an open port or a certificate of your own. Stands alone: systemd runs a copy of it.
set -euo pipefail

usage() {
  cat <<'END'
funnel.sh name | open | watch | status | close

  name     prints this machine's public name, or says what is missing
  open     opens the funnel to FUNNEL_TARGET (http://127.0.0.1:<port>), unless it is open
  watch    opens it, and opens it again whenever it is not: until it is stopped
  status   says whether it is open and answers from outside; exit code 1 if not
  close    closes it, if it is this one
END
}

# Funnel's only ports are 443, 8443 and 10000 (Tailscale docs: Funnel); WhatsApp posts to 443.
readonly PORT=443
# tailscaled keeps what was opened, also over restarts; others may close it, or log this machine out.
readonly LOOK_EVERY=10
# After a failure, doubled each time: it may be the network, and it may be an operator's setting.
readonly AGAIN_AFTER=1 AGAIN_AT_MOST=60

main() {
  case ${1:-} in
    name) name ;;
    open) open ;;
    watch) watch ;;
    status) status ;;
    close) close ;;
    --help | -h) usage ;;
    *) usage >&2 && exit 2 ;;
  esac
}

say() { echo "funnel: $*"; }
die() { say "$*" >&2 && exit 1; }

name() {
  local told
  command -v tailscale >/dev/null || die "Tailscale is not installed: see https://tailscale.com/download, then run: tailscale up"
  told=$(tailscale status --json --peers=false 2>/dev/null) || die "tailscaled does not answer: systemctl start tailscaled, or start it as you did before"
  [[ $(word BackendState <<<"$told") == Running ]] || die "this machine is not in a tailnet: tailscale up"
  told=$(word DNSName <<<"$told")
  told=${told%.}
  [[ $told == *.* ]] || die "this machine has no name: turn MagicDNS on in Tailscale's admin console, under DNS"
  echo "$told"
}

# Of JSON, where jq may not be yet; without peers each of ours is there once.
word() { sed -n "s/.*\"$1\": *\"\([^\"]*\)\".*/\1/p" | head -n 1; }

served() { tailscale funnel status --json 2>/dev/null || echo '{}'; }

# is_open <name>: to our target, and to the internet.
is_open() {
  served | jq -e --arg at "$1:$PORT" --arg to "$FUNNEL_TARGET" \
    '.Web[$at].Handlers["/"].Proxy == $to and .AllowFunnel[$at] == true' >/dev/null 2>&1
}

open() {
  local name other said
  name=$(name)
  if is_open "$name"; then return; fi
  other=$(served | jq -r --arg at "$name:$PORT" --arg to "$FUNNEL_TARGET" \
    '[.Web[$at].Handlers // {} | .[] | .Proxy // .Path // "text"] - [$to] | .[]')
  [[ -z $other ]] || die "Tailscale serves something else at port $PORT already ($other): tailscale funnel reset, if it is not needed"
  # Asks nothing, but prints where Funnel is to be allowed if it is not.
  said=$(timeout 60 tailscale funnel --bg --yes --https="$PORT" "$FUNNEL_TARGET" 2>&1 </dev/null) ||
    die "Tailscale does not open it: ${said//$'\n'/ } (Funnel and HTTPS must be allowed in Tailscale's admin console)"
  is_open "$name" || die "Tailscale says that it opened it, and it is not open: tailscale funnel status"
  say "https://$name is open to the internet, and leads to $FUNNEL_TARGET"
}

watch() {
  local pause=$AGAIN_AFTER
  trap 'exit 0' TERM INT
  while :; do
    if (open); then
      pause=$AGAIN_AFTER
      rest "$LOOK_EVERY"
    else
      say "trying again in $pause s"
      rest "$pause"
      pause=$((pause * 2 > AGAIN_AT_MOST ? AGAIN_AT_MOST : pause * 2))
    fi
  done
}

# So that a signal is heard at once.
rest() {
  sleep "$1" &
  wait $!
}

status() {
  local name
  name=$(name)
  is_open "$name" || die "it is not open: run ./infra/deploy.sh, or look at: tailscale funnel status"
  curl -fsS --max-time 10 "https://$name/healthz" >/dev/null ||
    die "https://$name is open and does not answer: a new name takes some minutes to be known, else look at the web containers' logs"
  say "https://$name answers"
}

close() {
  local name
  command -v tailscale >/dev/null || return 0
  name=$(name 2>/dev/null) || return 0
  if is_open "$name"; then
    tailscale funnel --https="$PORT" off >/dev/null 2>&1 || die "Tailscale does not close it: tailscale funnel reset"
    say "closed"
  fi
}

main "$@"
