# shellcheck shell=bash
# A Postgres cluster of our own under a folder: Debian's binaries, Debian's postgres user, a Unix socket and no port.
# Only root and that user get in: the socket knows who calls (peer), so there is no password to keep.

# Newest installed one; empty if there is none.
postgres_bin() {
  find /usr/lib/postgresql -path '*/bin/initdb' 2>/dev/null | sort -V | tail -n 1 | xargs -r dirname
}

need_postgres() {
  [[ -z $(postgres_bin) ]] || return 0
  # Debian's package would set up and start a cluster on port 5432 that nobody needs. Told for this once only.
  local quiet=/etc/postgresql-common/createcluster.d/clawkaka.conf
  mkdir -p "$(dirname "$quiet")"
  echo "create_main_cluster = false" >"$quiet"
  install_packages postgresql
  rm -f "$quiet"
  [[ -n $(postgres_bin) ]] || die "the package postgresql brought no initdb under /usr/lib/postgresql: install it by hand."
}

# postgres_url <folder> [database]
postgres_url() {
  # A slash within a parameter is written as it is: both libpq and sqlx read it.
  echo "postgres://clawkaka@localhost/${2:-clawkaka}?host=$1/postgres-socket"
}

as_postgres() { (cd / && exec runuser -u postgres -- "$@" 9>&-); }

# Makes the cluster at the first run, starts it when it does not run, makes role and database.
start_postgres() {
  local folder=$1
  [[ -f $folder/postgres/PG_VERSION ]] || make_cluster "$folder"
  use_the_binaries_it_was_made_with "$folder"
  write_postgres_settings "$folder"
  if ! postgres_runs "$folder"; then
    # pg_ctl waits until it takes connections, recovery after a crash included.
    as_postgres "$PG_BIN/pg_ctl" start -s -w -t 120 -D "$folder/postgres" -l "$folder/postgres/server.log" </dev/null ||
      die "Postgres does not start: the reason is in its log." "$folder/postgres/server.log"
  fi
  make_database "$folder"
}

make_cluster() {
  local folder=$1
  PG_BIN=$(postgres_bin)
  as_postgres test -x "$folder" ||
    die "the user postgres cannot get into $folder: chmod o+x the folders above it, or set CLAWKAKA_STATE to another one."
  install -d -m 700 -o postgres -g postgres "$folder/postgres"
  install -d -m 700 -o postgres -g postgres "$folder/postgres-socket"
  as_postgres "$PG_BIN/initdb" -D "$folder/postgres" -U postgres -E UTF8 --locale=C.UTF-8 --data-checksums \
    >"$LOGS/initdb.log" 2>&1 || die "making the Postgres cluster did not work." "$LOGS/initdb.log"
  echo "include 'clawkaka.conf'" >>"$folder/postgres/postgresql.conf"
}

# A new major version on the machine must not touch an old cluster.
use_the_binaries_it_was_made_with() {
  local version
  version=$(<"$1/postgres/PG_VERSION")
  PG_BIN=/usr/lib/postgresql/$version/bin
  [[ -x $PG_BIN/postgres ]] || die "the data in $1/postgres is of Postgres $version: apt-get install postgresql-$version"
}

# No message body may ever reach Postgres' log, so that it holds no statements, no parameters and no rows.
write_postgres_settings() {
  local data=$1/postgres
  cat >"$data/clawkaka.conf" <<END
listen_addresses = ''
unix_socket_directories = '$1/postgres-socket'
max_connections = 200
fsync = ${POSTGRES_FSYNC:-on}
log_statement = none
log_min_duration_statement = -1
log_min_error_statement = panic
log_parameter_max_length = 0
log_parameter_max_length_on_error = 0
log_error_verbosity = terse
log_checkpoints = off
END
  echo "local all all peer map=clawkaka" >"$data/pg_hba.conf"
  printf '%s\n' "clawkaka root clawkaka" "clawkaka root postgres" "clawkaka postgres postgres" >"$data/pg_ident.conf"
  chown postgres:postgres "$data"/{clawkaka,pg_hba,pg_ident}.conf
}

postgres_runs() {
  as_postgres "$PG_BIN/pg_ctl" status -s -D "$1/postgres" >/dev/null 2>&1
}

make_database() {
  sql "$1" postgres "select 1 from pg_roles where rolname = 'clawkaka'" | grep -q 1 ||
    sql "$1" postgres "create role clawkaka login ${POSTGRES_ROLE:-}" >/dev/null
  sql "$1" postgres "select 1 from pg_database where datname = 'clawkaka'" | grep -q 1 ||
    sql "$1" postgres "create database clawkaka owner clawkaka" >/dev/null
}

# sql <folder> <database> <statement>, as the superuser.
sql() {
  "$PG_BIN/psql" -XqAt -v ON_ERROR_STOP=1 -h "$1/postgres-socket" -U postgres -d "$2" -c "$3"
}

# stop_postgres <folder> [fast|immediate]: only the cluster in this folder.
stop_postgres() {
  [[ -f $1/postgres/PG_VERSION ]] || return 0
  use_the_binaries_it_was_made_with "$1"
  postgres_runs "$1" || return 0
  as_postgres "$PG_BIN/pg_ctl" stop -s -w -t 60 -m "${2:-fast}" -D "$1/postgres" >/dev/null
}
