#!/usr/bin/env bash
# Plain boto3 and awscli, in a throw-away virtual environment, against `quickstart --serve`: each agent
# lists and reads its own prefix through AWS_WEB_IDENTITY_TOKEN_FILE + AWS_ROLE_ARN + AWS_ENDPOINT_URL, and
# gets AccessDenied on the other agent's. Exit status 0 only if all of it held.
set -euo pipefail
cd "$(dirname "$0")/../.."
work=$(mktemp -d)
served=
cleanup() {
    if [ -n "$served" ]; then
        kill -INT "$served" 2>/dev/null || true
        wait "$served" 2>/dev/null || true
    fi
    rm -rf "$work"
}
trap cleanup EXIT

python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check boto3 awscli
cargo build -q -p agentkeys-examples --example quickstart

# bash gives background jobs a SIGINT that is ignored; python gives it back
python3 -c '
import os, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
os.execv(sys.argv[1], sys.argv[1:])
' "${CARGO_TARGET_DIR:-target}/debug/examples/quickstart" --serve "$work/served" >"$work/out" &
served=$!
for _ in $(seq 300); do
    grep -q 'quickstart: serving' "$work/out" && break
    kill -0 "$served" || { echo "the quickstart ended early"; exit 1; }
    sleep 0.1
done
grep -q 'quickstart: serving' "$work/out" || { echo "the quickstart did not come up"; exit 1; }

for agent in blue red; do
    (
        # nothing of this machine's own AWS settings
        for name in $(compgen -e | grep '^AWS_' || true); do unset "$name"; done
        export AWS_CONFIG_FILE=/dev/null AWS_SHARED_CREDENTIALS_FILE=/dev/null AWS_EC2_METADATA_DISABLED=true
        # shellcheck disable=SC1090
        . "$work/served/$agent.env"
        "$work/venv/bin/python" - <<'PY'
import os
import boto3
from botocore.exceptions import ClientError

s3 = boto3.client("s3")
bucket, own, other = os.environ["BUCKET"], os.environ["OWN_PREFIX"], os.environ["OTHER_PREFIX"]
keys = [found["Key"] for found in s3.list_objects_v2(Bucket=bucket, Prefix=own)["Contents"]]
assert keys == [own + "note.txt"], keys
s3.put_object(Bucket=bucket, Key=own + "boto3.txt", Body=b"from boto3")
assert s3.get_object(Bucket=bucket, Key=own + "boto3.txt")["Body"].read() == b"from boto3"
s3.delete_object(Bucket=bucket, Key=own + "boto3.txt")

def denied(call, **arguments):
    try:
        call(Bucket=bucket, **arguments)
    except ClientError as error:
        code, status = error.response["Error"]["Code"], error.response["ResponseMetadata"]["HTTPStatusCode"]
        assert (code, status) == ("AccessDenied", 403), (code, status)
    else:
        raise AssertionError(f"{call.__name__} {arguments} was allowed")

denied(s3.list_objects_v2, Prefix=other)
denied(s3.list_objects_v2)
denied(s3.get_object, Key=other + "note.txt")
denied(s3.put_object, Key=other + "note.txt", Body=b"x")
arn = boto3.client("sts").get_caller_identity()["Arn"]
role, session = os.environ["AWS_ROLE_ARN"].split("/")[-1], os.environ["AWS_ROLE_SESSION_NAME"]
assert arn.endswith(f":assumed-role/{role}/{session}"), arn
PY
        aws="$work/venv/bin/aws"
        "$aws" s3api list-objects-v2 --bucket "$BUCKET" --prefix "$OWN_PREFIX" --query 'Contents[].Key' \
            --output text | grep -qx "${OWN_PREFIX}note.txt"
        if "$aws" s3api list-objects-v2 --bucket "$BUCKET" --prefix "$OTHER_PREFIX" >/dev/null 2>"$work/denied"; then
            echo "awscli: $agent listed the other agent's prefix"
            exit 1
        fi
        grep -q AccessDenied "$work/denied"
    )
    echo "boto3 and awscli as $agent: own prefix, and AccessDenied on the other"
done
