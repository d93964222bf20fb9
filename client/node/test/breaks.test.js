// Servers that break off or break the protocol: scripted ones.
import assert from 'node:assert/strict';
import { after, before, beforeEach, test } from 'node:test';
import { Server, ServerCredentials, status } from '@grpc/grpc-js';
import { Client, Internal, Unavailable } from 'stillroom';
import { codec } from '../src/protos.js';
import { collect } from './live.js';

const OPERATION = 'google.longrunning.Operation';
const method = (path, request, answer, requestStream, responseStream) => ({
  ...{ path, requestStream, responseStream },
  ...{ requestSerialize: codec(request).encode, requestDeserialize: codec(request).decode },
  ...{ responseSerialize: codec(answer).encode, responseDeserialize: codec(answer).decode },
});
const EMBEDDING = '/stillroom.v1.EmbeddingService/';
const SERVICE = {
  embed: method(
    ...[`${EMBEDDING}Embed`, 'stillroom.v1.EmbedRequest', 'stillroom.v1.EmbedResponse'],
    ...[false, false],
  ),
  embedStream: method(
    ...[`${EMBEDDING}EmbedStream`, 'stillroom.v1.EmbedStreamRequest'],
    ...['stillroom.v1.EmbedStreamResponse', true, true],
  ),
  get: method(
    ...['/google.longrunning.Operations/GetOperation', 'google.longrunning.GetOperationRequest'],
    ...[OPERATION, false, false],
  ),
  watch: method(
    ...['/stillroom.v1.OperationService/WatchOperation', 'stillroom.v1.WatchOperationRequest'],
    ...['stillroom.v1.WatchOperationResponse', false, true],
  ),
};

let script;
let client;
const server = new Server();
before(async () => {
  const handlers = Object.keys(SERVICE).map((name) => [name, (...call) => script[name](...call)]);
  server.addService(SERVICE, Object.fromEntries(handlers));
  const port = await new Promise((resolve, reject) => {
    server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, bound) =>
      error ? reject(error) : resolve(bound),
    );
  });
  client = new Client({ target: `127.0.0.1:${port}`, environment: {} });
});
beforeEach(() => (script = {}));
after(() => {
  client.close();
  server.forceShutdown();
});

const restarting = { code: status.UNAVAILABLE, details: 'restarting' };
const one = (correlationId) => ({
  correlationId,
  embeddings: { vectors: { count: 1, dimensions: 2, float32: { values: [0.5, 1] } } },
});

test('a call that finds the server restarting is repeated', async () => {
  let calls = 0;
  script.embed = (call, answer) => (++calls < 3 ? answer(restarting) : answer(null, one('')));
  const { data } = await client.embed(['a'], { model: 'm' });
  assert.deepEqual([...data], [0.5, 1]);
  assert.equal(calls, 3);
});

test('an operation is watched again after a break', async () => {
  let watches = 0;
  script.get = (call, answer) => answer(null, { name: call.request.name });
  script.watch = (call) => {
    call.write({ operation: { name: call.request.name, done: ++watches === 3 } });
    if (watches === 1) call.emit('error', restarting);
    else call.end(); // the second time well, but too early
  };
  const operation = await client.operation('operations/1');
  const seen = await collect(operation.watch());
  assert.deepEqual(seen.map(({ done }) => done), [false, false, true]);
  await assert.rejects(operation.result(), { name: 'Internal', reason: 'UNKNOWN_RESPONSE' });
});

test('a signal ends the pause before a watch is begun again', async () => {
  const controller = new AbortController();
  script.get = (call, answer) => answer(null, { name: call.request.name });
  script.watch = (call) => {
    call.emit('error', restarting);
    setImmediate(() => controller.abort(new Error('enough')));
  };
  const operation = await client.operation('operations/1');
  await assert.rejects(operation.result({ signal: controller.signal }), { message: 'enough' });
});

test('a stream that ends early is Unavailable, after what was answered', async () => {
  script.embedStream = (call) =>
    call.once('data', (item) => {
      call.write(one(item.correlationId));
      call.end();
    });
  async function* hanging() {
    yield 'a';
    await new Promise(() => {});
  }
  for (const texts of [['a', 'b'], hanging()]) {
    const stream = client.embedStream(texts, { model: 'm', batchSize: 1 });
    assert.equal((await stream.next()).value.start, 0);
    await assert.rejects(stream.next(), (error) => {
      assert.ok(error instanceof Unavailable);
      assert.equal(error.reason, 'STREAM_ENDED');
      return true;
    });
  }
});

test('a stream that breaks is Unavailable', async () => {
  script.embedStream = (call) => call.once('data', () => call.emit('error', restarting));
  await assert.rejects(collect(client.embedStream(['a'], { model: 'm' })), Unavailable);
});

test('an answer to another item is Internal', async () => {
  script.embedStream = (call) => call.on('data', () => call.write(one('7')));
  await assert.rejects(collect(client.embedStream(['a'], { model: 'm' })), (error) => {
    assert.ok(error instanceof Internal);
    assert.equal(error.reason, 'OUT_OF_ORDER');
    return true;
  });
});

test('more vectors than texts are Internal', async () => {
  script.embed = (call, answer) => answer(null, one(''));
  await assert.rejects(client.embed(['a', 'b'], { model: 'm' }), Internal);
  script.embed = (call, answer) => answer(null, {});
  await assert.rejects(client.embed(['a'], { model: 'm' }), Internal);
});
