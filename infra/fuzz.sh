#!/bin/bash
# Feeds the product with webhooks and answers that nobody thought of, on a machine that needs to have nothing but
# Debian or Ubuntu and root. LLVM's libFuzzer, which learns from the branches that an input takes; stable Rust has
# all it needs for that but the sanitizers, and safe Rust has little for these to find.
set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
for piece in say machine; do
  # shellcheck source=/dev/null
  source "$ROOT/infra/lib/$piece.sh"
done

usage() {
  cat <<'END'
./infra/fuzz.sh [--seconds N] [--keep] [target…]

Runs each target (webhook, format; without names both) for N seconds (600), beginning with the inputs in
fuzz/corpus/<target>. What breaks one of the promises in fuzz/src/<target>.rs is kept in fuzz/found, and the script
fails. With --keep the corpus becomes a small one that reaches all that was reached: commit it. The unit tests try
all of the corpus, without a fuzzer.
END
}

readonly TARGETS=(webhook format)
# Beyond what a message holds; a webhook's body may be 3 MB, and what its second kilobytes do, the first did.
declare -Ar MAX_BYTES=([webhook]=8192 [format]=6000)
seconds=600 keep='' chosen=()

main() {
  read_options "$@"
  need_root
  LOGS=$(mktemp -d /tmp/clawkaka-fuzz.XXXXXX)
  trap 'rm -rf "$LOGS"' EXIT
  need_packages curl:curl cc:build-essential c++:build-essential
  need_rust
  BUILT=${CARGO_TARGET_DIR:-$ROOT/target}/fuzz
  shown "Building the fuzzers" "Mend the error above, then run this again." "$LOGS/build.log" build
  for target in "${chosen[@]}"; do fuzz "$target"; done
}

read_options() {
  while (($#)); do
    case $1 in
      --help | -h) usage && exit ;;
      --seconds)
        [[ ${2:-} =~ ^[1-9][0-9]*$ ]] || die "--seconds wants a whole number of seconds."
        seconds=$2
        shift
        ;;
      --keep) keep=yes ;;
      webhook | format) chosen+=("$1") ;;
      *) die "there is no target $1, only ${TARGETS[*]}." ;;
    esac
    shift
  done
  if ((!${#chosen[@]})); then chosen=("${TARGETS[@]}"); fi
}

# For a named target, so that build scripts and macros are compiled as ever.
build() {
  cd "$ROOT" || return
  export SQLX_OFFLINE=${SQLX_OFFLINE:-true}
  RUSTFLAGS='-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table
    -Cllvm-args=-sanitizer-coverage-trace-compares' \
    cargo build --locked -p fuzz --bins --features fuzzing --profile fuzz --target "$(host)" --target-dir "$BUILT"
}

host() { rustc -vV | sed -n 's/^host: //p'; }

fuzz() {
  local target=$1 program corpus fresh=$LOGS/$1 found=$ROOT/fuzz/found
  program=$BUILT/$(host)/fuzz/fuzz-$target
  corpus=$ROOT/fuzz/corpus/$target
  mkdir -p "$fresh" "$found"
  shown "Fuzzing: $target, for $seconds s" "The input is in fuzz/found: mend the fault, and put it into $corpus." \
    "$LOGS/$target.log" \
    "$program" -max_total_time="$seconds" -max_len="${MAX_BYTES[$target]}" -dict="$ROOT/fuzz/$target.dict" \
    -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 -artifact_prefix="$found/$target-" "$fresh" "$corpus"
  summary "$target" "$corpus"
  if [[ $keep ]]; then smallest "$program" "$corpus" "$fresh"; fi
  rmdir "$found" 2>/dev/null || true
}

summary() {
  local log=$LOGS/$1.log runs speed reached
  runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
  speed=$(sed -n 's/^stat::average_exec_per_sec: *//p' "$log")
  reached=$(grep -oE 'cov: [0-9]+ ft: [0-9]+' "$log" | tail -n 1)
  say "$1: $runs inputs, $speed a second, $reached, from $(find "$2" -type f | wc -l) in the corpus; nothing broke"
}

smallest() {
  local program=$1 corpus=$2 fresh=$3 kept=$LOGS/kept
  rm -rf "$kept" && mkdir "$kept"
  shown "Making the corpus small" "See the error above." "$LOGS/merge.log" \
    "$program" -set_cover_merge=1 "$kept" "$corpus" "$fresh"
  rm -rf "$corpus"
  mv "$kept" "$corpus"
  say "$(find "$corpus" -type f | wc -l) inputs, $(du -sh "$corpus" | cut -f 1)"
}

main "$@"
