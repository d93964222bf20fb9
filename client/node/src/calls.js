// Calls over a channel: promises and async iterators, errors of this client, deadlines, signals.

import { Client as Channel } from '@grpc/grpc-js';
import { Cancelled, DeadlineExceeded, fromServiceError } from './errors.js';
import { codec } from './protos.js';

/**
 * @typedef {object} CallOptions
 * @property {AbortSignal} [signal] ends the call; it then throws the signal's reason
 * @property {number} [timeoutMs] the whole call may take so long, else DeadlineExceeded
 */

/**
 * @typedef {object} Rpc
 * @property {string} path
 * @property {import('./protos.js').Codec} request
 * @property {import('./protos.js').Codec} answer
 */

/**
 * @param {string} path
 * @param {string} request
 * @param {string} answer
 * @returns {Rpc}
 */
export function rpc(path, request, answer) {
  return { path, request: codec(request), answer: codec(answer) };
}

// Answers are bounded by the server's own limits; the default of 4 MiB would refuse 4,096 rows of
// 256 floats on a stream.
const MAX_ANSWER_BYTES = 256 << 20;

/** A channel to a server; connects with the first call. */
export class Calls {
  #connection;
  #channel;
  #closed = false;

  /**
   * @param {import('./connection.js').Connection} connection
   * @param {Rpc[]} repeatable which gRPC itself repeats when the server is unavailable: those that
   *   only read, or carry a request_id
   */
  constructor(connection, repeatable) {
    this.#connection = connection;
    this.#channel = new Channel(connection.target, connection.credentials, {
      'grpc.primary_user_agent': 'stillroom-node',
      'grpc.max_receive_message_length': MAX_ANSWER_BYTES,
      'grpc.max_send_message_length': -1,
      'grpc.initial_reconnect_backoff_ms': 100,
      'grpc.max_reconnect_backoff_ms': 5_000,
      // Finds peers that vanished without a word while a stream waits.
      'grpc.keepalive_time_ms': 60_000,
      'grpc.keepalive_timeout_ms': 20_000,
      'grpc.service_config': JSON.stringify(retries(repeatable)),
    });
  }

  /**
   * One request, one answer.
   * @param {Rpc} rpc
   * @param {object} message
   * @param {CallOptions} options
   * @returns {Promise<any>}
   */
  unary({ path, request, answer }, message, { signal, timeoutMs }) {
    return new Promise((resolve, reject) => {
      const call = this.#open(signal).makeUnaryRequest(
        ...[path, request.encode, answer.decode, message],
        ...[this.#connection.metadata(), { deadline: deadline(timeoutMs) }],
        (error, value) => {
          signal?.removeEventListener('abort', abort);
          if (error) reject(this.#failure(error, signal));
          else resolve(value);
        },
      );
      const abort = () => call.cancel();
      signal?.addEventListener('abort', abort);
    });
  }

  /**
   * One request, a stream of answers. Leaving the loop cancels the call.
   * @param {Rpc} rpc
   * @param {object} message
   * @param {CallOptions} options
   * @returns {AsyncGenerator<any, void, undefined>}
   */
  async *receive({ path, request, answer }, message, { signal, timeoutMs }) {
    const call = this.#open(signal).makeServerStreamRequest(
      ...[path, request.encode, answer.decode, message],
      ...[this.#connection.metadata(), { deadline: deadline(timeoutMs) }],
    );
    yield* this.#answers(call, signal);
  }

  /**
   * A stream each way. Leaving the loop over the answers cancels the call.
   * @param {Rpc} rpc
   * @param {CallOptions} options
   */
  exchange({ path, request, answer }, { signal, timeoutMs }) {
    const call = this.#open(signal).makeBidiStreamRequest(
      ...[path, request.encode, answer.decode],
      ...[this.#connection.metadata(), { deadline: deadline(timeoutMs) }],
    );
    return { call, answers: this.#answers(call, signal) };
  }

  /** Closes the channel to new calls, which throw Cancelled; those in flight may end. */
  close() {
    this.#closed = true;
    this.#channel.close();
  }

  /** @param {AbortSignal} [signal] */
  #open(signal) {
    signal?.throwIfAborted();
    if (!this.#closed) return this.#channel;
    throw new Cancelled('this client is closed', { reason: 'CLIENT_CLOSED' });
  }

  /**
   * @param {import('@grpc/grpc-js').ClientReadableStream<any>} call
   * @param {AbortSignal} [signal]
   */
  async *#answers(call, signal) {
    const abort = () => call.cancel();
    signal?.addEventListener('abort', abort);
    call.on('error', () => {}); // a cancelled call says so after the loop is left
    try {
      for await (const answer of call) yield answer;
    } catch (error) {
      throw this.#failure(/** @type {import('@grpc/grpc-js').ServiceError} */ (error), signal);
    } finally {
      signal?.removeEventListener('abort', abort);
      call.cancel();
    }
  }

  /**
   * @param {import('@grpc/grpc-js').ServiceError} error
   * @param {AbortSignal} [signal]
   */
  #failure(error, signal) {
    return signal?.aborted ? signal.reason : fromServiceError(error, this.#connection.target);
  }
}

/**
 * `timeoutMs` from now; undefined never comes.
 * @param {number} [timeoutMs]
 */
export function deadline(timeoutMs) {
  return timeoutMs === undefined ? undefined : Date.now() + timeoutMs;
}

/**
 * Milliseconds until `end`.
 * @param {number | undefined} end
 * @throws {DeadlineExceeded} when it has passed
 */
export function remaining(end) {
  const left = end === undefined ? undefined : end - Date.now();
  if (left !== undefined && left <= 0) {
    throw new DeadlineExceeded('the time given for this call is over', { reason: 'TIMEOUT' });
  }
  return left;
}

/** @param {Rpc[]} repeatable */
function retries(repeatable) {
  const name = repeatable.map(({ path }) => {
    const [, service, method] = path.split('/');
    return { service, method };
  });
  const retryPolicy = {
    maxAttempts: 4,
    initialBackoff: '0.15s',
    maxBackoff: '3s',
    backoffMultiplier: 3,
    retryableStatusCodes: ['UNAVAILABLE'],
  };
  return { methodConfig: [{ name, retryPolicy }] };
}
