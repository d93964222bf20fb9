// Client of Stillroom: see README.md.

export { Client } from './client.js';
export { Embeddings } from './embeddings.js';
export * from './errors.js';
export { Operation, OperationSnapshot } from './operation.js';
