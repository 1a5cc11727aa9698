#!/bin/bash
# Removes one deployment from this machine, of up.sh or of deploy.sh: only what carries its name, never certificates.
set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
for piece in say settings machine docker postgres process walls roles funnel; do
  # shellcheck source=/dev/null
  source "$ROOT/infra/lib/$piece.sh"
done

usage() {
  cat <<'END'
./infra/nuke.sh [--yes] [--images]

Removes the deployment CLAWKAKA_DEPLOYMENT (clawkaka): its processes and containers, sandboxes with everything in
them and the files of their disks (SANDBOX_DISK_FOLDER), networks, walls, database, logs and secrets. Says what it found and asks for the deployment's name first.

  --yes      do not ask
  --images   also the images we built, which other deployments may use too

What stays: packages, Docker, the build in target/, our tables in a database of your own that DATABASE_URL names
(./infra/operator.sh nuke removes these), the backups, and everything without our label, Caddy's certificates among it: an
authority gives only a few a week. It says where they are. The backups open with CLAWKAKA_MASTER_KEY only, which goes with
the secrets: keep it elsewhere.
END
}

# What up.sh and deploy.sh keep in the state folder. Named one by one, so that a wrong CLAWKAKA_STATE loses nothing else.
readonly KEPT=(postgres postgres-socket secrets compose logs run settings.env settings.env.new)

main() {
  local ask=yes images=no
  for option in "$@"; do
    case $option in
      --yes) ask=no ;;
      --images) images=yes ;;
      --help | -h) usage && exit ;;
      *) usage >&2 && die "there is no option \"$option\"." ;;
    esac
  done
  need_root
  name_deployment
  if command -v docker >/dev/null && ! docker_answers; then
    die "the Docker engine does not answer, so its containers cannot be removed: start it, then run this again."
  fi
  if [[ -d $STATE/run ]]; then lock_deployment; fi
  local found backups
  backups=$(backup_place)
  found=$(list "$images")
  if [[ -z $found ]]; then
    echo "There is nothing of \"$CLAWKAKA_DEPLOYMENT\" on this machine."
    name_certificates
    name_database
    exit
  fi
  printf 'This removes, for good, of the deployment "%s":\n%s\n' "$CLAWKAKA_DEPLOYMENT" "$found"
  if [[ -n $backups ]]; then
    printf 'It keeps the backups in %s; they need the master key, which is among the secrets above.\n' "$backups"
  fi
  if [[ $ask == yes ]]; then confirm; fi
  remove "$images"
  if [[ -n $backups ]]; then echo "Kept: the backups in $backups. To be rid of them too, remove them yourself."; fi
}

# BACKUP_TO, wherever it was set: in the environment, in .env, or when the deployment was made.
backup_place() {
  local file
  if is_set BACKUP_TO; then
    value_of BACKUP_TO
    return
  fi
  for file in "$STATE/compose/settings.env" "$STATE/settings.env" "$ROOT/.env"; do
    [[ -f $file && ${CLAWKAKA_IGNORE_DOTENV:-}$file != "yes$ROOT/.env" ]] || continue
    sed -n 's/^BACKUP_TO=//p' "$file" | tail -n 1
  done | awk 'NF {print; exit}'
}

confirm() {
  local answer
  read -r -p "Write the deployment's name to go on: " answer || true
  [[ $answer == "$CLAWKAKA_DEPLOYMENT" ]] || die "that is not \"$CLAWKAKA_DEPLOYMENT\": nothing was removed."
}

# One line per thing.
list() {
  local name entry pid
  for name in serve simulator funnel; do
    if pid=$(running "$name"); then echo "  process    $name (pid $pid)"; fi
  done
  if [[ -f $(funnel_memory) ]]; then echo "  address    Tailscale's funnel to $(<"$(funnel_memory)")"; fi
  if [[ -f /etc/systemd/system/$(funnel_unit) ]]; then echo "  unit       $(funnel_unit)"; fi
  if command -v docker >/dev/null; then list_docker "$1" | sed 's/^/  /'; fi
  if [[ -f /etc/systemd/system/$(walls_unit) ]]; then echo "  unit       $(walls_unit)"; fi
  if walls_stand; then echo "  walls      nftables table inet clawkaka_$CLAWKAKA_DEPLOYMENT"; fi
  if [[ -d $(disks) ]]; then echo "  disks      $(disks) ($(disk_files | wc -l) files)"; fi
  for entry in "${KEPT[@]}"; do
    if [[ -e $STATE/$entry ]]; then echo "  files      $STATE/$entry"; fi
  done
}

list_docker() {
  docker ps -a --filter "$OURS=$CLAWKAKA_DEPLOYMENT" --format 'container  {{.Names}} ({{.Status}})'
  docker volume ls --filter "$OURS=$CLAWKAKA_DEPLOYMENT" --format 'volume     {{.Name}}'
  docker network ls --filter "$OURS=$CLAWKAKA_DEPLOYMENT" --format 'network    {{.Name}}'
  if [[ $1 == yes ]]; then
    docker images --filter label=clawkaka.image --format 'image      {{.Repository}}:{{.Tag}}'
  fi
}

# Our processes first, so that nobody makes again what we remove; the walls after the last sandbox.
remove() {
  stop serve
  stop simulator
  close_funnel
  echo "Removed: processes"
  if command -v docker >/dev/null; then remove_from_docker "$1"; fi
  remove_disks
  forget_walls_at_boot
  if walls_stand; then remove_walls; fi
  if [[ -d $STATE/postgres ]]; then stop_postgres "$STATE"; fi
  remove_files
  echo "Nothing of \"$CLAWKAKA_DEPLOYMENT\" is left on this machine."
  name_certificates
  name_database
}

remove_from_docker() {
  # Whoever makes sandboxes goes before them.
  our_workers "$CLAWKAKA_DEPLOYMENT" | removed_by "containers of the worker" docker rm -f
  our_containers "$CLAWKAKA_DEPLOYMENT" | removed_by containers docker rm -f
  our_volumes "$CLAWKAKA_DEPLOYMENT" | removed_by volumes docker volume rm -f
  our_networks "$CLAWKAKA_DEPLOYMENT" | removed_by networks docker network rm
  if [[ $1 == yes ]]; then remove_images; fi
}

# As backend/src/sandbox/disks.rs names it.
disks() { echo "${SANDBOX_DISK_FOLDER:-/var/lib/clawkaka-disks}/$CLAWKAKA_DEPLOYMENT"; }

# What the product made there, and nothing else that may be in a folder that an operator named.
disk_files() {
  local folder
  folder=$(disks)
  [[ ! -d $folder ]] || find "$folder" -maxdepth 1 -name 'ck-*' \
    \( -name '*.ext4' -o -name '*.making' -o -name '*.device' -o -name '*.device.new' \)
}

# After the last container, with which a device ends that is on such a file; one that nobody came to use ends here.
remove_disks() {
  local file device count=0
  while read -r file; do
    for device in $(losetup -n -O NAME -j "$file" 2>/dev/null); do losetup -d "$device" || true; done
    rm -f "$file"
    count=$((count + 1))
  done < <(disk_files)
  if ((count)); then echo "Removed: $count files of disks"; fi
  rmdir "$(disks)" "$(dirname "$(disks)")" 2>/dev/null || true
}

name_certificates() {
  local volume
  command -v docker >/dev/null || return 0
  for volume in $(our_certificates "$CLAWKAKA_DEPLOYMENT"); do
    echo "Kept: Caddy's certificates, in the Docker volume $volume. To be rid of them too: docker volume rm $volume"
  done
}

name_database() {
  local named=''
  is_set DATABASE_URL || return 0
  if [[ $CLAWKAKA_DEPLOYMENT != clawkaka ]]; then named="CLAWKAKA_DEPLOYMENT=$CLAWKAKA_DEPLOYMENT "; fi
  echo "Kept: our tables in the database of your own that DATABASE_URL names. To be rid of them too: ${named}./infra/operator.sh nuke"
}

remove_images() {
  local image
  for image in $(our_images); do
    if [[ -n $(docker ps -aq --filter "ancestor=$image") ]]; then
      echo "Kept: image $image, which a container of another deployment uses"
    else
      docker rmi -f "$image" >/dev/null && echo "Removed: image $image"
    fi
  done
}

# removed_by <what> <command…>: reads ids.
removed_by() {
  local what=$1 ids
  shift
  mapfile -t ids
  ((${#ids[@]})) || return 0
  "$@" "${ids[@]}" >/dev/null || die "not all $what could be removed: run this again."
  echo "Removed: ${#ids[@]} $what"
}

remove_walls() {
  "$WALLS" down >/dev/null 2>&1 || true
  if walls_stand; then nft delete table inet "clawkaka_$CLAWKAKA_DEPLOYMENT"; fi
  echo "Removed: walls"
}

remove_files() {
  local entry
  for entry in "${KEPT[@]}"; do
    if [[ -e $STATE/$entry ]]; then
      rm -rf "${STATE:?}/$entry"
      echo "Removed: $STATE/$entry"
    fi
  done
  rmdir "$STATE" 2>/dev/null || true
}

main "$@"
