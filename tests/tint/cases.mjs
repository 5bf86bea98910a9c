// What both programs here share: Dawn, and the folder that `polygate conform --export DIR` writes
// (src/conform/export.rs says what is in it).

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { create, globals } from "webgpu";

Object.assign(globalThis, globals);

/** A device of an adapter that Dawn's `options` name, with the features that the shaders may use. */
export async function open(options) {
  // Held as long as the process: Dawn ends with it.
  open.gpu = create(options);
  const adapter = await open.gpu.requestAdapter();
  if (!adapter) throw new Error(`Dawn has no adapter for ${options.join(", ")}`);
  const requiredFeatures = ["subgroups"].filter((feature) => adapter.features.has(feature));
  const limits = ["maxStorageBufferBindingSize", "maxBufferSize"];
  const requiredLimits = Object.fromEntries(limits.map((name) => [name, adapter.limits[name]]));
  return { adapter, device: await adapter.requestDevice({ requiredFeatures, requiredLimits }) };
}

export class Folder {
  constructor(path) {
    this.path = path;
    this.manifest = JSON.parse(readFileSync(join(path, "manifest.json"), "utf8"));
    this.texts = new Map();
  }

  wgsl(file) {
    if (!this.texts.has(file)) this.texts.set(file, readFileSync(join(this.path, file), "utf8"));
    return this.texts.get(file);
  }

  /** A case's words, expected values and bounds. */
  bytes(file) {
    const bytes = readFileSync(join(this.path, file));
    return bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength);
  }
}

/** What makes one pipeline of a dispatch. */
export function key({ wgsl, entry, overrides }) {
  return JSON.stringify([wgsl, entry, overrides]);
}

/** Compiles a dispatch's pipeline; what the compiler says of it goes to `said`. */
export async function compile(device, folder, dispatch, said) {
  const { wgsl, entry, overrides } = dispatch;
  device.pushErrorScope("validation");
  const module = device.createShaderModule({ label: wgsl, code: folder.wgsl(wgsl) });
  for (const { type, lineNum, linePos, message } of (await module.getCompilationInfo()).messages) {
    said(type, `${wgsl}:${lineNum}:${linePos}: ${message}`);
  }
  const descriptor = { layout: "auto", compute: { module, entryPoint: entry, constants: overrides } };
  const pipeline = device.createComputePipeline(descriptor);
  const error = await device.popErrorScope();
  if (error) said("error", `${wgsl} ${entry} ${JSON.stringify(overrides)}: ${error.message}`);
  return pipeline;
}
