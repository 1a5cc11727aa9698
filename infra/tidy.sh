#!/bin/bash
# The repository's rules that no compiler checks. Each complaint names the place. With a database address as its
# argument (all migrations applied), also that every table and column says what it is for.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

complaints=0

complain() {
  echo "$1"
  complaints=$((complaints + 1))
}

# A table's rows change in one place only, so that one file shows all that can happen to them.
owners() {
  cat <<'END'
worker          lease.rs
presence        presence.rs
line            line/
unserved_group  line/unserved.rs
tenant          tenant/
tenant_address  tenant/address.rs
allowed         tenant/allowed.rs
blocked         tenant/blocked.rs
invite          tenant/invite.rs
sandbox         sandbox/row
turn            turn/
reminder        reminder.rs
inbox           inbox/
outbox          outbox/
receipt         receipt.rs
usage           broker/usage.rs
media           media/mod.rs
upload          media/upload.rs
frozen          freeze.rs
event           operator/event.rs
backup          backup/row/
tombstone       backup/tombstone.rs
upgrade         upgrade/
upgrade_sandbox upgrade/
END
}

sources() { find backend e2e fuzz -name '*.rs' -not -path '*/target/*' | sort; }

short_files() {
  local file lines
  while read -r file; do
    lines=$(wc -l <"$file")
    ((lines < 400)) || complain "$file has $lines lines: files stay under 400, so that each can be read in one sitting."
  done < <(sources)
}

headers() {
  local file
  while read -r file; do
    [[ $(head -n 1 "$file") == '//! '* ]] || complain "$file does not begin by saying what it is for (//! …)."
  done < <(sources)
}

# Statements that write, outside tests: "path:table".
writes() {
  find backend/src -name '*.rs' -not -path '*/tests/*' -not -name tests.rs | sort | while read -r file; do
    sed '/^#\[cfg(test)\]$/,$d' "$file" |
      grep -oE '(insert into|delete from|"update|^ *update) [a-z_]+' | sed "s#.* #${file#backend/src/}:#" || true
  done | sort -u
}

one_owner_per_table() {
  local file table owner
  while IFS=: read -r file table; do
    owner=$(owners | awk -v table="$table" '$1 == table {print $2}')
    if [[ -z $owner ]]; then
      complain "backend/src/$file writes to \"$table\", which has no owner: name one in infra/tidy.sh."
    elif [[ $file != "$owner"* ]]; then
      complain "backend/src/$file writes to the table \"$table\": only backend/src/$owner may."
    fi
  done < <(writes)
}

# README's map: the first word of each line of the block under "## The tree".
map() {
  awk '/^## /{inside = ($0 == "## The tree")} /^```/{block = !block; next} inside && block && NF {print $1}' README.md
}

# What a reader finds at the top, and the stations of the product.
stations() {
  local entry
  for entry in * backend/src/*; do
    case $entry in
      target | backend | Cargo.* | README.md | LICENSE | rustfmt.toml | backend/src/tests) ;;
      *) if [[ -d $entry ]]; then echo "$entry/"; else echo "$entry"; fi ;;
    esac
  done
}

map_is_true() {
  local entry
  while read -r entry; do
    [[ -e $entry ]] || complain "README.md's map names $entry, which does not exist."
  done < <(map)
  while read -r entry; do
    map | grep -qxF "$entry" || complain "README.md's map does not name $entry."
  done < <(stations)
}

# Whoever installs chooses the registry; every package says what it must be.
package_locks() {
  local folder
  for folder in sandbox-image e2e/clients; do package_lock "$folder"; done
}

package_lock() {
  local lock=$1/package-lock.json without
  if grep -q '"resolved": "http' "$lock"; then
    complain "$lock names a registry's host: npm install --package-lock-only with omit-lockfile-registry-resolved=true"
  fi
  without=$(jq -r '.packages | to_entries[] | select(.key != "" and .value.link != true and .value.inBundle != true and .value.integrity == null) | .key' "$lock")
  [[ -z $without ]] || complain "$lock has packages without integrity: $without"
  if [[ $(jq -S .dependencies "$1/package.json") != $(jq -S '.packages[""].dependencies' "$lock") ]]; then
    complain "$lock is not that of $1/package.json: run npm install --package-lock-only there."
  fi
}

# They run in the order of their numbers, on every machine.
migrations_are_numbered() {
  local expected=1 file
  for file in migrations/*; do
    [[ $file == migrations/$(printf %04d "$expected")_*.sql ]] ||
      complain "$file: migrations are named $(printf %04d "$expected")_<story>.sql, without gaps."
    expected=$((expected + 1))
  done
}

# Every metric is in the list that begins it (metric.rs), recorded somewhere, and explained to the operator.
metrics_are_listed() {
  local page=infra/monitoring/README.md listed recorded explained
  listed=$(grep -oE '^ +(counter|gauge|histogram)\("clawkaka_[a-z_]+' backend/src/metric.rs | grep -oE 'clawkaka_.*' | sort)
  recorded=$(find backend/src -name '*.rs' -exec cat {} + | tr -d ' \n' |
    grep -oE '(counter|gauge|histogram)!\("clawkaka_[a-z_]+' | grep -oE 'clawkaka_.*' | sort -u)
  explained=$(grep -oE '^\| .clawkaka_[a-z_]+. \| (counter|gauge|histogram)' "$page" | grep -oE 'clawkaka_[a-z_]+' | sort)
  differ "$listed" "$recorded" "is listed in backend/src/metric.rs and recorded nowhere" "is recorded and not listed in backend/src/metric.rs"
  differ "$listed" "$explained" "is not in the table of $page" "is in the table of $page and does not exist"
  # Names of a histogram's series end in what Prometheus adds.
  differ "$listed" "$(printf '%s\n' "$listed" "$(names_asked_for)" | sort -u)" "" "is asked for by infra/monitoring and does not exist"
}

names_asked_for() {
  {
    grep -oE 'clawkaka_[a-z_]+' infra/monitoring/alerts.yml infra/monitoring/alerts_test.yml -h
    jq -r '.panels[] | .targets[]? | .expr' infra/monitoring/grafana.json | grep -oE 'clawkaka_[a-z_]+'
  } | sed -E 's/_(bucket|count|sum)$//' | sort -u
}

# differ <ours> <theirs> <complaint about what only ours has> <about what only theirs has>
differ() {
  local name
  while read -r name; do [[ -z $name ]] || complain "The metric $name $3."; done < <(comm -23 <(echo "$1") <(echo "$2"))
  while read -r name; do [[ -z $name ]] || complain "The metric $name $4."; done < <(comm -13 <(echo "$1") <(echo "$2"))
}

# Somebody is woken by an alert and wants to know what to do.
alerts_are_explained() {
  local folder=infra/monitoring alert page
  while read -r alert; do
    page=runbook.md#${alert,,}
    grep -q "^          runbook: $page$" "$folder/alerts.yml" || complain "The alert $alert does not link to $page."
    grep -q "^## $alert$" "$folder/runbook.md" || complain "The alert $alert has no page in $folder/runbook.md."
    grep -q "^  - name: $alert$" "$folder/alerts_test.yml" || complain "The alert $alert is not planted in $folder/alerts_test.yml."
    (($(grep -c "alertname: $alert, exp_alerts: \[\]" "$folder/alerts_test.yml") >= 2)) ||
      complain "$folder/alerts_test.yml does not say that $alert is silent in a healthy deployment."
  done < <(alerts)
  while read -r alert; do
    alerts | grep -qx "$alert" || complain "$folder/runbook.md has a page for $alert, which is no alert."
  done < <(sed -n 's/^## //p' "$folder/runbook.md")
}

alerts() { sed -n 's/^ *- alert: //p' infra/monitoring/alerts.yml; }

# During an upgrade the program of before runs on the new database. So a migration adds what that program can ignore;
# what it takes away must have been out of use for a release, and it says so in a line "-- contract: …".
old_programs_go_on() {
  local file takes='drop (table|column)|rename (to|column)|set not null|alter column [a-z_]+ (set data )?type'
  for file in migrations/*; do
    if grep -qiE "^[^-]*($takes)" "$file" && ! grep -q '^-- contract: ' "$file"; then
      complain "$file takes away what the program of before may use: do it a release later, with a line \"-- contract: why nobody does\"."
    fi
    if grep -iE '^[^-]*add column [^;]*not null' "$file" | grep -qvi default; then
      complain "$file adds a column that the program of before cannot fill: give it a default."
    fi
  done
}

commented_tables() {
  local uncommented what
  uncommented=$(psql "$1" -XqAt -v ON_ERROR_STOP=1 <<'END'
select 'the table ' || c.relname from pg_class c
where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p') and obj_description(c.oid, 'pg_class') is null
  and c.relname <> '_sqlx_migrations'
union all
select 'the column ' || c.relname || '.' || a.attname from pg_class c join pg_attribute a on a.attrelid = c.oid
where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p') and a.attnum > 0 and not a.attisdropped
  and col_description(c.oid, a.attnum) is null and c.relname <> '_sqlx_migrations'
END
  )
  while read -r what; do
    [[ -z $what ]] || complain "$what has no comment: say in its migration what it is for."
  done <<<"$uncommented"
}

short_files
headers
one_owner_per_table
map_is_true
package_locks
migrations_are_numbered
metrics_are_listed
alerts_are_explained
old_programs_go_on
[[ -z ${1:-} ]] || commented_tables "$1"

if ((complaints)); then
  echo "$complaints rules broken."
  exit 1
fi
echo "All rules hold."
