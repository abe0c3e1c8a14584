// The certified oidc-provider as an issuer of access tokens by client credentials.
// The resource indicator asked for names the algorithm that a JWT is signed by, or
// opaque. A client called gateway may ask about tokens by its secret, and one called
// keyed by its key. It prints its issuer URL once it answers, and ends when its
// standard input does.
import { generateKeyPairSync } from 'node:crypto';
import { createServer } from 'node:http';
import Provider from 'oidc-provider';

// What oidc-provider needs of Node.js 22 to check a DPoP proof.
URL.parse ??= (text) => (URL.canParse(text) ? new URL(text) : null);

const [clientId, clientSecret, audience, keyed] = process.argv.slice(2);
const resourcePrefix = 'urn:gatehouse:';

function key(kid, type, options, members = {}) {
  const { privateKey } = generateKeyPairSync(type, options);
  return { ...privateKey.export({ format: 'jwk' }), kid, use: 'sig', ...members };
}

const server = createServer();
server.listen(0, '127.0.0.1', () => {
  const issuer = `http://127.0.0.1:${server.address().port}`;
  const provider = new Provider(issuer, {
    clients: [...[clientId, `${clientId}-mtls`].map((id) => ({
      client_id: id,
      client_secret: clientSecret,
      grant_types: ['client_credentials'],
      redirect_uris: [],
      response_types: [],
      scope: 'read write',
      tls_client_certificate_bound_access_tokens: id !== clientId,
    })), {
      client_id: 'gateway',
      client_secret: clientSecret,
      grant_types: [],
      redirect_uris: [],
      response_types: [],
      introspection_signed_response_alg: 'ES256',
    }, ...(keyed ? [{
      client_id: 'keyed',
      token_endpoint_auth_method: 'private_key_jwt',
      jwks: { keys: [JSON.parse(keyed)] },
      grant_types: [],
      redirect_uris: [],
      response_types: [],
      introspection_signed_response_alg: 'EdDSA',
    }] : [])],
    enabledJWA: { introspectionSigningAlgValues: ['RS256', 'ES256', 'EdDSA'] },
    scopes: ['read', 'write'],
    jwks: {
      keys: [
        key('rsa', 'rsa', { modulusLength: 2048 }),
        key('ec', 'ec', { namedCurve: 'P-256' }),
        key('ed', 'ed25519', {}),
      ],
    },
    features: {
      clientCredentials: { enabled: true },
      devInteractions: { enabled: false },
      introspection: { enabled: true },
      jwtIntrospection: { enabled: true },
      revocation: { enabled: true },
      // Tokens of the second client are bound to its certificate, which a proxy in
      // front, that the test plays, would hand on.
      mTLS: {
        enabled: true,
        certificateBoundAccessTokens: true,
        getCertificate: (ctx) => ctx.get('x-client-cert') && decodeURIComponent(ctx.get('x-client-cert')),
      },
      resourceIndicators: {
        enabled: true,
        getResourceServerInfo: (_ctx, resource) => ({
          scope: 'read write',
          audience,
          ...(resource === `${resourcePrefix}opaque`
            ? { accessTokenFormat: 'opaque' }
            : { accessTokenFormat: 'jwt', jwt: { sign: { alg: resource.slice(resourcePrefix.length) } } }),
        }),
      },
    },
  });
  server.on('request', provider.callback());
  console.log(issuer);
});

process.stdin.on('end', () => process.exit(0));
process.stdin.resume();
