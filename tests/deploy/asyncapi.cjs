// Reads an AsyncAPI document with AsyncAPI's own parser. Prints what it finds wrong, one line each, and exits 1 then.
const { Parser, fromFile } = require('@asyncapi/parser');

const WARNING = 1;
// What says nothing about the document: there may be a later AsyncAPI than the parser's users go by.
const IGNORED = ['asyncapi-latest-version'];

async function main() {
  const { document, diagnostics } = await fromFile(new Parser(), process.argv[2]).parse();
  const wrong = diagnostics.filter((one) => one.severity <= WARNING && !IGNORED.includes(one.code));
  wrong.forEach((one) => console.log(`${one.path.join('.')}: ${one.message}`));
  if (!document || wrong.length > 0) process.exit(1);
  console.log(`${document.allChannels().length} channels, ${document.allOperations().length} operations`);
}

main();
