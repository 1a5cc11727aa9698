# shellcheck shell=bash
# Debian's Prometheus, to check what infra/monitoring holds. The end-to-end test "monitoring" runs it for a moment.

need_prometheus() {
  command -v promtool >/dev/null && command -v prometheus >/dev/null && return
  # The package would start a server that nobody asked for, now and at boot: masked while it is installed.
  local units=/etc/systemd/system mask=no
  if [[ ! -e $units/prometheus.service && -d $units ]]; then
    mask=yes
    ln -s /dev/null "$units/prometheus.service"
  fi
  install_packages prometheus
  if [[ $mask == yes ]]; then
    rm -f "$units/prometheus.service" "$units/multi-user.target.wants/prometheus.service"
    if [[ -d /run/systemd/system ]]; then systemctl daemon-reload; fi
  fi
}

check_monitoring() {
  (
    cd "$ROOT/infra/monitoring" &&
      promtool check config prometheus.yml &&
      promtool check rules alerts.yml &&
      promtool test rules alerts_test.yml
  )
}
