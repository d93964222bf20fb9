// What the tests know of the server that they run against; tests/clients/test_node.py starts it.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';

/** Reads an environment variable that the tests cannot do without. */
export function required(name) {
  const value = process.env[name];
  assert.ok(value, `${name} is not set: run these tests with pytest tests/clients`);
  return value;
}

/** Texts with their vectors as Python computed them, as bits. */
export function reference() {
  const { model, texts, dimensions, vectors } = JSON.parse(
    readFileSync(required('STILLROOM_REFERENCE'), 'utf8'),
  );
  const bytes = Buffer.from(vectors, 'base64');
  assert.equal(bytes.length, 4 * texts.length * dimensions);
  return { model, texts, dimensions, bytes };
}

/** The bytes of a typed array. */
export const bytesOf = (array) => Buffer.from(array.buffer, array.byteOffset, array.byteLength);

export async function collect(iterable) {
  const items = [];
  for await (const item of iterable) items.push(item);
  return items;
}
