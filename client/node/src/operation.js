// Long work as an object: watch it, wait for its result, cancel it.

import { setTimeout } from 'node:timers/promises';
import { deadline, remaining, rpc } from './calls.js';
import { DeadlineExceeded, Internal, Unavailable, fromStatus } from './errors.js';
import { unpack, word } from './protos.js';

const OPERATION = 'google.longrunning.Operation';
const LRO = '/google.longrunning.Operations/';
export const GET = rpc(`${LRO}GetOperation`, 'google.longrunning.GetOperationRequest', OPERATION);
export const CANCEL = rpc(
  `${LRO}CancelOperation`,
  'google.longrunning.CancelOperationRequest',
  'google.protobuf.Empty',
);
const WATCH = rpc(
  '/stillroom.v1.OperationService/WatchOperation',
  'stillroom.v1.WatchOperationRequest',
  'stillroom.v1.WatchOperationResponse',
);

// How often a watch is begun again without any news: outlasts a restart of the server.
const ATTEMPTS = 8;
const PAUSE_MS = 200;
const MAX_PAUSE_MS = 5_000;

/** @typedef {import('./calls.js').CallOptions} CallOptions */
/** @typedef {'pending' | 'running' | 'succeeded' | 'failed' | 'cancelled' | (string & {})} State */

/**
 * How far an operation is.
 * @typedef {object} Progress
 * @property {string} phase such as `encode`
 * @property {number} phaseIndex from 1
 * @property {number} phaseCount
 * @property {number} done units done in this phase
 * @property {number} total units of this phase; 0: unknown
 * @property {string} unit such as `tokens`
 * @property {string} message for people
 * @property {number} [rate] units a second
 * @property {number} [secondsLeft] in this phase
 * @property {number} fraction of the whole, 0 to 1
 */

/** An operation at one moment. */
export class OperationSnapshot {
  #response;

  /** @param {any} wire a decoded google.longrunning.Operation */
  constructor(wire) {
    const metadata = (wire.metadata && unpack(wire.metadata).value) ?? {};
    /** `operations/{operation}`. @type {string} */
    this.name = wire.name;
    /** What it does, such as `distill`. @type {string} */
    this.kind = metadata.kind ?? '';
    /** Where it stands. @type {State} */
    this.state = word('OperationState', metadata.state ?? 'unspecified');
    /** Whether it ended, however. @type {boolean} */
    this.done = wire.done;
    /** How far it is; null before it runs. @type {Progress | null} */
    this.progress = metadata.progress ?? null;
    /** How many times it was started. @type {number} */
    this.attempt = metadata.attempt ?? 0;
    /** `models/{model}` that it makes or changes; empty when none. @type {string} */
    this.target = metadata.target ?? '';
    /** Whether somebody asked it to stop. @type {boolean} */
    this.cancelRequested = metadata.cancelRequested ?? false;
    /** What ended it, if it failed or was cancelled. */
    this.error = wire.error ? fromStatus(wire.error) : null;
    this.#response = wire.response;
  }

  /**
   * The response of an operation that succeeded, as a plain object of the protocol's message.
   * @returns {any}
   */
  response() {
    if (this.error) throw this.error;
    const { name, value } = this.#response ? unpack(this.#response) : { name: '', value: null };
    if (value === null) {
      throw new Internal(`${this.name} has no response that this client knows (${name})`, {
        reason: 'UNKNOWN_RESPONSE',
      });
    }
    return value;
  }
}

/**
 * A handle on an operation of the server. It goes on whether or not anybody watches.
 * @template {object} Response
 */
export class Operation {
  #calls;
  #timeoutMs;

  /**
   * @param {import('./calls.js').Calls} calls
   * @param {any} wire a decoded google.longrunning.Operation
   * @param {number} [timeoutMs] of short calls
   */
  constructor(calls, wire, timeoutMs) {
    this.#calls = calls;
    this.#timeoutMs = timeoutMs;
    /** What was last heard of it. */
    this.snapshot = new OperationSnapshot(wire);
    /** `operations/{operation}`. */
    this.name = this.snapshot.name;
  }

  /**
   * Asks the server how it stands.
   * @param {CallOptions} [options]
   */
  async refresh(options) {
    const settings = { timeoutMs: this.#timeoutMs, ...options };
    const wire = await this.#calls.unary(GET, { name: this.name }, settings);
    return (this.snapshot = new OperationSnapshot(wire));
  }

  /**
   * Yields it now and after every change until it is done; how it ended is in the last snapshot. A
   * server that restarts meanwhile is watched again.
   * @param {CallOptions} [options] DeadlineExceeded (WAIT_TIMEOUT) after `timeoutMs`; it goes on
   * @returns {AsyncGenerator<OperationSnapshot, void, undefined>}
   */
  async *watch({ signal, timeoutMs } = {}) {
    const end = deadline(timeoutMs);
    let failures = 0;
    for (;;) {
      try {
        const settings = { signal, timeoutMs: remaining(end) };
        for await (const answer of this.#calls.receive(WATCH, { name: this.name }, settings)) {
          failures = 0;
          yield (this.snapshot = new OperationSnapshot(answer.operation));
          if (this.snapshot.done) return;
        }
        throw new Unavailable(`the server stopped watching ${this.name}`, {
          reason: 'STREAM_ENDED',
        });
      } catch (error) {
        if (error instanceof DeadlineExceeded) throw this.#late(timeoutMs, error);
        if (!(error instanceof Unavailable) || ++failures >= ATTEMPTS) throw error;
        await pause(Math.min(MAX_PAUSE_MS, PAUSE_MS * 2 ** (failures - 1)), signal);
      }
    }
  }

  /**
   * Waits until it is done.
   * @param {CallOptions} [options] as for `watch`
   * @returns {Promise<Response>} its response, a plain object of the protocol's message
   * @throws what ended it; Cancelled when it was cancelled
   */
  async result(options) {
    if (!this.snapshot.done) for await (const _ of this.watch(options));
    return this.snapshot.response();
  }

  /**
   * Asks it to stop; `result` then throws Cancelled, unless it was too late.
   * @param {CallOptions} [options]
   */
  async cancel(options) {
    const settings = { timeoutMs: this.#timeoutMs, ...options };
    await this.#calls.unary(CANCEL, { name: this.name }, settings);
  }

  /**
   * @param {number | undefined} timeoutMs
   * @param {unknown} cause
   */
  #late(timeoutMs, cause) {
    return new DeadlineExceeded(`${this.name} was not done after ${timeoutMs} ms; it goes on`, {
      reason: 'WAIT_TIMEOUT',
      metadata: { operation: this.name },
      cause,
    });
  }
}

/**
 * @param {number} milliseconds
 * @param {AbortSignal} [signal]
 */
async function pause(milliseconds, signal) {
  await setTimeout(milliseconds, undefined, { signal }).catch(() => signal?.throwIfAborted());
}
