//! One MMoE train step (forward + backward + Adam) in burn 0.22.1, timed on a chosen backend.
//!
//! Same model as ../torch_step.py: input D = 320, 4 experts [128, 64] ReLU,
//! 3 tasks with a gate MLP [128, 64] + bias-free linear to 4 + softmax, towers [128, 64, 1],
//! BCE with logits averaged over batch and tasks, Adam lr 1e-3 (eps 1e-8 as in torch).
//! Weights and data come from a counter-based hash on the host, so every backend (and
//! ../torch_step.py, and ../../common) starts from the same numbers and the printed losses can be compared.
//!
//! The warm-up includes autotuning: it goes on until the last three steps lie within 15% of each other.
//!
//!   burn_peer --backend wgpu|vulkan|flex|ndarray|cpu --batch 1024 --steps 10
//!             [--mode train|loss|matmul] [--warmup 3] [--max-seconds 180] [--n 1024]
//!             [--mix mulsum|matmul] [--data 4]
//!
//! Prints one line of JSON on stdout.

use burn::module::{Module, Param};
use burn::nn::Linear;
use burn::optim::{AdamConfig, GradientsParams, ModuleOptimizer};
use burn::tensor::activation::{log_sigmoid, relu, softmax};
use burn::tensor::{Device, Tensor, TensorData};
use burn_backend::Backend;
use burn_dispatch::Dispatch;
use std::time::Instant;

const D: usize = 320;
const EXPERTS: usize = 4;
const TASKS: usize = 3;
const HIDDEN: [usize; 2] = [128, 64];
const LR: f64 = 1e-3;

// ---- numbers from a hash of (stream, index): the same on every backend --------------------------

fn uniform(stream: u64, index: u64) -> f32 {
    let mut z = (stream << 40).wrapping_add(index).wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^= z >> 31;
    (z >> 40) as f32 / (1u64 << 24) as f32 // [0, 1)
}

fn host(stream: u64, len: usize, f: impl Fn(f32) -> f32) -> Vec<f32> {
    (0..len).map(|i| f(uniform(stream, i as u64))).collect()
}

// ---- model --------------------------------------------------------------------------------------

/// Hands each parameter its own stream of numbers, in the order they are made.
struct Init<'a> {
    stream: u64,
    device: &'a Device,
}

impl Init<'_> {
    fn linear(&mut self, input: usize, output: usize, bias: bool) -> Linear {
        let k = 1.0 / (input as f32).sqrt();
        let mut draw = |len| {
            self.stream += 1;
            host(self.stream, len, |u| (2.0 * u - 1.0) * k)
        };
        let weight = TensorData::new(draw(input * output), [input, output]);
        let bias = bias.then(|| TensorData::new(draw(output), [output]));
        Linear { weight: Param::from_data(weight, self.device), bias: bias.map(|b| Param::from_data(b, self.device)) }
    }
}

#[derive(Module, Debug)]
struct Mlp {
    layers: Vec<Linear>,
}

impl Mlp {
    fn new(input: usize, init: &mut Init) -> Self {
        let mut i = input;
        let layers = HIDDEN.iter().map(|&o| {
            let l = init.linear(i, o, true);
            i = o;
            l
        });
        Self { layers: layers.collect() }
    }

    fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        self.layers.iter().fold(x, |x, l| relu(l.forward(x)))
    }
}

#[derive(Module, Debug)]
struct Mmoe {
    experts: Vec<Mlp>,
    gates: Vec<Mlp>,
    selects: Vec<Linear>,
    towers: Vec<Mlp>,
    heads: Vec<Linear>,
}

impl Mmoe {
    fn new(device: &Device) -> Self {
        let mut init = Init { stream: 0, device };
        let width = HIDDEN[1];
        Self {
            experts: (0..EXPERTS).map(|_| Mlp::new(D, &mut init)).collect(),
            gates: (0..TASKS).map(|_| Mlp::new(D, &mut init)).collect(),
            selects: (0..TASKS).map(|_| init.linear(width, EXPERTS, false)).collect(),
            towers: (0..TASKS).map(|_| Mlp::new(width, &mut init)).collect(),
            heads: (0..TASKS).map(|_| init.linear(width, 1, true)).collect(),
        }
    }

    /// Logits, `[batch, TASKS]`.
    fn forward(&self, x: Tensor<2>, mix_by_matmul: bool) -> Tensor<2> {
        let experts = self.experts.iter().map(|e| e.forward(x.clone())).collect();
        let experts: Tensor<3> = Tensor::stack(experts, 1); // [batch, EXPERTS, 64]
        let logits = (0..TASKS).map(|t| {
            let w = softmax(self.selects[t].forward(self.gates[t].forward(x.clone())), 1);
            let mixed: Tensor<2> = if mix_by_matmul {
                w.unsqueeze_dim::<3>(1).matmul(experts.clone()).squeeze_dim(1)
            } else {
                (w.unsqueeze_dim::<3>(2) * experts.clone()).sum_dim(1).squeeze_dim(1)
            };
            self.heads[t].forward(self.towers[t].forward(mixed))
        });
        Tensor::cat(logits.collect(), 1)
    }
}

/// Mean over batch and tasks; the formula of burn's BinaryCrossEntropyLoss with logits.
fn bce_with_logits(logits: Tensor<2>, y: Tensor<2>) -> Tensor<1> {
    ((y.neg() + 1.0) * logits.clone() - log_sigmoid(logits)).mean()
}

struct Trainer {
    model: Option<Mmoe>,
    adam: ModuleOptimizer,
    data: Vec<(Tensor<2>, Tensor<2>)>,
    mix_by_matmul: bool,
    step: usize,
}

impl Trainer {
    fn new(args: &Args, device: &Device) -> Self {
        let data = (0..args.data as u64).map(|i| {
            let x = host(1000 + 2 * i, args.batch * D, |u| (2.0 * u - 1.0) * 3f32.sqrt());
            let y = host(1001 + 2 * i, args.batch * TASKS, |u| (u < 0.3) as u8 as f32);
            (
                Tensor::from_data(TensorData::new(x, [args.batch, D]), device),
                Tensor::from_data(TensorData::new(y, [args.batch, TASKS]), device),
            )
        });
        Self {
            data: data.collect(),
            model: Some(Mmoe::new(device)),
            adam: AdamConfig::new().with_epsilon(1e-8).init(),
            mix_by_matmul: args.mix_by_matmul,
            step: 0,
        }
    }

    /// One step on the next batch; the loss stays on the device.
    fn step(&mut self) -> Tensor<1> {
        let (x, y) = self.data[self.step % self.data.len()].clone();
        self.step += 1;
        let model = self.model.take().unwrap();
        let loss = bce_with_logits(model.forward(x, self.mix_by_matmul), y);
        let grads = GradientsParams::from_grads(loss.backward(), &model);
        self.model = Some(self.adam.step(LR, model, grads));
        loss.inner()
    }
}

// ---- command line and measurement ---------------------------------------------------------------

struct Args {
    backend: String,
    mode: String,
    batch: usize,
    steps: usize,
    warmup: usize,
    max_seconds: f64,
    n: usize,
    data: usize,
    mix_by_matmul: bool,
}

impl Args {
    fn parse() -> Self {
        let mut a = Args {
            backend: String::new(),
            mode: "train".into(),
            batch: 1024,
            steps: 10,
            warmup: 3,
            max_seconds: 180.0,
            n: 1024,
            data: 4,
            mix_by_matmul: false,
        };
        let mut it = std::env::args().skip(1);
        while let Some(flag) = it.next() {
            let value = it.next().unwrap_or_else(|| panic!("{flag} needs a value"));
            let int = || value.parse::<usize>().unwrap_or_else(|_| panic!("{flag} {value}"));
            match flag.as_str() {
                "--backend" => a.backend = value,
                "--mode" => a.mode = value,
                "--batch" => a.batch = int(),
                "--steps" => a.steps = int(),
                "--warmup" => a.warmup = int(),
                "--max-seconds" => a.max_seconds = int() as f64,
                "--n" => a.n = int(),
                "--data" => a.data = int(),
                "--mix" => a.mix_by_matmul = value == "matmul",
                _ => panic!("unknown flag {flag}"),
            }
        }
        a
    }
}

/// The device, and the adapter name it stands for.
fn device(backend: &str) -> (Device, String) {
    #[allow(deprecated)]
    let device = match backend {
        #[cfg(any(feature = "wgpu", feature = "vulkan"))]
        "wgpu" => Device::wgpu(Default::default()),
        #[cfg(feature = "vulkan")]
        "vulkan" => Device::vulkan(Default::default()),
        #[cfg(feature = "flex")]
        "flex" => Device::flex(),
        #[cfg(feature = "ndarray")]
        "ndarray" => Device::ndarray(),
        #[cfg(feature = "cpu")]
        "cpu" => Device::cpu(),
        other => panic!("--backend {other} is not in this build"),
    };
    #[cfg(any(feature = "wgpu", feature = "vulkan", feature = "cpu"))]
    let name = device.identity().map(|i| format!("{} [{}]", i.name, i.fingerprint));
    #[cfg(not(any(feature = "wgpu", feature = "vulkan", feature = "cpu")))]
    let name: Option<String> = None;
    let name = name.unwrap_or_else(|| "host".into());
    (device, name)
}

/// Multiplications and additions of the matrix products: forward, and twice that backward.
fn flops_per_step(batch: usize) -> usize {
    let mlp = |input: usize| input * HIDDEN[0] + HIDDEN[0] * HIDDEN[1];
    let (width, gate_and_expert) = (HIDDEN[1], mlp(D));
    6 * batch * ((EXPERTS + TASKS) * gate_and_expert + TASKS * (width * EXPERTS + mlp(width) + width))
}

fn load() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').take(3).collect::<Vec<_>>().join(" ")
}

fn median(times: &[f64]) -> f64 {
    let mut t = times.to_vec();
    t.sort_by(f64::total_cmp);
    let m = t.len() / 2;
    if t.len() % 2 == 1 { t[m] } else { (t[m - 1] + t[m]) / 2.0 }
}

fn list(values: &[f64], digits: usize) -> String {
    let v: Vec<_> = values.iter().map(|v| format!("{v:.digits$}")).collect();
    format!("[{}]", v.join(","))
}

/// Whether the last three times lie within 15% of each other.
fn settled(times: &[f64]) -> bool {
    let last = &times[times.len().saturating_sub(3)..];
    let (least, most) = last.iter().fold((f64::INFINITY, 0f64), |(a, b), &t| (a.min(t), b.max(t)));
    last.len() == 3 && most < 1.15 * least
}

/// Runs `work` with a sync after each call: warm-up (timed apart), for half of `max_seconds` at most,
/// then up to `steps` timed calls, within `max_seconds` but three at least. Returns (warm-up times, timed times).
fn timed(args: &Args, device: &Device, mut work: impl FnMut()) -> (Vec<f64>, Vec<f64>) {
    let begin = Instant::now();
    let (mut warm, mut times) = (vec![], vec![]);
    while times.len() < args.steps {
        let t = Instant::now();
        work();
        device.sync().unwrap();
        let dt = t.elapsed().as_secs_f64();
        let is_settled = begin.elapsed().as_secs_f64() > args.max_seconds / 2.0 || settled(&warm);
        let is_warm_up = times.is_empty() && (warm.len() < args.warmup || !is_settled);
        let to = if is_warm_up { &mut warm } else { &mut times };
        to.push(dt);
        if times.len() >= 3 && begin.elapsed().as_secs_f64() > args.max_seconds {
            break;
        }
    }
    (warm, times)
}

fn main() {
    let args = Args::parse();
    let load_before = load();
    let start = Instant::now();
    let (device, adapter) = device(&args.backend);
    let name = Dispatch::name(device.as_dispatch());
    let mut out = format!(
        "{{\"system\":\"burn 0.22.1\",\"backend\":\"{}\",\"name\":\"{name}\",\"adapter\":\"{adapter}\",\"mode\":\"{}\"",
        args.backend, args.mode
    );
    match args.mode.as_str() {
        "train" => {
            let ad = device.clone().autodiff();
            let mut trainer = Trainer::new(&args, &ad);
            device.sync().unwrap();
            let setup = start.elapsed().as_secs_f64();
            let mut first = None;
            let mut last = None;
            let (warm, times) = timed(&args, &device, || {
                let loss = trainer.step();
                first.get_or_insert_with(|| loss.clone());
                last = Some(loss);
            });
            // The same steps once more with a single sync at the end.
            let n = if times.is_empty() { 0 } else { args.steps.min(times.len()) };
            let t = Instant::now();
            for _ in 0..n {
                last = Some(trainer.step());
            }
            device.sync().unwrap();
            let queued = t.elapsed().as_secs_f64();
            let step = if times.is_empty() { f64::NAN } else { median(&times) };
            out += &format!(
                ",\"batch\":{},\"mix\":\"{}\",\"setup_s\":{setup:.2},\"warm_up_s\":{},\"timed_steps\":{},\"step_ms_median\":{:.2},\"step_ms\":{},\"samples_per_s\":{:.0},\"samples_per_s_queued\":{:.0},\"loss_first\":{:.6},\"loss_last\":{:.6},\"steps_run\":{},\"parameters\":{},\"flops_per_step\":{}",
                args.batch,
                if args.mix_by_matmul { "matmul" } else { "mulsum" },
                list(&warm, 3),
                times.len(),
                step * 1e3,
                list(&times.iter().map(|t| t * 1e3).collect::<Vec<_>>(), 2),
                args.batch as f64 / step,
                (n * args.batch) as f64 / queued,
                first.unwrap().into_scalar::<f32>(),
                last.unwrap().into_scalar::<f32>(),
                trainer.step,
                trainer.model.as_ref().unwrap().num_params(),
                flops_per_step(args.batch)
            );
        }
        "loss" => {
            let ad = device.clone().autodiff();
            let mut trainer = Trainer::new(&Args { data: 1, ..args }, &ad);
            let mut losses = vec![];
            while losses.len() < args.steps && start.elapsed().as_secs_f64() < args.max_seconds {
                losses.push(trainer.step().into_scalar::<f32>() as f64);
            }
            out += &format!(",\"batch\":{},\"losses\":{}", args.batch, list(&losses, 6));
        }
        "matmul" => {
            let n = args.n;
            let a = host(1, n * n, |u| 2.0 * u - 1.0);
            let b = host(2, n * n, |u| 2.0 * u - 1.0);
            // One element in double on the host, against the device's product.
            let (i, j) = (n / 3, n / 2);
            let want: f64 = (0..n).map(|k| a[i * n + k] as f64 * b[k * n + j] as f64).sum();
            let a: Tensor<2> = Tensor::from_data(TensorData::new(a, [n, n]), &device);
            let b: Tensor<2> = Tensor::from_data(TensorData::new(b, [n, n]), &device);
            device.sync().unwrap();
            let mut c = None;
            let (warm, times) = timed(&args, &device, || c = Some(a.clone().matmul(b.clone())));
            let got = c.unwrap().slice([i..i + 1, j..j + 1]).into_scalar::<f32>() as f64;
            let step = median(&times);
            out += &format!(
                ",\"n\":{n},\"warm_up_s\":{},\"timed\":{},\"ms_median\":{:.3},\"ms\":{},\"gflops\":{:.2},\"error\":{:.1e}",
                list(&warm, 3),
                times.len(),
                step * 1e3,
                list(&times.iter().map(|t| t * 1e3).collect::<Vec<_>>(), 2),
                2.0 * (n as f64).powi(3) / step / 1e9,
                (got - want).abs()
            );
        }
        other => panic!("--mode {other}"),
    }
    println!(
        "{out},\"total_s\":{:.1},\"load_before\":\"{load_before}\",\"load_after\":\"{}\"}}",
        start.elapsed().as_secs_f64(),
        load()
    );
}
