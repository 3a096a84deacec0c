# Sourced by the scripts here: where the project is, and lines that say what takes how long.
# shellcheck shell=bash
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
project=$PWD
export LC_ALL=C.UTF-8 project

say() { printf '%s\n' "$*"; }
fail() { printf 'scripts/dev/%s: %s\n' "$(basename "$0")" "$*" >&2; exit 1; }

# step NAME COMMAND…: runs it quietly, prints one line with its seconds; on failure prints what it said and stops the script.
step() {
    local name=$1 began=$EPOCHREALTIME log status=0
    shift
    log=$(mktemp)
    "$@" >"$log" 2>&1 || status=$?
    if [ "$status" -ne 0 ]; then
        cat "$log" >&2
        rm -f "$log"
        fail "$name failed (exit code $status)"
    fi
    rm -f "$log"
    printf '%-34s %6.1f s\n' "$name" "$(seconds_since "$began")"
}

# shown NAME COMMAND…: the same with its output shown.
shown() {
    local name=$1 began=$EPOCHREALTIME status=0
    shift
    "$@" || status=$?
    [ "$status" -eq 0 ] || fail "$name failed (exit code $status)"
    printf '%-34s %6.1f s\n' "$name" "$(seconds_since "$began")"
}

seconds_since() { awk -v a="$1" -v b="$EPOCHREALTIME" 'BEGIN { print b - a }'; }
