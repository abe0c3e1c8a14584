// The certified oidc-provider as a provider where people log in, with the pages that it
// has for development: any name and password will do. It prints its issuer URL once it
// answers, and ends when its standard input does.
import { generateKeyPairSync } from 'node:crypto';
import { createServer } from 'node:http';
import Provider from 'oidc-provider';

const [clientId, redirectUri, group] = process.argv.slice(2);
const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });

const server = createServer();
server.listen(0, '127.0.0.1', () => {
  const issuer = `http://127.0.0.1:${server.address().port}`;
  const provider = new Provider(issuer, {
    clients: [{
      client_id: clientId,
      application_type: 'native',
      token_endpoint_auth_method: 'none',
      grant_types: ['authorization_code', 'implicit'],
      response_types: ['code', 'id_token token'],
      redirect_uris: [redirectUri],
    }],
    responseTypes: ['code', 'id_token token'],
    claims: { openid: ['sub', 'groups'], email: ['email', 'email_verified'], profile: ['name'] },
    conformIdTokenClaims: false,
    findAccount: (_ctx, id) => ({
      accountId: id,
      claims: () => ({ sub: id, name: id, email: `${id}@acme.example`, email_verified: true, groups: id === 'stranger' ? [] : [group] }),
    }),
    jwks: { keys: [{ ...privateKey.export({ format: 'jwk' }), kid: 'people', use: 'sig', alg: 'RS256' }] },
    features: { devInteractions: { enabled: true } },
    pkce: { required: () => false },
  });
  server.on('request', provider.callback());
  console.log(issuer);
});

process.stdin.on('end', () => process.exit(0));
process.stdin.resume();
