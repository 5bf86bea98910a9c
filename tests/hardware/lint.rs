//! Barriers in AMD's machine code that lose the wait for stores before them.
//!
//! A barrier of AMD's holds invocations, not memory: stores of its own subgroup may still be under way, and another one
//! that the barrier lets go on may read what was there before. So the compiler waits for stores ahead of each barrier
//! that orders memory. Mesa's forgets to in some control flow (`barrier.wgsl`).

use std::collections::HashMap;

use polygate::kernels::Source;
use serde::{Deserialize, Serialize};

/// The memory that a shader's barriers order.
#[derive(Clone, Copy, Debug)]
pub struct Ordered {
    pub buffers: bool,
    pub workgroup: bool,
}

impl Ordered {
    pub fn by(source: &Source) -> Self {
        let wgsl = source.wgsl();
        Self { buffers: wgsl.contains("storageBarrier()"), workgroup: wgsl.contains("workgroupBarrier()") }
    }

    pub fn any(self) -> bool {
        self.buffers || self.workgroup
    }
}

/// The barriers of a kernel's machine code.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Barriers {
    pub count: usize,
    /// Those that stores can reach without a wait, with both lines.
    pub lost: Vec<String>,
}

/// Stores that may be under way at an instruction: the number of one to each memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Pending {
    buffers: Option<usize>,
    workgroup: Option<usize>,
}

impl Pending {
    fn or(self, other: Self) -> Self {
        Self { buffers: self.buffers.or(other.buffers), workgroup: self.workgroup.or(other.workgroup) }
    }

    /// After the instruction of that number.
    fn after(self, number: usize, instruction: &str) -> Self {
        let waits = Waits::of(instruction);
        let stores = stores(instruction);
        let next = |pending: Option<usize>, stores: bool, waits: bool| match (stores, waits) {
            (true, _) => Some(number),
            (false, true) => None,
            (false, false) => pending,
        };
        Self {
            buffers: next(self.buffers, stores.buffers, waits.buffers),
            workgroup: next(self.workgroup, stores.workgroup, waits.workgroup),
        }
    }
}

/// The memory that an instruction writes for other invocations to see.
fn stores(instruction: &str) -> Ordered {
    let operation = instruction.split_whitespace().next().unwrap_or_default();
    let (space, action) = operation.split_once('_').unwrap_or_default();
    let writes = action.starts_with("store") || action.starts_with("atomic");
    let reads = ["load", "read", "permute", "bpermute", "swizzle"];
    Ordered {
        buffers: writes && ["buffer", "tbuffer", "global", "flat"].contains(&space),
        workgroup: (space == "ds" && !reads.iter().any(|read| action.starts_with(read))) || (writes && space == "flat"),
    }
}

/// The stores that an instruction waits for.
struct Waits {
    buffers: bool,
    workgroup: bool,
}

impl Waits {
    /// Stores to workgroup memory keep their order: it suffices that they have read their registers (`vm_vsrc`), as
    /// Mesa has it too.
    fn of(instruction: &str) -> Self {
        let (operation, operands) = instruction.split_once(' ').unwrap_or((instruction, ""));
        let number = hexadecimal(operands.rsplit(' ').next().unwrap_or_default());
        let is = |bits: u32| number.is_some_and(|number| number & bits == 0);
        let (buffers, workgroup) = match operation {
            "s_waitcnt" => (false, operands.contains("lgkmcnt(0)")),
            "s_waitcnt_vscnt" => (is(0x3f), false),
            "s_waitcnt_lgkmcnt" => (false, is(0x3f)),
            "s_waitcnt_depctr" | "s_wait_alu" => (false, operands.contains("vm_vsrc(0)") || is(0x1c)),
            "s_wait_storecnt" => (is(0x3f), false),
            "s_wait_dscnt" | "s_wait_loadcnt_dscnt" => (false, is(0x3f)),
            "s_wait_storecnt_dscnt" => (is(0x3f00), is(0x3f)),
            _ => (false, false),
        };
        Self { buffers, workgroup }
    }
}

fn hexadecimal(text: &str) -> Option<u32> {
    u32::from_str_radix(text.strip_prefix("0x")?, 16).ok()
}

/// A kernel's instructions in their order, and where its labels are.
struct Program<'a> {
    instructions: Vec<&'a str>,
    labels: HashMap<&'a str, usize>,
}

impl<'a> Program<'a> {
    /// Of LLVM's disassembly: a label ends with a colon, an instruction with its encoding behind a semicolon.
    fn of(assembly: &'a str) -> Self {
        let mut program = Self { instructions: Vec::new(), labels: HashMap::new() };
        for line in assembly.lines() {
            let line = line.split(';').next().unwrap_or_default().trim();
            match line.strip_suffix(':') {
                Some(label) => _ = program.labels.insert(label, program.instructions.len()),
                None if line.is_empty() => {}
                None => program.instructions.push(line),
            }
        }
        program
    }

    /// Where control goes from an instruction.
    ///
    /// # Errors
    /// If that cannot be told from the text.
    fn successors(&self, number: usize) -> Result<Vec<usize>, String> {
        let instruction = self.instructions[number];
        let mut words = instruction.split_whitespace();
        let operation = words.next().unwrap_or_default();
        let target = || {
            let label = words.clone().next().unwrap_or_default();
            self.labels.get(label).copied().ok_or(format!("{instruction}: no such label"))
        };
        match operation {
            "s_endpgm" => Ok(Vec::new()),
            "s_branch" => Ok(vec![target()?]),
            _ if operation.starts_with("s_cbranch") => Ok(vec![target()?, number + 1]),
            _ if ["s_setpc", "s_swappc", "s_call"].iter().any(|jump| operation.starts_with(jump)) => {
                Err(format!("{instruction}: a jump that cannot be followed"))
            }
            _ => Ok(vec![number + 1]),
        }
    }
}

/// Follows stores along every path to the barriers.
///
/// # Errors
/// If control flow cannot be told from the text.
pub fn barriers(assembly: &str, ordered: Ordered) -> Result<Barriers, String> {
    let program = Program::of(assembly);
    let mut before = vec![None; program.instructions.len()];
    let mut open = vec![(0, Pending::default())];
    while let Some((number, pending)) = open.pop() {
        let Some(&instruction) = program.instructions.get(number) else { continue };
        let merged = before[number].map_or(pending, |known: Pending| known.or(pending));
        if before[number] == Some(merged) {
            continue;
        }
        before[number] = Some(merged);
        let after = merged.after(number, instruction);
        open.extend(program.successors(number)?.into_iter().map(|next| (next, after)));
    }

    let mut barriers = Barriers::default();
    for (number, pending) in before.into_iter().enumerate() {
        let operation = program.instructions[number].split_whitespace().next().unwrap_or_default();
        // From RDNA 4 on a barrier comes in two: what it orders is done at its signal.
        if operation != "s_barrier" && !operation.starts_with("s_barrier_signal") {
            continue;
        }
        barriers.count += 1;
        let Some(pending) = pending else { continue };
        let stores = [pending.buffers.filter(|_| ordered.buffers), pending.workgroup.filter(|_| ordered.workgroup)];
        barriers.lost.extend(stores.into_iter().flatten().map(|store| {
            format!("{operation} (instruction {number}) after {} ({store})", program.instructions[store])
        }));
    }
    Ok(barriers)
}
