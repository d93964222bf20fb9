import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Cancelled, Client, DeadlineExceeded, InvalidArgument, NotFound } from 'stillroom';
import { required } from './live.js';

const teacher = required('STILLROOM_TEACHER');
let client;
before(() => (client = new Client({ target: required('STILLROOM_TARGET') })));
after(() => client.close());

test('a distillation is watched to its end, and its student embeds', async () => {
  const operation = await client.distill({
    teacher,
    name: 'from-node',
    static: { dimensions: 8, elementType: 'float32', seed: 7, addWords: ['Äpfel'] },
    description: 'made by the Node client',
  });
  assert.match(operation.name, /^operations\//);
  assert.equal(operation.snapshot.kind, 'distill');

  // A watch may be late; the operation goes on.
  await assert.rejects(operation.result({ timeoutMs: 1 }), (error) => {
    assert.ok(error instanceof DeadlineExceeded);
    assert.equal(error.reason, 'WAIT_TIMEOUT');
    assert.equal(error.metadata.operation, operation.name);
    return true;
  });

  const states = [];
  const fractions = [];
  for await (const { state, progress, target } of operation.watch()) {
    states.push(state);
    assert.equal(target, 'models/from-node');
    if (progress) fractions.push(progress.fraction);
  }
  const result = await operation.result();
  const { phase, phaseIndex, phaseCount } = operation.snapshot.progress;
  assert.deepEqual({ phase, phaseIndex }, { phase: 'publish', phaseIndex: phaseCount });
  assert.equal(states.at(-1), 'succeeded');
  assert.ok(fractions.length > 0);
  assert.deepEqual(fractions, fractions.toSorted((a, b) => a - b));

  assert.equal(result.modelVersion.name, 'models/from-node/versions/1');
  assert.equal(result.report.dimensions, 8);
  assert.ok(result.report.onnxParity.minCosine > 0.9999);
  assert.ok(result.teacherVersion.startsWith('models/'));

  const answer = await client.embed(['the quick fox', 'Äpfel'], { model: 'from-node' });
  assert.equal(answer.dimensions, 8);
  answer.vectors.forEach((vector) => assert.ok(Math.abs(Math.hypot(...vector) - 1) < 1e-5));

  const again = await client.operation(operation.name);
  assert.equal(again.snapshot.done, true);
  assert.deepEqual(await again.result(), result);
});

test('a repeated request is the same operation; cancelled, its result throws', async () => {
  const settings = { teacher, name: 'never', requestId: crypto.randomUUID() };
  const operation = await client.distill(settings);
  await operation.cancel();
  assert.equal((await client.distill(settings)).name, operation.name);
  await assert.rejects(operation.result(), Cancelled);
  assert.equal(operation.snapshot.state, 'cancelled');
  assert.equal((await operation.refresh()).error.code, 'CANCELLED');
});

test('an operation that fails says why, field and all', async () => {
  const settings = { teacher, name: 'never', static: { addWords: ['Größe'] } };
  const operation = await client.distill(settings); // which its vocabulary has already
  await assert.rejects(operation.result(), (error) => {
    assert.ok(error instanceof InvalidArgument);
    assert.match(error.field, /add_words/);
    assert.match(error.message, /Größe/);
    return true;
  });
  assert.equal(operation.snapshot.state, 'failed');
  assert.equal(operation.snapshot.error.code, 'INVALID_ARGUMENT');
});

test('what is wrong with a request is said before there is an operation', async () => {
  await assert.rejects(client.distill({ teacher: 'nobody', name: 'x' }), NotFound);
  const unnamed = client.distill({ teacher, name: 'Not A Name' });
  await assert.rejects(unnamed, (error) => {
    assert.ok(error instanceof InvalidArgument);
    assert.equal(error.field, 'name');
    return true;
  });
  await assert.rejects(client.operation('operations/none'), NotFound);
});
