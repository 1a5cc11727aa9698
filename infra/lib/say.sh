# shellcheck shell=bash
# How our scripts talk: headlines, progress of long steps, and one clear sentence when something fails.

headline() { printf '\n==> %s\n' "$*"; }
say() { printf '    %s\n' "$*"; }
warn() { printf '    ! %s\n' "$*" >&2; }

# die "sentence that says what to do" [log file]
die() {
  printf '\nFAILED: %s\n' "$1" >&2
  if [[ -n ${2:-} && -s ${2:-} ]]; then
    printf -- '--- the end of %s\n' "$2" >&2
    tail -n 25 "$2" >&2
  fi
  exit 1
}

# shown "what" "what to do if it fails" <log> <command…>
# Runs a command with its output in a log, and shows that it is alive. The command is a job of its own, so that
# Ctrl-C reaches all of it.
shown() {
  local what=$1 remedy=$2 log=$3 started=$SECONDS status=0
  shift 3
  mkdir -p "$(dirname "$log")"
  : >"$log"
  say "$what …"
  set -m
  (set -e; "$@") >"$log" 2>&1 </dev/null &
  shown_job=$!
  set +m
  trap 'kill -TERM -- "-$shown_job" 2>/dev/null; exit 130' INT TERM
  show_life "$shown_job" "$log"
  wait "$shown_job" || status=$?
  trap - INT TERM
  if ((status != 0)); then
    die "$what did not work. $remedy" "$log"
  fi
  say "$what: done in $((SECONDS - started)) s"
}

# Every ten seconds the last line of the log, until the job ends.
show_life() {
  local job=$1 log=$2 waited=0
  while kill -0 "$job" 2>/dev/null; do
    sleep 0.2
    waited=$((waited + 1))
    if ((waited % 50 == 0)); then
      say "  … $((waited / 5)) s  $(last_words "$log")"
    fi
  done
}

# The last line with something on it, without control characters, cut to fit.
last_words() {
  tail -c 2000 "$1" | tr '\r' '\n' | tr -cd '[:print:]\n' | grep -v '^ *$' | tail -n 1 | cut -c 1-90 || true
}
