#!/usr/bin/env bash
# The same runs in two processes: what they print and what they capture are the same, byte for byte.
set -euo pipefail
cd "$(dirname "$0")/.."
export CARGO_TERM_COLOR=never

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

for turn in 1 2; do
    cargo test -q -p vethlab --test it -- --ignored --exact determinism::print_what_the_scenes_leave --nocapture |
        grep '^run ' >"$work/scenes.$turn"
    for project in examples/*/compose.yaml; do
        name=$(basename "$(dirname "$project")")
        for at in crossing all; do
            cargo run -q -p vethlab-cli -- check "$project" --seed 7 --format json \
                --capture "$work/$name.$at.pcapng.$turn" --capture-at "$at" \
                >"$work/$name.$at.json.$turn" 2>"$work/log" || { cat "$work/log"; exit 1; }
        done
    done
done

[ -s "$work/scenes.1" ] || { echo 'no scene was run'; exit 1; }
for first in "$work"/*.1; do
    [ -s "$first" ] || { echo "${first##*/} is empty"; exit 1; }
    cmp "$first" "${first%.1}.2" || { echo "${first##*/} differs between two processes"; exit 1; }
done

# Watching does not change the answers.
for first in "$work"/*.crossing.json.1; do
    cmp "$first" "${first%.crossing.json.1}.all.json.1" || { echo "${first##*/} depends on the capture"; exit 1; }
done
echo "$(wc -l <"$work/scenes.1") scenes and $(ls "$work"/*.json.1 | wc -l) checks: the same in two processes"
