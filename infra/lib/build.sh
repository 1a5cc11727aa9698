# shellcheck shell=bash
# What we build: the release binaries and the sandbox image. Both do nothing when nothing changed.

build_release() {
  shown "Building target/release/clawkaka" "Mend the error above, then run this again." "$LOGS/build.log" \
    cargo_release
}

cargo_release() {
  cd "$ROOT" || return
  # The checked queries are committed: no build needs a database, whatever .env says.
  SQLX_OFFLINE=true cargo build --locked --release --bins --target-dir "$ROOT/target"
}

# Sets SANDBOX_IMAGE. Its tag says what is in it, so that a change gives a new image.
build_image() {
  if is_set SANDBOX_IMAGE; then
    image_exists "$SANDBOX_IMAGE" ||
      die "the image in SANDBOX_IMAGE ($SANDBOX_IMAGE) is not on this machine: docker pull it, or unset SANDBOX_IMAGE."
    return
  fi
  shown "Building the sandbox image" "Mend the error above, then run this again." "$LOGS/image.log" make_image
  SANDBOX_IMAGE=$(image_in_log)
  export SANDBOX_IMAGE
  sed -n '/^image: measuring/,$p' "$LOGS/image.log" | sed 's/^/    /'
  say "The sandbox image is $SANDBOX_IMAGE"
}

# It measures what it built, which is worth knowing but no reason to stop.
make_image() {
  "$ROOT/infra/build-image.sh" || image_exists "$(image_in_log)"
}

# build-image.sh names it in its first or last words: "<name> is built", "building <name> on <base>".
image_in_log() {
  sed -nE 's/^image: ([^ ]+) is built$/\1/p; s/^image: building ([^ ]+) on .*/\1/p' "$LOGS/image.log" | tail -n 1
}

image_exists() { [[ -n $1 ]] && docker image inspect "$1" >/dev/null 2>&1; }
