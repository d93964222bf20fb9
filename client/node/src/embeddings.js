// Blocks of vectors as typed arrays.

import { endianness } from 'node:os';
import { Internal } from './errors.js';
import { word } from './protos.js';

/** @typedef {'empty' | 'all_unknown' | (string & {})} WarningKind */

/** Vectors of a list of texts, in its order. */
export class Embeddings {
  /**
   * @param {any} wire a decoded WireEmbeddings
   * @param {number} texts how many were sent
   * @throws {Internal} when the block is not of so many whole rows
   */
  constructor(wire, texts) {
    const block = wire.vectors ?? {};
    /** Number of vectors. @type {number} */
    this.count = block.count;
    /** Elements of a vector. @type {number} */
    this.dimensions = block.dimensions;
    /** All vectors, one after the other. @type {Float32Array} */
    this.data = elements(block);
    if (this.count !== texts || this.data.length !== this.count * this.dimensions) {
      throw malformed(`${this.data.length} elements for ${texts} texts`);
    }
    /** The version that answered, `models/{model}/versions/{n}`. @type {string} */
    this.modelVersion = wire.modelVersion;
    /** Tokens of each text that went into its vector. @type {number[]} */
    this.tokenCounts = wire.tokenCounts;
    /** Which texts were cut. @type {boolean[]} */
    this.truncated = wire.truncated.length ? wire.truncated : Array(texts).fill(false);
    /**
     * What a caller should know of single texts, by their index here.
     * @type {{index: number, kind: WarningKind}[]}
     */
    this.warnings = wire.warnings.map((/** @type {any} */ { index, kind }) => ({
      index,
      kind: word('TextWarningKind', kind),
    }));
  }

  /** Each vector by itself, as views of `data`. */
  get vectors() {
    return Array.from({ length: this.count }, (_, row) => this.vector(row));
  }

  /**
   * One vector, as a view of `data`.
   * @param {number} row
   */
  vector(row) {
    return this.data.subarray(row * this.dimensions, (row + 1) * this.dimensions);
  }
}

/**
 * The elements of a WireVectors, whatever their type; sign bits become -1 and 1.
 * @param {any} block
 * @returns {Float32Array}
 */
function elements({ count, dimensions, float32, float16, int8, binary }) {
  if (float32) return floats(float32.values);
  if (float16) return Float32Array.from(words(float16), half);
  if (int8) {
    const scales = floats(int8.scales);
    if (scales.length !== count) throw malformed(`${scales.length} scales for ${count} texts`);
    const signed = Int8Array.from(int8.values);
    return Float32Array.from(signed, (value, i) => value * scales[Math.floor(i / dimensions)]);
  }
  if (binary) return signs(binary, count, dimensions);
  throw malformed('no elements, or of a type that this client does not know');
}

/** @param {Buffer} bytes */
function floats(bytes) {
  if (bytes.length % 4) throw malformed(`${bytes.length} bytes of float32`);
  const copy = Uint8Array.from(bytes); // aligned, and free of the message around it
  if (endianness() === 'BE') Buffer.from(copy.buffer).swap32();
  return new Float32Array(copy.buffer);
}

/** @param {Buffer} bytes */
function words(bytes) {
  if (bytes.length % 2) throw malformed(`${bytes.length} bytes of float16`);
  return Uint16Array.from({ length: bytes.length / 2 }, (_, i) => bytes.readUInt16LE(2 * i));
}

/**
 * The number that an IEEE 754 binary16 stands for.
 * @param {number} bits
 */
export function half(bits) {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 31;
  const fraction = bits & 1023;
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  return sign * (1024 + fraction) * 2 ** (exponent - 25);
}

/**
 * @param {Buffer} bytes
 * @param {number} count
 * @param {number} dimensions
 */
function signs(bytes, count, dimensions) {
  const width = Math.ceil(dimensions / 8);
  if (bytes.length !== count * width) throw malformed(`${bytes.length} bytes of sign bits`);
  const result = new Float32Array(count * dimensions);
  for (let i = 0; i < result.length; i++) {
    const column = i % dimensions;
    const byte = bytes[Math.floor(i / dimensions) * width + (column >> 3)];
    result[i] = byte & (128 >> (column & 7)) ? 1 : -1;
  }
  return result;
}

/** @param {string} what */
function malformed(what) {
  return new Internal(
    `the server's answer makes no sense: ${what}. Are client and server of the same version?`,
    { reason: 'MALFORMED_ANSWER' },
  );
}
