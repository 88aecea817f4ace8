#!/usr/bin/env bash
# JWT libraries of other languages over one file of distinct tokens, for orientation: another process, another
# runtime, one thread, and not interleaved with anything. Each checks signature, exp, nbf, iss and aud of every token,
# and counts them. Prints one JSON object a line, as the benches do; installs what it needs by name, of pinned
# versions, below target/. What is not on the machine (node, python3, go) it says it skipped.
set -euo pipefail
cd "$(dirname "$0")"
here=$PWD
work=${CARGO_TARGET_DIR:-$here/../../target}/peers
mkdir -p "$work"

cargo run --quiet --profile bench --package agentkeys-benches --example peer_tokens >"$work/tokens.json"

has() {
    local tool
    for tool in "$@"; do
        command -v "$tool" >/dev/null && continue
        echo "skipped: there is no $tool" >&2
        return 1
    done
}

if has node npm; then
    cp node/* "$work/"
    (cd "$work" && npm ci --ignore-scripts --no-audit --no-fund --silent)
    node "$work/verify.mjs" "$work/tokens.json"
fi
if has python3; then
    [ -d "$work/venv" ] || python3 -m venv "$work/venv"
    "$work/venv/bin/pip" install --quiet --disable-pip-version-check --requirement python/requirements.txt
    "$work/venv/bin/python" python/verify.py "$work/tokens.json"
fi
if has go; then
    (cd go && go build -o "$work/go-verify" .)
    GOMAXPROCS=1 "$work/go-verify" "$work/tokens.json"
fi
