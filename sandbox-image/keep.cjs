// Build time: V8 forgets the compiled code of what ran once, and a start is mostly code that runs once. Kept until the
// process exits, it becomes part of the compile cache. The flag is taken back before Node writes that cache, because V8
// refuses a cache that was written under other flags.
"use strict";
const { setFlagsFromString } = require("node:v8");
const { isMainThread } = require("node:worker_threads");

if (isMainThread) {
  setFlagsFromString("--no-flush-bytecode");
  process.on("exit", () => setFlagsFromString("--flush-bytecode"));
}
