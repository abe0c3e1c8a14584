// Clients of other makers. Each makes proofs for a URL, without a nonce and with
// one: the package dpop for a token of its own invention; oauth4webapi with a token
// that it has the issuer bind to its key. What comes of it is printed as JSON.
import * as dpop from 'dpop';
import * as oauth from 'oauth4webapi';

const [issuer, clientId, clientSecret, resource, url] = process.argv.slice(2);
const insecure = { [oauth.allowInsecureRequests]: true };
const nonce = 'a nonce of the server';
const made = [];

for (const algorithm of ['ES256', 'Ed25519', 'RS256', 'PS256']) {
  const keys = await dpop.generateKeyPair(algorithm);
  const thumbprint = await dpop.calculateThumbprint(keys.publicKey);
  for (const given of [undefined, nonce]) {
    const proof = await dpop.generateProof(keys, url.split('?')[0], 'POST', given, 'a token');
    made.push({ by: 'dpop', algorithm, token: 'a token', thumbprint, proof, nonce: given ?? '' });
  }
}

const as = await oauth
  .discoveryRequest(new URL(issuer), { algorithm: 'oidc', ...insecure })
  .then((response) => oauth.processDiscoveryResponse(new URL(issuer), response));
const client = { client_id: clientId };
for (const algorithm of ['ES256', 'Ed25519']) {
  const keys = await oauth.generateKeyPair(algorithm);
  const DPoP = oauth.DPoP(client, keys);
  const response = await oauth.clientCredentialsGrantRequest(
    as, client, oauth.ClientSecretBasic(clientSecret), { resource, scope: 'read' }, { DPoP, ...insecure },
  );
  const { access_token: token, token_type: type } = await oauth.processClientCredentialsResponse(as, client, response);
  if (type !== 'dpop') throw new Error(`the token is of type ${type}`);
  const thumbprint = await DPoP.calculateThumbprint();
  let answered = false;
  const options = {
    DPoP,
    ...insecure,
    [oauth.customFetch]: async (_url, { headers }) => {
      const sent = new Headers(headers);
      made.push({
        by: 'oauth4webapi', algorithm, token, thumbprint, proof: sent.get('dpop'), nonce: answered ? nonce : '',
        authorization: sent.get('authorization'),
      });
      if (answered) return new Response('');
      answered = true;
      return new Response('', {
        status: 401,
        headers: { 'WWW-Authenticate': 'DPoP error="use_dpop_nonce"', 'DPoP-Nonce': nonce },
      });
    },
  };
  const ask = () => oauth.protectedResourceRequest(token, 'POST', new URL(url), undefined, undefined, options);
  await ask().catch((error) => {
    if (!oauth.isDPoPNonceError(error)) throw error;
  });
  await ask();
}
console.log(JSON.stringify(made));
