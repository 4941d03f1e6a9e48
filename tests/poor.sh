#!/usr/bin/env bash
# The test suite where there is little: as an ordinary user in an empty environment, and without any capability and
# without a network, not even loopback. What cannot be tried there says SKIPPED; nothing may fail.
#
#   tests/poor.sh [user] [bare]      (both if none is named)
#
# As root, "user" is nobody (setpriv); an ordinary user stays who he is. "bare" needs user namespaces (unshare -Urn).
# Documentation tests are left out: they are compiled where they run.
set -euo pipefail
cd "$(dirname "$0")/.."

work=$(mktemp -d "${TMPDIR:-/tmp}/vl-poor.XXXXXX")
chmod 777 "$work"
trap 'rm -rf "$work"' EXIT

# Folder and binary of each test program, as cargo would run them.
cargo test --workspace --no-run --message-format=json 2>"$work/log" |
    python3 -c '
import json, os, sys
for line in sys.stdin:
    it = json.loads(line)
    if it.get("profile", {}).get("test") and it.get("executable"):
        print(os.path.dirname(it["manifest_path"]), it["executable"])
' >"$work/all" || { tail -30 "$work/log"; exit 1; }

run() { # run NAME PREFIX...: every test program behind a prefix
    local name=$1 folder binary code=0 out=$work/out
    shift
    while read -r folder binary; do
        if ! (cd "$folder" && "$@" env -i "PATH=$PATH" "TMPDIR=$work" "$binary" --nocapture) >"$out" 2>&1 </dev/null; then
            echo "$name: FAILED: $binary"
            grep -E '^test .* \.\.\. FAILED|panicked at|^error' "$out" | head -40
            code=1
        fi
        grep -E '^test result' "$out" || true
        grep -hE 'SKIPPED|skipped:' "$out" | sort -u || true
    done <"$work/all" | tee "$work/told"
    # The loop ran in a subshell.
    if grep -q 'FAILED:' "$work/told"; then code=1; fi
    awk -v name="$name" '/^test result/ {p += $4; f += $6; s += $8} END {print name": "p" passed, "f" failed, "s" ignored"}' "$work/told"
    return $code
}

code=0
for where in "${@:-user bare}"; do
    for one in $where; do
        case $one in
        user)
            as=()
            if [ "$(id -u)" = 0 ]; then
                as=(setpriv --reuid 65534 --regid 65534 --clear-groups --inh-caps=-all --bounding-set=-all)
                # The tests' own files: what root left there is in the way of anybody else.
                rm -rf target/tmp
                install -d -m 1777 target/tmp
            fi
            run "ordinary user, empty environment" ${as[@]+"${as[@]}"} || code=1
            if [ "$(id -u)" = 0 ]; then
                rm -rf target/tmp
                install -d target/tmp
            fi
            ;;
        bare)
            run "no capability, no network" unshare -Urn setpriv --inh-caps=-all --bounding-set=-all || code=1
            ;;
        *)
            echo "user or bare, not $one"
            exit 2
            ;;
        esac
    done
done
exit $code
