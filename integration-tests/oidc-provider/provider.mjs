// The provider of single sign-on that tests log in by: panva's oidc-provider with its own log-in and consent pages. Owns
// who there is, and in which groups; a test changes groups by POST /test/groups. Prints its issuer once it serves.
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { createServer } from 'node:http';
import Provider from 'oidc-provider';

// Whoever logs in has the name that is typed, and these groups until a test says otherwise.
const groups = new Map();

const server = createServer((request, response) => handle(request, response));
await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
const issuer = `http://127.0.0.1:${server.address().port}`;

const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });

const provider = new Provider(issuer, {
  clients: [{
    client_id: 'callboard',
    client_secret: 'a secret of this client: +/%&',
    grant_types: ['authorization_code', 'urn:ietf:params:oauth:grant-type:device_code'],
    response_types: ['code'],
    // Of a native client, so that any port of loopback will do (RFC 8252).
    application_type: 'native',
    redirect_uris: ['http://127.0.0.1/api/v1/auth/oidc/callback'],
  }],
  claims: { openid: ['sub'], profile: ['preferred_username'], groups: ['groups'] },
  features: { deviceFlow: { enabled: true }, rpInitiatedLogout: { enabled: true } },
  pkce: { required: () => true },
  ttl: { AccessToken: 600, AuthorizationCode: 60, DeviceCode: 600, Grant: 600, IdToken: 600, Interaction: 600, Session: 600 },
  findAccount: (_context, id) => ({
    accountId: id,
    claims: () => ({ sub: id, preferred_username: id, groups: groups.get(id) ?? [] }),
  }),
  cookies: { keys: [randomBytes(16).toString('hex')] },
  jwks: { keys: [{ ...privateKey.export({ format: 'jwk' }), kid: 'of this run', use: 'sig', alg: 'RS256' }] },
});

async function handle(request, response) {
  if (request.method === 'POST' && request.url === '/test/groups') {
    let text = '';
    for await (const piece of request) text += piece;
    for (const [name, list] of Object.entries(JSON.parse(text))) groups.set(name, list);
    response.writeHead(204).end();
    return;
  }
  provider.callback()(request, response);
}

process.on('SIGTERM', () => process.exit(0));
console.log(issuer);
