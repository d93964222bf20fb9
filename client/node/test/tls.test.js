import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { Client, Unavailable } from 'stillroom';
import { required } from './live.js';

const target = required('STILLROOM_TARGET');
const roots = required('STILLROOM_ROOT_CERTIFICATES');

for (const [title, options] of [
  ['named by the environment', {}],
  ['given', { tls: { rootCertificates: readFileSync(roots) }, environment: {} }],
]) {
  test(`a server is trusted by a certificate ${title}`, async () => {
    const client = new Client({ target, ...options });
    assert.match((await client.serverInfo()).version, /^\d/);
    client.close();
  });
}

for (const tls of [true, false]) {
  test(`without the certificate there is no connection (tls: ${tls})`, async () => {
    const client = new Client({ target, tls, environment: {} });
    await assert.rejects(client.serverInfo({ timeoutMs: 20_000 }), Unavailable);
    client.close();
  });
}
