// jose and fast-jwt. Each verifies all tokens once to warm up and then in five rounds; the median counts.
import { createPublicKey } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { createVerifier } from 'fast-jwt'
import { createLocalJWKSet, jwtVerify } from 'jose'

const { issuer, audience, jwks, cases } = JSON.parse(readFileSync(process.argv[2], 'utf8'))
const { packages } = JSON.parse(readFileSync(new URL('package-lock.json', import.meta.url), 'utf8'))

async function measure(name, peer, tokens, verify) {
  const rounds = []
  for (let round = 0; round <= 5; round++) {
    let verified = 0
    const begin = process.hrtime.bigint()
    for (const token of tokens) {
      const payload = await verify(token)
      if (payload.iss === issuer) verified++
    }
    const elapsed = Number(process.hrtime.bigint() - begin)
    if (verified !== tokens.length) throw new Error(`${peer} ${name}: ${verified} of ${tokens.length}`)
    if (round > 0) rounds.push(elapsed / tokens.length)
  }
  const ns = Math.round(rounds.sort((a, b) => a - b)[2])
  const version = packages[`node_modules/${peer}`].version
  console.log(JSON.stringify({
    bench: 'peers', case: name, peer: `${peer} ${version}`, runtime: `node ${process.versions.node}`,
    ns, ops_per_s: Math.round(1e9 / ns), tokens: tokens.length,
  }))
}

for (const [name, { alg, tokens }] of Object.entries(cases)) {
  const keys = createLocalJWKSet(jwks)
  const rules = { issuer, audience, algorithms: [alg], requiredClaims: ['exp', 'sub'] }
  await measure(name, 'jose', tokens, async (token) => (await jwtVerify(token, keys, rules)).payload)

  const { kid } = JSON.parse(Buffer.from(tokens[0].split('.')[0], 'base64url'))
  const jwk = jwks.keys.find((key) => key.kid === kid)
  const key = createPublicKey({ key: jwk, format: 'jwk' }).export({ type: 'spki', format: 'pem' })
  const verify = createVerifier({
    key, algorithms: [alg], allowedIss: issuer, allowedAud: audience, requiredClaims: ['exp', 'sub'], cache: false,
  })
  await measure(name, 'fast-jwt', tokens, verify)
}
