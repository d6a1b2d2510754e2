// Runs Perfetto's own trace processor (its WebAssembly build, with its own loader) as a child process.
// usage: node trace_processor.cjs FOLDER      FOLDER holds engine_bundle.js and the .wasm files beside it
//
// The loader is written for a web worker, so it gets the few globals of a worker that it uses. Standard input and
// output carry the bytes of its RPC (a stream of length-delimited TraceProcessorRpc messages) unchanged.
"use strict";
const { webcrypto } = require("node:crypto");
const fs = require("node:fs");
const path = require("node:path");
const vm = require("node:vm");

const folder = process.argv[2];
const read = (name) => fs.readFileSync(path.join(folder, path.basename(name)));

// Everything the engine says goes to stderr: stdout belongs to the RPC.
const log = (...words) => process.stderr.write(words.join(" ") + "\n");

function writeAll(bytes) {
  for (let done = 0; done < bytes.length; ) done += fs.writeSync(1, bytes, done);
}

class XMLHttpRequest {
  // The loader fetches its .wasm with a synchronous request.
  open(_method, name) {
    this.name = name;
  }
  send() {
    const bytes = read(this.name);
    this.response = bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength);
  }
}

const worker = {
  console: { log, warn: log, error: log },
  location: { href: "file:///engine_bundle.js" },
  WorkerGlobalScope: class {},
  XMLHttpRequest,
  crypto: webcrypto,
  performance,
  setTimeout,
  TextDecoder,
  TextEncoder,
  URL,
  WebAssembly,
  // One realm's classes on both sides, or the loader's instanceof checks fail.
  ArrayBuffer,
  TypeError,
  Uint8Array,
};
worker.self = worker;

const port = {
  postMessage(message) {
    if (ArrayBuffer.isView(message)) writeAll(message);
    else log("engine:", JSON.stringify(message));
  },
};

// Without the source line that Node would print: the bundle is one line of 150 kB.
process.on("uncaughtException", (error) => {
  log(error.stack ?? String(error));
  process.exit(1);
});
vm.runInContext(read("engine_bundle.js").toString(), vm.createContext(worker), { displayErrors: false });
worker.onmessage({ data: port });
process.stdin.on("data", (chunk) => port.onmessage({ data: new Uint8Array(chunk) }));
process.stdin.on("end", () => process.exit(0));
