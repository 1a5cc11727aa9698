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
      promtool test rules alerts_test.yml &&
      check_dashboard
  )
}

# Grafana would show an empty panel and say nothing: each has a number of its own, a place, and something to ask of the
# data source that the importer chooses.
check_dashboard() {
  jq -e '[.panels[] | select(.type != "row")] as $panels
    | ([.panels[].id] | length == (unique | length))
      and all(.panels[]; .gridPos.x + .gridPos.w <= 24)
      and all($panels[]; (.targets | length) > 0 and .datasource.uid == .targets[0].datasource.uid)
      and all($panels[].targets[]; (.expr | length) > 0 and (.datasource.uid | startswith("$")))
      and ([.templating.list[].type] == ["datasource"])' grafana.json >/dev/null ||
    { echo "grafana.json: a panel without a place, a question or the chosen data source" && return 1; }
  echo "Checking grafana.json: $(jq '[.panels[].targets[]?] | length' grafana.json) questions"
}
