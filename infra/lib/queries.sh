# shellcheck shell=bash
# The checked queries: sqlx describes each against a database while it compiles, and reads the same description from
# backend/.sqlx where there is none. Here is what `cargo sqlx prepare` does, without the need for that tool.

QUERIES=$ROOT/backend/.sqlx

# record_queries <empty folder> <cargo command…>: compiles our crates anew and has sqlx write down every query.
record_queries() {
  local folder=$1
  shift
  # sqlx reads its settings behind Cargo's back, so that Cargo would think nothing changed.
  touch "$ROOT/backend/src/lib.rs"
  (cd "$ROOT" && SQLX_OFFLINE=false SQLX_OFFLINE_DIR=$folder "$@")
}

# Complains about what is missing, what is left over and what differs.
compare_queries() {
  diff -rq "$QUERIES" "$1" && return
  echo "backend/.sqlx is not what the code and the migrations say: run ./infra/queries.sh and commit the result."
  return 1
}
