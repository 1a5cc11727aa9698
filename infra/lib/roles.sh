# shellcheck shell=bash
# shellcheck disable=SC2034,SC2153 # the deployment's settings come from outside; others use what is set here
# What each container of a Compose deployment is given: secrets as files, all other settings as one file.

# The user in our image, who may read a secret that is handed in (backend.Dockerfile); and the one of Postgres.
readonly OUR_GROUP=10001 POSTGRES_GROUP=999

# Secrets are the settings that the program itself hides: no second list to keep.
secret_names() {
  awk '/env = "/ {hidden = /hide_env_values/; match($0, /env = "[A-Z_]*"/); if (hidden) print substr($0, RSTART + 7, RLENGTH - 8)}' \
    "$ROOT/backend/src/config/env.rs"
}

# A setting, or what is in the file that NAME_FILE names.
value_of() {
  local file=${1}_FILE
  if [[ -n ${!1:-} ]]; then
    printf '%s' "${!1}"
  elif [[ -n ${!file:-} ]]; then
    cat "${!file}"
  fi
}

# Each role gets its own and nothing else: compose.yaml says which.
write_secrets() {
  (umask 077 && mkdir -p "$STATE/secrets")
  make_secret database-password "$(openssl rand -hex 24)" "$POSTGRES_GROUP"
  # A slash within a parameter is written as it is: both libpq and sqlx read it.
  write_secret database-url \
    "postgres://clawkaka:$(<"$STATE/secrets/database-password")@localhost/clawkaka?host=/run/postgresql"
  if is_set WHATSAPP_VERIFICATION_TOKEN; then
    write_secret verification-token "$(value_of WHATSAPP_VERIFICATION_TOKEN)"
  else
    make_secret verification-token "$(openssl rand -hex 16)" "$OUR_GROUP"
  fi
  write_secret app-secret "$(value_of WHATSAPP_APP_SECRET)"
  write_secret access-token "$(value_of WHATSAPP_ACCESS_TOKEN)"
  write_secret kapso-secret "$(value_of KAPSO_WEBHOOK_SECRET)"
  write_secret kapso-key "$(value_of KAPSO_API_KEY)"
  write_secret transcription-key "$(value_of TRANSCRIPTION_API_KEY)"
  write_secret model-key "$(value_of LLM_API_KEY)"
  write_secret master-key "$(value_of CLAWKAKA_MASTER_KEY)"
  write_secret backup-key "$(value_of AWS_SECRET_ACCESS_KEY)"
  write_secret backup-session "$(value_of AWS_SESSION_TOKEN)"
}

# What can be derived is derived where the product's own program is.
write_webs_keys() {
  local keys
  keys=$(docker run --rm --network none --cap-drop ALL --read-only --user 0:0 -e CLAWKAKA_MASTER_KEY_FILE=/key \
    -v "$STATE/secrets/master-key:/key:ro" "$CLAWKAKA_IMAGE" keys 2>"$LOGS/keys.log" 9>&-) ||
    die "web's parts of the master key cannot be made." "$LOGS/keys.log"
  write_secret sealing-key "$(sed -n 's/^CLAWKAKA_SEALING_KEY=//p' <<<"$keys")"
  write_secret webhook-key "$(sed -n 's/^CLAWKAKA_WEBHOOK_KEY=//p' <<<"$keys")"
}

# Written over in place: a container sees the file that was there when it was made.
write_secret() {
  local file=$STATE/secrets/$1
  [[ -f $file && $(<"$file") == "$2" ]] || (umask 077 && printf '%s\n' "$2" >"$file")
  chown "0:${3:-$OUR_GROUP}" "$file"
  chmod 440 "$file"
}

# Only once: what was made stays.
make_secret() {
  if [[ -s $STATE/secrets/$1 ]]; then
    write_secret "$1" "$(<"$STATE/secrets/$1")" "$3"
  else
    write_secret "$@"
  fi
}

# Every other setting that is set; what a container has in common with no other stands in compose.yaml.
write_settings() {
  local name
  (umask 077 && mkdir -p "$STATE/compose")
  for name in $(plain_names); do
    if is_set "$name"; then echo "$name=$(value_of "$name")"; fi
  done >"$STATE/compose/settings.env"
}

plain_names() {
  comm -23 <(setting_names | sort -u) \
    <({ secret_names; printf '%s\n' CLAWKAKA_SEALING_KEY DATABASE_URL DOCKER_HOST ROLES PORT WORKER_HEALTH_PORT METRICS_PORT METRICS_ADDRESS BROKER_PORT; } | sort -u)
}

# Compose replaces a container when its definition changes, so the definition has a mark of what the files say. It
# tells nothing about them: the master key is in it.
mark_of() {
  local file
  for file in "$@"; do
    sha256sum <"$file"
  done | cat - "$STATE/secrets/master-key" | sha256sum | cut -c 1-16
}

# The folder that the worker writes backups to, made if need be; an empty one when they go elsewhere or nowhere. The
# worker is root without root's powers there, so the folder is root's.
backup_folder() {
  local folder
  folder=$(value_of BACKUP_TO)
  [[ $folder == /* ]] || folder=$STATE/compose/no-backups
  (umask 077 && mkdir -p "$folder")
  echo "$folder"
}

write_variables() {
  local secrets=$STATE/secrets infra=$ROOT/infra
  {
    echo "# Written by infra/deploy.sh for docker compose --env-file; nothing in here is secret."
    echo "CLAWKAKA_DEPLOYMENT=$CLAWKAKA_DEPLOYMENT"
    echo "CLAWKAKA_STATE=$STATE"
    echo "CLAWKAKA_SITE=${CLAWKAKA_SITE:-}"
    echo "CADDY_ADDRESS=$CADDY_ADDRESS"
    echo "CADDY_HTTP_PORT=$CADDY_HTTP_PORT"
    echo "CADDY_HTTPS_PORT=$CADDY_HTTPS_PORT"
    echo "PORT=$PORT"
    echo "WORKER_HEALTH_PORT=$WORKER_HEALTH_PORT"
    echo "METRICS_PORT=$METRICS_PORT"
    echo "BROKER_PORT=$BROKER_PORT"
    echo "BROKER_METRICS_PORT=$BROKER_METRICS_PORT"
    echo "WEB_A_METRICS_PORT=$WEB_A_METRICS_PORT"
    echo "WEB_B_METRICS_PORT=$WEB_B_METRICS_PORT"
    echo "CLAWKAKA_IMAGE=$CLAWKAKA_IMAGE"
    echo "BACKUP_FOLDER=$(backup_folder)"
    echo "POSTGRES_IMAGE=$POSTGRES_IMAGE"
    echo "CADDY_IMAGE=$CADDY_IMAGE"
    echo "POSTGRES_SETTINGS=$(mark_of "$infra"/postgres/*)"
    echo "CADDY_SETTINGS=$(mark_of "$infra/Caddyfile")"
    echo "WEB_SETTINGS=$(mark_of "$secrets"/{database-url,sealing-key,webhook-key,app-secret,verification-token,kapso-secret})"
    echo "BROKER_SETTINGS=$(mark_of "$secrets"/{database-url,model-key})"
    echo "WORKER_SETTINGS=$(mark_of "$secrets"/{database-url,master-key,access-token,kapso-key,transcription-key,backup-key,backup-session})"
  } >"$STATE/compose/variables.env"
}
