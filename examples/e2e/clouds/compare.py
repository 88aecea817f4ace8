"""Records what each vendor's own package sends to its cloud's STS, and what ours sends, and compares field by field.

    compare.py FOLDER OURS

FOLDER has ca.pem, server.pem, server.key and node_modules; OURS is the example `clouds`. Every difference must be in
DIFFERENCES, with its reason, and everything that is there must differ: exit status 0 only then.
"""

import datetime
import http.server
import json
import os
import pathlib
import ssl
import subprocess
import sys
import threading
import urllib.parse

FOLDER, OURS = pathlib.Path(sys.argv[1]).resolve(), sys.argv[2]
HERE = pathlib.Path(__file__).resolve().parent
recorded = []


def answer(request):
    """What the cloud would say, so that clients go on."""
    end = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=900)
    written = end.strftime("%Y-%m-%dT%H:%M:%SZ")
    fields = {**request["query"], **request["form"]}
    if fields.get("Action") == "AssumeRoleWithOIDC":
        name = fields["RoleSessionName"]
        return {
            "RequestId": "1",
            "AssumedRoleUser": {"Arn": fields["RoleArn"] + "/" + name, "AssumedRoleId": "1:" + name},
            "Credentials": {"AccessKeyId": "STS.stand-in-0000000000", "AccessKeySecret": "secret",
                            "SecurityToken": "token", "Expiration": written},
        }
    if request["headers"].get("x-tc-action") == "AssumeRoleWithWebIdentity":
        credentials = {"TmpSecretId": "AKIDstandin0000000000", "TmpSecretKey": "secret", "Token": "token"}
        return {"Response": {"ExpiredTime": int(end.timestamp()), "Expiration": written,
                             "Credentials": credentials, "RequestId": "1"}}
    if request["path"] == "/v1/token":
        return {"access_token": "federated", "issued_token_type": "urn:ietf:params:oauth:token-type:access_token",
                "token_type": "Bearer", "expires_in": 3599}
    if request["path"].endswith(":generateAccessToken"):
        return {"accessToken": "token", "expireTime": written}
    raise AssertionError(f"nobody should ask for {request['path']}")


class Recorder(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.do_POST()

    def do_POST(self):
        url = urllib.parse.urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("content-length", 0))).decode()
        kind = self.headers.get("content-type", "").split(";")[0].strip()
        request = {
            "method": self.command,
            "path": url.path,
            "query": pairs(url.query),
            "headers": {name.lower(): value for name, value in self.headers.items()},
            "form": pairs(body) if kind == "application/x-www-form-urlencoded" else {},
            "json": json.loads(body) if kind == "application/json" else {},
        }
        assert not body or request["form"] or request["json"], kind
        recorded.append(request)
        said = json.dumps(answer(request)).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    def log_message(self, *_):
        pass


def pairs(text):
    found = urllib.parse.parse_qsl(text, keep_blank_values=True, strict_parsing=bool(text))
    assert len(found) == len(dict(found)), "a field stands twice"
    return dict(found)


def flat(request):
    """One line for each thing that a request says."""
    lines = {("method", ""): request["method"], ("path", ""): request["path"]}
    for place in ("query", "headers", "form", "json"):
        for name, value in request[place].items():
            lines[place, name] = value
    return lines


TRANSPORT = "each HTTP library says what it can read and keeps its connection"
SPACES = "the vendor's JSON has spaces and members that are null"
TIME = "each dates its request when it sends it"
METRICS = "the vendor counts or traces its own packages by it"
TOKEN_IN_URL = "this package puts all into the URL of a GET, which logs keep; the vendor's package for Node.js does not"
HTTP = {("headers", name): TRANSPORT for name in ("accept", "accept-encoding", "connection", "user-agent")}
MOVED = ("DurationSeconds", "OIDCProviderArn", "OIDCToken", "RoleArn", "RoleSessionName")
# (vendor's package, which of its requests): {(place, name): reason}
DIFFERENCES = {
    ("alibaba, @alicloud/credentials", 0): {
        ("headers", "accept"): TRANSPORT,
        ("headers", "connection"): TRANSPORT,
        ("query", "Timestamp"): TIME,
    },
    ("alibaba, alibabacloud_credentials", 0): {
        ("headers", "accept"): TRANSPORT,
        ("headers", "accept-encoding"): TRANSPORT,
        ("headers", "user-agent"): METRICS,
        ("method", ""): TOKEN_IN_URL,
        ("headers", "content-length"): TOKEN_IN_URL,
        ("headers", "content-type"): TOKEN_IN_URL,
        ("query", "Timestamp"): TIME,
    } | {(place, name): TOKEN_IN_URL for place in ("query", "form") for name in MOVED},
    ("tencent, tencentcloud-sdk-python-common", 0): HTTP | {
        ("headers", "content-length"): SPACES,
        ("headers", "x-tc-language"): "the language of messages, which we do not read",
        ("headers", "x-tc-requestclient"): METRICS,
        ("headers", "x-tc-timestamp"): TIME,
        ("headers", "x-tc-traceid"): METRICS,
    },
    ("gcp, google-auth", 0): HTTP | {("headers", "x-goog-api-client"): METRICS},
    ("gcp, google-auth", 1): HTTP | {
        ("headers", "content-length"): SPACES,
        ("headers", "x-goog-api-client"): METRICS,
    },
}


def compare(vendor, theirs, ours):
    held = len(theirs) == len(ours)
    if not held:
        print(f"{vendor}: {len(theirs)} requests, ours {len(ours)}")
    for at, (their, our) in enumerate(zip(theirs, ours)):
        known = DIFFERENCES[vendor, at]
        their, our = flat(their), flat(our)
        differing = {key for key in their.keys() | our.keys() if their.get(key) != our.get(key)}
        for key in sorted(differing - known.keys()):
            print(f"{vendor}: {' '.join(key)}: {str(their.get(key))[:80]}, ours {str(our.get(key))[:80]}")
            held = False
        # two that are sent within a second have one date
        for key in sorted(key for key in known.keys() - differing if known[key] is not TIME):
            print(f"{vendor}: {' '.join(key)} does not differ: take it off the list")
            held = False
        # what moved from one place to another says the same there
        for place, name in known:
            moved = known[place, name] is TOKEN_IN_URL and place == "query"
            if moved and (their.get(("query", name)) is None or their["query", name] != our.get(("form", name))):
                print(f"{vendor}: {name} is not the same in the URL as in our body")
                held = False
        same = len((their.keys() | our.keys()) - differing)
        print(f"{vendor}, request {at + 1}: {same} fields agree, {len(differing)} differ as listed")
    return held


def main():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Recorder)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(FOLDER / "server.pem", FOLDER / "server.key")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    host = f"localhost:{server.server_address[1]}"

    # nothing of this machine's own settings of any cloud, and no proxy
    environment = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR", "LANG") if name in os.environ}
    environment |= {"SSL_CERT_FILE": str(FOLDER / "ca.pem"), "REQUESTS_CA_BUNDLE": str(FOLDER / "ca.pem"),
                    "NODE_EXTRA_CA_CERTS": str(FOLDER / "ca.pem"), "NODE_PATH": str(FOLDER / "node_modules")}

    def record(*command):
        recorded.clear()
        subprocess.run(command, check=True, timeout=60, env=environment)
        return list(recorded)

    ours = record(OURS, f"https://{host}/", str(FOLDER / "ca.pem"), str(FOLDER))
    assert len(ours) == 4, f"ours sent {len(ours)} requests"
    python = [sys.executable, str(HERE / "vendors.py")]
    held = [
        compare("alibaba, @alicloud/credentials",
                record("node", str(HERE / "alibaba.cjs"), host, str(FOLDER)), ours[:1]),
        compare("alibaba, alibabacloud_credentials",
                record(*python, "alibaba", host, str(FOLDER)), ours[:1]),
        compare("tencent, tencentcloud-sdk-python-common",
                record(*python, "tencent", host, str(FOLDER)), ours[1:2]),
        compare("gcp, google-auth", record(*python, "gcp", host, str(FOLDER)), ours[2:]),
    ]
    return 0 if all(held) else 1


sys.exit(main())
