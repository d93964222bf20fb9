// What can go wrong: one class a gRPC status, as the server raised it.

import { status } from '@grpc/grpc-js';
import { codec, unpack } from './protos.js';

/**
 * @typedef {object} ErrorDetails
 * @property {string} [reason] a stable UPPER_SNAKE word for machines
 * @property {string} [field] the request field at fault, as the protocol spells it: `texts[3]`
 * @property {Record<string, string>} [metadata] about this occurrence
 * @property {number} [retryAfterMs] after which the same request may succeed
 */

/** Base of every error of this client. */
export class StillroomError extends Error {
  static code = 'UNKNOWN';

  /**
   * @param {string} message a sentence for people
   * @param {ErrorDetails & {cause?: unknown}} [details]
   */
  constructor(message, { reason, field, metadata, retryAfterMs, cause } = {}) {
    super(message, cause === undefined ? undefined : { cause });
    this.name = new.target.name;
    /** The name of the gRPC status, such as `NOT_FOUND`. */
    this.code = new.target.code;
    /** A stable UPPER_SNAKE word for machines. */
    this.reason = reason || this.code;
    /** The request field at fault, as the protocol spells it, or null. */
    this.field = field ?? null;
    /** String pairs about this occurrence. */
    this.metadata = { ...metadata };
    /** Milliseconds after which the same request may succeed, or null. */
    this.retryAfterMs = retryAfterMs ?? null;
  }
}

/** Somebody asked to stop. */
export class Cancelled extends StillroomError {
  static code = 'CANCELLED';
}
/** A status without a class of its own. */
export class Unknown extends StillroomError {
  static code = 'UNKNOWN';
}
/** The request is wrong whatever the state; `field` names the culprit. */
export class InvalidArgument extends StillroomError {
  static code = 'INVALID_ARGUMENT';
}
/** Too late. */
export class DeadlineExceeded extends StillroomError {
  static code = 'DEADLINE_EXCEEDED';
}
/** No such model, version, alias, upload or operation. */
export class NotFound extends StillroomError {
  static code = 'NOT_FOUND';
}
/** The name is taken. */
export class AlreadyExists extends StillroomError {
  static code = 'ALREADY_EXISTS';
}
/** You may not. */
export class PermissionDenied extends StillroomError {
  static code = 'PERMISSION_DENIED';
}
/** A limit, a quota or the disk; `retryAfterMs` when waiting helps. */
export class ResourceExhausted extends StillroomError {
  static code = 'RESOURCE_EXHAUSTED';
}
/** The state forbids it; change the state first. */
export class FailedPrecondition extends StillroomError {
  static code = 'FAILED_PRECONDITION';
}
/** Somebody else was first; read again, then retry. */
export class Aborted extends StillroomError {
  static code = 'ABORTED';
}
/** An offset or a page token beyond the end. */
export class OutOfRange extends StillroomError {
  static code = 'OUT_OF_RANGE';
}
/** This server does not do that (yet). */
export class Unimplemented extends StillroomError {
  static code = 'UNIMPLEMENTED';
}
/** The server's fault, or an answer that breaks the protocol. */
export class Internal extends StillroomError {
  static code = 'INTERNAL';
}
/** Cannot be reached, starting or stopping; the same request may succeed. */
export class Unavailable extends StillroomError {
  static code = 'UNAVAILABLE';
}
/** Bytes are damaged. */
export class DataLoss extends StillroomError {
  static code = 'DATA_LOSS';
}
/** No token, or a wrong one. */
export class Unauthenticated extends StillroomError {
  static code = 'UNAUTHENTICATED';
}

const CLASSES = new Map(
  [
    ...[Cancelled, Unknown, InvalidArgument, DeadlineExceeded, NotFound, AlreadyExists],
    ...[PermissionDenied, ResourceExhausted, FailedPrecondition, Aborted, OutOfRange],
    ...[Unimplemented, Internal, Unavailable, DataLoss, Unauthenticated],
  ].map((kind) => [kind.code, kind]),
);
const STATUS = codec('google.rpc.Status');

/**
 * The error that a decoded google.rpc.Status carries.
 * @param {{code: number, message: string, details: {type_url: string, value: Uint8Array}[]}} wire
 */
export function fromStatus(wire) {
  /** @type {ErrorDetails} */
  const found = {};
  for (const { name, value } of wire.details.map(unpack)) {
    if (name === 'google.rpc.ErrorInfo') {
      found.reason = value.reason;
      found.metadata = value.metadata;
    } else if (name === 'google.rpc.BadRequest') {
      found.field = value.fieldViolations[0]?.field;
    } else if (name === 'google.rpc.RetryInfo') {
      found.retryAfterMs = value.retryDelay.seconds * 1e3 + value.retryDelay.nanos / 1e6;
    }
  }
  const kind = classOf(wire.code);
  return new kind(wire.message || kind.code, found);
}

/**
 * The error of a failed call.
 * @param {import('@grpc/grpc-js').ServiceError} error
 * @param {string} target where the call went, for people
 */
export function fromServiceError(error, target) {
  for (const bytes of error.metadata?.get('grpc-status-details-bin') ?? []) {
    const wire = decoded(/** @type {Buffer} */ (bytes));
    if (wire?.code === error.code) return fromStatus(wire);
  }
  // Made by gRPC itself, on either side: there are no details.
  const kind = classOf(error.code);
  const text = error.details || kind.code;
  const hint = `no answer from ${target} (${text}). Is the server running there?`;
  return new kind(kind === Unavailable ? hint : text, { reason: `GRPC_${kind.code}`, cause: error });
}

/** @param {Buffer} bytes */
function decoded(bytes) {
  try {
    return STATUS.decode(bytes);
  } catch {
    return null;
  }
}

/** @param {number} code */
function classOf(code) {
  return CLASSES.get(status[code]) ?? Unknown;
}
