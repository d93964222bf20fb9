// The embedding stream: fill a window, read answers in order, match them with what was sent.

import { batches } from './batches.js';
import { rpc } from './calls.js';
import { Embeddings } from './embeddings.js';
import { Internal, StillroomError, Unavailable, fromStatus } from './errors.js';

// Answers are decoded as the wire twins of the public messages: a packed `repeated float` and a
// `bytes` field are the same on the wire, and the latter is not turned into a list of numbers first.
const EMBED_STREAM = rpc(
  '/stillroom.v1.EmbeddingService/EmbedStream',
  'stillroom.v1.EmbedStreamRequest',
  'stillroom.internal.v1.WireEmbedResponse',
);

/**
 * One answer: the texts, the index of the first of them in the input, and their vectors or why there
 * are none.
 * @typedef {{start: number, texts: string[]} & (
 *   {embeddings: Embeddings, error: null} | {embeddings: null, error: StillroomError}
 * )} EmbedBatch
 */

/**
 * @typedef {object} StreamSettings
 * @property {number} batchSize texts a message
 * @property {number} window messages sent and not answered yet
 */

/**
 * Pumps texts through EmbedStream. The source is read only as far as the window allows; leaving the
 * loop ends the call and returns the source.
 * @param {import('./calls.js').Calls} calls
 * @param {import('./batches.js').Texts} texts
 * @param {{model: string, options: object}} request
 * @param {StreamSettings & import('./calls.js').CallOptions} settings
 * @returns {AsyncGenerator<EmbedBatch, void, undefined>}
 */
export async function* embedStream(calls, texts, request, settings) {
  const source = batches(texts, settings.batchSize);
  const window = new Window(settings.window);
  const { call, answers } = calls.exchange(EMBED_STREAM, settings);
  /** What the source threw. @type {unknown[]} */
  const failures = [];
  let sent = false;
  send(call, source, window, request).then(
    () => (sent = true),
    (error) => {
      failures.push(error);
      call.cancel();
    },
  );
  try {
    for await (const answer of answers) yield window.answered(answer);
    if (!sent || !window.empty) {
      throw new Unavailable('the server ended the stream early', { reason: 'STREAM_ENDED' });
    }
  } catch (error) {
    throw failures.length ? failures[0] : error;
  } finally {
    window.close();
    source.return().catch(() => {}); // not awaited: the source may be waiting for its next text
  }
}

/**
 * @param {import('@grpc/grpc-js').ClientDuplexStream<any, any>} call
 * @param {AsyncGenerator<import('./batches.js').Batch, void, undefined>} source
 * @param {Window} window
 * @param {{model: string, options: object}} request
 */
async function send(call, source, window, request) {
  while (await window.room()) {
    const { value, done } = await source.next();
    if (done) return void call.end();
    window.add(value);
    call.write({ ...request, texts: value.texts, correlationId: String(value.start) });
  }
}

/** What was sent and not answered yet, oldest first. */
class Window {
  #size;
  /** @type {import('./batches.js').Batch[]} */
  #batches = [];
  #closed = false;
  #wake = () => {};

  /** @param {number} size */
  constructor(size) {
    this.#size = size;
  }

  get empty() {
    return this.#batches.length === 0;
  }

  /** Waits for room; false when nobody reads answers any more. */
  async room() {
    while (this.#batches.length >= this.#size && !this.#closed) {
      await new Promise((resolve) => (this.#wake = () => resolve(undefined)));
    }
    return !this.#closed;
  }

  /** @param {import('./batches.js').Batch} batch */
  add(batch) {
    this.#batches.push(batch);
  }

  /**
   * What `answer`, a decoded WireEmbedResponse, makes of the oldest batch.
   * @param {any} answer
   * @returns {EmbedBatch}
   */
  answered(answer) {
    const batch = this.#batches.shift();
    this.#wake();
    if (!batch || answer.correlationId !== String(batch.start)) {
      throw new Internal(`the server answered ${answer.correlationId}, not ${batch?.start}`, {
        reason: 'OUT_OF_ORDER',
      });
    }
    if (answer.error) {
      return { ...batch, embeddings: null, error: shifted(fromStatus(answer.error), batch.start) };
    }
    const embeddings = new Embeddings(answer.embeddings ?? {}, batch.texts.length);
    return { ...batch, embeddings, error: null };
  }

  close() {
    this.#closed = true;
    this.#wake();
  }
}

/**
 * `error` with `texts[i]` counted from the first text of the input, not of the message.
 * @param {StillroomError} error
 * @param {number} start
 */
function shifted(error, start) {
  const shift = (/** @type {string} */ text) =>
    text.replace(/\btexts\[(\d+)\]/g, (_, index) => `texts[${Number(index) + start}]`);
  error.message = shift(error.message);
  if (error.field !== null) error.field = shift(error.field);
  return error;
}
