#!/usr/bin/env bash
# Installs the Debian packages whose commands are missing, quietly, and does nothing otherwise.
#
#   need.sh COMMAND[=PACKAGE]... python3:MODULE=PACKAGE...
#
# Debian's redis-server starts a service on 6379 when it is installed. That one is the machine's:
# whatever is started here takes a free port, and only what was started here is stopped.
set -euo pipefail

present() {
  case "$1" in
    # Modules are packaged for Debian's own interpreter, not for the first one on PATH.
    python3:*) /usr/bin/python3 -c "import ${1#*:}" 2>/dev/null ;;
    *) command -v "$1" >/dev/null ;;
  esac
}

missing=()
for need in "$@"; do
  present "${need%%=*}" || missing+=("${need#*=}")
done
[ ${#missing[@]} -eq 0 ] && exit 0

if ! command -v apt-get >/dev/null; then
  echo "missing: ${missing[*]}, and there is no apt-get here: please install them" >&2
  exit 1
fi

as_root=()
if [ "$(id -u)" -ne 0 ]; then
  command -v sudo >/dev/null || { echo "missing: ${missing[*]}: install them as root" >&2; exit 1; }
  as_root=(sudo)
fi
quiet=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq -o Dpkg::Use-Pty=0)

echo "installing ${missing[*]}" >&2
log="$(mktemp)"
trap 'rm -f "$log"' EXIT
install() { "${quiet[@]}" install -y --no-install-recommends "${missing[@]}" >"$log" 2>&1; }

# The lists of a fresh machine or container are empty or old: try, refresh, try again.
install || { "${quiet[@]}" update >"$log" 2>&1; install; } || {
  echo "could not install ${missing[*]}:" >&2
  tail -5 "$log" >&2
  exit 1
}
