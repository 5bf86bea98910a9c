//! What no shader may do in WGSL, though WGSL allows it, because some compiler behind it cannot take it or takes it
//! otherwise.

use std::collections::HashMap;

use naga::valid::{FunctionInfo, ModuleInfo};
use naga::{BinaryOperator, Block, Expression, Function, Handle, Module, ScalarKind, Span, Statement, TypeInner};

/// FXC unrolls a loop that writes a vector so, or gives up (X3511).
pub const COMPONENT: &str = "writes a vector's component at an index known at run time";

/// Drivers may take it that a float equals itself, NaN too. Bits can be compared.
pub const ITSELF: &str = "compares a float with itself";

/// Something that is not allowed, and where it stands.
pub struct Finding {
    pub what: &'static str,
    pub span: Span,
}

/// A function under inspection.
struct Inspection<'a> {
    module: &'a Module,
    function: &'a Function,
    info: &'a FunctionInfo,
    /// The run of statements in which each expression is evaluated. Within a run nothing is written.
    runs: HashMap<Handle<Expression>, usize>,
    run: usize,
    findings: Vec<Finding>,
}

/// All findings in a module, in the order of their places.
pub fn inspect(module: &Module, info: &ModuleInfo) -> Vec<Finding> {
    let functions = module.functions.iter().map(|(handle, function)| (function, &info[handle]));
    let entries = module.entry_points.iter().enumerate();
    let entries = entries.map(|(i, entry)| (&entry.function, info.get_entry_point(i)));
    let all = functions.chain(entries).flat_map(|(function, info)| inspect_function(module, function, info));
    let mut findings: Vec<Finding> = all.collect();
    findings.sort_by_key(|finding| finding.span.to_range().map(|range| range.start));
    findings
}

fn inspect_function(module: &Module, function: &Function, info: &FunctionInfo) -> Vec<Finding> {
    let mut inspection = Inspection { module, function, info, runs: HashMap::new(), run: 0, findings: Vec::new() };
    inspection.block(&function.body);
    inspection.comparisons();
    inspection.findings
}

impl Inspection<'_> {
    fn block(&mut self, block: &Block) {
        for (statement, span) in block.span_iter() {
            match statement {
                Statement::Emit(range) => self.runs.extend(range.clone().map(|expression| (expression, self.run))),
                _ => {
                    self.run += 1;
                    self.statement(statement, *span);
                    self.run += 1;
                }
            }
        }
    }

    fn statement(&mut self, statement: &Statement, span: Span) {
        match statement {
            Statement::Store { pointer, .. } if self.is_component_at_run_time(*pointer) => {
                self.findings.push(Finding { what: COMPONENT, span });
            }
            Statement::Block(block) => self.block(block),
            Statement::If { accept, reject, .. } => [accept, reject].into_iter().for_each(|block| self.block(block)),
            Statement::Switch { cases, .. } => cases.iter().for_each(|case| self.block(&case.body)),
            Statement::Loop { body, continuing, .. } => {
                [body, continuing].into_iter().for_each(|block| self.block(block));
            }
            _ => {}
        }
    }

    /// Whether a pointer is to a vector's component, a matrix's included, whose index the shader computes.
    fn is_component_at_run_time(&self, pointer: Handle<Expression>) -> bool {
        let Expression::Access { base, index } = self.function.expressions[pointer] else { return false };
        let index = &self.function.expressions[index];
        let is_known = !index.is_dynamic_index() || matches!(index, Expression::Override(_));
        let is_vector = match *self.info[base].ty.inner_with(&self.module.types) {
            TypeInner::Pointer { base, .. } => matches!(self.module.types[base].inner, TypeInner::Vector { .. }),
            TypeInner::ValuePointer { size, .. } => size.is_some(),
            _ => false,
        };
        is_vector && !is_known
    }

    fn comparisons(&mut self) {
        for (handle, expression) in self.function.expressions.iter() {
            let Expression::Binary { op: BinaryOperator::Equal | BinaryOperator::NotEqual, left, right } = *expression
            else {
                continue;
            };
            let kind = self.info[left].ty.inner_with(&self.module.types).scalar_kind();
            if kind == Some(ScalarKind::Float) && self.are_same(left, right) {
                let span = self.function.expressions.get_span(handle);
                self.findings.push(Finding { what: ITSELF, span });
            }
        }
    }

    /// Whether two expressions are written alike and have the same value.
    fn are_same(&self, a: Handle<Expression>, b: Handle<Expression>) -> bool {
        use Expression as E;
        let same = |a, b| self.are_same(a, b);
        let both = |a: Option<_>, b: Option<_>| a.zip(b).map_or(a.is_none() && b.is_none(), |(a, b)| same(a, b));
        let expressions = &self.function.expressions;
        if a == b {
            return true;
        }
        match (&expressions[a], &expressions[b]) {
            (E::Literal(a), E::Literal(b)) => a == b,
            (E::Constant(a), E::Constant(b)) => a == b,
            (E::Override(a), E::Override(b)) => a == b,
            (E::ZeroValue(a), E::ZeroValue(b)) => a == b,
            (E::FunctionArgument(a), E::FunctionArgument(b)) => a == b,
            (E::GlobalVariable(a), E::GlobalVariable(b)) => a == b,
            (E::LocalVariable(a), E::LocalVariable(b)) => a == b,
            (E::Load { pointer: p }, E::Load { pointer: q }) => self.runs.get(&a) == self.runs.get(&b) && same(*p, *q),
            (E::Access { base: a, index: i }, E::Access { base: b, index: j }) => same(*a, *b) && same(*i, *j),
            (E::AccessIndex { base: a, index: i }, E::AccessIndex { base: b, index: j }) => i == j && same(*a, *b),
            (E::Compose { ty: t, components: a }, E::Compose { ty: u, components: b }) => {
                t == u && a.iter().zip(b).all(|(a, b)| same(*a, *b))
            }
            (E::Splat { size: m, value: a }, E::Splat { size: n, value: b }) => m == n && same(*a, *b),
            (E::Swizzle { size: m, vector: a, pattern: p }, E::Swizzle { size: n, vector: b, pattern: q }) => {
                let count = *m as usize;
                m == n && p[..count] == q[..count] && same(*a, *b)
            }
            (E::Unary { op: o, expr: a }, E::Unary { op: p, expr: b }) => o == p && same(*a, *b),
            (E::Binary { op: o, left: a, right: c }, E::Binary { op: p, left: b, right: d }) => {
                o == p && same(*a, *b) && same(*c, *d)
            }
            (E::Select { condition: a, accept: c, reject: e }, E::Select { condition: b, accept: d, reject: f }) => {
                same(*a, *b) && same(*c, *d) && same(*e, *f)
            }
            (
                E::Math { fun: f, arg: a, arg1: a1, arg2: a2, arg3: a3 },
                E::Math { fun: g, arg: b, arg1: b1, arg2: b2, arg3: b3 },
            ) => f == g && same(*a, *b) && both(*a1, *b1) && both(*a2, *b2) && both(*a3, *b3),
            (E::As { expr: a, kind: k, convert: c }, E::As { expr: b, kind: l, convert: d }) => {
                k == l && c == d && same(*a, *b)
            }
            _ => false,
        }
    }
}
