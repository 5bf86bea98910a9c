// Runs conformance's cases on Dawn, an implementation of WebGPU that shares no code with wgpu, over SwiftShader's Vulkan.
//
//     polygate conform --export DIR --seed 7 && node tests/tint/replay.mjs DIR dawn.json
//     polygate conform diff dawn.json wgpu.json
//
// VK_DRIVER_FILES names SwiftShader's driver. DAWN holds other options of Dawn, separated by ";". By default its robustness
// is off, as training runs shaders: with it a stray write goes nowhere, and no guard could show it.
// Exit status: 0 all held, 1 something failed, 2 could not run.

import { writeFileSync } from "node:fs";
import process from "node:process";
import { Folder, compile, key, open } from "./cases.mjs";

// As src/conform/export.rs writes them in place of a bound.
const KEPT = -1;
const FREE = -2;
const BITS = -3;
const NOT_FINITE = -4;

const GUARD_BYTES = 256;
const GUARD_WORD = 0xa5c31e7b;
const SCHEMA_VERSION = 1;
/** Stands in a digest for a float that is not finite. */
const NOT_FINITE_WORD = 0x7fc00000;
const FAILURES_TOLD = 3;

const DAWN = "backend=vulkan;adapter=SwiftShader;enable-dawn-features=disable_robustness";

const { GPUBufferUsage, GPUMapMode } = globalThis;

/** A buffer between guard words. */
function guarded(device, words) {
  const size = 4 * words.length + 2 * GUARD_BYTES;
  const { STORAGE, UNIFORM, COPY_SRC } = GPUBufferUsage;
  const buffer = device.createBuffer({ size, usage: STORAGE | UNIFORM | COPY_SRC, mappedAtCreation: true });
  const all = new Uint32Array(buffer.getMappedRange());
  all.fill(GUARD_WORD);
  all.set(words, GUARD_BYTES / 4);
  buffer.unmap();
  return buffer;
}

/** The words of a case's buffers behind its dispatches, guards included. */
async function replay(device, pipelines, entry, contents) {
  const buffers = contents.map((words) => guarded(device, words));
  device.pushErrorScope("validation");
  const encoder = device.createCommandEncoder();
  for (const dispatch of entry.dispatches) {
    const pipeline = pipelines.get(key(dispatch));
    const entries = dispatch.bindings.map(({ binding, buffer }) => ({
      binding,
      resource: { buffer: buffers[buffer], offset: GUARD_BYTES, size: 4 * contents[buffer].length },
    }));
    const pass = encoder.beginComputePass();
    pass.setPipeline(pipeline);
    pass.setBindGroup(0, device.createBindGroup({ layout: pipeline.getBindGroupLayout(0), entries }));
    const [x, y] = dispatch.workgroups;
    if (x > 0 && y > 0) pass.dispatchWorkgroups(x, y);
    pass.end();
  }
  const size = buffers.reduce((sum, buffer) => sum + buffer.size, 0);
  const staging = device.createBuffer({ size, usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST });
  let at = 0;
  for (const buffer of buffers) {
    encoder.copyBufferToBuffer(buffer, 0, staging, at, buffer.size);
    at += buffer.size;
  }
  device.queue.submit([encoder.finish()]);
  const error = await device.popErrorScope();
  if (error) throw new Error(`${entry.id}: ${error.message}`);
  await staging.mapAsync(GPUMapMode.READ);
  const words = new Uint32Array(staging.getMappedRange().slice(0));
  [staging, ...buffers].forEach((buffer) => buffer.destroy());
  at = 0;
  return contents.map(({ length }) => {
    const guard = GUARD_BYTES / 4;
    const all = words.subarray(at, (at += length + 2 * guard));
    const outside = [...all.subarray(0, guard), ...all.subarray(guard + length)];
    return { words: all.subarray(guard, guard + length), overrun: outside.some((word) => word !== GUARD_WORD) };
  });
}

/** FNV-1a of 64 bits, in two halves: JavaScript multiplies 53 bits exactly. */
class Digest {
  low = 0x84222325;
  high = 0xcbf29ce4;

  add(word) {
    for (let shift = 0; shift < 32; shift += 8) {
      // Times 2^40 + 0x1b3.
      const low = (this.low ^ ((word >>> shift) & 0xff)) >>> 0;
      const product = low * 0x1b3;
      this.high = (Math.imul(this.high, 0x1b3) + Math.floor(product / 2 ** 32) + (low << 8)) >>> 0;
      this.low = product >>> 0;
    }
  }

  toString() {
    return [this.high, this.low].map((half) => half.toString(16).padStart(8, "0")).join("");
  }
}

const FLOAT = new DataView(new ArrayBuffer(4));
function float(word) {
  FLOAT.setUint32(0, word);
  return FLOAT.getFloat32(0);
}

/** Holds a buffer against what is expected of it, as src/conform/judge.rs does. */
function judge(report, digest, id, name, { before, expect }, after) {
  let failures = 0;
  const fail = (index, message) => {
    failures += 1;
    if (failures <= FAILURES_TOLD) report.failures.push(`${id}: ${name}[${index}] ${message}`);
  };
  after.forEach((word, index) => {
    const bound = expect ? expect.bounds[index] : KEPT;
    if (bound === FREE) {
      report.free += 1;
      return;
    }
    const isNotFinite = bound === NOT_FINITE && !Number.isFinite(float(word));
    if (bound !== KEPT) digest.add(isNotFinite ? NOT_FINITE_WORD : word);
    if (bound < 0) {
      report.exact += 1;
      if (bound === NOT_FINITE) {
        if (!isNotFinite) fail(index, `is ${float(word)}, and must be infinite or NaN`);
        return;
      }
      const wanted = bound === BITS ? expect.values[index] : before[index];
      if (word !== wanted) fail(index, `is 0x${word.toString(16)}, and must be 0x${wanted.toString(16)}`);
      return;
    }
    report.elements += 1;
    const [actual, expected] = [float(word), expect.values[index]];
    const error = Math.abs(actual - expected);
    const holds = Number.isFinite(actual) && error <= bound;
    if (!holds) fail(index, `is ${actual}, and must be ${expected} within ${bound}`);
    const share = !holds ? Number.MAX_VALUE : error === 0 ? 0 : error / bound;
    if (report.largest_share === null || share > report.largest_share) {
      report.largest_share = share;
      const finite = (x) => (Number.isFinite(x) ? x : null);
      const worst = { case: id, buffer: name, index, actual: finite(actual), expected, error: finite(error) };
      report.worst = { ...worst, bound: finite(bound) };
    }
  });
}

/** A case's buffers, with what is expected of them. */
function read(folder, entry) {
  const bytes = folder.bytes(entry.file);
  return entry.buffers.map(({ words, offset, expect }) => {
    const before = new Uint32Array(bytes, offset, words);
    if (!expect) return { before };
    const values = Math.ceil((offset + 4 * words) / 8) * 8;
    const [from, to] = [new Float64Array(bytes, values, words), new Float64Array(bytes, values + 8 * words, words)];
    return { before, expect: { values: from, bounds: to } };
  });
}

function fresh({ kernel, variant }) {
  const counts = { cases: 0, elements: 0, exact: 0, kinks: 0, free: 0 };
  return { kernel, variant, ...counts, largest_share: null, worst: null, deterministic: true, digest: "", failures: [] };
}

async function main([path, out]) {
  const folder = new Folder(path);
  const { manifest } = folder;
  const options = (process.env.DAWN ?? DAWN).split(";");
  const { adapter, device } = await open(options);
  const reports = new Map();
  const digests = new Map();
  const pipelines = new Map();
  const runs = manifest.cases.filter((c) => canShare(adapter) || !c.dispatches.some((d) => d.subgroups));
  if (runs.length === 0) throw new Error(`${path} holds no case that this adapter can run`);
  for (const entry of runs) {
    const name = `${entry.kernel}/${entry.variant}`;
    if (!reports.has(name)) {
      reports.set(name, fresh(entry));
      digests.set(name, new Digest());
    }
    const report = reports.get(name);
    const said = (type, message) => report.failures.push(`${entry.id}: ${type}: ${message}`);
    for (const dispatch of entry.dispatches.filter((d) => !pipelines.has(key(d)))) {
      pipelines.set(key(dispatch), await compile(device, folder, dispatch, said));
    }
    const buffers = read(folder, entry);
    const contents = buffers.map(({ before }) => before);
    const [first, second] = [await run(), await run()];
    function run() {
      return replay(device, pipelines, entry, contents);
    }
    report.cases += 1;
    report.kinks += entry.kinks;
    entry.buffers.forEach((buffer, i) => {
      judge(report, digests.get(name), entry.id, buffer.name, buffers[i], first[i].words);
      if (first[i].overrun || second[i].overrun) report.failures.push(`${entry.id}: ${buffer.name} was written outside its bounds`);
      const isFree = (at) => buffers[i].expect?.bounds[at] === FREE;
      report.deterministic &&= first[i].words.every((word, at) => word === second[i].words[at] || isFree(at));
    });
    report.digest = digests.get(name).toString();
  }
  const kernels = [...reports.values()];
  const failed = kernels.filter((k) => k.failures.length > 0 || !k.deterministic);
  const { description, device: number, architecture, vendor } = adapter.info;
  const kind = adapter.info.isFallbackAdapter || /swiftshader|llvmpipe/i.test(description + number) ? "software" : "other";
  const backend = options.find((option) => option.startsWith("backend="))?.split("=")[1] ?? "unknown";
  const names = { name: description || number, kind, backend, driver: `${description} ${vendor} ${architecture}`.trim() };
  const { polygate, seed, cases_per_class } = manifest;
  const report = { polygate, runner: "dawn", adapter: names, checks: "dawn", seed, cases_per_class, kernels, models: [] };
  if (out) writeFileSync(out, JSON.stringify({ version: SCHEMA_VERSION, reports: [report] }, null, 1));
  failed.flatMap((k) => k.failures).slice(0, 40).forEach((failure) => console.log(failure));
  const sum = (of) => kernels.reduce((total, k) => total + k[of], 0);
  const left = manifest.cases.length - runs.length;
  if (left > 0) console.log(`${left} cases with shared tiles left out: they take subgroups of eight or more`);
  const state = failed.length > 0 ? `${failed.length} failed` : "all held";
  console.log(`Dawn on ${names.name}: ${kernels.length} kernels, ${sum("cases")} cases, ${sum("elements")} floats: ${state}`);
  return failed.length > 0 ? 1 : 0;
}

/** Shared tiles take subgroups of eight, as kernels::variant::Abilities has it. */
function canShare(adapter) {
  return adapter.features.has("subgroups") && adapter.info.subgroupMinSize >= 8;
}

process.exit(await main(process.argv.slice(2)).catch((error) => (console.error(`error: ${error.stack}`), 2)));
