#!/usr/bin/env bash
# The walls around sandboxes: one nftables table per deployment.
#
#   walls.sh up      puts them up, or back as they should be, in one step (no moment without walls)
#   walls.sh down    takes them down: the worker then pauses every sandbox of the deployment
#   walls.sh show    prints them
#
# Settings, as the worker reads them: CLAWKAKA_DEPLOYMENT, SANDBOX_SUBNET, BROKER_PORT (PORT + 4 unless set).
# The names follow the formulas in backend/src/sandbox/layout.rs, the rules are those that
# backend/src/sandbox/walls/rules.rs compares: change both or nothing starts.
set -euo pipefail

deployment=${CLAWKAKA_DEPLOYMENT:-clawkaka}
subnet=${SANDBOX_SUBNET:-10.77.0.0/16}
broker_port=${BROKER_PORT:-$((${PORT:-3001} + 4))}

die() {
  echo "walls.sh: $*" >&2
  exit 1
}

[[ $deployment =~ ^[a-z][a-z0-9-]{0,39}$ ]] || die "CLAWKAKA_DEPLOYMENT: up to 40 of a-z, 0-9 and -, starting with a letter"
[[ $subnet =~ ^([0-9]{1,3})\.([0-9]{1,3})\.0\.0/16$ ]] || die "SANDBOX_SUBNET: a /16, such as 10.77.0.0/16"
bridge_address=${BASH_REMATCH[1]}.${BASH_REMATCH[2]}.0.1
[[ $broker_port =~ ^[1-9][0-9]{0,4}$ ]] || die "BROKER_PORT: a port number"

table="clawkaka_$deployment"
bridge=ck-$(printf %s "$deployment" | sha256sum | cut -c1-8)

# Priority -10: before Docker's chains and most firewalls'. A drop is final whatever comes after; an accept is not, so
# that the host's own firewall still has its say about the broker's port.
rules() {
  cat <<END
table inet $table {}
delete table inet $table
table inet $table {
  chain input {
    type filter hook input priority -10; policy accept;
    iifname "$bridge" meta nfproto ipv6 drop
    iifname "$bridge" ct state established,related accept
    iifname "$bridge" ip daddr $bridge_address tcp dport $broker_port accept
    iifname "$bridge" drop
  }
  chain forward {
    type filter hook forward priority -10; policy accept;
    iifname "$bridge" drop
    oifname "$bridge" drop
  }
}
END
}

case ${1:-} in
  up) rules | nft -f - ;;
  down)
    # Made first, so that taking down what is not there is no error.
    printf 'table inet %s {}\ndelete table inet %s\n' "$table" "$table" | nft -f -
    ;;
  show) nft list table inet "$table" ;;
  *) die "usage: walls.sh up|down|show" ;;
esac
