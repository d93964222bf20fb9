// Puts the protocol into the package while npm packs it, and takes it out again: in the repository
// there is one copy, which src/protos.js finds by itself.
import { cpSync, rmSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const COPIED = {
  'protos/stillroom': 'protos/stillroom',
  'third_party/google': 'protos/google',
};

const path = (/** @type {string} */ relative) =>
  fileURLToPath(new URL(relative, new URL('../', import.meta.url)));

const [task] = process.argv.slice(2);
if (task !== 'copy' && task !== 'remove') {
  console.error('usage: node scripts/protos.js copy|remove');
  process.exit(2);
}
rmSync(path('protos'), { recursive: true, force: true });
if (task === 'remove') {
  rmSync(path('types'), { recursive: true, force: true });
} else {
  for (const [from, to] of Object.entries(COPIED)) {
    cpSync(path(`../../${from}`), path(to), { recursive: true });
  }
}
