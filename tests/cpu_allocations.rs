//! The device `cpu` allocates nothing in the steady state. A test binary of its own, since it counts every allocation
//! of the process.

#[path = "support/random.rs"]
mod random;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use polygate::optim::{Adagrad, LazyAdam, Optimizer, RowwiseAdagrad, Rule, TableOptimizer};
use polygate::plan::Plan;
use polygate::reference::{BLOCK_ROWS, Reference};

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

struct Counting;

// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        unsafe { System.alloc(layout) }
    }

    unsafe fn realloc(&self, p: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        unsafe { System.realloc(p, layout, size) }
    }

    unsafe fn dealloc(&self, p: *mut u8, layout: Layout) {
        unsafe { System.dealloc(p, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

const ROWS: usize = 700;
const WARM_UP: u64 = 50;
const STEPS: u64 = 126;

/// Where products are not by tiles, the gemm crate allocates and frees at most two small buffers in each, whatever its
/// arguments. Nothing else may allocate for each layer or block, which twice as many blocks would show.
fn products_that_allocate(plan: &Plan) -> usize {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("fma") {
        return 0;
    }
    let blocks = ROWS.div_ceil(BLOCK_ROWS);
    let layers = plan.blocks().flat_map(|level| level.mlps()).flat_map(|mlp| &mlp.layers);
    // Forward, the gradient by the input, and the gradient by the weight: no layer here has more than one strip.
    layers.count() * blocks * 3
}

/// Rayon's queue for work from outside its pool is a list of blocks of 63 places, and a step takes one place.
const QUEUE_BLOCKS: usize = STEPS as usize / 63 + 1;

/// A worker's own queue doubles when more jobs wait than ever before, which a busy machine may put off to any step.
const QUEUE_GROWTH: usize = 8;

#[test]
fn after_the_first_steps_only_gemms_products_and_rayons_queue_allocate() {
    let normalised = format!("{}, normalization = 'batch'", random::FAMILIES[5].1);
    let families = random::FAMILIES.into_iter().chain([("ple of uneven levels, normalised", normalised.as_str())]);
    for (i, (name, model)) in families.enumerate() {
        let plan = random::plan(model);
        let batches: Vec<_> = (0..4).map(|seed| random::batch(&plan.input, plan.tasks.len(), ROWS, seed)).collect();
        let lazy = TableOptimizer::LazyAdam(LazyAdam::default());
        let by_row = TableOptimizer::RowwiseAdagrad(RowwiseAdagrad::default());
        let adagrad = Optimizer::Adagrad(Adagrad::default());
        let clipped = Rule { clip_norm: Some(0.1), ..Rule::default().with_tables(lazy) };
        for rule in [
            Rule::default(),
            Rule::default().with_tables(lazy),
            Rule::default().with_tables(by_row),
            adagrad.into(),
            clipped,
        ] {
            let mut cpu = Reference::new(plan.clone(), random::parameters(&plan, i as u64));
            let mut run = |steps: std::ops::Range<u64>| {
                steps.for_each(|s| cpu.train_step(&batches[s as usize % batches.len()], &rule, s + 1));
            };
            run(0..WARM_UP);
            let before = ALLOCATIONS.load(Ordering::Relaxed);
            run(WARM_UP..WARM_UP + STEPS);
            let allocations = ALLOCATIONS.load(Ordering::Relaxed) - before;
            let allowed = 2 * products_that_allocate(&plan) * STEPS as usize + QUEUE_BLOCKS + QUEUE_GROWTH;
            println!("{name}, {rule:?}: {allocations} allocations, {allowed} allowed");
            assert!(allocations <= allowed, "{name}, {rule:?}: {allocations} allocations, {allowed} allowed");
        }
    }
}
