// Clients of other makers, who ask a gateway: oauth4webapi, and the package dpop with
// requests of its own. Each gets a token that the issuer binds to its key, and asks
// three times, following the nonces that it is given. What comes of it is printed as
// JSON.
import * as dpop from 'dpop';
import * as oauth from 'oauth4webapi';

const [issuer, clientId, clientSecret, resource, url] = process.argv.slice(2);
const insecure = { [oauth.allowInsecureRequests]: true };
const answers = [];

const as = await oauth
  .discoveryRequest(new URL(issuer), { algorithm: 'oidc', ...insecure })
  .then((response) => oauth.processDiscoveryResponse(new URL(issuer), response));
const client = { client_id: clientId };
for (const algorithm of ['ES256', 'Ed25519']) {
  const DPoP = oauth.DPoP(client, await oauth.generateKeyPair(algorithm));
  const response = await oauth.clientCredentialsGrantRequest(
    as, client, oauth.ClientSecretBasic(clientSecret), { resource, scope: 'read' }, { DPoP, ...insecure },
  );
  const { access_token: token } = await oauth.processClientCredentialsResponse(as, client, response);
  const thumbprint = await DPoP.calculateThumbprint();
  for (let i = 0; i < 3; i++) {
    let requests = 0;
    const ask = () => {
      requests++;
      return oauth.protectedResourceRequest(token, 'GET', new URL(url), undefined, undefined, { DPoP, ...insecure });
    };
    const answer = await ask().catch((error) => {
      if (!oauth.isDPoPNonceError(error)) throw error;
      return ask();
    });
    answers.push({ by: 'oauth4webapi', algorithm, thumbprint, status: answer.status, body: await answer.text(), requests });
  }
}

for (const algorithm of ['ES256', 'Ed25519']) {
  const keys = await dpop.generateKeyPair(algorithm);
  const thumbprint = await dpop.calculateThumbprint(keys.publicKey);
  const issued = await fetch(as.token_endpoint, {
    method: 'POST',
    headers: {
      Authorization: `Basic ${btoa(`${clientId}:${encodeURIComponent(clientSecret)}`)}`,
      DPoP: await dpop.generateProof(keys, as.token_endpoint, 'POST'),
    },
    body: new URLSearchParams({ grant_type: 'client_credentials', scope: 'read', resource }),
  });
  const { access_token: token } = await issued.json();
  let nonce;
  for (let i = 0; i < 3; i++) {
    let requests = 0;
    const ask = async () => {
      requests++;
      const proof = await dpop.generateProof(keys, url.split('?')[0], 'GET', nonce, token);
      const answer = await fetch(url, { headers: { Authorization: `DPoP ${token}`, DPoP: proof } });
      nonce = answer.headers.get('dpop-nonce') ?? nonce;
      return answer;
    };
    let answer = await ask();
    if (answer.status === 401 && answer.headers.get('www-authenticate').includes('use_dpop_nonce')) answer = await ask();
    answers.push({ by: 'dpop', algorithm, thumbprint, status: answer.status, body: await answer.text(), requests });
  }
}
console.log(JSON.stringify(answers));
