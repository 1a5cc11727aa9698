# shellcheck shell=bash
# Other people's WhatsApp clients, which the end-to-end tests hold our simulators against. Node comes with them, as
# a package of its own: Debian's is too old for them, and is only there because npm needs it.

# Does nothing when what is there is what the lock file says.
need_clients() {
  local folder=$ROOT/e2e/clients made
  made=$folder/node_modules/.made-of
  if cmp -s "$folder/package-lock.json" "$made"; then return; fi
  need_packages npm:npm
  shown "Fetching other people's WhatsApp clients" "Run: npm ci --ignore-scripts in e2e/clients" "$LOGS/clients.log" \
    fetch_clients "$folder"
  cp "$folder/package-lock.json" "$made"
}

# No install scripts: nothing of others runs before we ask it to.
fetch_clients() { npm ci --prefix "$1" --ignore-scripts --no-audit --no-fund; }
