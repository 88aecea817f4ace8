#!/usr/bin/env bash
# Real SPIRE of one pinned version: a server and an agent on loopback, join-token node attestation, the unix
# workload attestor, one registration entry for this user. Then the quickstart runs beside it, and
# `examples/spire.rs` goes from evidence to credentials, and rotates and revokes the JWT authority while it
# appraises SVIDs. Exit status 0 only if all of it held. Without Go it says what it skipped; with CI=true that
# is a failure.
#
# `spire.sh COMMAND …` runs that command beside this SPIRE instead, with WORKLOAD_SOCKET in its environment.
set -euo pipefail
cd "$(dirname "$0")/../.."
version=v1.15.3 # asks for Go 1.26.6 or later
tools="$PWD/target/tools/spire-$version"
export PATH="$tools:$PATH"
work= server= agent= source=

cleanup() {
    status=$?
    for pid in $agent $server; do
        kill "$pid" 2>/dev/null || true
        wait "$pid" 2>/dev/null || true
    done
    if [ "$status" != 0 ] && [ -n "$work" ]; then
        tail -n 20 "$work"/*.log >&2 || true
    fi
    [ -z "$work$source" ] || rm -rf ${work:+"$work"} ${source:+"$source"}
}
trap cleanup EXIT

# The release's own source, checked against its go.sum. One plugin is left out, an upstream authority that
# nothing here uses, because not every module proxy serves the SDK that it needs.
install_spire() {
    local module
    if ! command -v go >/dev/null; then
        echo "skipped: real SPIRE $version: evidence, identity, token, credentials, rotation, revocation (there is no Go)"
        [ "${CI:-}" != true ] || exit 1
        exit 0
    fi
    echo "building SPIRE $version with $(go env GOVERSION): some minutes, once"
    module=$(go mod download -json "github.com/spiffe/spire@$version" |
        python3 -c 'import json, sys; print(json.load(sys.stdin)["Dir"])')
    mkdir -p "$tools"
    source=$(mktemp -d "$tools/source.XXXXXX")
    cp -r "$module/." "$source"
    chmod -R u+w "$source"
    sed -i '/ejbca/d' "$source/pkg/server/catalog/upstreamauthority.go"
    for program in spire-agent spire-server; do
        (cd "$source" && go build -buildvcs=false -o "$tools/$program.new" "./cmd/$program")
        mv "$tools/$program.new" "$tools/$program"
    done
}

# waits until a command succeeds, for half a minute at most
until_well() {
    for _ in $(seq 300); do
        "$@" >/dev/null 2>&1 && return
        sleep 0.1
    done
    echo "not in half a minute: $*" >&2
    return 1
}

{ [ -x "$tools/spire-server" ] && [ -x "$tools/spire-agent" ]; } || install_spire
[ "$#" -gt 0 ] || cargo build -q -p agentkeys-examples --example spire --example quickstart
built="${CARGO_TARGET_DIR:-target}/debug/examples"

# not below TMPDIR: a socket's path is at most 107 bytes
work=$(mktemp -d /tmp/agentkeys-spire.XXXXXX)
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
cat >"$work/server.conf" <<CONF
server {
    bind_address = "127.0.0.1"
    bind_port = "$port"
    socket_path = "$work/server.sock"
    trust_domain = "example.org"
    data_dir = "$work"
    log_level = "WARN"
    experimental { cache_reload_interval = "1s" }
}
plugins {
    DataStore "sql" { plugin_data { database_type = "sqlite3" connection_string = "$work/server.sqlite3" } }
    NodeAttestor "join_token" { plugin_data {} }
    KeyManager "memory" { plugin_data {} }
}
CONF
cat >"$work/agent.conf" <<CONF
agent {
    data_dir = "$work/agent"
    log_level = "WARN"
    server_address = "127.0.0.1"
    server_port = "$port"
    socket_path = "$work/agent.sock"
    trust_bundle_path = "$work/bundle.pem"
    trust_domain = "example.org"
    experimental { sync_interval = "1s" }
}
plugins {
    NodeAttestor "join_token" { plugin_data {} }
    KeyManager "memory" { plugin_data {} }
    WorkloadAttestor "unix" { plugin_data {} }
}
CONF

spire-server run -config "$work/server.conf" >"$work/server.log" 2>&1 &
server=$!
at_server=(-socketPath "$work/server.sock")
until_well spire-server healthcheck "${at_server[@]}"
spire-server bundle show "${at_server[@]}" >"$work/bundle.pem"
token=$(spire-server token generate "${at_server[@]}" -output json |
    python3 -c 'import json, sys; print(json.load(sys.stdin)["value"])')
spire-server entry create "${at_server[@]}" \
    -parentID "spiffe://example.org/spire/agent/join_token/$token" \
    -spiffeID spiffe://example.org/agent/acme/violet -selector "unix:uid:$(id -u)" >/dev/null
spire-agent run -config "$work/agent.conf" -joinToken "$token" >"$work/agent.log" 2>&1 &
agent=$!
until_well spire-agent healthcheck -socketPath "$work/agent.sock"
# a healthy agent need not have the registration entry yet
until_well spire-agent api fetch jwt -audience agentkeys -socketPath "$work/agent.sock"

echo "SPIRE $version: server and agent on 127.0.0.1, spiffe://example.org/agent/acme/violet for uid $(id -u)"
if [ "$#" -gt 0 ]; then
    WORKLOAD_SOCKET="$work/agent.sock" "$@"
    exit
fi
"$built/quickstart" --spire "unix://$work/agent.sock" --json |
    python3 -c 'import json, sys; r = json.load(sys.stdin); assert r["checks"] == r["held"] >= 200, r["checks"]
assert sum(cell["agent"] == "violet" for cell in r["matrix"]) == 36
print("quickstart with SPIRE:", r["checks"], "checks,", r["held"], "held")'
"$built/spire" "unix://$work/agent.sock" --rotate spire-server "$work/server.sock"
echo "real SPIRE: all of it held"
