// A real OIDC provider on this machine's loopback, for test_oidc.py.
//
// node provider.mjs PORT SETTINGS PEOPLE
//   SETTINGS  JSON: redirectUri, secret (none: public client), method, algorithm, claimsInToken
//   PEOPLE    a JSON file, read at every sign-in: {login: claims}; unknown logins have no claims
//
// Its keys are new at every start, like those of a provider that rotated them.

import { generateKeyPairSync } from 'node:crypto';
import { readFileSync } from 'node:fs';

import Provider from 'oidc-provider';

const [port, text, people] = process.argv.slice(2);
const settings = JSON.parse(text);

function key(algorithm) {
  const pair = {
    RS256: () => generateKeyPairSync('rsa', { modulusLength: 2048 }),
    PS256: () => generateKeyPairSync('rsa', { modulusLength: 2048 }),
    ES256: () => generateKeyPairSync('ec', { namedCurve: 'P-256' }),
    EdDSA: () => generateKeyPairSync('ed25519'),
  }[algorithm]();
  return { ...pair.privateKey.export({ format: 'jwk' }), alg: algorithm, use: 'sig' };
}

const client = {
  client_id: 'millpond',
  client_secret: settings.secret,
  redirect_uris: [settings.redirectUri],
  grant_types: ['authorization_code'],
  response_types: ['code'],
  token_endpoint_auth_method: settings.method,
  id_token_signed_response_alg: settings.algorithm,
};

const provider = new Provider(`http://127.0.0.1:${port}`, {
  clients: [client],
  jwks: { keys: [key(settings.algorithm)] },
  cookies: { keys: ['test'] },
  clientAuthMethods: [settings.method],
  enabledJWA: { idTokenSigningAlgValues: [settings.algorithm] },
  pkce: { required: () => true },
  conformIdTokenClaims: !settings.claimsInToken,
  claims: { profile: ['name', 'preferred_username'], email: ['email'], groups: ['groups'] },
  findAccount: (ctx, id) => ({
    accountId: id,
    claims: () => ({ ...JSON.parse(readFileSync(people, 'utf8'))[id], sub: id }),
  }),
});

provider.listen(Number(port), '127.0.0.1', () => console.log('listening'));
