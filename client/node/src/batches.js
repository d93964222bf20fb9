// Texts of any iterable, in lists of a size that servers take.

import { InvalidArgument } from './errors.js';
import { text } from './messages.js';

// Well below the least limit that servers set.
const BATCH_BYTES = 1 << 20;

/** @typedef {Iterable<string> | AsyncIterable<string>} Texts */
/** @typedef {{start: number, texts: string[]}} Batch texts, and the index of the first of them */

/**
 * Lists of at most `size` texts and about a megabyte; a longer text stands alone, for the server to
 * judge.
 * @param {Texts} texts
 * @param {number} size
 * @returns {AsyncGenerator<Batch, void, undefined>}
 * @throws {InvalidArgument} naming what is no text
 */
export async function* batches(texts, size) {
  /** @type {Batch} */
  let batch = { start: 0, texts: [] };
  let bytes = 0;
  const take = () => {
    const taken = batch;
    batch = { start: taken.start + taken.texts.length, texts: [] };
    bytes = 0;
    return taken;
  };
  for await (const item of iterable(texts)) {
    const length = Buffer.byteLength(text(item, `texts[${batch.start + batch.texts.length}]`));
    if (batch.texts.length && bytes + length > BATCH_BYTES) yield take();
    batch.texts.push(item);
    bytes += length;
    if (batch.texts.length === size) yield take();
  }
  if (batch.texts.length) yield take();
}

/**
 * @param {any} texts
 * @returns {Texts}
 */
export function iterable(texts) {
  const object = typeof texts === 'object' && texts !== null; // a string would be its characters
  if (object && (texts[Symbol.iterator] || texts[Symbol.asyncIterator])) return texts;
  throw new InvalidArgument('texts is an array or another iterable of strings', { field: 'texts' });
}
