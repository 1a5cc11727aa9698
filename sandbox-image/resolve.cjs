// Answers "which file does this import mean?" from memory, in every Node process and worker thread of the sandbox.
//
// A start resolves some ninety thousand imports, and Node asks the file system about each of them. Installed packages
// do not change while they run, so within one folder the same question has the same answer, and a relative import with
// an extension is its file. Whatever is asked elsewhere, or is asked for the first time, Node answers itself; so is
// everything about require().
"use strict";
const { existsSync } = require("node:fs");
const { registerHooks } = require("node:module");

const INSTALLED = "file:///app/node_modules/";
const present = new Set(); // files that are there
const formats = new Map(); // folder and extension -> what Node took a file of that kind in that folder for
const packages = new Map(); // folder and name -> where the package is

const folder = (url) => url.slice(0, url.lastIndexOf("/") + 1);
const kind = (url) => folder(url) + (url.endsWith(".mjs") ? ".mjs" : ".js");

// OpenClaw asks for files that are not there, to see whether they are: what Node throws then is for Node to throw.
function isPresent(url) {
  if (present.has(url)) return true;
  const found = existsSync(new URL(url));
  if (found) present.add(url);
  return found;
}

function resolve(specifier, context, next) {
  const parent = context.parentURL;
  const ours =
    parent?.startsWith(INSTALLED) &&
    context.conditions?.includes("import") &&
    Object.keys(context.importAttributes ?? {}).length === 0 &&
    !/[?#%\\]/.test(specifier);
  if (!ours) return next(specifier, context);

  if (specifier.startsWith("./") || specifier.startsWith("../")) {
    if (!/\.m?js$/.test(specifier)) return next(specifier, context);
    const { href: url } = new URL(specifier, parent);
    const format = formats.get(kind(url));
    if (format === "module" && url.startsWith(INSTALLED) && isPresent(url)) return { url, format, shortCircuit: true };
    const found = next(specifier, context);
    formats.set(kind(found.url), found.format);
    return found;
  }

  const key = `${folder(parent)} ${specifier}`;
  let found = packages.get(key);
  if (!found) {
    const { url, format } = next(specifier, context);
    found = { url, format, shortCircuit: true };
    packages.set(key, found);
  }
  return found;
}

registerHooks({ resolve });
