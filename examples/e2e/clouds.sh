#!/usr/bin/env bash
# What each vendor's own package sends to its cloud's STS, and what ours sends, recorded on loopback and compared field
# by field: Alibaba Cloud's for Node.js and Python, Tencent Cloud's and Google's for Python. Differences are allowed only
# where examples/e2e/clouds/compare.py lists them with a reason. Nothing is sent to a cloud. Exit status 0 only if all of
# it held. Without npm it says what it skipped; with CI=true that is a failure.
set -euo pipefail
cd "$(dirname "$0")/../.."
for program in node npm openssl python3; do
    command -v "$program" >/dev/null && continue
    echo "skipped: the clouds' own packages beside ours (there is no $program)"
    [ "${CI:-}" != true ] || exit 1
    exit 0
done
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check \
    alibabacloud_credentials==1.0.* google-auth==2.* requests tencentcloud-sdk-python-common==3.1.*
(cd "$work" && npm install --ignore-scripts --no-audit --no-fund --silent @alicloud/credentials@^2.4.0)
cargo build -q -p agentkeys-examples --example clouds
built="${CARGO_TARGET_DIR:-target}/debug/examples"

# an authority of this run alone
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj "/CN=clouds.sh" \
    -addext "keyUsage=critical,keyCertSign,digitalSignature" \
    -keyout "$work/ca.key" -out "$work/ca.pem" 2>/dev/null
openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=localhost" \
    -keyout "$work/server.key" -out "$work/server.csr" 2>/dev/null
openssl x509 -req -in "$work/server.csr" -CA "$work/ca.pem" -CAkey "$work/ca.key" -CAcreateserial -days 2 \
    -extfile <(printf 'subjectAltName=DNS:localhost,IP:127.0.0.1\n') -out "$work/server.pem" 2>/dev/null

"$work/venv/bin/python" examples/e2e/clouds/compare.py "$work" "$built/clouds"
# the key that Tencent Cloud is given is a set of public keys in base64
python3 - "$work/identity-key" <<'PY'
import base64, json, sys
[key] = json.loads(base64.b64decode(open(sys.argv[1]).read(), validate=True))["keys"]
assert key["kty"] == "EC" and "d" not in key, sorted(key)
PY
echo "clouds: every request agrees with its vendor's own package"
