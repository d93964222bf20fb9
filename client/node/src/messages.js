// Options of a caller into messages of the protocol. protobufjs by itself drops names that it does
// not know and reshapes values that do not fit; here they are errors.

import protobuf from 'protobufjs';
import { InvalidArgument } from './errors.js';
import { enumPrefix, snake } from './protos.js';

/** @type {Record<string, [number, number]>} */
const RANGES = {
  int32: [-(2 ** 31), 2 ** 31 - 1],
  int64: [Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER],
  uint64: [0, Number.MAX_SAFE_INTEGER],
};

/**
 * `given` as a message of `type`: camelCase names; enums as words (`float32`); what is undefined or
 * null is left out.
 * @param {protobuf.Type} type
 * @param {object} given
 * @param {string} [at] the path of the message in the request, with a dot behind it
 * @returns {Record<string, any>}
 * @throws {InvalidArgument} naming a field that there is not, that is of another type, or that
 *   excludes another one
 */
export function build(type, given, at = '') {
  if (typeof given !== 'object' || Array.isArray(given)) {
    throw wrong(at.slice(0, -1), `must be an object, not ${show(given)}`);
  }
  /** @type {Record<string, any>} */
  const message = {};
  /** @type {Map<protobuf.OneOf, string>} */
  const chosen = new Map();
  for (const [name, value] of Object.entries(given)) {
    if (value === undefined || value === null) continue;
    const field = Object.hasOwn(type.fields, name) ? type.fields[name].resolve() : null;
    if (!field) {
      const names = Object.keys(type.fields).join(', ');
      throw new InvalidArgument(`${at}${name} is no option; there are ${names}`, {
        reason: 'UNKNOWN_OPTION',
        field: at + name,
      });
    }
    const path = at + snake(name);
    const other = field.partOf && chosen.get(field.partOf);
    if (other) throw wrong(path, `and ${other} exclude each other`, 'TWO_OPTIONS');
    if (field.partOf) chosen.set(field.partOf, name);
    message[name] = container(field, value, path);
  }
  return message;
}

/**
 * @param {protobuf.Field} field
 * @param {any} value
 * @param {string} path
 */
function container(field, value, path) {
  if (field instanceof protobuf.MapField) {
    if (typeof value !== 'object') throw wrong(path, `must be an object, not ${show(value)}`);
    const pairs = Object.entries(value).map(([key, item]) => [
      text(key, `${path}[${key}]`),
      single(field, item, `${path}[${key}]`),
    ]);
    return Object.fromEntries(pairs);
  }
  if (!field.repeated) return single(field, value, path);
  if (!Array.isArray(value)) throw wrong(path, `must be an array, not ${show(value)}`);
  return value.map((item, index) => single(field, item, `${path}[${index}]`));
}

/**
 * @param {protobuf.Field} field
 * @param {any} value
 * @param {string} path
 */
function single(field, value, path) {
  if (field.resolvedType instanceof protobuf.Enum) return member(field.resolvedType, value, path);
  if (field.resolvedType) return build(field.resolvedType, value, `${path}.`);
  if (field.type === 'string') return text(value, path);
  const kind = field.type === 'bool' ? 'boolean' : 'number';
  if (typeof value !== kind) throw wrong(path, `must be a ${kind}, not ${show(value)}`);
  const range = RANGES[field.type];
  if (range && !(Number.isInteger(value) && value >= range[0] && value <= range[1])) {
    throw wrong(path, `must be an integer from ${range[0]} to ${range[1]}, not ${value}`);
  }
  return value;
}

/**
 * A string that has a UTF-8 form.
 * @param {unknown} value
 * @param {string} path
 */
export function text(value, path) {
  if (typeof value !== 'string') throw wrong(path, `must be a string, not ${show(value)}`);
  if (!value.isWellFormed()) {
    throw wrong(path, 'holds a lone surrogate, which UTF-8 cannot write', 'INVALID_UNICODE');
  }
  return value;
}

/**
 * @param {protobuf.Enum} type
 * @param {unknown} value
 * @param {string} path
 */
function member(type, value, path) {
  const prefix = enumPrefix(type.name);
  const name = prefix + String(value).toUpperCase();
  if (typeof value === 'string' && Object.hasOwn(type.values, name)) return name;
  const words = Object.keys(type.values)
    .map((known) => known.slice(prefix.length).toLowerCase())
    .filter((known) => known !== 'unspecified');
  throw wrong(path, `is one of ${words.join(', ')}, not ${show(value)}`);
}

/**
 * @param {string} field
 * @param {string} what
 * @param {string} [reason]
 */
function wrong(field, what, reason) {
  return new InvalidArgument(`${field} ${what}`, { field, reason });
}

/** @param {unknown} value */
function show(value) {
  return typeof value === 'string' ? JSON.stringify(value.slice(0, 40)) : typeof value;
}
