# shellcheck shell=bash
# What the machine must have: root, Debian's packages, Rust.

readonly APT_LOG=/var/log/clawkaka-apt.log

need_root() {
  [[ $EUID == 0 ]] || die "run this as root: sudo $0"
  command -v apt-get >/dev/null || die "this script installs what it needs with apt: run it on Debian or Ubuntu."
  # Under cron and some containers these are not there.
  export PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin HOME=${HOME:-/root}
}

need_space() {
  local free
  free=$(df -Pk "$ROOT" | awk 'NR == 2 {print int($4 / 1048576)}')
  ((free >= 8)) || die "only $free GB are free on the disk of $ROOT: the first build needs 8 GB."
}

# need_packages <command that shows it is there>:<package>…
need_packages() {
  local pair missing=()
  for pair in "$@"; do
    command -v "${pair%%:*}" >/dev/null || missing+=("${pair#*:}")
  done
  if ((${#missing[@]})); then install_packages "${missing[@]}"; fi
}

install_packages() {
  shown "Installing $*" "Mend apt (apt-get update; apt-get install $*), then run this again." "$APT_LOG" \
    apt_install "$@"
}

apt_install() {
  export DEBIAN_FRONTEND=noninteractive
  # A fresh machine often updates itself in its first minutes: wait for that.
  local install=(apt-get -o DPkg::Lock::Timeout=600 install -y --no-install-recommends)
  # A package list that is too old is the usual reason for a failure, and fetching it is slow.
  "${install[@]}" "$@" || {
    apt-get update
    "${install[@]}" "$@"
  }
}

need_tools() {
  need_packages curl:curl openssl:openssl jq:jq ss:iproute2 ip:iproute2 nft:nftables flock:util-linux \
    runuser:util-linux setsid:util-linux cc:build-essential pgrep:procps
  [[ -f /etc/ssl/certs/ca-certificates.crt ]] || install_packages ca-certificates
}

# The browser of the end-to-end tests. Ubuntu names the packages differently.
need_chromium() {
  local driver=chromium-driver browser=chromium
  if ! apt-cache show chromium-driver >/dev/null 2>&1 && apt-cache show chromium-chromedriver >/dev/null 2>&1; then
    driver=chromium-chromedriver browser=chromium-browser
  fi
  need_packages "$browser:$browser" "chromedriver:$driver"
}

# A toolchain that is new enough stays as it is.
need_rust() {
  local wanted have
  wanted=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' "$ROOT/Cargo.toml")
  export PATH=$HOME/.cargo/bin:$PATH
  if ! command -v cargo >/dev/null; then
    shown "Installing Rust" "See https://rustup.rs, then run this again." "$LOGS/rustup.log" install_rust
  fi
  have=$(cd "$ROOT" && cargo --version | cut -d ' ' -f 2)
  if [[ $(printf '%s\n' "$wanted" "$have" | sort -V | head -n 1) != "$wanted" ]]; then
    command -v rustup >/dev/null || die "this needs Rust $wanted and cargo is $have: install a newer one (https://rustup.rs)."
    shown "Updating Rust $have" "Run: rustup update stable" "$LOGS/rustup.log" rustup update stable
  fi
}

install_rust() {
  curl --proto '=https' --tlsv1.2 -fsSL https://sh.rustup.rs |
    sh -s -- -y --no-modify-path --profile minimal -c clippy -c rustfmt
}
