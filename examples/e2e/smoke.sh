#!/usr/bin/env bash
# The evidence that attestation works, from a broker that runs: a registration and who vouches for it, a token, a
# call that the credentials open and one that they do not, and the timeline of it all. Starts the demonstration,
# or looks at one that is up already: `smoke.sh FOLDER/broker.env`. Exit status 0 only if every step is there; it
# can be run again and again.
set -euo pipefail
cd "$(dirname "$0")/../.."
work=$(mktemp -d)
broker=
cleanup() {
    if [ -n "$broker" ]; then
        kill -TERM "$broker" 2>/dev/null || true
        wait "$broker" 2>/dev/null || true
    fi
    rm -rf "$work"
}
trap cleanup EXIT

missing() {
    echo "smoke: MISSING: $*" >&2
    exit 1
}

if [ $# -eq 0 ]; then
    cargo build -q -p agentkeys-examples --example broker
    "${CARGO_TARGET_DIR:-target}/debug/examples/broker" demo "$work/state" >"$work/out" 2>"$work/log" &
    broker=$!
    for _ in $(seq 300); do
        grep -q 'broker: serving' "$work/out" && break
        kill -0 "$broker" || missing "the broker ended early"
        sleep 0.1
    done
    grep -q 'broker: serving' "$work/out" || missing "the broker did not come up"
    set -- "$work/state/broker.env"
fi
# shellcheck disable=SC1090
. "$1"
agent=blue

# one member of the JSON on stdin, which must be there
member() {
    python3 -c '
import json, sys
value = json.load(sys.stdin)
for name in sys.argv[1].split("."):
    value = value[name]
print(value)
' "$1" || missing "$1"
}

# what must not stand in a list of processes stands in a file
header() {
    printf 'authorization: Bearer %s\n' "$2" >"$work/$1"
}

echo "== 1 evidence of agent $agent, as its pod has it"
test -s "$BLUE_EVIDENCE_FILE" || missing "the pod's token"
python3 - "$BLUE_EVIDENCE_KIND" "$BLUE_EVIDENCE_FILE" >"$work/attest" <<'PY'
import json, sys
print(json.dumps({"kind": sys.argv[1], "evidence": open(sys.argv[2]).read()}))
PY

echo "== 2 registration"
curl -sS --fail-with-body -H 'content-type: application/json' --data-binary "@$work/attest" \
    "$BROKER_URL/v1/attest" >"$work/registered" || missing "the registration: $(cat "$work/registered")"
issuer=$(member issuer <"$work/registered")
[ "$issuer" = "$BLUE_EVIDENCE_KIND" ] || missing "the issuer of the registration is $issuer"
[ "$(member agent <"$work/registered")" = "$agent" ] || missing "the agent of the registration"
echo "registered agent=$agent issuer=$issuer subject=$(member subject <"$work/registered")"
header session "$(member session <"$work/registered")"

echo "== 3 token"
curl -sS --fail-with-body -X POST -H "@$work/session" "$BROKER_URL/v1/mint-oidc-jwt" >"$work/token" ||
    missing "the token"
python3 - "$work/token" "$BROKER_URL" <<'PY' || missing "what a token must say"
import base64, json, sys
jwt = json.load(open(sys.argv[1]))["jwt"]
claims = json.loads(base64.urlsafe_b64decode(jwt.split(".")[1] + "=="))
assert claims["iss"] == sys.argv[2] and claims["aud"] == "sts.amazonaws.com", claims
tags = claims["https://aws.amazon.com/tags"]["principal_tags"]
assert len(tags["agentkeys_actor_omni"]) == 1, tags
print("token_issued jti=%s for %s" % (claims["jti"], claims["aud"]))
PY

echo "== 4 an authorised call"
curl -sS --fail-with-body -X POST -H "@$work/session" "$BROKER_URL/v1/mint-aws-creds/memory" >"$work/credentials" ||
    missing "the credentials"
# the list of a prefix, signed as any SDK signs it
# https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
list() {
    python3 - "$work/credentials" "$1" >"$work/listed" <<'PY'
import datetime, hashlib, hmac, json, os, sys, urllib.error, urllib.parse, urllib.request

credentials, prefix = json.load(open(sys.argv[1])), sys.argv[2]
endpoint, region = os.environ["AWS_ENDPOINT_URL"], os.environ["AWS_REGION"]
path = "/" + os.environ["MEMORY_BUCKET"]
query = "list-type=2&prefix=" + urllib.parse.quote(prefix, safe="")
date = datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%dT%H%M%SZ")
empty = hashlib.sha256(b"").hexdigest()
headers = {
    "host": urllib.parse.urlsplit(endpoint).netloc,
    "x-amz-content-sha256": empty,
    "x-amz-date": date,
    "x-amz-security-token": credentials["session_token"],
}
names = ";".join(sorted(headers))
canonical = "".join("%s:%s\n" % (name, headers[name]) for name in sorted(headers))
request = "\n".join(["GET", path, query, canonical, names, empty])
scope = "/".join([date[:8], region, "s3", "aws4_request"])
to_sign = "\n".join(["AWS4-HMAC-SHA256", date, scope, hashlib.sha256(request.encode()).hexdigest()])
key = ("AWS4" + credentials["secret_access_key"]).encode()
for part in scope.split("/"):
    key = hmac.new(key, part.encode(), hashlib.sha256).digest()
signature = hmac.new(key, to_sign.encode(), hashlib.sha256).hexdigest()
headers["authorization"] = "AWS4-HMAC-SHA256 Credential=%s/%s, SignedHeaders=%s, Signature=%s" % (
    credentials["access_key_id"], scope, names, signature)
asked = urllib.request.Request(endpoint + path + "?" + query, headers=headers)
try:
    with urllib.request.urlopen(asked, timeout=20) as answer:
        print(answer.status, answer.read().decode())
except urllib.error.HTTPError as refused:
    print(refused.code, refused.read().decode())
PY
    cut -d' ' -f1 "$work/listed" | head -1
}
status=$(list "$BLUE_MEMORY_PREFIX")
[ "$status" = 200 ] && grep -q "${BLUE_MEMORY_PREFIX}note.txt" "$work/listed" || missing "the own prefix: $status"
echo "work_ok access_key_id=$(member access_key_id <"$work/credentials") lists $BLUE_MEMORY_PREFIX"
status=$(list "$RED_MEMORY_PREFIX")
[ "$status" = 403 ] && grep -q AccessDenied "$work/listed" || missing "the denial of the other's prefix: $status"
echo "denied AccessDenied for $RED_MEMORY_PREFIX"

echo "== 5 the timeline"
curl -sS --fail-with-body -H "@$work/session" "$BROKER_URL/v1/events/$agent" >"$work/events" || missing "the events"
python3 - "$work/events" "$issuer" <<'PY' || missing "an event of the timeline"
import json, sys
events = json.load(open(sys.argv[1]))["events"]
for event in events:
    print(event["timestamp"], event["type"], json.dumps(event["payload"], sort_keys=True))
types = [event["type"] for event in events]
for wanted in ["registered", "token_issued", "credentials_issued"]:
    assert wanted in types, wanted
registered = [event for event in events if event["type"] == "registered"][-1]
assert registered["payload"]["issuer"] == sys.argv[2], registered
text = open(sys.argv[1]).read()
assert "eyJ" not in text and "secret" not in text, "a secret in an event"
PY
# another agent's events do not exist for this one
status=$(curl -sS -o "$work/foreign" -w '%{http_code}' -H "@$work/session" "$BROKER_URL/v1/events/red")
[ "$status" = 404 ] || missing "the refusal of another agent's events: $status"
header operator "$(cat "$BROKER_OPERATOR_TOKEN_FILE")"
curl -sS --fail-with-body -H "@$work/operator" "$BROKER_OPERATOR_URL/v1/events/$agent" >"$work/events" ||
    missing "the events for the operator"
grep -q '"registered"' "$work/events" || missing "the registration in the operator's view"

echo "smoke: every step is there"
