# shellcheck shell=bash
# shellcheck disable=SC2153 # the deployment's settings come from outside
# A public address through Tailscale Funnel in place of a domain: see infra/funnel/funnel.sh. Someone watches it, for
# as long as the deployment is there: systemd where that runs, else a process of ours.

FUNNEL=$ROOT/infra/funnel/funnel.sh

has_funnel() { [[ $(value_of CLAWKAKA_FUNNEL) == tailscale ]]; }

# Caddy speaks plain HTTP to Tailscale, which has the certificate, and to nobody else.
funnel_target() { echo "http://127.0.0.1:$CADDY_HTTP_PORT"; }

keep_funnel_open() {
  local target
  target=$(funnel_target)
  FUNNEL_TARGET=$target "$FUNNEL" open >"$LOGS/funnel-open.log" 2>&1 9>&- ||
    die "there is no public address." "$LOGS/funnel-open.log"
  echo "$target" >"$(funnel_memory)"
  say "https://$CLAWKAKA_DOMAIN is open to the internet"
  if [[ -d /run/systemd/system ]]; then
    install -D -m 755 "$FUNNEL" /usr/local/lib/clawkaka/funnel.sh
    install -d -m 755 /etc/clawkaka
    echo "FUNNEL_TARGET=$target" >"$(funnel_settings)"
    sed "s#^EnvironmentFile=.*#EnvironmentFile=$(funnel_settings)#" "$ROOT/infra/funnel/clawkaka-funnel.service" \
      >"/etc/systemd/system/$(funnel_unit)"
    systemctl daemon-reload
    systemctl enable -q "$(funnel_unit)"
    systemctl restart "$(funnel_unit)"
  elif ! is_current funnel "$target"; then
    stop funnel
    FUNNEL_TARGET=$target start funnel "$FUNNEL" watch
    remember funnel "$target"
  fi
}

# What led to us leads nowhere from now on.
close_funnel() {
  if [[ -f /etc/systemd/system/$(funnel_unit) ]]; then
    systemctl disable -q --now "$(funnel_unit)" 2>/dev/null || true
    rm -f "/etc/systemd/system/$(funnel_unit)" "$(funnel_settings)"
    systemctl daemon-reload 2>/dev/null || true
  fi
  if running funnel >/dev/null; then stop funnel; fi
  if [[ -f $(funnel_memory) ]]; then
    FUNNEL_TARGET=$(<"$(funnel_memory)") "$FUNNEL" close 9>&- || warn "Tailscale still has the funnel: tailscale funnel status"
    rm -f "$(funnel_memory)"
  fi
}

# What was opened, so that it can be closed when the settings are others.
funnel_memory() { echo "$STATE/compose/funnel"; }

funnel_unit() { echo "clawkaka-funnel$(suffix).service"; }
funnel_settings() { echo "/etc/clawkaka/funnel$(suffix).env"; }
