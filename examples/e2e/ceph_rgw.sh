#!/usr/bin/env bash
# The isolation proof on an S3, STS and IAM that nobody here wrote: the Ceph Object Gateway, unmodified from
# the distribution's packages, on 127.0.0.1. Two agents prove themselves, get credentials for tokens of ours, and
# try to list, read and write what is theirs, the other's and nobody's, in three forms of policy; and tokens that
# must not be taken are refused. Exit status 0 only if all of it held. Without apt-get and the gateway it says
# what it skipped; with CI=true that is a failure. What is installed by name needs root.
set -euo pipefail
cd "$(dirname "$0")/../.."
work= gateway=

cleanup() {
    status=$?
    if [ "$status" != 0 ] && [ -e "$gateway/log" ]; then
        tail -n 20 "$gateway/log/client.rgw.log" >&2 || true
    fi
    [ -z "$gateway" ] || examples/e2e/ceph/gateway.sh stop "$gateway"
    [ -z "$work" ] || rm -rf "$work"
}
trap cleanup EXIT

as_root=()
[ "$(id -u)" = 0 ] || as_root=(sudo)
for program in radosgw ceph-mon ceph-osd ceph; do
    command -v "$program" >/dev/null && continue
    if ! command -v apt-get >/dev/null; then
        echo "skipped: the isolation proof on a Ceph Object Gateway (there is no apt-get to install it with)"
        [ "${CI:-}" != true ] || exit 1
        exit 0
    fi
    echo "installing the Ceph Object Gateway: about a minute, once"
    "${as_root[@]}" apt-get update -q >/dev/null
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends \
        radosgw ceph-mon ceph-osd ceph-common >/dev/null
    break
done
cargo build -q -p agentkeys-examples --example ceph_rgw
built="${CARGO_TARGET_DIR:-target}/debug/examples"

# not below TMPDIR: a socket's path is at most 107 bytes
work=$(mktemp -d /tmp/agentkeys-ceph.XXXXXX)
"$built/ceph_rgw" keygen "$work/keys.json"
# the gateway reads a key from its certificate alone; who signed that does not matter
(
    umask 077
    python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["keys"][0]["private_key_pem"])' \
        "$work/keys.json" >"$work/key.pem"
)
openssl req -x509 -new -key "$work/key.pem" -subj /CN=keys -days 1 -out "$work/x5c.pem"
rm "$work/key.pem"

gateway="$work/gateway"
examples/e2e/ceph/gateway.sh start "$gateway"
"$built/ceph_rgw" prove "$gateway/gateway.env" "$work/keys.json" "$work/x5c.pem"
echo "real Ceph Object Gateway: all of it held"
