#!/usr/bin/env bash
# The servers' own test suite as a judge of transparency: each unit is run in its external mode twice,
# directly against a server and through crossfade, and afterwards source and target must be equal.
# The suite is not kept here: give the tree of a source package (`apt-get source redis`), with tclsh
# and redis-cli installed.
#
#   deploy/dev/suite.sh TREE                     every unit
#   deploy/dev/suite.sh TREE unit/type/list …    these
#
# SERVER is the server's binary (redis-server), CROSSFADE ours (target/debug/crossfade), OUT where the
# reports go (.cache/suite), PORT the first of four ports (21500).
#
# Exit status 1: a test failed only through crossfade, or the two sides differed.
set -uo pipefail
readonly TREE="$(realpath "${1:?the tree of a source package}")"; shift
cd "$(dirname "$0")/../.."

readonly SERVER="${SERVER:-redis-server}"
readonly CROSSFADE="$(realpath "${CROSSFADE:-target/debug/crossfade}")"
readonly OUT="$(realpath -m "${OUT:-.cache/suite}")"
readonly PORT="${PORT:-21500}"
readonly SOURCE="redis://127.0.0.1:$PORT" TARGET="redis://127.0.0.1:$((PORT + 1))"
readonly PROXY=$((PORT + 2)) ADMIN="127.0.0.1:$((PORT + 3))"
readonly TAGS="-slow -needs:debug -needs:repl -needs:pfdebug -large-memory"
pids=()

say() { printf '%s\n' "$*"; }

units() { (cd "$TREE/tests" && find unit -name '*.tcl' | grep -v /moduleapi/ | sed 's/\.tcl$//' | sort); }

serve() { # serve PORT: a fresh server
  local dir="$OUT/$unit/server-$1"
  rm -rf "$dir" && mkdir -p "$dir"
  "$SERVER" --port "$1" --dir "$dir" --save '' >"$dir/log" 2>&1 &
  pids+=($!)
  until redis-cli -p "$1" PING >/dev/null 2>&1; do sleep 0.05; done
}

stop() {
  [ ${#pids[@]} -eq 0 ] || { kill -9 "${pids[@]}"; wait "${pids[@]}"; } 2>/dev/null
  pids=()
}
trap stop EXIT

suite() { # suite PORT REPORT
  (cd "$TREE" && timeout 900 tclsh tests/test_helper.tcl --host 127.0.0.1 --port "$1" --single "$unit" \
    --tags "$TAGS" --durable --baseport $((PORT + 100)) --timeout 60) >"$2" 2>&1
}

failed() { # failed REPORT: the tests that did, without what differs from run to run
  tr -d '\r' <"$1" | sed 's/\x1b\[[0-9;]*m//g' |
    grep -aE '^\[(err|exception|TIMEOUT)\]' | sed 's/^\[[a-zA-Z]*\]: //; s/0x[0-9a-f]*//g' | sort -u
}

passed() { tr -d '\r' <"$1" | sed 's/\x1b\[[0-9;]*m//g' | grep -acE '^\[ok\]'; }

settled() { # waits until nothing is on its way
  for _ in $(seq 300); do
    "$CROSSFADE" status --admin "$ADMIN" --json 2>/dev/null | python3 -c '
import json, sys
status = json.load(sys.stdin)
mirror = status["mirror"]
sys.exit(status["phase"] != "mirroring" or mirror["queued"] > 0 or mirror["dirty_keys"] > 0)' 2>/dev/null && return 0
    sleep 0.1
  done
  return 1
}

functions() { redis-cli -p "$1" FUNCTION LIST WITHCODE | sort; }

equal() { # equal DIR
  settled || { say "  not settled after 30 s"; return 1; }
  "$CROSSFADE" compare --source "$SOURCE" --target "$TARGET" >"$1/compare" 2>&1 ||
    { say "  different:"; head -20 "$1/compare"; return 1; }
  [ "$(functions "$PORT")" = "$(functions $((PORT + 1)))" ] || { say "  other functions"; return 1; }
}

try() { # try UNIT
  local unit="$1" dir="$OUT/$1" worse result=0
  mkdir -p "$dir"
  serve "$PORT"
  suite "$PORT" "$dir/direct"
  stop
  serve "$PORT"
  serve $((PORT + 1))
  : >"$dir/log"
  "$CROSSFADE" run --source "$SOURCE" --target "$TARGET" --listen "127.0.0.1:$PROXY" --admin "$ADMIN" \
    --allow-admin >"$dir/log" 2>&1 &
  pids+=($!)
  until grep -q ' ready listen=\|"ready listen=\|^ready listen=' "$dir/log"; do sleep 0.05; done
  suite "$PROXY" "$dir/proxied"
  say "$unit: $(passed "$dir/direct") pass directly, $(passed "$dir/proxied") through crossfade"
  [ "$(passed "$dir/direct")" -gt 0 ] || { say "  nothing was tested: see $dir/direct"; result=1; }
  worse="$(comm -13 <(failed "$dir/direct") <(failed "$dir/proxied"))"
  [ -z "$worse" ] || { say "$worse" | sed 's/^/  /'; result=1; }
  equal "$dir" || result=1
  stop
  return $result
}

result=0
for unit in "${@:-$(units)}"; do
  for one in $unit; do try "$one" || result=1; done
done
exit $result
