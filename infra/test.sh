#!/bin/bash
# Everything CI checks, in order of cost, on a machine that needs to have nothing but Debian or Ubuntu and root.
# Every step runs, also after one that failed; the last line counts them.
set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
for piece in say settings machine docker postgres throwaway process build queries dependencies walls monitoring clients; do
  # shellcheck source=/dev/null
  source "$ROOT/infra/lib/$piece.sh"
done

usage() {
  cat <<'END'
./infra/test.sh [words…]

Without words: every check. With words: only the steps whose names contain one of them (and what they need).

The end-to-end tests run target/release/clawkaka (CLAWKAKA_BIN) with the image in SANDBOX_IMAGE, if that is set, on
the real Docker; they make deployments of their own (ck-test-…) and remove them. Nothing of a deployment that runs on
this machine is touched; no setting of yours and no .env is read.

  EVERY_CASE=yes   also those cases of the crash matrices that are much like others: half an hour more
END
}

passed=0 failed=0 broken=()

main() {
  [[ ${1:-} != --help && ${1:-} != -h ]] || { usage && exit; }
  wanted=("$@")
  need_root
  start_clean
  trap clean_up EXIT
  trap 'exit 130' INT TERM HUP

  headline "This machine"
  need_space
  need_tools
  need_packages shellcheck:shellcheck
  need_rust
  need_clippy
  need_postgres
  need_prometheus
  make_throwaway_database test

  step "formatting" cargo fmt --all --check
  step "shell scripts" check_scripts
  step "rules of the repository" infra/tidy.sh "$DATABASE_URL"
  step "dependencies" check_dependencies
  step "lints" lint
  begin_release
  step "checked queries" check_queries
  step "monitoring files" check_monitoring
  step "unit and scenario tests" minutes 20 cargo test --locked --workspace --lib --bins -- --skip tests::conformance
  step "conformance" minutes 10 cargo test --locked --workspace --lib tests::conformance -- --nocapture
  step "sandbox image" sandbox_image
  step "walls" walls
  step "end-to-end programs" cargo test --locked --workspace --tests --no-run
  step "release build without a database" release_without_a_database
  step "end-to-end tests" minutes 60 end_to_end
  step "benchmarks, in short" minutes 15 benchmarks_in_short
  step "up, again, and nuke" up_again_and_nuke
  step "compose deployment" minutes 40 compose_deployment
  closing
}

# Nobody's settings change what is tested; which Docker engine it runs on stays the machine's choice.
start_clean() {
  local name image=${SANDBOX_IMAGE:-}
  cd "$ROOT"
  for name in $(setting_names | grep -vx DOCKER_HOST); do unset "$name" "${name}_FILE"; done
  unset CARGO_TARGET_DIR SQLX_OFFLINE SQLX_OFFLINE_DIR
  if [[ -n $image ]]; then export SANDBOX_IMAGE=$image; fi
  export CLAWKAKA_BIN=$ROOT/target/release/clawkaka
  THROWAWAY='' LOGS=$(mktemp -d /tmp/clawkaka-test-logs.XXXXXX)
  # A deployment's state will be in it, and Postgres must get through.
  chmod 711 "$LOGS"
}

need_clippy() {
  cargo clippy --version >/dev/null 2>&1 && cargo fmt --version >/dev/null 2>&1 && return
  shown "Installing clippy and rustfmt" "Run: rustup component add clippy rustfmt" "$LOGS/rustup.log" \
    rustup component add clippy rustfmt
}

# step "name" <command…>
step() {
  local name=$1 started=$SECONDS status=0
  shift
  is_wanted "$name" || return 0
  headline "$name"
  echo 1 >"$LOGS/status"
  # A job of its own, so that a signal ends all of it and we are there to clean up.
  set -m
  recorded "$@" 2>&1 </dev/null | tee "$LOGS/${name// /-}.log" &
  set +m
  wait $! || true
  status=$(<"$LOGS/status")
  if ((status == 0)); then
    passed=$((passed + 1))
    say "passed: $name, $((SECONDS - started)) s"
  else
    failed=$((failed + 1))
    broken+=("$name")
    say "FAILED: $name, $((SECONDS - started)) s"
  fi
}

# A step that is killed has not passed.
recorded() {
  local status=0
  (set -e; "$@") &
  wait $! || status=$?
  echo "$status" >"$LOGS/status"
}

is_wanted() {
  local word
  ((${#wanted[@]})) || return 0
  for word in "${wanted[@]}"; do
    if [[ $1 == *"$word"* ]]; then return 0; fi
  done
  return 1
}

# minutes <n> <command…>: what hangs, fails. Functions too.
minutes() {
  local limit=$(($1 * 60)) job status=0 waited=0
  shift
  (set -e; "$@") &
  job=$!
  while kill -0 "$job" 2>/dev/null; do
    if ((waited++ >= limit)); then
      echo "this did not end within $((limit / 60)) minutes"
      sleep 0.5
      # All of this step is one process group.
      kill -TERM 0
      return 1
    fi
    sleep 1
  done
  wait "$job" || status=$?
  return "$status"
}

check_scripts() {
  find . -name '*.sh' -not -path './target/*' -not -path '*/node_modules/*' -print0 | sort -z |
    xargs -0 shellcheck -x .ci/run
}

# Compiles every query against the database and keeps what sqlx saw: the next step compares it.
lint() {
  mkdir -p "$THROWAWAY/queries"
  record_queries "$THROWAWAY/queries" cargo --locked lint
}

check_queries() {
  if [[ ! -d $THROWAWAY/queries ]]; then lint; fi
  compare_queries "$THROWAWAY/queries"
}

# Beside the steps up to the one that needs it, which wait a good deal: the last of a release's crates keeps one core
# busy for minutes. What fails here fails there again, and is shown there.
begin_release() {
  ((${#wanted[@]} == 0)) || return 0
  set -m
  (
    renice -n 10 "$BASHPID"
    release_without_a_database
  ) >"$LOGS/release.out" 2>&1 </dev/null &
  set +m
}

release_without_a_database() {
  unset DATABASE_URL
  cargo_release
}

sandbox_image() {
  need_docker
  build_image
  echo "$SANDBOX_IMAGE" >"$LOGS/image"
  export SANDBOX_IMAGE
  sandbox-image/test.sh
}

# What an earlier step built, or what is there.
use_image() {
  need_docker
  if [[ -s $LOGS/image ]]; then
    SANDBOX_IMAGE=$(<"$LOGS/image")
    export SANDBOX_IMAGE
  else
    build_image
  fi
}

# That they do what they are for is seen from inside sandboxes, by the end-to-end tests.
walls() {
  export_test_deployment
  load_settings
  "$WALLS" up
  "$WALLS" up
  "$WALLS" show
  walls_stand
  "$WALLS" down
  if walls_stand; then echo "the walls stand after being taken down" && return 1; fi
  "$WALLS" down
}

# Two deployments at a time, each in a place of its own: with more, two cores have no time left to give.
LANES=2
# What takes minutes begins first, so that the lanes end together.
LONG_STORIES=(restore asleep_matrix kill_matrix heartbeat asleep upgrade engine conformance)

end_to_end() {
  use_image
  need_chromium
  need_clients
  export LOGS
  export -f end_to_end_test
  in_order_of_length | xargs -P "$LANES" -I {} bash -c 'end_to_end_test {}'
}

# Its words in one piece, once it is over.
end_to_end_test() {
  local started=$SECONDS status=0
  cargo test --locked --workspace --test "$1" >"$LOGS/e2e-$1.out" 2>&1 || status=$?
  cat "$LOGS/e2e-$1.out"
  echo "    $1: $((SECONDS - started)) s"
  return "$status"
}

in_order_of_length() {
  printf '%s\n' "${LONG_STORIES[@]}"
  end_to_end_tests | grep -vxF -f <(printf '%s\n' compose "${LONG_STORIES[@]}")
}

end_to_end_tests() {
  local file
  for file in e2e/tests/*.rs e2e/tests/*/main.rs; do
    file=${file%/main.rs}
    basename "${file%.rs}"
  done
}

# deploy.sh, an upgrade under load, nuke.sh: the way an operator goes.
compose_deployment() {
  use_image
  unset DATABASE_URL
  cargo_release
  cargo test --locked --workspace --test compose
}

# That every row can still be measured. What it comes to is no matter here: other things run on this machine.
benchmarks_in_short() {
  use_image
  infra/bench.sh --quick >"$LOGS/figures"
  cat "$LOGS/figures"
  jq -es 'length == 18 and all(keys == ["floor", "name", "ratio", "unit", "value"])' "$LOGS/figures" >/dev/null
}

# As an operator does it, beside whatever else runs on this machine.
up_again_and_nuke() {
  local started
  use_image
  export_test_deployment
  unset DATABASE_URL
  infra/up.sh
  started=$SECONDS
  infra/up.sh
  echo "the second run took $((SECONDS - started)) s"
  ((SECONDS - started < 30))
  infra/operator.sh doctor
  infra/operator.sh tenant list --json | jq -e '.tenants | length == 1' >/dev/null
  infra/nuke.sh --yes
  infra/nuke.sh --yes | grep "There is nothing of"
}

export_test_deployment() {
  export CLAWKAKA_DEPLOYMENT=ck-test-$$ CLAWKAKA_STATE=$LOGS/state CLAWKAKA_IGNORE_DOTENV=yes
  name_deployment
  make_state_folder
}

closing() {
  headline "Results"
  cat "$LOGS"/*.log | grep -hE '^test result:|^[0-9]+ passed, [0-9]+ failed' || true
  if ((failed)); then
    for name in "${broken[@]}"; do say "failed: $name"; done
  fi
  echo "$passed passed, $failed failed"
  ((failed == 0))
}

# On every way out. Only what this run made: it carries our pid, or is in our folders.
clean_up() {
  local status=$? job
  trap '' INT TERM HUP
  trap - EXIT
  for job in $(jobs -pr); do
    kill -TERM -- "-$job" 2>/dev/null || true
    wait "$job" 2>/dev/null || true
  done
  if [[ -d $LOGS/state ]]; then
    cp -r "$LOGS/state/logs" "$LOGS/up" 2>/dev/null || true
    (export_test_deployment && infra/nuke.sh --yes) >"$LOGS/nuke.out" 2>&1 ||
      warn "not all of ck-test-$$ is gone: $(tail -n 1 "$LOGS/nuke.out")"
  fi
  drop_throwaway_database
  if ((status == 0)); then rm -rf "$LOGS"; else echo "The steps' logs: $LOGS"; fi
  exit "$status"
}

main "$@"
