import assert from 'node:assert/strict';
import net from 'node:net';
import { after, before, test } from 'node:test';
import { Client, DeadlineExceeded, InvalidArgument, NotFound, Unauthenticated } from 'stillroom';
import { codec } from '../src/protos.js';
import { bytesOf, reference, required } from './live.js';

const known = reference();
const { model } = known;
let client;
before(() => (client = new Client({ target: required('STILLROOM_TARGET') })));
after(() => client.close());

test('vectors are bit for bit those of Python', async () => {
  const answer = await client.embed(known.texts, { model });
  assert.equal(answer.count, known.texts.length);
  assert.equal(answer.dimensions, known.dimensions);
  assert.deepEqual(bytesOf(answer.data), known.bytes);
  assert.equal(answer.modelVersion, `models/${model}/versions/1`);
  assert.equal(answer.tokenCounts.length, answer.count);
  assert.ok(answer.vectors.every((vector, row) => vector[0] === answer.data[row * answer.dimensions]));
});

test('the public messages carry what the wire twins do', () => {
  const values = [0.1, -2.5, 3e38, 1e-40].map(Math.fround);
  const embeddings = { vectors: { count: 2, dimensions: 2, float32: { values } }, tokenCounts: [3, 4] };
  const bytes = codec('stillroom.v1.EmbedResponse').encode({ embeddings, correlationId: 'é' });
  const wire = codec('stillroom.internal.v1.WireEmbedResponse').decode(bytes);
  assert.deepEqual(wire.embeddings.vectors.float32.values, bytesOf(Float32Array.from(values)));
  assert.deepEqual([wire.embeddings.tokenCounts, wire.correlationId], [[3, 4], 'é']);
});

test('a leading part of the dimensions has unit length again', async () => {
  const text = 'my card has not arrived';
  const whole = await client.embed([text], { model, normalize: false });
  const { data, dimensions } = await client.embed([text], { model, dimensions: 5 });
  assert.equal(dimensions, 5);
  const head = whole.data.subarray(0, 5);
  const norm = Math.hypot(...head);
  data.forEach((value, i) => assert.ok(Math.abs(value - head[i] / norm) < 1e-6));
});

test('float16 is answered as the nearest numbers', async () => {
  const exact = await client.embed(known.texts, { model });
  const short = await client.embed(known.texts, { model, elementType: 'float16' });
  assert.notDeepEqual(short.data, exact.data);
  short.data.forEach((value, i) => {
    assert.ok(Math.abs(value - exact.data[i]) <= Math.abs(exact.data[i]) * 2 ** -11 + 2 ** -25);
  });
});

test('texts of any script arrive as they are', async () => {
  const texts = ['漢', 'É', 'x漢é🙂', '🙂', ''];
  const { tokenCounts, warnings, data, dimensions } = await client.embed(texts, { model });
  assert.deepEqual(tokenCounts.slice(0, 2), [1, 1]);
  assert.deepEqual(warnings, [
    { index: 3, kind: 'all_unknown' },
    { index: 4, kind: 'empty' },
  ]);
  assert.ok(data.subarray(3 * dimensions).every((value) => value === 0));
});

test('truncation is told by text', async () => {
  const answer = await client.embed(['my card', 'card'], { model, maxTokens: 1 });
  assert.deepEqual(answer.truncated, [true, false]);
  assert.deepEqual(answer.tokenCounts, [1, 1]);
});

test('an unknown model has a reason and its name', async () => {
  await assert.rejects(client.embed(['a'], { model: 'no-such-model' }), (error) => {
    assert.ok(error instanceof NotFound);
    assert.equal(error.code, 'NOT_FOUND');
    assert.equal(error.reason, 'MODEL_NOT_FOUND');
    assert.equal(error.metadata.model, 'no-such-model');
    assert.equal(error.field, 'model');
    return true;
  });
});

test('an error message keeps characters beyond ASCII', async () => {
  await assert.rejects(client.embed(['a'], { model, promptName: 'größe-漢-🙂' }), (error) => {
    assert.ok(error instanceof InvalidArgument);
    assert.equal(error.field, 'options.prompt_name');
    assert.match(error.message, /größe-漢-🙂/);
    return true;
  });
});

test('what the model cannot do names the field', async () => {
  await assert.rejects(client.embed(['a'], { model, dimensions: 100_000 }), (error) => {
    assert.ok(error instanceof InvalidArgument);
    assert.match(error.field, /dimensions$/);
    return true;
  });
});

test('a wrong token is refused', async () => {
  const stranger = new Client({ token: 'x'.repeat(40) });
  const failed = stranger.embed(['a'], { model });
  await assert.rejects(failed, (error) => {
    assert.ok(error instanceof Unauthenticated);
    assert.equal(error.reason, 'TOKEN_UNKNOWN');
    return true;
  });
  stranger.close();
});

test('a deadline ends a call that gets no answer', async () => {
  const silent = net.createServer((socket) => socket.unref()).listen(0, '127.0.0.1');
  await new Promise((resolve) => silent.once('listening', resolve));
  const waiting = new Client({ target: `127.0.0.1:${silent.address().port}` });
  const failed = waiting.embed(['a'], { model, timeoutMs: 200 });
  await assert.rejects(failed, DeadlineExceeded);
  waiting.close();
  silent.close();
});

test('an aborted call throws the reason of its signal', async () => {
  const reason = new Error('changed my mind');
  await assert.rejects(client.embed(['a'], { model, signal: AbortSignal.abort(reason) }), reason);
  const controller = new AbortController();
  const pending = client.embed(['a'], { model, signal: controller.signal });
  controller.abort(reason);
  await assert.rejects(pending, reason);
});

test('a closed client says so', async () => {
  const closed = new Client();
  closed.close();
  const failed = closed.embed(['a'], { model });
  await assert.rejects(failed, { name: 'Cancelled', reason: 'CLIENT_CLOSED' });
});

test('the server says what it is', async () => {
  const info = await client.serverInfo();
  assert.match(info.version, /^\d+\.\d+\.\d+/);
  assert.ok(info.limits.maxTexts > 0);
});
