# shellcheck shell=bash
# The Docker engine, and what of ours it holds.

readonly DOCKERD_LOG=/var/log/clawkaka-dockerd.log

docker_answers() {
  command -v docker >/dev/null && timeout 15 docker version --format '{{.Server.Version}}' >/dev/null 2>&1
}

# An engine that answers is used as it is; else Debian's is installed and started.
need_docker() {
  if docker_answers; then return; fi
  if [[ -n ${DOCKER_HOST:-} && $DOCKER_HOST != unix:///var/run/docker.sock ]]; then
    die "no Docker engine answers at DOCKER_HOST ($DOCKER_HOST): start it, or unset DOCKER_HOST."
  fi
  need_packages dockerd:docker.io
  # Newer Debians keep the client in a package of its own.
  need_packages docker:docker-cli
  start_docker
}

start_docker() {
  if [[ -d /run/systemd/system ]]; then
    systemctl enable --now docker >/dev/null 2>&1 || true
  elif ! pgrep -x dockerd >/dev/null; then
    # One that was killed leaves its pid behind, by now perhaps somebody else's: the next refuses to start.
    rm -f /var/run/docker.pid
    pgrep -x containerd >/dev/null || rm -f /var/run/docker/containerd/containerd.pid
    # No init system: an engine in a session of its own, which outlives this script.
    setsid dockerd >>"$DOCKERD_LOG" 2>&1 </dev/null 9>&- &
  fi
  local tries
  for tries in {1..60}; do
    if docker_answers; then
      say "Docker answers"
      return
    fi
    ((tries % 10)) || say "  … waiting for Docker, $tries s"
    sleep 1
  done
  die "the Docker engine does not start: look at $(docker_log_hint), mend it, then run this again." "$DOCKERD_LOG"
}

docker_log_hint() {
  if [[ -d /run/systemd/system ]]; then echo "journalctl -u docker"; else echo "$DOCKERD_LOG"; fi
}

readonly OURS=label=clawkaka.deployment

our_containers() { docker ps -aq --filter "$OURS=$1"; }
our_workers() { docker ps -aq --filter "$OURS=$1" --filter label=clawkaka.role=worker; }
our_volumes() { docker volume ls -q --filter "$OURS=$1"; }
our_networks() { docker network ls -q --filter "$OURS=$1"; }
# They carry another label, so that nothing that removes a deployment takes them along.
our_certificates() { docker volume ls -q --filter "label=clawkaka.certificates=$1"; }
# Images belong to no deployment: all of them use the same.
our_images() { docker images -q --no-trunc --filter label=clawkaka.image | sort -u; }
