# shellcheck shell=bash
# Processes that outlive the script: each in a session of its own, with a file that says which it is.
# The file holds pid and start time: a pid alone may belong to somebody else by now.

start_time() {
  # The name in brackets may hold anything; the fields behind it are numbers. 20th behind it: start time.
  sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | cut -d ' ' -f 20
}

# The pid of a process of ours that runs; fails if there is none.
running() {
  local pid started
  read -r pid started 2>/dev/null <"$STATE/run/$1.pid" || return 1
  [[ -n $started && $(start_time "$pid") == "$started" ]] || return 1
  echo "$pid"
}

# start <name> <command…>: output goes to logs/<name>.log
start() {
  local name=$1 pid
  shift
  keep_log_small "$LOGS/$name.log"
  setsid "$@" >>"$LOGS/$name.log" 2>&1 </dev/null 9>&- &
  pid=$!
  disown "$pid"
  echo "$pid $(start_time "$pid")" >"$STATE/run/$name.pid"
}

keep_log_small() {
  local size
  size=$(stat -c %s "$1" 2>/dev/null || echo 0)
  if ((size > 50000000)); then mv "$1" "$1.1"; fi
}

# Asks it to stop, and waits as long as it may take: it finishes what it is doing first.
stop() {
  local name=$1 pid
  if pid=$(running "$name"); then
    kill -TERM "$pid" 2>/dev/null || true
    for _ in {1..300}; do
      running "$name" >/dev/null || break
      sleep 0.1
    done
    if running "$name" >/dev/null; then
      warn "$name (pid $pid) did not stop within 30 s and was killed"
      kill -KILL "$pid" 2>/dev/null || true
      sleep 0.2
    fi
  fi
  rm -f "$STATE/run/$name.pid" "$STATE/run/$name.current"
}

# What a process was started with: when this differs from now, it is out of date.
remember() { echo "$2" >"$STATE/run/$1.current"; }
is_current() { running "$1" >/dev/null && [[ $(cat "$STATE/run/$1.current" 2>/dev/null) == "$2" ]]; }

# No proxy from the environment may come between us and loopback.
fetch() { curl -fsS --noproxy '*' --max-time "${FETCH_TIMEOUT:-5}" "$@"; }

# wait_until_ready <name> <address> <what> <seconds>: its death is noticed at once.
wait_until_ready() {
  local name=$1 address=$2 what=$3 seconds=$4 tries answer
  for ((tries = 0; tries < seconds * 5; tries++)); do
    if answer=$(fetch "$address" 2>/dev/null); then
      say "$what: ready"
      return
    fi
    running "$name" >/dev/null || die "$name ended as it started: the reason is in its log." "$LOGS/$name.log"
    ((tries == 0 || tries % 25)) || say "  … waiting for $what, $((tries / 5)) s: $(why_not_ready "$address")"
    sleep 0.2
  done
  answer=$(why_not_ready "$address")
  die "$what is not ready after $seconds s ($address says: $answer): mend that, then run this again." "$LOGS/$name.log"
}

why_not_ready() {
  local answer
  answer=$(curl -sS --noproxy '*' --max-time 5 "$1" 2>&1) || true
  echo "${answer:-nothing}"
}
