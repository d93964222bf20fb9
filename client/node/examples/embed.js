// Embeds texts and prints which are alike.
//
//   node examples/embed.js MODEL [TEXT...]
//
// STILLROOM_TARGET and STILLROOM_TOKEN say where the server is and how to be let in.
import { Client, StillroomError } from 'stillroom';

const [model, ...given] = process.argv.slice(2);
if (!model) {
  console.error('usage: node examples/embed.js MODEL [TEXT...]');
  process.exit(2);
}
const texts = given.length
  ? given
  : [
      'My card has not arrived yet.',
      'The new card is still in the mail.',
      'Why is there a fee for the exchange?',
      'The rate was worse than you said.',
    ];

const client = new Client();
try {
  const { vectors, dimensions, modelVersion } = await client.embed(texts, { model });
  console.log(`${texts.length} vectors of ${dimensions} dimensions by ${modelVersion}`);
  for (const [i, text] of texts.entries()) {
    const others = texts.map((_, j) => j).filter((j) => j !== i);
    const near = others.map((j) => ({ j, cosine: dot(vectors[i], vectors[j]) }));
    const [best] = near.sort((a, b) => b.cosine - a.cosine);
    if (best) console.log(`${text}\n    ${best.cosine.toFixed(3)}  ${texts[best.j]}`);
  }
} catch (error) {
  if (!(error instanceof StillroomError)) throw error;
  console.error(`${error.code} ${error.reason}: ${error.message}`);
  process.exitCode = 1;
} finally {
  client.close();
}

function dot(a, b) {
  return a.reduce((sum, value, i) => sum + value * b[i], 0);
}
