// Where the server is and how to be let in, from options and environment.

import { readFileSync } from 'node:fs';
import { isIPv4 } from 'node:net';
import { Metadata, credentials } from '@grpc/grpc-js';
import { InvalidArgument } from './errors.js';

export const DEFAULT_TARGET = '127.0.0.1:50051';

/**
 * @typedef {object} TlsOptions PEM, as strings or buffers
 * @property {string | Buffer} [rootCertificates] CAs to trust; default: those of Node
 * @property {string | Buffer} [clientCertificate] goes with `clientKey`
 * @property {string | Buffer} [clientKey]
 */

/**
 * @typedef {object} ConnectionOptions
 * @property {string} [target] `host:port`, `unix:/path` or another gRPC name. Default:
 *   STILLROOM_TARGET, else 127.0.0.1:50051
 * @property {string} [token] bearer token. Default: STILLROOM_TOKEN
 * @property {boolean | TlsOptions} [tls] default: on when STILLROOM_ROOT_CERTIFICATES names a file
 * @property {boolean} [allowInsecure] let the token travel in the clear to another machine
 */

/**
 * @typedef {object} Connection
 * @property {string} target
 * @property {import('@grpc/grpc-js').ChannelCredentials} credentials
 * @property {() => Metadata} metadata what goes with every call
 */

/**
 * Checks the options and fills in the environment.
 * @param {ConnectionOptions} options
 * @param {Record<string, string | undefined>} environment
 * @returns {Connection}
 * @throws {InvalidArgument} naming the option at fault
 */
export function connect(options, environment) {
  const target = options.target ?? (environment.STILLROOM_TARGET || DEFAULT_TARGET);
  checkTarget(target);
  const token = options.token ?? (environment.STILLROOM_TOKEN || undefined);
  if (token !== undefined && !/^[\x21-\x7e]+$/.test(token)) {
    throw new InvalidArgument('a token is printable ASCII and not empty', { field: 'token' });
  }
  const tls = tlsOptions(options.tls, environment.STILLROOM_ROOT_CERTIFICATES);
  if (token !== undefined && !tls && !options.allowInsecure && !isLocal(target)) {
    throw new InvalidArgument(
      `the token would travel to ${target} in the clear; use tls, or say allowInsecure if the` +
        ' network is trusted',
      { reason: 'TOKEN_IN_THE_CLEAR', field: 'token' },
    );
  }
  return {
    target,
    credentials: tls ? secure(tls) : credentials.createInsecure(),
    metadata: () => {
      const metadata = new Metadata();
      if (token !== undefined) metadata.set('authorization', `Bearer ${token}`);
      return metadata;
    },
  };
}

/**
 * @param {boolean | TlsOptions | undefined} tls
 * @param {string | undefined} roots
 * @returns {TlsOptions | null}
 */
function tlsOptions(tls, roots) {
  if (tls === false || (tls === undefined && !roots)) return null;
  const given = typeof tls === 'object' ? tls : {};
  if (given.rootCertificates || !roots) return given;
  try {
    return { ...given, rootCertificates: readFileSync(roots) };
  } catch (cause) {
    throw new InvalidArgument(`cannot read STILLROOM_ROOT_CERTIFICATES, ${roots}`, {
      field: 'tls.rootCertificates',
      cause,
    });
  }
}

/** @param {TlsOptions} tls */
function secure({ rootCertificates, clientCertificate, clientKey }) {
  if (!clientCertificate !== !clientKey) {
    throw new InvalidArgument('tls.clientCertificate and tls.clientKey go together', {
      field: clientKey ? 'tls.clientCertificate' : 'tls.clientKey',
    });
  }
  return credentials.createSsl(pem(rootCertificates), pem(clientKey), pem(clientCertificate));
}

/** @param {string | Buffer | undefined} value */
function pem(value) {
  return typeof value === 'string' ? Buffer.from(value) : (value ?? null);
}

/** @param {string} target */
function checkTarget(target) {
  if (typeof target !== 'string' || !target || /\s/.test(target)) {
    throw new InvalidArgument(`the target is an address, such as ${DEFAULT_TARGET}`, {
      field: 'target',
    });
  }
  const url = /^(https?|grpcs?):\/\/(.*?)\/*$/.exec(target);
  if (url) {
    throw new InvalidArgument(
      `the target is an address, not a URL: write ${url[2] || DEFAULT_TARGET}` +
        (url[1].endsWith('s') ? ' and turn tls on' : ''),
      { field: 'target' },
    );
  }
}

/** @param {string} target */
function isLocal(target) {
  if (/^unix(-abstract)?:/.test(target)) return true;
  const address = target.slice(target.lastIndexOf('/') + 1).replace(/^(ipv4|ipv6|dns):/, '');
  const host = address.replace(/^([^:]+|\[.*\]):\d+$/, '$1').replace(/^\[|\]$/g, '');
  return host === 'localhost' || host === '::1' || (isIPv4(host) && host.startsWith('127.'));
}
