#!/usr/bin/env bash
# The isolation proof on an S3, STS and IAM that nobody here wrote: the Ceph Object Gateway, unmodified from
# the distribution's packages, on 127.0.0.1. Two agents prove themselves, get credentials for tokens of ours, and
# try to list, read and write what is theirs, the other's and nobody's, in three forms of policy; and tokens that
# must not be taken are refused. `spire.sh examples/e2e/ceph_rgw.sh` adds an agent whom a real SPIRE vouches for, and who
# comes through the broker with a sidecar and boto3. Exit status 0 only if all of it held. Without apt-get and the
# gateway it says what it skipped; with CI=true that is a failure. It needs root, or sudo: for what it installs by name,
# and to put a certificate authority of this test into the trust store and take it out again.
set -euo pipefail
cd "$(dirname "$0")/../.."
work= gateway= broker= authority=

cleanup() {
    status=$?
    if [ -n "$authority" ]; then
        # update-ca-certificates takes what is gone out of the bundle, and leaves the links to it
        link=$(basename "$authority" .crt).pem
        "${as_root[@]}" rm -f "$authority"
        "${as_root[@]}" find /etc/ssl/certs -maxdepth 1 \( -name "$link" -o -lname "$link" \) -delete || true
        "${as_root[@]}" update-ca-certificates >/dev/null 2>&1 || true
    fi
    if [ "$status" != 0 ] && [ -e "$gateway/log" ]; then
        tail -n 20 "$gateway/log/client.rgw.log" >&2 || true
    fi
    if [ -n "$broker" ]; then
        kill "$broker" 2>/dev/null || true
        wait "$broker" 2>/dev/null || true
    fi
    [ -z "$gateway" ] || examples/e2e/ceph/gateway.sh stop "$gateway" || true
    [ -z "$work" ] || rm -rf "$work"
}
trap cleanup EXIT

as_root=()
[ "$(id -u)" = 0 ] || as_root=(sudo)
for program in radosgw ceph-mon ceph-osd ceph curl openssl ss update-ca-certificates; do
    command -v "$program" >/dev/null && continue
    if ! command -v apt-get >/dev/null; then
        echo "skipped: the isolation proof on a Ceph Object Gateway (there is no apt-get to install it with)"
        [ "${CI:-}" != true ] || exit 1
        exit 0
    fi
    echo "installing the Ceph Object Gateway: about a minute, once"
    "${as_root[@]}" apt-get update -q >/dev/null
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends \
        radosgw ceph-mon ceph-osd ceph-common ca-certificates curl iproute2 openssl >/dev/null
    break
done
if ! python3 -c 'import socket
s = socket.socket()
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind(("127.0.0.1", 443))'; then
    echo "an issuer has no port, so the broker must be able to listen on 127.0.0.1:443: run this as root, or set" \
        "net.ipv4.ip_unprivileged_port_start, and let nobody else listen there"
    exit 1
fi
cargo build -q -p agentkeys-examples --example broker --example ceph_rgw --example sidecar
built="${CARGO_TARGET_DIR:-target}/debug/examples"

# not below TMPDIR: a socket's path is at most 107 bytes
work=$(mktemp -d /tmp/agentkeys-ceph.XXXXXX)

# The broker's own issuer, over TLS under a certificate authority of this test, which the gateway finds where every
# program does. An issuer that AWS registers has no port, so it is 443.
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=agentkeys test authority" -days 1 \
    -keyout "$work/ca.key" -out "$work/ca.pem" 2>/dev/null
openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=localhost \
    -keyout "$work/tls.key" -out "$work/tls.csr" 2>/dev/null
openssl x509 -req -in "$work/tls.csr" -CA "$work/ca.pem" -CAkey "$work/ca.key" -CAcreateserial -days 1 \
    -extfile <(printf 'subjectAltName=DNS:localhost,IP:127.0.0.1') -out "$work/tls.pem" 2>/dev/null
authority=/usr/local/share/ca-certificates/agentkeys-test-$$.crt
"${as_root[@]}" cp "$work/ca.pem" "$authority"
"${as_root[@]}" update-ca-certificates >/dev/null 2>&1

"$built/broker" keygen oidc "$work/oidc-keypair.json" >/dev/null
"$built/broker" keygen session "$work/session-keypair.json" >/dev/null
"$built/broker" audit "$work/audit.db" >/dev/null
# the gateway reads a key from its certificate alone; who signed that does not matter
(
    umask 077
    python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["keys"][0]["private_key_pem"])' \
        "$work/oidc-keypair.json" >"$work/oidc.key"
)
openssl req -x509 -new -key "$work/oidc.key" -subj /CN=keys -days 1 -out "$work/x5c.pem"
rm "$work/oidc.key"

gateway="$work/gateway"
examples/e2e/ceph/gateway.sh start "$gateway"
# shellcheck disable=SC1091
. "$gateway/gateway.env"
operator=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
cat >"$work/broker.toml" <<CONF
issuer = "https://localhost"
region = "us-east-1"
sts_endpoint = "$GATEWAY_URL"
oidc_keypair = "oidc-keypair.json"
session_keypair = "session-keypair.json"
audit_database = "audit.db"
listen = "127.0.0.1:443"
operator_listen = "127.0.0.1:$operator"
certificate = "tls.pem"
private_key = "tls.key"
x5c = "x5c.pem"
session_duration_seconds = "900"

[attestor]
ATTESTOR = "spire"
SPIRE_TRUST_DOMAIN = "example.org"
SPIRE_AUDIENCE = "agentkeys"
SPIRE_TEMPLATE = "/agent/{tenant}/{agent}"
SPIFFE_ENDPOINT_SOCKET = "unix://${WORKLOAD_SOCKET:-$work/no-agent.sock}"

[[tenants]]
root = "spiffe://example.org"
name = "acme"
roles.memory = "arn:aws:iam::123456789012:role/agentkeys-memory-role"
roles.vault = "arn:aws:iam::123456789012:role/agentkeys-vault-role"
CONF
"$built/broker" check --config "$work/broker.toml"
"$built/broker" serve --config "$work/broker.toml" >"$work/broker.out" 2>"$work/broker.log" &
broker=$!
for _ in $(seq 100); do
    curl -sf -o /dev/null https://localhost/healthz && break
    kill -0 "$broker" || { cat "$work/broker.log" >&2; exit 1; }
    sleep 0.1
done
curl -sf https://localhost/.well-known/jwks.json | grep -q '"x5c"'

"$built/ceph_rgw" prove "$gateway/gateway.env" "$work/oidc-keypair.json" https://localhost |
    tee "$work/proof"

# SPIRE, broker, gateway: the agent's code is plain boto3, and knows nothing but the sidecar's endpoint. (The gateway's
# errors have an empty message, which some versions of awscli cannot print.)
if [ -n "${WORKLOAD_SOCKET:-}" ]; then
    python3 -m venv "$work/venv"
    "$work/venv/bin/pip" install --quiet --disable-pip-version-check boto3
    cat >"$work/agent.py" <<'PY'
import os, re, sys
import boto3
from botocore.exceptions import ClientError

static = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_ROLE_ARN")
assert not [name for name in static if name in os.environ]
bucket, own, checks = "agentkeys-memory-123456789012", sys.argv[1], 0
assert re.fullmatch("bots/[0-9a-f]{64}/memory/", own), own
s3 = boto3.client("s3")

s3.put_object(Bucket=bucket, Key=own + "note.txt", Body=b"from violet")
assert s3.get_object(Bucket=bucket, Key=own + "note.txt")["Body"].read() == b"from violet"
assert [item["Key"] for item in s3.list_objects_v2(Bucket=bucket, Prefix=own)["Contents"]] == [own + "note.txt"]
checks += 3
for place in (f"bots/{'0' * 64}/memory/", own.replace("/memory/", "/data/"), ""):
    for call in (lambda: s3.list_objects_v2(Bucket=bucket, Prefix=place),
                 lambda: s3.get_object(Bucket=bucket, Key=place + "note.txt"),
                 lambda: s3.put_object(Bucket=bucket, Key=place + "note.txt", Body=b"x")):
        try:
            call()
        except ClientError as error:
            found = error.response["Error"]["Code"], error.response["ResponseMetadata"]["HTTPStatusCode"]
            assert found == ("AccessDenied", 403), found
            checks += 1
        else:
            raise AssertionError(f"{place} was open")
print(f"SPIRE, broker, gateway: {checks} requests of agent violet as they must be")
PY
    env AGENTKEYS_BROKER=https://localhost AGENTKEYS_CLASS=memory AGENTKEYS_CA_FILE="$work/ca.pem" \
        ATTESTOR=spire SPIRE_AUDIENCE=agentkeys SPIFFE_ENDPOINT_SOCKET="unix://$WORKLOAD_SOCKET" \
        AWS_ENDPOINT_URL="$GATEWAY_URL" AWS_REGION=us-east-1 AWS_DEFAULT_REGION=us-east-1 \
        "$built/sidecar" exec -- "$work/venv/bin/python" "$work/agent.py" \
        "$(sed -n 's/^agent violet of SPIRE: //p' "$work/proof")"
fi
echo "real Ceph Object Gateway: all of it held"
