# shellcheck shell=bash
# The walls around the sandboxes, before anything of ours runs: see infra/firewall/walls.sh.

WALLS=$ROOT/infra/firewall/walls.sh

put_up_walls() {
  "$WALLS" up >"$LOGS/walls.log" 2>&1 ||
    die "the walls around the sandboxes cannot be put up, so nothing is started." "$LOGS/walls.log"
  say "Walls stand around $SANDBOX_SUBNET"
}

walls_stand() { nft list table inet "clawkaka_$CLAWKAKA_DEPLOYMENT" >/dev/null 2>&1; }

# Where systemd starts Docker at boot, the walls must be there before it, and come back when nftables is reloaded.
keep_walls_at_boot() {
  [[ -d /run/systemd/system ]] || return 0
  local settings
  settings=$(walls_settings)
  install -D -m 755 "$WALLS" /usr/local/lib/clawkaka/walls.sh
  install -d -m 755 /etc/clawkaka
  printf '%s=%s\n' CLAWKAKA_DEPLOYMENT "$CLAWKAKA_DEPLOYMENT" SANDBOX_SUBNET "$SANDBOX_SUBNET" \
    BROKER_PORT "$BROKER_PORT" >"$settings"
  sed "s#^EnvironmentFile=.*#EnvironmentFile=-$settings#" "$ROOT/infra/firewall/clawkaka-walls.service" \
    >"/etc/systemd/system/$(walls_unit)"
  systemctl daemon-reload
  systemctl enable -q "$(walls_unit)"
}

forget_walls_at_boot() {
  [[ -f /etc/systemd/system/$(walls_unit) ]] || return 0
  systemctl disable -q "$(walls_unit)" 2>/dev/null || true
  rm -f "/etc/systemd/system/$(walls_unit)" "$(walls_settings)"
  systemctl daemon-reload 2>/dev/null || true
}

# Each deployment has a unit of its own; the default one has the plain names.
walls_unit() { echo "clawkaka-walls$(suffix).service"; }
walls_settings() { echo "/etc/clawkaka/walls$(suffix).env"; }
suffix() { [[ $CLAWKAKA_DEPLOYMENT == clawkaka ]] || echo "-$CLAWKAKA_DEPLOYMENT"; }
