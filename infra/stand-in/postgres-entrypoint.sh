#!/bin/bash
# What the public image's entrypoint does, as far as compose.yaml uses it: makes the cluster at the first start and
# runs the scripts in /docker-entrypoint-initdb.d against it, then becomes the server. Runs as the user postgres.
set -euo pipefail

if [[ ! -s $PGDATA/PG_VERSION ]]; then
  # shellcheck disable=SC2086 # these are words
  initdb --username=postgres --pwfile="$POSTGRES_PASSWORD_FILE" -D "$PGDATA" ${POSTGRES_INITDB_ARGS:-}
  pg_ctl -D "$PGDATA" -w -o "$(printf '%q ' "${@:2}")" start
  for script in /docker-entrypoint-initdb.d/*.sh; do "$script"; done
  pg_ctl -D "$PGDATA" -w -m fast stop
fi
exec "$@"
