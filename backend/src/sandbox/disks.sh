#!/bin/bash
# Keeps the files in which sandboxes' volumes lie, each a small ext4 of its own: what a sandbox writes ends at the size
# of its file. Runs in a container of ours (disks.rs), as root without any capability, which sees the folder of these
# files and may use loop devices. One order a line, one answer a line: "ok …" or "error …". Ends with its input, and
# holds no device then that Docker has not mounted. May be killed at any line: a file is made under another name, and a
# device that nobody uses frees itself.
#
#   make <name> <bytes> <uid>   the file, unless it is there
#   open <name> <bytes>         checks it, puts it on a loop device, and names that <name>.device, for Docker to mount
#   close <name>                lets go of the device: from now on it ends with the mount
#   remove <name>
#   usage [<name>]              <name>:<bytes on the host's disk>:<bytes at most>, of one or all
set -u -o pipefail
umask 077
export LC_ALL=C

# What an agent cannot use unless its volume is full, as a multiple of what a start sets free then: hundredths of all,
# and at least so many blocks of 4 KB. OpenClaw neither starts nor answers without anything to write on; with it, it
# comes up and its person can have things deleted.
readonly TIMES=2 SPARE=3 LEAST=2048
# The kernel keeps a fiftieth for itself, and at most so many blocks.
readonly KERNEL=4096

declare -A held

make() {
  [[ ! -e $1.ext4 ]] || return 0
  rm -f "$1.making"
  # Nothing is zeroed, for the file is full of holes, which read as zeros: a fresh one takes a few hundred KB.
  truncate -s "$2" "$1.making" &&
    mke2fs -q -t ext4 -b 4096 -i 32768 -m 0 -J size=4 -E "root_owner=$3:$3,lazy_itable_init=0,lazy_journal_init=1" "$1.making" &&
    quiet debugfs -w -R 'rmdir lost+found' "$1.making" &&
    sync "$1.making" && mv "$1.making" "$1.ext4" && sync .
}

quiet() { "$@" >/dev/null 2>&1; }

# Prints the device. A file is never on two: that would destroy what is in it.
attach() {
  local file=$1.ext4 device
  [[ -f $file ]] || { echo "there is no $file" && return 1; }
  device=$(losetup -n -O NAME -j "$file" | head -n 1)
  if [[ -z $device ]]; then
    mend "$file" && grow "$file" "$2" && reserve "$file" || return 1
    device=$(losetup --nooverlap --find --show --direct-io=on "$file") || return 1
  fi
  echo "${device// /}"
}

# Replays the journal of one that was cut off.
mend() {
  quiet e2fsck -p "$1" || (($? < 4)) || quiet e2fsck -fy "$1" || (($? < 4)) || { echo "$1 is damaged" && return 1; }
}

grow() {
  (($(stat -c %s "$1") < $2)) || return 0
  quiet e2fsck -fp "$1" || (($? < 4)) || { echo "$1 is damaged" && return 1; }
  truncate -s "$2" "$1" && quiet resize2fs "$1"
}

reserve() {
  local blocks free spare most want kernel
  read -r blocks free < <(dumpe2fs -h "$1" 2>/dev/null | awk -F: '
    $1 == "Block count" {blocks = $2} $1 == "Free blocks" {free = $2} END {print blocks + 0, free + 0}')
  ((blocks > 0)) || { echo "$1 cannot be read" && return 1; }
  spare=$((blocks * SPARE / 100)) kernel=$((blocks / 50))
  ((spare >= LEAST)) || spare=$LEAST
  ((kernel <= KERNEL)) || kernel=$KERNEL
  most=$((TIMES * spare))
  want=$((free - kernel - spare))
  ((want >= 0)) || want=0
  ((want <= most)) || want=$most
  quiet tune2fs -r "$want" "$1"
}

open() {
  local device descriptor
  [[ -z ${held[$1]:-} ]] || return 0
  device=$(attach "$1" "$2") || { answer=$device && return 1; }
  # While we have it open, giving it up means: when the last one closes it. By then Docker has mounted it.
  exec {descriptor}<>"$device" || return 1
  held[$1]=$descriptor
  losetup -d "$device"
  # A name that a restart of the machine made stale must never lead into somebody else's volume.
  find .. -mindepth 2 -maxdepth 2 -name '*.device' -lname "$device" -delete
  ln -sfn "$device" "$1.device.new" && mv -T "$1.device.new" "$1.device"
}

close() {
  local descriptor=${held[$1]:-}
  [[ -n $descriptor ]] || return 0
  exec {descriptor}>&-
  unset "held[$1]"
}

remove() {
  close "$1"
  rm -f "$1.making" "$1.device" "$1.device.new" "$1.ext4"
}

# Holes take nothing, and what is deleted inside becomes one again.
usage() {
  find . -maxdepth 1 -name "${1:-*}.ext4" -printf '%f %b %s\n' |
    awk '{sub(/\.ext4$/, "", $1); printf "%s:%.0f:%.0f ", $1, $2 * 512, $3}'
}

# Whoever sees this folder only through us needs no rights on it.
if ! mkdir -p "/disks/$1" || ! cd "/disks/$1"; then
  echo "error their folder cannot be used" && exit 1
elif [[ ! -c /dev/loop-control ]]; then
  echo "error the Docker host has no loop devices" && exit 1
fi
while read -r order name bytes uid; do
  answer=
  case $order in
    make) answer=$(make "$name" "$bytes" "$uid" 2>&1) ;;
    open) open "$name" "$bytes" ;;
    close) close "$name" ;;
    remove) remove "$name" ;;
    usage) answer=$(usage "$name") ;;
    *) answer="what is $order?" && false ;;
  esac && answer="ok $answer" || answer="error $answer"
  printf '%s\n' "${answer//$'\n'/; }"
done
