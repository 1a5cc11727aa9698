# shellcheck shell=bash
# WhatsApp and a model, simulated, where there are no credentials: `clawkaka-sim --help` says all it can do.

readonly FIRST_PERSON=15550001

start_simulator() {
  local program=$ROOT/target/release/clawkaka-sim now
  local real_model=()
  # The page says whose answers it shows.
  if [[ $SIMULATED_MODEL == no ]]; then real_model=(--real-model "${LLM_MODEL:-of your choice}"); fi
  now=$(sha256sum "$program" | cut -d ' ' -f 1)-$(simulator_ports | sha256sum)-$PORT${real_model[*]:+-${real_model[*]}}
  if is_current simulator "$now"; then
    say "The simulator runs"
    return
  fi
  stop simulator
  simulator_ports | check_ports
  write_secret_files
  start simulator "$program" --whatsapp-port "$SIM_WHATSAPP_PORT" --model-port "$SIM_MODEL_PORT" \
    --control-port "$SIM_CONTROL_PORT" --webhook-url "http://127.0.0.1:$PORT/whatsapp/webhook" \
    --app-secret-file "$STATE/run/app-secret" --access-token-file "$STATE/run/access-token" \
    --phone-number-id "$WHATSAPP_SENDER_PHONE_NUMBER_ID" --model-key-file "$STATE/run/model-key" "${real_model[@]}"
  wait_until_ready simulator "$(control)/healthz" "the simulator" 20
  remember simulator "$now"
}

# In files, so that no secret shows in the list of processes.
write_secret_files() {
  (
    umask 077
    echo "$SIMULATED_APP_SECRET" >"$STATE/run/app-secret"
    echo "$SIMULATED_ACCESS_TOKEN" >"$STATE/run/access-token"
    echo "$SIMULATED_MODEL_KEY" >"$STATE/run/model-key"
  )
}

control() { echo "http://127.0.0.1:$SIM_CONTROL_PORT"; }

# Says something as a person, and prints both sides until the answer is there.
first_message() {
  local text=$1 before said wamid
  before=$(answers | jq length)
  said=$(FETCH_TIMEOUT=120 fetch "$(control)/say" -H 'content-type: application/json' \
    -d "$(jq -n --arg phone "$FIRST_PERSON" --arg text "$text" '{person: $phone, text: $text, until_taken: true}')") ||
    die "the webhook on port $PORT did not take the first message: the reason is in the log." "$LOGS/serve.log"
  wamid=$(jq -r .wamid <<<"$said")
  echo
  echo "You: $text"
  print_answers_until_done "$wamid" "$before"
}

# What the person has been sent so far, oldest first.
answers() { fetch "$(control)/chat/$FIRST_PERSON" | jq -c '[.messages[] | select(.side == "assistant") | .text]'; }

# The message is done with when the product's own books say so: at first contact a sentence of ours comes before the
# agent's answer, so that counting messages would not do.
print_answers_until_done() {
  local wamid=$1 shown=$2 new tries outcome
  for ((tries = 0; tries < 600; tries++)); do
    outcome=$(outcome_of "$wamid")
    new=$(answers)
    while ((shown < $(jq length <<<"$new"))); do
      echo "Clawkaka: $(jq -r ".[$shown]" <<<"$new")"
      shown=$((shown + 1))
    done
    case $outcome in
      answered) return ;;
      ?*) die "the first message ended as \"$outcome\" and not as answered: the reason is in the log." "$LOGS/serve.log" ;;
    esac
    running serve >/dev/null || die "clawkaka serve ended while it answered: the reason is in its log." "$LOGS/serve.log"
    ((tries == 0 || tries % 20)) || say "  … waiting for the answer, $((tries / 2)) s"
    sleep 0.5
  done
  die "no answer came within 5 minutes: the reason is in the log." "$LOGS/serve.log"
}

# How a message ended, once everything that answers it has left; nothing before.
outcome_of() {
  "$(postgres_bin)/psql" "$DATABASE_URL" -XqAt -v ON_ERROR_STOP=1 -v "wamid=$1" <<'SQL'
select outcome from inbox
where kind = 'message' and provider_id = :'wamid' and done_at is not null
  and not exists (select from outbox
                  where outbox.turn_id = inbox.turn_id and state in ('queued', 'sending', 'unknown'));
SQL
}
