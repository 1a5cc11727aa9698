# shellcheck shell=bash
# What we build on: where it comes from, under which licences, and what must not be in it. Needs no network.

# One way to do TLS, and no C library for it.
readonly BANNED='openssl openssl-sys native-tls'

# Licences that let us ship; of a choice ("MIT OR GPL"), one must be among them.
readonly LICENCES='MIT MIT-0 Apache-2.0 BSD-1-Clause BSD-2-Clause BSD-3-Clause ISC Zlib 0BSD CC0-1.0 Unlicense
  Unicode-3.0 Unicode-DFS-2016 MPL-2.0 CDLA-Permissive-2.0 BSL-1.0 OpenSSL'

check_dependencies() {
  local packages complaints
  packages=$(cd "$ROOT" && cargo metadata --locked --format-version 1 --filter-platform "$(rustc -vV | sed -n "s/^host: //p")" | jq '[.packages[] | select(.source != null)]')
  complaints=$(
    jq -r '.[] | select(.source | test("^registry\\+https://github.com/rust-lang/crates.io-index$") | not)
      | "\(.name) \(.version) comes from \(.source), not from crates.io"' <<<"$packages"
    jq -r --arg banned "$BANNED" '.[] | select(.name as $name | $banned | split(" ") | index($name))
      | "\(.name) \(.version) is banned (infra/lib/dependencies.sh)"' <<<"$packages"
    jq -r --arg known "$LICENCES" '($known | [splits("\\s+")]) as $known
      | .[] | select((.license // "") | gsub("[()]"; "") | gsub(" */ *"; " OR ")
          | [splits(" OR ")] | any([splits(" AND ")] | all(sub(" WITH .*"; "") | IN($known[]))) | not)
      | "\(.name) \(.version) is under \(.license // "no licence"), which is not on the list"' <<<"$packages"
  )
  if [[ -n $complaints ]]; then
    echo "$complaints"
    return 1
  fi
  echo "$(jq length <<<"$packages") packages, all from crates.io and under licences on the list"
}
