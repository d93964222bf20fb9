// The protocol, parsed from its .proto files: the repository's own, or the copies that a published
// package carries.

import { existsSync, readdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import protobuf from 'protobufjs';

const DETAILS = ['google/rpc/error_details.proto', 'google/longrunning/operations.proto'];
const here = (/** @type {string} */ relative) => fileURLToPath(new URL(relative, import.meta.url));
const packed = here('../protos');
const includes = existsSync(packed)
  ? [packed]
  : [here('../../../protos'), here('../../../third_party')];

/** Every message and enum of the protocol. */
export const root = load();

/**
 * How messages of one type become bytes, and bytes plain objects: enums by name, 64-bit integers as
 * numbers, bytes as views of the input, fields that were not sent as their defaults (messages null).
 * @typedef {{encode(message: object): Buffer, decode(bytes: Uint8Array): any}} Codec
 */

/**
 * The codec of a message by its full name.
 * @param {string} name
 * @returns {Codec}
 */
export function codec(name) {
  const type = root.lookupType(name);
  return {
    encode: (message) => /** @type {Buffer} */ (type.encode(type.fromObject(message)).finish()),
    decode: (bytes) =>
      type.toObject(type.decode(bytes), { longs: Number, enums: String, defaults: true }),
  };
}

/**
 * The message in a google.protobuf.Any with its full name; `value` is null when the protocol has no
 * such message.
 * @param {{type_url: string, value: Uint8Array}} any
 * @returns {{name: string, value: any}}
 */
export function unpack(any) {
  const name = any.type_url.slice(any.type_url.lastIndexOf('/') + 1);
  const known = root.lookup(name, protobuf.Type) !== null;
  return { name, value: known ? codec(name).decode(any.value) : null };
}

/**
 * The lower-case word of an enum's value: `float32` for `ELEMENT_TYPE_FLOAT32`. Numbers that this
 * version of the protocol has no name for stay numbers, as text.
 * @param {string} name of the enum, without its package
 * @param {string | number} value
 */
export function word(name, value) {
  return String(value).replace(enumPrefix(name), '').toLowerCase();
}

/**
 * What the names of an enum's values begin with.
 * @param {string} name
 */
export function enumPrefix(name) {
  return `${snake(name).toUpperCase()}_`;
}

/**
 * `maxTokens` as the protocol spells it, `max_tokens`.
 * @param {string} name
 */
export function snake(name) {
  return name.replace(/(?<!^)[A-Z]/g, '_$&').toLowerCase();
}

function load() {
  // Google's annotations import descriptor.proto, which protobufjs has, but not by default.
  const json = createRequire(import.meta.url)('protobufjs/google/protobuf/descriptor.json');
  protobuf.common('descriptor', json.nested.google.nested.protobuf.nested);
  const loaded = new protobuf.Root();
  loaded.resolvePath = (_, target) =>
    includes.map((folder) => join(folder, target)).find(existsSync) ?? target;
  loaded.loadSync([...files('stillroom/v1'), ...files('stillroom/internal/v1'), ...DETAILS]);
  return loaded.resolveAll();
}



/** @param {string} folder */
function files(folder) {
  return readdirSync(join(includes[0], folder))
    .filter((name) => name.endsWith('.proto'))
    .map((name) => `${folder}/${name}`);
}
