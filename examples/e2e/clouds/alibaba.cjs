// Has the vendor's own package exchange the token that ours exchanged, at a recorder: alibaba.cjs HOST FOLDER
const assert = require('node:assert/strict')
const { readFileSync } = require('node:fs')
const { join } = require('node:path')
const Provider = require('@alicloud/credentials/dist/src/providers/oidc_role_arn').default

const [host, folder] = process.argv.slice(2)
const asked = JSON.parse(readFileSync(join(folder, 'alibaba.json'), 'utf8'))
const provider = Provider.builder()
  .withRoleArn(asked.role)
  .withOIDCProviderArn(asked.provider)
  .withOIDCTokenFilePath(join(folder, 'alibaba.jwt'))
  .withRoleSessionName(asked.name)
  .withDurationSeconds(asked.seconds)
  .withStsEndpoint(host)
  .build()
provider.getCredentials().then(({ securityToken }) => {
  assert.equal(securityToken, 'token')
  process.exit(0)
})
