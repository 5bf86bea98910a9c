//! Every comparison and branch of the shaders, and those that no planted fault touches.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::Path;

use naga::{BinaryOperator as Operator, Block, Expression, Function, Handle, Module, Span, Statement};
use polygate::conform::targets;
use polygate::kernels::variant::Abilities;
use polygate::kernels::{Kernel, kernels};

use super::{Fault, all_faults};

/// Conditions at which a fault changes nothing that a case can show, each with the reason: file, text, why.
const HARMLESS: &[(&str, &str, &str)] = &[
    ("batch_norm.wgsl", "rows == 0u", "a slot without rows is not read"),
    (
        "lib/level_group.wgsl",
        "op.barrier == 1u",
        "drivers in software run a branch with its mask, and wait at its barrier",
    ),
    ("clip.wgsl", "is_not_finite(squares)", "a driver that divides as IEEE has it gives the same zero"),
    (
        "embedding.wgsl",
        "d.kind == a.kind",
        "no case has a vector of 3, 7, 11... floats before the dense field of its number",
    ),
    ("embedding.wgsl", "a.kind == BAG", "no two dense columns are of one field, so the last comparison fails for them"),
];

/// Where something stands in a file of `shaders`.
type Place = (String, usize, usize);

/// A shader's text, its module, and where the files lie that it is made of.
struct Shader {
    wgsl: String,
    module: Module,
    files: Vec<(String, Range<usize>)>,
}

impl Shader {
    fn new(wgsl: String, files: &BTreeMap<String, String>) -> Self {
        let module = naga::front::wgsl::parse_str(&wgsl).unwrap();
        let lies = |(name, text): (&String, &String)| {
            let start = wgsl.find(text.as_str())?;
            Some((name.clone(), start..start + text.len()))
        };
        let files = files.iter().filter_map(lies).collect();
        Self { wgsl, module, files }
    }

    fn place(&self, range: &Range<usize>) -> Place {
        let file = self.files.iter().find(|(_, own)| own.contains(&range.start)).unwrap();
        (file.0.clone(), range.start - file.1.start, range.end - file.1.start)
    }

    /// The conditions of an entry point and of all that it calls.
    fn conditions(&self, entry: &str) -> Vec<Range<usize>> {
        let point = self.module.entry_points.iter().find(|e| e.name == entry).unwrap();
        let (mut called, mut found) = (BTreeSet::new(), Vec::new());
        let mut open = vec![&point.function];
        while let Some(function) = open.pop() {
            let mut own = Own { shader: self, function, conditions: Vec::new(), calls: Vec::new() };
            own.all();
            found.extend(own.conditions);
            open.extend(own.calls.into_iter().filter(|&f| called.insert(f)).map(|f| &self.module.functions[f]));
        }
        found
    }
}

/// The conditions of a function, and the functions that it calls.
struct Own<'a> {
    shader: &'a Shader,
    function: &'a Function,
    conditions: Vec<Range<usize>>,
    calls: Vec<Handle<Function>>,
}

impl Own<'_> {
    fn all(&mut self) {
        let compares = |op: Operator| {
            use Operator::{Equal, Greater, GreaterEqual, Less, LessEqual, NotEqual};
            matches!(op, Equal | NotEqual | Less | LessEqual | Greater | GreaterEqual)
        };
        for (handle, expression) in self.function.expressions.iter() {
            if matches!(expression, Expression::Binary { op, .. } if compares(*op)) {
                self.condition(handle);
            }
        }
        self.block(&self.function.body);
        // A condition that is made of others is looked at in these.
        let all = std::mem::take(&mut self.conditions);
        let is_whole = |range: &Range<usize>| {
            all.iter().any(|part| part != range && range.start <= part.start && part.end <= range.end)
        };
        self.conditions = all.iter().filter(|range| !is_whole(range)).cloned().collect();
        self.cases(&self.function.body);
    }

    fn condition(&mut self, handle: Handle<Expression>) {
        self.conditions.extend(self.function.expressions.get_span(handle).to_range());
    }

    fn block(&mut self, block: &Block) {
        for statement in block.iter() {
            match statement {
                Statement::If { condition, accept, reject } => {
                    self.condition(*condition);
                    [accept, reject].into_iter().for_each(|block| self.block(block));
                }
                Statement::Loop { body, continuing, break_if } => {
                    break_if.iter().for_each(|&condition| self.condition(condition));
                    [body, continuing].into_iter().for_each(|block| self.block(block));
                }
                Statement::Switch { cases, .. } => cases.iter().for_each(|case| self.block(&case.body)),
                Statement::Block(block) => self.block(block),
                Statement::Call { function, .. } => self.calls.push(*function),
                _ => {}
            }
        }
    }

    /// The labels of switches' cases; naga does not keep where they are.
    fn cases(&mut self, block: &Block) {
        let switches = block.span_iter().filter(|(statement, _)| matches!(statement, Statement::Switch { .. }));
        for range in switches.filter_map(|(_, span): (_, &Span)| span.to_range()) {
            let text = &self.shader.wgsl[range.clone()];
            let labels = text.match_indices("case ").map(|(at, _)| at);
            self.conditions.extend(labels.map(|at| {
                let length = text[at..].find(':').unwrap();
                range.start + at..range.start + at + length
            }));
        }
    }
}

/// The shaders' files by their path under `shaders`.
fn files() -> BTreeMap<String, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("shaders");
    let in_folder = |folder: &str| {
        let paths: Vec<_> = root.join(folder).read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
        paths.into_iter().filter(|path| path.extension().is_some_and(|e| e == "wgsl")).map(|path| {
            let name = path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
            (name, std::fs::read_to_string(path).unwrap())
        })
    };
    let all: Vec<_> = in_folder("").chain(in_folder("lib")).collect();
    all.into_iter().collect()
}

/// All shaders, parsed once each.
struct Shaders {
    files: BTreeMap<String, String>,
    parsed: BTreeMap<String, Shader>,
}

impl Shaders {
    fn of(&mut self, kernel: Kernel) -> &Shader {
        let wgsl = kernel.source.wgsl();
        self.parsed.entry(wgsl.clone()).or_insert_with(|| Shader::new(wgsl, &self.files))
    }

    /// The conditions of a kernel that a fault's text overlaps.
    fn touched(&mut self, fault: &Fault, kernel: Kernel) -> Vec<Place> {
        let shader = self.of(kernel);
        let texts: Vec<Range<usize>> =
            shader.wgsl.match_indices(fault.from).map(|(at, text)| at..at + text.len()).collect();
        let overlaps = |c: &Range<usize>| texts.iter().any(|text| text.start < c.end && c.start < text.end);
        let conditions = shader.conditions(kernel.entry);
        conditions.iter().filter(|condition| overlaps(condition)).map(|c| shader.place(c)).collect()
    }
}

/// The kernels that the cases of a fault run.
fn kernels_of(fault: &Fault) -> Vec<Kernel> {
    let all = targets(Abilities::EVERY_KERNEL);
    let own = fault.targets().filter_map(|target| all.iter().find(|t| super::is_of(t, target)));
    let cases = own.flat_map(|target| target.classes()[..1].iter().map(move |&class| target.case(11, class, 0)));
    cases.flat_map(|case| case.dispatches.into_iter().map(|dispatch| dispatch.kernel)).collect()
}

#[test]
fn every_condition_of_the_shaders_is_touched_by_a_fault() {
    let mut shaders = Shaders { files: files(), parsed: BTreeMap::new() };
    let mut all = BTreeSet::new();
    for kernel in kernels() {
        let shader = shaders.of(kernel);
        all.extend(shader.conditions(kernel.entry).iter().map(|range| shader.place(range)));
    }
    let mut touched = BTreeSet::new();
    let mut by_target = BTreeMap::new();
    for fault in all_faults() {
        let key: Vec<_> = fault.targets().collect();
        for kernel in by_target.entry(key).or_insert_with(|| kernels_of(fault)) {
            touched.extend(shaders.touched(fault, *kernel));
        }
    }
    let text = |(file, start, end): &Place| shaders.files[file][*start..*end].to_owned();
    let line = |(file, start, _): &Place| shaders.files[file][..*start].lines().count().max(1);
    let is_harmless = |place: &&Place| HARMLESS.iter().any(|(file, what, _)| place.0 == *file && text(place) == *what);
    let untouched: Vec<&Place> = all.iter().filter(|place| !touched.contains(*place)).collect();
    let stale: Vec<_> = HARMLESS
        .iter()
        .filter(|(file, what, _)| !untouched.iter().any(|place| place.0 == *file && text(place) == *what))
        .collect();
    println!("{} conditions, {} touched, {} harmless", all.len(), all.len() - untouched.len(), HARMLESS.len());
    let missed: Vec<String> = untouched
        .iter()
        .filter(|place| !is_harmless(place))
        .map(|place| format!("shaders/{}:{}: {}", place.0, line(place), text(place)))
        .collect();
    assert!(missed.is_empty(), "{} conditions that no fault of tests/faults touches: {missed:#?}", missed.len());
    assert!(stale.is_empty(), "listed as harmless, and touched by a fault or gone: {stale:#?}");
}
