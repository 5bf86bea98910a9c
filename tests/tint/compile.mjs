// Compiles every shader as it ships with Tint, which shares no code with naga, on Dawn's null backend: no GPU is needed.
//
//     polygate conform --export DIR --cases 1 && node tests/tint/compile.mjs DIR
//
// Exit status: 0 all compile, 1 Tint refuses or warns, 2 could not run.

import process from "node:process";
import { Folder, compile, key, open } from "./cases.mjs";

async function main([path]) {
  const folder = new Folder(path);
  const { device } = await open(["backend=null"]);
  const dispatches = new Map(folder.manifest.cases.flatMap((c) => c.dispatches).map((d) => [key(d), d]));
  const told = new Set();
  for (const dispatch of dispatches.values()) {
    await compile(device, folder, dispatch, (type, message) => told.add(`${type}: ${message}`));
  }
  told.forEach((message) => console.log(message));
  console.log(`Tint: ${dispatches.size} pipelines of ${folder.texts.size} shaders, ${told.size} messages`);
  return told.size > 0 ? 1 : 0;
}

process.exit(await main(process.argv.slice(2)).catch((error) => (console.error(`error: ${error.message}`), 2)));
