#!/usr/bin/env bash
# Runs every fuzz target for SECONDS (default 60), or the targets named after it; fails on the first finding.
#
#   tests/fuzz/run.sh [SECONDS [TARGET...]]
#
# Needs the nightly toolchain (rustup toolchain install nightly). The examples of docs/protocol.md are the seeds;
# what is found meanwhile stays in tests/fuzz/corpus, a finding in tests/fuzz/artifacts. With CARGO_TARGET_DIR
# set, everything is built below it.
set -euo pipefail
cd "$(dirname "$0")"

seconds=${1:-60}
shift || true

if ! cargo +nightly --version >/dev/null 2>&1; then
    echo "tests/fuzz/run.sh: no nightly toolchain; install one with: rustup toolchain install nightly" >&2
    exit 1
fi
if ! cargo fuzz --version >/dev/null 2>&1; then
    cargo install cargo-fuzz --locked
fi

build=${CARGO_TARGET_DIR:-$PWD/target}/fuzz
targets=("$@")
if [ ${#targets[@]} -eq 0 ]; then
    mapfile -t targets < <(cargo +nightly fuzz list --fuzz-dir .)
fi

# Hex examples, one per line, without comments and without the keys.
seeds=$(awk '
    /^```hex (input|key of) / { next }
    /^```hex / { open = 1; hex = ""; next }
    /^```/ && open { print hex; open = 0 }
    open { sub(/#.*/, ""); gsub(/ /, ""); hex = hex $0 }
' ../../docs/protocol.md)
[ "$(wc -l <<<"$seeds")" -ge 40 ] || { echo "tests/fuzz/run.sh: no examples in docs/protocol.md" >&2; exit 1; }

for target in "${targets[@]}"; do
    corpus=corpus/$target
    mkdir -p "$corpus"
    if [ "$target" = join ]; then
        sed -n '/^```join/,/^```$/p' ../../docs/protocol.md | grep '^lanyard:' | split -l 1 - "$corpus/seed-"
    else
        number=0
        while read -r hex; do
            number=$((number + 1))
            # shellcheck disable=SC2059 # the format is the data: escapes of every byte
            printf "$(sed 's/../\\x&/g' <<<"$hex")" >"$corpus/seed-$number"
        done <<<"$seeds"
    fi
    echo "== $target: $seconds s"
    cargo +nightly fuzz run --fuzz-dir . --target-dir "$build" "$target" "$corpus" -- \
        -max_total_time="$seconds" -max_len=2048 -timeout=5 -rss_limit_mb=1024 -print_final_stats=1 -verbosity=0
done
echo "tests/fuzz/run.sh: ${#targets[@]} targets, no finding"
