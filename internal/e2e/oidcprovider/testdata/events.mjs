// The certified oidc-provider as an issuer that says when somebody logs out, and as a
// sender of security event tokens beside it, signed by the package jose: pushed (RFC
// 8935) and fetched (RFC 8936). It prints its issuer URL once it answers; each line of
// its standard input is a command, each line of its output what came of it; it ends
// when its standard input does.
import { generateKeyPairSync, randomUUID } from 'node:crypto';
import { createServer } from 'node:http';
import { createInterface } from 'node:readline';
import { SignJWT, importJWK } from 'jose';
import Provider from 'oidc-provider';

const [clientId, audience, logoutURI] = process.argv.slice(2);
const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const jwk = { ...privateKey.export({ format: 'jwk' }), kid: 'ec', use: 'sig', alg: 'ES256' };

const server = createServer();
server.listen(0, '127.0.0.1', () => {
  const issuer = `http://127.0.0.1:${server.address().port}`;
  const provider = new Provider(issuer, {
    clients: [{
      client_id: clientId,
      client_secret: 'a secret of tests only',
      redirect_uris: ['https://shop.example.com/callback'],
      id_token_signed_response_alg: 'ES256',
      backchannel_logout_uri: logoutURI,
      backchannel_logout_session_required: true,
    }],
    enabledJWA: { idTokenSigningAlgValues: ['ES256'] },
    jwks: { keys: [jwk] },
    // Without its guard against addresses of loopback.
    fetch: (url, { dispatcher, ...options }) => fetch(url, options),
    features: { backchannelLogout: { enabled: true }, devInteractions: { enabled: false } },
  });
  const waiting = new Map(); // events that are fetched, by jti
  server.on('request', (request, response) => {
    if (request.url !== '/poll') return provider.callback()(request, response);
    let body = '';
    request.on('data', (data) => { body += data; });
    request.on('end', () => {
      const asked = JSON.parse(body);
      for (const id of asked.ack ?? []) waiting.delete(id);
      response.setHeader('content-type', 'application/json');
      response.end(JSON.stringify({ sets: Object.fromEntries(waiting), moreAvailable: false }));
    });
  });

  const set = async (subject) => {
    const id = randomUUID();
    const token = await new SignJWT({
      events: { 'https://schemas.openid.net/secevent/caep/event-type/session-revoked': { event_timestamp: Math.floor(Date.now() / 1000) } },
      sub_id: { format: 'iss_sub', iss: issuer, sub: subject },
    })
      .setProtectedHeader({ alg: 'ES256', kid: 'ec', typ: 'secevent+jwt' })
      .setIssuer(issuer).setAudience(audience).setIssuedAt().setJti(id)
      .sign(await importJWK(jwk, 'ES256'));
    return [id, token];
  };
  const commands = {
    async token({ sub, sid, iat }) {
      return new SignJWT({ sub, sid, client_id: clientId, azp: clientId })
        .setProtectedHeader({ alg: 'ES256', kid: 'ec', typ: 'at+jwt' })
        .setIssuer(issuer).setAudience(audience).setIssuedAt(iat).setExpirationTime(iat + 3600).setJti(randomUUID())
        .sign(await importJWK(jwk, 'ES256'));
    },
    async logout({ sub, sid }) {
      const client = await provider.Client.find(clientId);
      await client.backchannelLogout(sub, sid);
      return 'taken';
    },
    async push({ sub, url }) {
      const [, body] = await set(sub);
      const answer = await fetch(url, { method: 'POST', headers: { 'content-type': 'application/secevent+jwt', accept: 'application/json' }, body });
      return `${answer.status} ${await answer.text()}`;
    },
    async queue({ sub }) {
      const [id, token] = await set(sub);
      waiting.set(id, token);
      return 'waiting';
    },
    async waiting() {
      return String(waiting.size);
    },
  };
  createInterface({ input: process.stdin }).on('line', async (line) => {
    const { command, ...options } = JSON.parse(line);
    try {
      console.log(await commands[command](options));
    } catch (error) {
      console.log(`failed: ${error.message}`);
    }
  });
  console.log(issuer);
});

process.stdin.on('end', () => process.exit(0));
process.stdin.resume();
