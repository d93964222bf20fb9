// What needs no server.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Client, InvalidArgument, ResourceExhausted, Unavailable, Unknown } from 'stillroom';
import { connect } from '../src/connection.js';
import { Embeddings, half } from '../src/embeddings.js';
import { fromServiceError, fromStatus } from '../src/errors.js';
import { build } from '../src/messages.js';
import { codec, root, word } from '../src/protos.js';

const EMBED_OPTIONS = root.lookupType('stillroom.v1.EmbedOptions');
const DISTILL = root.lookupType('stillroom.v1.DistillRequest');
const any = (name, value) => ({ type_url: `type.googleapis.com/${name}`, value: codec(name).encode(value) });

test('options become messages, enums by their words', () => {
  const given = { elementType: 'float16', truncate: false, maxTokens: undefined, promptName: null };
  const message = build(EMBED_OPTIONS, given);
  assert.deepEqual(message, { elementType: 'ELEMENT_TYPE_FLOAT16', truncate: false });
  const nested = { static: { addWords: ['é'], pooling: 'mean' }, labels: { team: 'search' } };
  assert.deepEqual(build(DISTILL, nested), {
    static: { addWords: ['é'], pooling: 'POOLING_MEAN' },
    labels: { team: 'search' },
  });
});

for (const [title, type, given, field] of [
  ['a name that there is not', EMBED_OPTIONS, { dimension: 3 }, 'dimension'],
  ['a name of Object', EMBED_OPTIONS, { constructor: 3 }, 'constructor'],
  ['a word that there is not', EMBED_OPTIONS, { elementType: 'float64' }, 'element_type'],
  ['a number that is no integer', EMBED_OPTIONS, { maxTokens: 1.5 }, 'max_tokens'],
  ['a number beyond 32 bits', EMBED_OPTIONS, { maxTokens: 2 ** 31 }, 'max_tokens'],
  ['a negative seed', DISTILL, { static: { seed: -1 } }, 'static.seed'],
  ['a string for a number', EMBED_OPTIONS, { dimensions: '3' }, 'dimensions'],
  ['a string for a boolean', EMBED_OPTIONS, { normalize: 'no' }, 'normalize'],
  ['two that exclude each other', EMBED_OPTIONS, { prompt: 'a', promptName: 'b' }, 'prompt_name'],
  ['two sizes', DISTILL, { static: { dimensions: 3, variance: 0.5 } }, 'static.variance'],
  ['a string for a list', DISTILL, { static: { addWords: 'abc' } }, 'static.add_words'],
  ['no string in a list', DISTILL, { static: { addWords: ['a', 1] } }, 'static.add_words[1]'],
  ['a string for an object', DISTILL, { static: 'small' }, 'static'],
  ['no UTF-8', DISTILL, { description: '\ud800' }, 'description'],
  ['no UTF-8 in a map', DISTILL, { labels: { team: '\udc00' } }, 'labels[team]'],
]) {
  test(`${title} is refused by field`, () => {
    assert.throws(() => build(type, given), (error) => {
      assert.ok(error instanceof InvalidArgument);
      assert.equal(error.field, field);
      return true;
    });
  });
}

test('texts are checked before anything is sent', async () => {
  const client = new Client({ target: '127.0.0.1:1', environment: {} });
  for (const [texts, field] of [
    ['a string', 'texts'],
    [7, 'texts'],
    [null, 'texts'],
    [['a', 7], 'texts[1]'],
    [['\ud800'], 'texts[0]'],
  ]) {
    await assert.rejects(client.embed(texts, { model: 'm' }), { name: 'InvalidArgument', field });
    const stream = client.embedStream(texts, { model: 'm' });
    await assert.rejects(stream.next(), { name: 'InvalidArgument', field });
  }
  await assert.rejects(client.embed(['a'], {}), { name: 'InvalidArgument', field: 'model' });
  for (const options of [{ batchSize: 0 }, { window: 1.5 }, { onError: 'ignore' }]) {
    const stream = client.embedStream(['a'], { model: 'm', ...options });
    const [field] = Object.keys(options);
    await assert.rejects(stream.next(), { name: 'InvalidArgument', field });
  }
  client.close();
});

test('nobody listens: Unavailable, with the address', async () => {
  const client = new Client({ target: '127.0.0.1:1', environment: {} });
  await assert.rejects(client.embed(['a'], { model: 'm' }), (error) => {
    assert.ok(error instanceof Unavailable);
    assert.match(error.message, /127\.0\.0\.1:1/);
    return true;
  });
  client.close();
});

test('a status becomes an error with all of its details', () => {
  const wire = {
    code: 8,
    message: 'zu viele Anfragen — später',
    details: [
      any('google.rpc.ErrorInfo', { reason: 'QUEUE_FULL', metadata: { limit: '512' } }),
      any('google.rpc.BadRequest', { fieldViolations: [{ field: 'texts[3]' }] }),
      any('google.rpc.RetryInfo', { retryDelay: { seconds: 1, nanos: 5e8 } }),
      { type_url: 'type.googleapis.com/some.Newer', value: Buffer.from([1]) },
    ],
  };
  const error = fromStatus(codec('google.rpc.Status').decode(codec('google.rpc.Status').encode(wire)));
  assert.ok(error instanceof ResourceExhausted);
  assert.deepEqual(
    [error.code, error.reason, error.field, error.metadata, error.retryAfterMs, error.message],
    ['RESOURCE_EXHAUSTED', 'QUEUE_FULL', 'texts[3]', { limit: '512' }, 1500, wire.message],
  );
});

test('details that are damaged or of another call are left alone', () => {
  const status = codec('google.rpc.Status').encode({ code: 5, message: 'other' });
  for (const bytes of [Buffer.from([0xff, 0xff]), status]) {
    const metadata = { get: () => [bytes] };
    const error = fromServiceError({ code: 99, details: 'strange', metadata }, 'here');
    assert.ok(error instanceof Unknown);
    assert.equal(error.message, 'strange');
  }
});

test('half-precision numbers', () => {
  const table = [
    [0x0000, 0],
    [0x0001, 2 ** -24],
    [0x03ff, 1023 * 2 ** -24],
    [0x0400, 2 ** -14],
    [0x3c00, 1],
    [0xc000, -2],
    [0x7bff, 65504],
    [0x7c00, Infinity],
    [0xfc00, -Infinity],
    [0x3555, 0.333251953125],
  ];
  for (const [bits, value] of table) assert.equal(half(bits), value);
  assert.ok(Object.is(half(0x8000), -0));
  assert.ok(Number.isNaN(half(0x7e00)));
});

const embeddings = (vectors, texts) =>
  new Embeddings({ vectors, tokenCounts: [], truncated: [], warnings: [] }, texts);

test('int8 rows are scaled and sign bits are signs', () => {
  const scales = Buffer.from(Float32Array.of(0.5, 2).buffer);
  const int8 = { values: Buffer.from([1, 0xff, 0x80, 3]), scales };
  const scaled = embeddings({ count: 2, dimensions: 2, int8 }, 2);
  assert.deepEqual([...scaled.data], [0.5, -0.5, -256, 6]);
  const bits = Buffer.from([0b10100000, 0b10000000, 0, 0]);
  const signs = embeddings({ count: 2, dimensions: 9, binary: bits }, 2);
  assert.deepEqual([...signs.vector(0)], [1, -1, 1, -1, -1, -1, -1, -1, 1]);
  assert.ok(signs.vector(1).every((value) => value === -1));
});

test('blocks that are not whole are refused', () => {
  const float32 = { values: Buffer.alloc(16) };
  for (const vectors of [
    null,
    { count: 1, dimensions: 4 },
    { count: 1, dimensions: 4, float32 },
    { count: 2, dimensions: 3, float32 },
    { count: 2, dimensions: 2, float32: { values: Buffer.alloc(15) } },
    { count: 2, dimensions: 2, int8: { values: Buffer.alloc(4), scales: Buffer.alloc(4) } },
    { count: 2, dimensions: 9, binary: Buffer.alloc(2) },
  ]) {
    assert.throws(() => embeddings(vectors, 2), { name: 'Internal', reason: 'MALFORMED_ANSWER' });
  }
});

test('words of enums, known and newer', () => {
  assert.equal(word('TextWarningKind', 'TEXT_WARNING_KIND_ALL_UNKNOWN'), 'all_unknown');
  assert.equal(word('TextWarningKind', 9), '9');
});

test('a token travels in the clear to this machine only', () => {
  const token = 'secret';
  for (const target of ['localhost:1', '127.0.0.9:1', '[::1]:1', '::1', 'unix:/s', 'dns:///localhost:1']) {
    const { metadata } = connect({ target, token }, {});
    assert.deepEqual(metadata().get('authorization'), ['Bearer secret']);
  }
  for (const target of ['example.org:1', '127.0.0.1.example.org:1', 'ipv4:127.0.0.1:1,10.0.0.1:1']) {
    assert.throws(() => connect({ target, token }, {}), { reason: 'TOKEN_IN_THE_CLEAR' });
    connect({ target, token, tls: true }, {});
    connect({ target, token, allowInsecure: true }, {});
  }
});

test('settings that make no sense name the option', () => {
  for (const [options, environment, field] of [
    [{ target: 'http://localhost:1' }, {}, 'target'],
    [{ target: 'a b' }, {}, 'target'],
    [{ token: 'line\nbreak' }, {}, 'token'],
    [{ tls: { clientKey: 'k' } }, {}, 'tls.clientCertificate'],
    [{ tls: { clientCertificate: 'c' } }, {}, 'tls.clientKey'],
    [{}, { STILLROOM_ROOT_CERTIFICATES: '/no/such/file' }, 'tls.rootCertificates'],
  ]) {
    assert.throws(() => connect(options, environment), { name: 'InvalidArgument', field });
  }
  const { target } = connect({}, { STILLROOM_TARGET: 'localhost:7' });
  assert.equal(target, 'localhost:7');
  assert.equal(connect({}, {}).target, '127.0.0.1:50051');
});
