# shellcheck shell=bash
# A database for the length of one script: a cluster of its own in a folder that goes away with it.

# Sets THROWAWAY and DATABASE_URL. Its data is worth nothing, so it is not written to disk with care.
make_throwaway_database() {
  THROWAWAY=$(mktemp -d "/tmp/clawkaka-$1.XXXXXX")
  chmod 711 "$THROWAWAY"
  POSTGRES_FSYNC=off POSTGRES_ROLE=superuser start_postgres "$THROWAWAY"
  DATABASE_URL=$(postgres_url "$THROWAWAY")
  export DATABASE_URL
  apply_migrations
}

# The checked queries need the tables before there is a program that could make them.
apply_migrations() {
  local file
  for file in "$ROOT"/migrations/*.sql; do
    PGOPTIONS='-c client_min_messages=warning' \
      "$PG_BIN/psql" "$DATABASE_URL" -Xq -v ON_ERROR_STOP=1 -1 -f "$file" >/dev/null ||
      die "the migration $(basename "$file") does not run on an empty database: mend it."
  done
}

drop_throwaway_database() {
  [[ -n ${THROWAWAY:-} && -d $THROWAWAY ]] || return 0
  stop_postgres "$THROWAWAY" immediate || true
  rm -rf "$THROWAWAY"
}
