#!/usr/bin/env bash
# Clients that nobody here wrote, before the example broker and its sidecar, each in a throw-away folder:
#
#   PyJWT, jose, openid-client, jwks-rsa   verify the broker's tokens from its discovery document and keys, refuse
#                                          what is not one, and go on across a rotation of the broker's key
#   awscli, boto3, AWS SDK for JavaScript  use the sidecar's endpoint: own objects, AccessDenied on the other agent's,
#                                          no key in the environment, and credentials that end while they are used
#
# The terminals of docs/quick-start.md are played with its own commands. Exit status 0 only if all of it held. Without
# npm it says what it skipped; with CI=true that is a failure. About two minutes, most of it waiting for ends.
set -euo pipefail
cd "$(dirname "$0")/../.."
if ! command -v node >/dev/null || ! command -v npm >/dev/null; then
    echo "skipped: clients in JavaScript and Python before the broker and its sidecar (there is no npm)"
    [ "${CI:-}" != true ] || exit 1
    exit 0
fi
work=$(mktemp -d)
broker=
cleanup() {
    status=$?
    if [ -n "$broker" ]; then
        kill "$broker" 2>/dev/null || true
        wait "$broker" 2>/dev/null || true
    fi
    [ "$status" = 0 ] || tail -n 20 "$work"/*.log >&2 || true
    rm -rf "$work"
}
trap cleanup EXIT

# nothing of this machine's own AWS settings
for name in $(compgen -e | grep '^AWS_' || true); do unset "$name"; done

python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check awscli==1.46.* boto3 'PyJWT[crypto]==2.15.*'
cat >"$work/package.json" <<'JSON'
{ "name": "clients", "version": "0.0.0", "private": true, "type": "module",
  "dependencies": {
    "@aws-sdk/client-s3": "^3.900.0",
    "jose": "~6.2.0", "jsonwebtoken": "~9.0.0", "jwks-rsa": "~4.1.0", "openid-client": "~6.8.0" } }
JSON
(cd "$work" && npm install --ignore-scripts --no-audit --no-fund --silent)
cargo build -q -p agentkeys-examples --example broker --example sidecar
built="${CARGO_TARGET_DIR:-target}/debug/examples"
demo="$work/demo"

# the guide's block of this number that is marked for this script, with this demonstration's folder
block() {
    python3 - "$1" "$demo" <<'PY'
import re, sys
blocks = re.findall(r"^```sh e2e=clients\.sh\n(.*?)^```$", open("docs/quick-start.md").read(), re.M | re.S)
assert len(blocks) == 3, len(blocks)
print(blocks[int(sys.argv[1]) - 1].replace("/tmp/agentkeys-demo", sys.argv[2]))
PY
}

start_broker() {
    "$@" >"$work/broker.out" 2>"$work/broker.log" &
    broker=$!
    for _ in $(seq 600); do
        grep -q 'broker: serving' "$work/broker.out" && return
        kill -0 "$broker" || { echo "the broker ended early"; return 1; }
        sleep 0.1
    done
    echo "the broker did not come up"
    return 1
}

stop_broker() {
    kill "$broker"
    wait "$broker"
    broker=
}

# 1. the guide's terminals, as they stand there
block 1 >"$work/terminal-1.sh"
block 2 >"$work/terminal-2.sh"
{ block 2 | grep -v 'cargo run' || true; block 3; } >"$work/terminal-3.sh"
start_broker bash -c "exec $(cat "$work/terminal-1.sh")"
PATH="$work/venv/bin:$PATH" bash -euo pipefail "$work/terminal-2.sh" >"$work/own"
grep -q note.txt "$work/own"
if PATH="$work/venv/bin:$PATH" bash -euo pipefail "$work/terminal-3.sh" >"$work/other" 2>&1; then
    echo "the other agent's prefix was listed"
    exit 1
fi
grep -q AccessDenied "$work/other"
echo "docs/quick-start.md: aws s3 ls shows own objects, and AccessDenied on the other agent's"
# cargo may stand between: the broker itself ends with it
stop_broker
rm -rf "$demo"

# 2. verifiers, across a rotation; credentials that end after 90 seconds
start_broker "$built/broker" demo "$demo" --sessions 90
# shellcheck disable=SC1091
. "$demo/broker.env"

cat >"$work/verify.py" <<'PY'
import json, sys, urllib.request
import jwt

issuer = sys.argv[1]
discovery = json.load(urllib.request.urlopen(issuer + "/.well-known/openid-configuration"))
assert discovery["issuer"] == issuer
keys = jwt.PyJWKClient(discovery["jwks_uri"])

def verify(token):
    key = keys.get_signing_key_from_jwt(token)
    algorithms = discovery["id_token_signing_alg_values_supported"]
    return jwt.decode(token, key.key, algorithms=algorithms, audience="sts.amazonaws.com", issuer=issuer,
                      options={"require": ["exp", "iat", "sub", "jti"]})

for line in sys.stdin:
    try:
        print("good", verify(line.strip())["jti"], flush=True)
    except (jwt.PyJWTError, jwt.PyJWKClientError) as error:
        print("refused", type(error).__name__, flush=True)
PY
cat >"$work/verify.mjs" <<'JS'
import { createInterface } from 'node:readline'
import * as jose from 'jose'
import jsonwebtoken from 'jsonwebtoken'
import { JwksClient } from 'jwks-rsa'
import * as openid from 'openid-client'

const [client, issuer] = process.argv.slice(2)
const options = { issuer, audience: 'sts.amazonaws.com', algorithms: ['ES256'] }

async function verifier () {
  if (client === 'openid-client') {
    // on loopback the issuer speaks plain HTTP
    const found = await openid.discovery(new URL(issuer), 'client', undefined, undefined, { execute: [openid.allowInsecureRequests] })
    const { issuer: named, jwks_uri: uri } = found.serverMetadata()
    if (named !== issuer) throw new Error('another issuer')
    const keys = jose.createRemoteJWKSet(new URL(uri))
    return async (token) => (await jose.jwtVerify(token, keys, { ...options, issuer: named })).payload
  }
  const discovery = await (await fetch(issuer + '/.well-known/openid-configuration')).json()
  if (discovery.issuer !== issuer) throw new Error('another issuer')
  if (client === 'jose') {
    const keys = jose.createRemoteJWKSet(new URL(discovery.jwks_uri))
    return async (token) => (await jose.jwtVerify(token, keys, options)).payload
  }
  const keys = new JwksClient({ jwksUri: discovery.jwks_uri })
  return async (token) => {
    const { header } = jsonwebtoken.decode(token, { complete: true })
    const key = await keys.getSigningKey(header.kid)
    return jsonwebtoken.verify(token, key.getPublicKey(), options)
  }
}

const verify = await verifier()
for await (const line of createInterface({ input: process.stdin })) {
  try {
    console.log('good', (await verify(line.trim())).jti)
  } catch (error) {
    console.log('refused', error.code ?? error.name)
  }
}
JS
cat >"$work/rotate.py" <<'PY'
import base64, json, os, signal, subprocess, sys, time, urllib.request

work, broker_pid, broker, demo = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4]
issuer = os.environ["BROKER_URL"]

def post(path, body=b"", **headers):
    request = urllib.request.Request(issuer + path, body, headers, method="POST")
    return json.load(urllib.request.urlopen(request, timeout=10))

def session():
    evidence = open(os.environ["BLUE_EVIDENCE_FILE"]).read()
    body = json.dumps({"kind": os.environ["BLUE_EVIDENCE_KIND"], "evidence": evidence}).encode()
    return post("/v1/attest", body, **{"Content-Type": "application/json"})["session"]

def token(held):
    return post("/v1/mint-oidc-jwt/memory", Authorization="Bearer " + held)["jwt"]

def kid(jwt):
    head = jwt.split(".")[0]
    return json.loads(base64.urlsafe_b64decode(head + "=" * (-len(head) % 4)))["kid"]

names = ["PyJWT", "jose", "openid-client", "jwks-rsa"]
commands = {name: ["node", f"{work}/verify.mjs", name, issuer] for name in names[1:]}
commands["PyJWT"] = [f"{work}/venv/bin/python", f"{work}/verify.py", issuer]
clients = {name: subprocess.Popen(commands[name], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
           for name in names}
good = refused = 0

def ask(jwt, expected):
    global good, refused
    for name, client in clients.items():
        client.stdin.write(jwt + "\n")
        client.stdin.flush()
        said = client.stdout.readline().split()
        assert said and said[0] == expected, (name, expected, said)
    if expected == "good":
        good += len(clients)
    else:
        refused += len(clients)

def rotate(step):
    subprocess.run([broker, "rotate", step, "oidc", f"{demo}/oidc-keypair.json"], check=True, stdout=subprocess.DEVNULL)
    os.kill(broker_pid, signal.SIGHUP)
    deadline = time.monotonic() + 10
    keys = json.load(open(f"{demo}/oidc-keypair.json"))["keys"]
    while True:
        published = json.load(urllib.request.urlopen(issuer + "/.well-known/jwks.json"))["keys"]
        if [key["kid"] for key in published] == [key["kid"] for key in keys]:
            return published
        assert time.monotonic() < deadline, "the broker publishes other keys than its file has"
        time.sleep(0.1)

held = session()
first = token(held)
ask(first, "good")
begun = time.monotonic()
head, payload, signature = first.split(".")
ask(f"{head}.{payload[:-2]}{'AA' if payload[-2:] != 'AA' else 'BB'}.{signature}", "refused")
ask(f"{head}.{payload}.{signature[:40]}{'A' if signature[40] != 'A' else 'B'}{signature[41:]}", "refused")
ask(f"{head}.{payload}.", "refused")
# a session is signed with another key and is for the broker alone; so is the pod's own evidence for another issuer
ask(held, "refused")
ask(open(os.environ["BLUE_EVIDENCE_FILE"]).read().strip(), "refused")

assert len(rotate("stage")) == 2
second = token(held)
assert kid(second) == kid(first)
ask(second, "good")
# clients ask for unknown keys no more often than every half minute, and a real rotation waits longer
time.sleep(max(0, 31 - (time.monotonic() - begun)))
# the key was published long enough ago, as far as its file knows
path = f"{demo}/oidc-keypair.json"
keys = json.load(open(path))
for key in keys["keys"]:
    key["published_at"] -= 3600
with os.fdopen(os.open(path + ".edit", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
    json.dump(keys, file)
os.rename(path + ".edit", path)
rotate("promote")
third = token(held)
assert kid(third) != kid(first)
for jwt in (third, first, second):
    ask(jwt, "good")
for client in clients.values():
    client.stdin.close()
    assert client.wait(10) == 0
print(f"{', '.join(names)}: {good} tokens verified across a rotation, {refused} others refused")
PY
"$work/venv/bin/python" "$work/rotate.py" "$work" "$broker" "$built/broker" "$demo"

# 3. the sidecar, and AWS's own clients as the agent's code; each knows nothing but what the sidecar sets
cat >"$work/agent.py" <<'PY'
import os, sys, time
import boto3
from botocore.exceptions import ClientError

static = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_ROLE_ARN")
assert not [name for name in static if name in os.environ]
bucket, own, other, seconds = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
session = boto3.Session()
s3 = session.client("s3")

def denied(call, **arguments):
    try:
        call(Bucket=bucket, **arguments)
    except ClientError as error:
        found = error.response["Error"]["Code"], error.response["ResponseMetadata"]["HTTPStatusCode"]
        assert found == ("AccessDenied", 403), found
    else:
        raise AssertionError(f"{call.__name__} {arguments} was allowed")

first, calls, keys = session.get_credentials().get_frozen_credentials(), 0, set()
begun = time.monotonic()
while True:
    listed = [item["Key"] for item in s3.list_objects_v2(Bucket=bucket, Prefix=own)["Contents"]]
    assert own + "note.txt" in listed, listed
    s3.put_object(Bucket=bucket, Key=own + "boto3.txt", Body=b"from boto3")
    assert s3.get_object(Bucket=bucket, Key=own + "boto3.txt")["Body"].read() == b"from boto3"
    denied(s3.list_objects_v2, Prefix=other)
    denied(s3.list_objects_v2)
    denied(s3.get_object, Key=other + "note.txt")
    denied(s3.put_object, Key=other + "note.txt", Body=b"x")
    calls += 7
    keys.add(session.get_credentials().get_frozen_credentials().access_key)
    if time.monotonic() - begun > seconds:
        break
    time.sleep(2)
if seconds:
    assert len(keys) >= 2, keys
    # what was given first has ended, so the calls since then are the renewal's
    stale = boto3.client("s3", aws_access_key_id=first.access_key, aws_secret_access_key=first.secret_key,
                         aws_session_token=first.token)
    try:
        stale.get_object(Bucket=bucket, Key=own + "note.txt")
    except ClientError as error:
        assert error.response["Error"]["Code"] == "ExpiredToken", error
    else:
        raise AssertionError("the first credentials did not end")
print(f"boto3: {calls} calls as they must be, with {len(keys)} sets of credentials")
PY
cat >"$work/agent.mjs" <<'JS'
import assert from 'node:assert/strict'
import { GetObjectCommand, ListObjectsV2Command, PutObjectCommand, S3Client } from '@aws-sdk/client-s3'

const [Bucket, own, other, seconds] = process.argv.slice(2)
for (const name of ['AWS_ACCESS_KEY_ID', 'AWS_SECRET_ACCESS_KEY', 'AWS_SESSION_TOKEN', 'AWS_ROLE_ARN']) assert(!(name in process.env))
const s3 = new S3Client({ forcePathStyle: true })
const first = await s3.config.credentials()
const denied = (command) => assert.rejects(s3.send(command), (error) =>
  error.name === 'AccessDenied' && error.$metadata.httpStatusCode === 403)
const [keys, begun] = [new Set(), Date.now()]
let calls = 0
for (;;) {
  const listed = await s3.send(new ListObjectsV2Command({ Bucket, Prefix: own }))
  assert(listed.Contents.some(({ Key }) => Key === own + 'note.txt'))
  await s3.send(new PutObjectCommand({ Bucket, Key: own + 'javascript.txt', Body: 'from JavaScript' }))
  const got = await s3.send(new GetObjectCommand({ Bucket, Key: own + 'javascript.txt' }))
  assert.equal(await got.Body.transformToString(), 'from JavaScript')
  await denied(new ListObjectsV2Command({ Bucket, Prefix: other }))
  await denied(new GetObjectCommand({ Bucket, Key: other + 'note.txt' }))
  await denied(new PutObjectCommand({ Bucket, Key: other + 'note.txt', Body: 'x' }))
  calls += 6
  keys.add((await s3.config.credentials()).accessKeyId)
  if (Date.now() - begun > seconds * 1000) break
  await new Promise((resolve) => setTimeout(resolve, 2000))
}
if (Number(seconds) > 0) {
  assert(keys.size >= 2)
  const stale = new S3Client({ forcePathStyle: true, credentials: first })
  await assert.rejects(stale.send(new GetObjectCommand({ Bucket, Key: own + 'note.txt' })), { name: 'ExpiredToken' })
}
console.log(`AWS SDK for JavaScript: ${calls} calls as they must be, with ${keys.size} sets of credentials`)
JS

export NODE_NO_WARNINGS=1
export AGENTKEYS_BROKER="$BROKER_URL" AGENTKEYS_CLASS=memory ATTESTOR=aws-stsweb
beside() {
    AGENTKEYS_EVIDENCE_FILE="$1" "$built/sidecar" exec -- "${@:2}"
}
for agent in blue red; do
    case "$agent" in
    blue) evidence="$BLUE_EVIDENCE_FILE" own="$BLUE_MEMORY_PREFIX" other="$RED_MEMORY_PREFIX" ;;
    red) evidence="$RED_EVIDENCE_FILE" own="$RED_MEMORY_PREFIX" other="$BLUE_MEMORY_PREFIX" ;;
    esac
    beside "$evidence" "$work/venv/bin/aws" s3 ls "s3://$MEMORY_BUCKET/$own" | grep -q note.txt
    if beside "$evidence" "$work/venv/bin/aws" s3 ls "s3://$MEMORY_BUCKET/$other" >"$work/denied" 2>&1; then
        echo "awscli: $agent listed the other agent's prefix"
        exit 1
    fi
    grep -q AccessDenied "$work/denied"
    # no key of any kind in what the agent's code sees
    if beside "$evidence" env | grep -E '^AWS_(ACCESS_KEY_ID|SECRET_ACCESS_KEY|SESSION_TOKEN|ROLE_ARN|WEB_IDENTITY)'; then
        echo "a key is in the environment"
        exit 1
    fi
    echo "awscli as $agent: own prefix, and AccessDenied on the other"
done
# credentials live 90 seconds: those of the beginning end while both run
beside "$BLUE_EVIDENCE_FILE" "$work/venv/bin/python" "$work/agent.py" \
    "$MEMORY_BUCKET" "$BLUE_MEMORY_PREFIX" "$RED_MEMORY_PREFIX" "${CLIENTS_SECONDS:-100}" &
boto3=$!
beside "$RED_EVIDENCE_FILE" node "$work/agent.mjs" \
    "$MEMORY_BUCKET" "$RED_MEMORY_PREFIX" "$BLUE_MEMORY_PREFIX" "${CLIENTS_SECONDS:-100}" &
javascript=$!
failed=
wait "$boto3" || failed=boto3
wait "$javascript" || failed="${failed:+$failed, }the AWS SDK for JavaScript"
[ -z "$failed" ] || { echo "not as it must be: $failed"; exit 1; }
stop_broker
echo "real clients: all of it held"
