"""PyJWT. Verifies all tokens once to warm up and then in five rounds; the median counts."""

import json
import platform
import sys
import time

import cryptography
import jwt

with open(sys.argv[1]) as file:
    given = json.load(file)
keys = {key["kid"]: jwt.PyJWK(key) for key in given["jwks"]["keys"]}
rules = {"audience": given["audience"], "issuer": given["issuer"], "options": {"require": ["exp", "sub", "iss", "aud"]}}

for name, case in given["cases"].items():
    tokens, rounds = case["tokens"], []
    for _ in range(6):
        verified = 0
        begin = time.perf_counter_ns()
        for token in tokens:
            key = keys[jwt.get_unverified_header(token)["kid"]]
            verified += jwt.decode(token, key, algorithms=[case["alg"]], **rules)["iss"] == given["issuer"]
        rounds.append((time.perf_counter_ns() - begin) / len(tokens))
        assert verified == len(tokens), (name, verified)
    ns = round(sorted(rounds[1:])[2])
    print(json.dumps({
        "bench": "peers", "case": name, "peer": f"PyJWT {jwt.__version__}",
        "runtime": f"Python {platform.python_version()}, cryptography {cryptography.__version__}",
        "ns": ns, "ops_per_s": round(1e9 / ns), "tokens": len(tokens),
    }))
