import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Client, DeadlineExceeded, InvalidArgument, NotFound } from 'stillroom';
import { bytesOf, collect, reference, required } from './live.js';

const known = reference();
const { model } = known;
let client;
before(() => (client = new Client({ target: required('STILLROOM_TARGET') })));
after(() => client.close());

async function* each(texts) {
  yield* texts;
}

test('batches come in order, bit for bit those of the unary call', async () => {
  const batches = await collect(
    client.embedStream(each(known.texts), { model, batchSize: 3, window: 2 }),
  );
  assert.ok(batches.length > 4);
  assert.deepEqual(batches.flatMap((batch) => batch.texts), known.texts);
  assert.deepEqual(batches.map((batch) => batch.start), batches.map((_, i) => 3 * i));
  const vectors = batches.map((batch) => bytesOf(batch.embeddings.data));
  assert.deepEqual(Buffer.concat(vectors), known.bytes);
});

test('a refused item is yielded with its error, and the stream goes on', async () => {
  const texts = ['card', 'my pin', 'my pin code', 'the fee'];
  const options = { model, batchSize: 2, maxTokens: 2, truncate: false };
  const batches = await collect(client.embedStream(texts, { ...options, onError: 'yield' }));
  assert.equal(batches.length, 2);
  assert.equal(batches[0].error, null);
  assert.ok(batches[1].error instanceof InvalidArgument);
  assert.equal(batches[1].error.field, 'texts[2]');
  assert.match(batches[1].error.message, /texts\[2\]/);
  assert.equal(batches[1].embeddings, null);
  const more = [...texts.slice(2), ...texts.slice(0, 2)];
  const turned = await collect(client.embedStream(more, { ...options, onError: 'yield' }));
  assert.ok(turned[0].error instanceof InvalidArgument);
  assert.equal(turned[1].embeddings.count, 2);
});

test('a refused item ends the loop unless asked otherwise', async () => {
  const options = { model, batchSize: 1, maxTokens: 1, truncate: false };
  const seen = [];
  const loop = async () => {
    for await (const batch of client.embedStream(['card', 'my pin', 'fee'], options)) {
      seen.push(...batch.texts);
    }
  };
  await assert.rejects(loop(), InvalidArgument);
  assert.deepEqual(seen, ['card']);
});

test('messages larger than gRPC takes by default pass both ways', async () => {
  const texts = Array.from({ length: 4096 }, (_, i) => known.texts[i % known.texts.length]);
  const [batch, ...rest] = await collect(client.embedStream(texts, { model, batchSize: 4096 }));
  assert.deepEqual(rest, []);
  assert.ok(batch.embeddings.data.byteLength > 4 << 20);
  const size = known.bytes.length;
  const bytes = bytesOf(batch.embeddings.data);
  assert.deepEqual(bytes.subarray(0, size), known.bytes);
  assert.deepEqual(bytes.subarray(size, 2 * size), known.bytes);
});

test('texts are read only a window ahead', async () => {
  let read = 0;
  let answered = 0;
  async function* endless() {
    for (;;) {
      assert.ok(++read - answered <= 2 * (3 + 1), `${read} read, ${answered} answered`);
      yield 'my card';
    }
  }
  const stream = client.embedStream(endless(), { model, batchSize: 2, window: 3 });
  for await (const batch of stream) {
    answered += batch.texts.length;
    if (answered >= 100) break;
  }
  assert.ok(read < 120);
});

test('leaving the loop returns the source', async () => {
  let returned;
  const end = new Promise((resolve) => (returned = resolve));
  async function* endless() {
    try {
      for (;;) yield 'card';
    } finally {
      returned();
    }
  }
  for await (const _ of client.embedStream(endless(), { model, batchSize: 1 })) break;
  await end;
});

test('an answer does not wait for the next text', async () => {
  const taken = [];
  let next;
  async function* conversation() {
    yield 'card';
    await new Promise((resolve) => (next = resolve));
    yield 'fee';
  }
  for await (const batch of client.embedStream(conversation(), { model, batchSize: 1 })) {
    taken.push(...batch.texts);
    next?.();
  }
  assert.deepEqual(taken, ['card', 'fee']);
});

test('an error of the source ends the loop with that error', async () => {
  const broken = new Error('the file is gone');
  async function* failing() {
    yield 'card';
    throw broken;
  }
  await assert.rejects(collect(client.embedStream(failing(), { model, batchSize: 1 })), broken);
  const wrong = client.embedStream(['card', 7], { model });
  await assert.rejects(collect(wrong), { name: 'InvalidArgument', field: 'texts[1]' });
});

test('a deadline and a signal end a stream whose source waits forever', async () => {
  async function* hanging() {
    yield 'card';
    await new Promise(() => {});
  }
  const late = client.embedStream(hanging(), { model, batchSize: 1, timeoutMs: 300 });
  await assert.rejects(collect(late), DeadlineExceeded);
  const controller = new AbortController();
  const aborted = client.embedStream(hanging(), { model, batchSize: 1, signal: controller.signal });
  assert.equal((await aborted.next()).value.embeddings.count, 1);
  controller.abort(new Error('enough'));
  await assert.rejects(aborted.next(), { message: 'enough' });
});

test('an unknown model and an empty source', async () => {
  await assert.rejects(collect(client.embedStream(['a'], { model: 'no-such-model' })), NotFound);
  assert.deepEqual(await collect(client.embedStream([], { model })), []);
});
