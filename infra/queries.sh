#!/bin/bash
# Writes backend/.sqlx, the descriptions of all checked queries, after a change of SQL or of migrations. Commit them:
# builds then need no database. ./infra/test.sh checks that they are current.
set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
for piece in say settings machine postgres throwaway queries; do
  # shellcheck source=/dev/null
  source "$ROOT/infra/lib/$piece.sh"
done

need_root
THROWAWAY='' LOGS=$(mktemp -d)
trap 'drop_throwaway_database; rm -rf "$LOGS"' EXIT
need_tools
need_rust
need_postgres
make_throwaway_database queries
mkdir "$THROWAWAY/queries"
record_queries "$THROWAWAY/queries" cargo check -p clawkaka --all-targets
rm -rf "$QUERIES"
cp -r "$THROWAWAY/queries" "$QUERIES"
echo "Wrote $(find "$QUERIES" -name '*.json' | wc -l) queries to backend/.sqlx"
