# shellcheck shell=bash
# shellcheck disable=SC2034,SC2153 # other pieces use what is set here, and what is used here comes from outside
# The settings of one deployment, from four places, the first that has one wins:
#   1. this process's environment   2. .env at the repository's root
#   3. settings.env in the state folder (secrets made at the first run)   4. what the deployment's name gives
#
# A deployment not named "clawkaka" gets a number from its name, so that deployments live side by side:
#   n = (first 8 hex digits of SHA-256 of the name) mod 96
#   PORT = 20000 + 110 n     SANDBOX_SUBNET = 10.(128 + n).0.0/16     SANDBOX_UID_BASE = 200000 + 65536 (n + 1)
# The default deployment has 3001, 10.77.0.0/16 and 200000. The other ports follow from PORT: see ports().

# Every setting that `clawkaka serve` reads, as its source names them: no second list to keep.
setting_names() {
  grep -o 'env = "[A-Z_]*"' "$ROOT/backend/src/config/env.rs" | cut -d '"' -f 2
}

# In the environment, itself or as a file.
is_set() {
  local file=${1}_FILE
  [[ -n ${!1:-} || -n ${!file:-} ]]
}

# Sets and exports, unless it is set.
default() {
  is_set "$1" || export "$1=$2"
}

# Reads NAME=value lines; never runs them, as a shell would. What is set already stays.
read_settings() {
  local file=$1 line name value
  [[ -f $file ]] || return 0
  while IFS= read -r line || [[ -n $line ]]; do
    line=${line%$'\r'}
    [[ $line =~ ^[[:space:]]*(export[[:space:]]+)?([A-Za-z_][A-Za-z0-9_]*)[[:space:]]*=(.*)$ ]] || continue
    name=${BASH_REMATCH[2]}
    value=$(unquoted "${BASH_REMATCH[3]}")
    # An empty line in .env means "not set".
    [[ -z $value ]] || is_set "${name%_FILE}" || export "$name=$value"
  done <"$file"
}

unquoted() {
  local value=$1
  value="${value#"${value%%[![:space:]]*}"}"
  value="${value%"${value##*[![:space:]]}"}"
  if [[ $value =~ ^\"([^\"]*)\" || $value =~ ^\'([^\']*)\' ]]; then
    value=${BASH_REMATCH[1]}
  else
    value=${value%%[[:space:]]#*}
    value="${value%"${value##*[![:space:]]}"}"
  fi
  printf '%s' "$value"
}

# Which deployment, and where its state is. CLAWKAKA_STATE is the scripts' own setting.
name_deployment() {
  # The tests run with nobody's settings.
  [[ ${CLAWKAKA_IGNORE_DOTENV:-no} == yes ]] || read_settings "$ROOT/.env"
  default CLAWKAKA_DEPLOYMENT clawkaka
  if [[ ! $CLAWKAKA_DEPLOYMENT =~ ^[a-z][a-z0-9-]{0,39}$ ]]; then
    die "CLAWKAKA_DEPLOYMENT is \"$CLAWKAKA_DEPLOYMENT\": use up to 40 of a-z, 0-9 and -, starting with a letter."
  fi
  STATE=${CLAWKAKA_STATE:-/var/lib/clawkaka/$CLAWKAKA_DEPLOYMENT}
  [[ $STATE == /* ]] || die "CLAWKAKA_STATE is \"$STATE\": write the whole path, beginning with /."
  LOGS=$STATE/logs
}

# 0711: Postgres, which runs under a user of its own, must get through to its folder.
make_state_folder() {
  (umask 022 && mkdir -p "$(dirname "$STATE")")
  mkdir -p "$STATE" "$LOGS" "$STATE/run"
  chmod 711 "$STATE"
  chmod 700 "$LOGS" "$STATE/run"
}

# Nobody else may change this deployment while we do.
lock_deployment() {
  exec 9>"$STATE/run/lock"
  flock -n 9 || die "another script is at work on the deployment \"$CLAWKAKA_DEPLOYMENT\": wait until it has ended."
}

load_settings() {
  keep_secrets
  read_settings "$STATE/settings.env"
  derive_from_name
  default WORKER_HEALTH_PORT "$((PORT + 1))"
  default METRICS_PORT "$((PORT + 2))"
  default BROKER_PORT "$((PORT + 4))"
  simulate_what_is_missing
  # An operator who named a database of their own keeps it: then we start no cluster.
  if is_set DATABASE_URL; then
    OWN_POSTGRES=no
  else
    OWN_POSTGRES=yes
    DATABASE_URL=$(postgres_url "$STATE")
    export DATABASE_URL
  fi
}

derive_from_name() {
  if [[ $CLAWKAKA_DEPLOYMENT == clawkaka ]]; then
    default PORT 3001
    default SANDBOX_SUBNET 10.77.0.0/16
    default SANDBOX_UID_BASE 200000
    return
  fi
  local n
  n=$(deployment_number "$CLAWKAKA_DEPLOYMENT")
  default PORT "$((20000 + 110 * n))"
  default SANDBOX_SUBNET "10.$((128 + n)).0.0/16"
  default SANDBOX_UID_BASE "$((200000 + 65536 * (n + 1)))"
}

deployment_number() {
  local digest
  digest=$(printf %s "$1" | sha256sum)
  echo $((16#${digest:0:8} % 96))
}

# Secrets are made once. Losing the master key means that nothing stored can be read, so it is never written over.
keep_secrets() {
  local file=$STATE/settings.env
  [[ ! -f $file ]] || return 0
  (
    umask 077
    {
      echo "# Made by infra/up.sh at the first start of the deployment \"$CLAWKAKA_DEPLOYMENT\". Back it up: without"
      echo "# the master key nothing stored can be read. Settings in the environment and in .env come before these."
      echo "CLAWKAKA_MASTER_KEY=$(openssl rand -base64 32)"
      echo "SIMULATED_APP_SECRET=$(openssl rand -hex 16)"
      echo "SIMULATED_ACCESS_TOKEN=$(openssl rand -hex 16)"
      echo "SIMULATED_MODEL_KEY=$(openssl rand -hex 16)"
    } >"$file.new"
    mv "$file.new" "$file"
  )
}

# Without any credentials of WhatsApp or Kapso, or of a model, the simulator stands in for it.
simulate_what_is_missing() {
  SIM_WHATSAPP_PORT=$((PORT + 100))
  SIM_MODEL_PORT=$((PORT + 101))
  SIM_CONTROL_PORT=$((PORT + 102))
  SIMULATED_WHATSAPP=no
  SIMULATED_MODEL=no
  if ! any_is_set WHATSAPP_ACCESS_TOKEN WHATSAPP_APP_SECRET WHATSAPP_SENDER_PHONE_NUMBER_ID KAPSO_API_KEY \
    KAPSO_WEBHOOK_SECRET KAPSO_PHONE_NUMBER_ID; then
    SIMULATED_WHATSAPP=yes
    export WHATSAPP_APP_SECRET=$SIMULATED_APP_SECRET WHATSAPP_ACCESS_TOKEN=$SIMULATED_ACCESS_TOKEN
    export WHATSAPP_SENDER_PHONE_NUMBER_ID=106540352242922
    export WHATSAPP_API_BASE_URL=http://127.0.0.1:$SIM_WHATSAPP_PORT
    default WHATSAPP_VERIFICATION_TOKEN simulated
  fi
  if ! is_set LLM_API_KEY; then
    SIMULATED_MODEL=yes
    export LLM_API_KEY=$SIMULATED_MODEL_KEY LLM_BASE_URL=http://127.0.0.1:$SIM_MODEL_PORT/v1
    default LLM_MODEL scripted
  fi
}

any_is_set() {
  local name
  for name in "$@"; do
    if is_set "$name"; then return 0; fi
  done
  return 1
}

simulating() { [[ $SIMULATED_WHATSAPP == yes || $SIMULATED_MODEL == yes ]]; }

# One line per port that this deployment listens on: its number and the setting to change.
ports() {
  echo "$PORT PORT"
  echo "$WORKER_HEALTH_PORT WORKER_HEALTH_PORT"
  echo "$METRICS_PORT METRICS_PORT"
  echo "$BROKER_PORT BROKER_PORT"
}
simulator_ports() {
  echo "$SIM_WHATSAPP_PORT PORT"
  echo "$SIM_MODEL_PORT PORT"
  echo "$SIM_CONTROL_PORT PORT"
}

# Reads lines of ports(): each must be free.
check_ports() {
  local port setting
  while read -r port setting; do
    if ! [[ $port =~ ^[0-9]+$ ]] || ((port < 1 || port > 65535)); then
      die "$setting gives the port \"$port\", which is none: set $setting to a number from 1 to 65000."
    fi
    if [[ -n $(ss -Hltn "sport = :$port") ]]; then
      die "port $port is taken by $(holder_of "$port"): stop that, or set $setting to another port."
    fi
  done
}

holder_of() {
  local holder
  holder=$(ss -Hltnp "sport = :$1" | grep -o '"[^"]*",pid=[0-9]*' | head -n 1 | tr -d '"')
  echo "${holder:-another program}"
}

# The sandboxes' addresses must lead nowhere yet, but to this deployment's own bridge.
check_subnet() {
  local bridge route first
  bridge=$(bridge_name)
  if [[ ! $SANDBOX_SUBNET =~ ^([0-9]+)\.([0-9]+)\.0\.0/16$ ]]; then
    die "SANDBOX_SUBNET is \"$SANDBOX_SUBNET\": it must be a private /16, for example 10.77.0.0/16."
  fi
  first="${BASH_REMATCH[1]}.${BASH_REMATCH[2]}"
  while read -r route; do
    [[ $route != *" dev $bridge "* && $route != *" dev $bridge" ]] || continue
    if overlaps "${route%% *}" "$first"; then
      die "this machine uses addresses of $SANDBOX_SUBNET already ($route): set SANDBOX_SUBNET to another private /16."
    fi
  done < <(ip -4 -o route show table main | grep -v '^default')
}

# Whether a destination ("10.0.0.0/8", "10.77.3.4") has addresses in a.b.0.0/16.
overlaps() {
  local address=${1%/*} bits=32 a b c d e f wide
  [[ $1 != */* ]] || bits=${1#*/}
  IFS=. read -r a b c d <<<"$address"
  [[ $a =~ ^[0-9]+$ && $b =~ ^[0-9]+$ && ${c:-0}${d:-0} =~ ^[0-9]+$ ]] || return 1
  IFS=. read -r e f <<<"$2"
  wide=$((bits < 16 ? bits : 16))
  (((a << 8 | b) >> (16 - wide) == (e << 8 | f) >> (16 - wide)))
}

# By the same formula as the product and the walls: backend/src/sandbox/layout.rs.
bridge_name() {
  local digest
  digest=$(printf %s "$CLAWKAKA_DEPLOYMENT" | sha256sum)
  echo "ck-${digest:0:8}"
}

# Changes when a setting changes that `serve` would read; says nothing about them.
settings_fingerprint() {
  local name file
  {
    for name in $(setting_names); do
      file=${name}_FILE
      printf '%s=%s\n' "$name" "${!name:-}"
      [[ -z ${!file:-} ]] || sha256sum "${!file}"
    done
  } 2>&1 | sha256sum | cut -d ' ' -f 1
}
