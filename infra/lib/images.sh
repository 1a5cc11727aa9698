# shellcheck shell=bash
# shellcheck disable=SC2034 # the images' names are used by other pieces
# The images of a Compose deployment: the public ones and a build on public ones where a registry is reachable; else
# stand-ins out of Debian's packages, and the program that this machine compiles.

readonly PUBLIC_POSTGRES=postgres:15-bookworm PUBLIC_CADDY=caddy:2.11

# Sets POSTGRES_IMAGE, CADDY_IMAGE and CLAWKAKA_IMAGE.
make_images() {
  if registry_is_reachable; then
    shown "Building the product's image" "Mend the error above, then run this again." "$LOGS/backend-image.log" \
      docker_build --build-arg "BUILD=$(build_name)" -t "$(working_tag backend)" -f "$ROOT/infra/backend.Dockerfile" "$ROOT"
  else
    say "No registry is reachable: images are made from Debian's packages"
    make_stand_ins
    add_local_program
  fi
  CLAWKAKA_IMAGE=$(named_by_content clawkaka "$(working_tag backend)")
  say "The product's image is $CLAWKAKA_IMAGE"
}

# What is here already is not asked for again.
registry_is_reachable() {
  local image
  POSTGRES_IMAGE=$PUBLIC_POSTGRES CADDY_IMAGE=$PUBLIC_CADDY
  for image in "$PUBLIC_POSTGRES" "$PUBLIC_CADDY"; do
    image_exists "$image" || { say "Pulling $image …" && timeout 600 docker pull -q "$image" >"$LOGS/pull.log" 2>&1; } ||
      return 1
  done
}

docker_build() { docker build --network host "$@" 9>&-; }

# By this name an image is built; what runs has a name that says what is in it, so that nothing changes under it.
working_tag() { echo "clawkaka-$1:$CLAWKAKA_DEPLOYMENT"; }

named_by_content() {
  local id tag
  id=$(docker image inspect -f '{{.Id}}' "$2")
  tag=$1:${id:7:12}
  docker tag "$2" "$tag"
  docker rmi "$2" >/dev/null
  echo "$tag"
}

build_name() { echo "${CLAWKAKA_BUILD:-$(sed -n 's/^version = "\(.*\)"/\1/p' "$ROOT/Cargo.toml" | head -n 1)}"; }

make_stand_ins() {
  local base
  base=clawkaka-debian:$(declare -f make_debian | sha256sum | cut -c 1-12)
  image_exists "$base" ||
    shown "Making a Debian image" "Mend the error above, then run this again." "$LOGS/debian-image.log" make_debian "$base"
  shown "Building the stand-ins" "Mend the error above, then run this again." "$LOGS/stand-ins.log" build_stand_ins "$base"
  POSTGRES_IMAGE=$(named_by_content clawkaka-postgres "$(working_tag postgres)")
  CADDY_IMAGE=$(named_by_content clawkaka-caddy "$(working_tag caddy)")
}

make_debian() {
  local work
  command -v mmdebstrap >/dev/null || apt_install mmdebstrap
  work=$(mktemp -d)
  # No documentation and no translations: nobody reads them in a container.
  mmdebstrap --quiet --variant=minbase --include=ca-certificates \
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' bookworm "$work/root.tar"
  docker import --change 'ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' \
    --change 'LABEL clawkaka.image=stand-in' "$work/root.tar" "$1"
  rm -rf "$work"
}

build_stand_ins() {
  local name
  for name in postgres caddy; do
    docker_build --build-arg "BASE=$1" -t "$(working_tag "$name")" -f "$ROOT/infra/stand-in/$name.Dockerfile" \
      "$ROOT/infra/stand-in"
  done
  docker_build --build-arg "BASE=$1" --target runtime -t "$(working_tag runtime)" -f "$ROOT/infra/backend.Dockerfile" "$ROOT"
}

# The program of this machine, or the one that CLAWKAKA_BIN names, on the same base as in backend.Dockerfile.
add_local_program() {
  local program=${CLAWKAKA_BIN:-} context
  if [[ -z $program ]]; then
    need_rust
    build_release
    program=$ROOT/target/release/clawkaka
  fi
  [[ -x $program ]] || die "CLAWKAKA_BIN names $program, which is no program."
  context=$(mktemp -d)
  install -m 755 "$program" "$context/clawkaka"
  printf 'FROM %s\nCOPY clawkaka /usr/local/bin/clawkaka\nLABEL clawkaka.build="%s"\n' \
    "$(working_tag runtime)" "$(build_name)" >"$context/Dockerfile"
  shown "Building the product's image" "Mend the error above, then run this again." "$LOGS/backend-image.log" \
    docker_build -t "$(working_tag backend)" "$context"
  rm -rf "$context"
}
