// The client: texts into vectors, teachers into students.

import { randomUUID } from 'node:crypto';
import { iterable } from './batches.js';
import { Calls, rpc } from './calls.js';
import { connect } from './connection.js';
import { Embeddings } from './embeddings.js';
import { InvalidArgument } from './errors.js';
import { build, text } from './messages.js';
import { CANCEL, GET, Operation } from './operation.js';
import { root } from './protos.js';
import { embedStream } from './stream.js';

/** @typedef {import('./calls.js').CallOptions} CallOptions */

/**
 * @typedef {object} ClientSettings
 * @property {number} [timeoutMs] of each unary call that does not say otherwise. Default: 120,000
 * @property {Record<string, string | undefined>} [environment] default: process.env
 */

/**
 * How to embed; what is left out is the model's or the server's default.
 * @typedef {object} EmbedOptions
 * @property {boolean} [truncate] cut texts that are too long (default true), else InvalidArgument
 * @property {'right' | 'left'} [truncationDirection] which end is cut
 * @property {number} [maxTokens] the most tokens of a text that count
 * @property {boolean} [normalize] unit length (default true)
 * @property {number} [dimensions] keep the first so many, then normalize
 * @property {string} [prompt] text put before every input
 * @property {string} [promptName] the name of one of the model's prompts
 * @property {'float32' | 'float16' | 'int8' | 'binary'} [elementType] on the wire; answered as
 *   float32 in any case
 */

/**
 * @typedef {object} StreamOptions
 * @property {number} [batchSize] texts a message (default 256)
 * @property {number} [window] messages on their way at once (default 8): this bounds memory
 * @property {'throw' | 'yield'} [onError] what becomes of a message that the server refuses: the
 *   loop ends with its error (default), or it is yielded with `error` set and the stream goes on
 */

/**
 * A DistillRequest of the protocol in camelCase, enums as words (`float16`). Recipes are `auto`,
 * `static`, `staticTuned`, `transformer` and `quantize`; without one the server chooses.
 * @typedef {object} DistillSettings
 * @property {string} name the model that gets a new version
 * @property {string} [teacher] a registered teacher: `name`, `name@3` or `name@alias`
 * @property {{path?: string, upload?: string, hub?: {repo: string, revision?: string}}}
 *   [teacherImport] instead: where to import it from first
 * @property {StaticRecipe} [static] how to make a static student
 * @property {string} [requestId] a UUID that makes the call idempotent; default: a new one
 * @property {string} [description] for people
 * @property {Record<string, string>} [labels] of the model
 */

/**
 * @typedef {object} StaticRecipe
 * @property {number} [dimensions] default: 256, or the teacher's if fewer
 * @property {number} [variance] instead: as few dimensions as explain this share of the variance
 * @property {boolean} [allDimensions] instead: true keeps the teacher's, without PCA
 * @property {number} [sifCoefficient]
 * @property {'mean' | 'first' | 'last' | 'pooler'} [pooling]
 * @property {string[]} [addWords]
 * @property {string[]} [removeTokens]
 * @property {string} [removePattern]
 * @property {'float32' | 'float16' | 'int8'} [elementType] how the table is stored
 * @property {number} [seed]
 * @property {string} [promptName]
 * @property {number} [maxTokens]
 * @property {boolean} [normalize]
 */

/**
 * The response of a distillation; `report` is a FidelityReport of the protocol in camelCase.
 * @typedef {{
 *   modelVersion: {name: string, [field: string]: any} | null,
 *   teacherVersion: string,
 *   report: {vocabularySize: number, dimensions: number, [field: string]: any},
 * }} DistillResponse
 */

const EMBED = rpc(
  '/stillroom.v1.EmbeddingService/Embed',
  'stillroom.v1.EmbedRequest',
  'stillroom.internal.v1.WireEmbedResponse', // see stream.js
);
const DISTILL = rpc(
  '/stillroom.v1.DistillationService/Distill',
  'stillroom.v1.DistillRequest',
  'google.longrunning.Operation',
);
const SERVER_INFO = rpc(
  '/stillroom.v1.ServerService/GetServerInfo',
  'stillroom.v1.GetServerInfoRequest',
  'stillroom.v1.GetServerInfoResponse',
);
const EMBED_OPTIONS = root.lookupType('stillroom.v1.EmbedOptions');
const DISTILL_REQUEST = root.lookupType('stillroom.v1.DistillRequest');

/** A client of a Stillroom server. Every method throws a StillroomError. */
export class Client {
  #calls;
  #timeoutMs;

  /**
   * Connects with the first call.
   * @param {import('./connection.js').ConnectionOptions & ClientSettings} [options]
   */
  constructor({ timeoutMs = 120_000, environment = process.env, ...connection } = {}) {
    this.#timeoutMs = timeoutMs;
    this.#calls = new Calls(connect(connection, environment), [
      ...[EMBED, DISTILL, SERVER_INFO, GET, CANCEL],
    ]);
  }

  /**
   * Embeds texts in one call; thousands of them go better through `embedStream`.
   * @param {Iterable<string>} texts
   * @param {{model: string} & EmbedOptions & CallOptions} options
   */
  async embed(texts, { model, signal, timeoutMs = this.#timeoutMs, ...options }) {
    const list = [];
    for await (const item of iterable(texts)) list.push(text(item, `texts[${list.length}]`));
    const message = { ...request(model, options), texts: list };
    const answer = await this.#calls.unary(EMBED, message, { signal, timeoutMs });
    return new Embeddings(answer.embeddings ?? {}, list.length);
  }

  /**
   * Embeds texts of any length of list, pipelined, and yields their vectors in order. The iterable is
   * read only a window ahead. For a live feed, where each text should be answered at once, say
   * `batchSize: 1`. A connection that breaks ends the loop with Unavailable.
   * @param {import('./batches.js').Texts} texts
   * @param {{model: string} & EmbedOptions & StreamOptions & CallOptions} options
   * @returns {AsyncGenerator<import('./stream.js').EmbedBatch, void, undefined>}
   */
  async *embedStream(texts, options) {
    const { model, batchSize = 256, window = 8, onError = 'throw', ...rest } = options;
    const { signal, timeoutMs, ...embedding } = rest;
    atLeastOne(batchSize, 'batchSize');
    atLeastOne(window, 'window');
    if (onError !== 'throw' && onError !== 'yield') {
      throw new InvalidArgument("onError is 'throw' or 'yield'", { field: 'onError' });
    }
    const settings = { batchSize, window, signal, timeoutMs };
    for await (const batch of embedStream(this.#calls, texts, request(model, embedding), settings)) {
      if (batch.error && onError === 'throw') throw batch.error;
      yield batch;
    }
  }

  /**
   * Distills a teacher into a student that is registered as a new version of `name`.
   * @param {DistillSettings} settings
   * @param {CallOptions} [options]
   * @returns {Promise<Operation<DistillResponse>>}
   */
  async distill(settings, options) {
    const message = build(DISTILL_REQUEST, { requestId: randomUUID(), ...settings });
    const wire = await this.#calls.unary(DISTILL, message, this.#with(options));
    return new Operation(this.#calls, wire, this.#timeoutMs);
  }

  /**
   * The operation `operations/{operation}`.
   * @param {string} name
   * @param {CallOptions} [options]
   * @returns {Promise<Operation<object>>}
   */
  async operation(name, options) {
    const wire = await this.#calls.unary(GET, { name: text(name, 'name') }, this.#with(options));
    return new Operation(this.#calls, wire, this.#timeoutMs);
  }

  /**
   * Version, limits, loaded models and devices: a GetServerInfoResponse of the protocol.
   * @param {CallOptions} [options]
   */
  serverInfo(options) {
    return this.#calls.unary(SERVER_INFO, {}, this.#with(options));
  }

  /** Closes the connection to new calls, which throw Cancelled; those in flight may end. */
  close() {
    this.#calls.close();
  }

  /** @param {CallOptions} [options] */
  #with(options) {
    return { timeoutMs: this.#timeoutMs, ...options };
  }
}

/**
 * @param {string} model
 * @param {EmbedOptions} options
 */
function request(model, options) {
  return { model: text(model, 'model'), options: build(EMBED_OPTIONS, options) };
}

/**
 * @param {number} value
 * @param {string} field
 */
function atLeastOne(value, field) {
  if (!Number.isInteger(value) || value < 1) {
    throw new InvalidArgument(`${field} is a positive integer, not ${value}`, { field });
  }
}
