//! What drivers say of a kernel's machine code, in terms that all have.

use serde::{Deserialize, Serialize};

use crate::stand_in::Processor;

/// A kernel's machine code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Figures {
    /// Invocations that run in step: a wave, warp or SIMD group.
    pub subgroup: u32,
    /// Of an invocation: 32 bits each, on Apple 16. Of a subgroup on Intel: 32 bytes each.
    pub registers: u32,
    /// Subgroups that registers let a unit of the processor hold: a SIMD of AMD's, an SM of NVIDIA's, a core of
    /// Apple's and Qualcomm's. 0 on Intel, where their number is fixed.
    pub waves: u32,
    /// Registers that are kept elsewhere for a time; on Adreno stores to memory and loads from it.
    pub spills: u32,
    /// Bytes of memory of an invocation for what no register holds.
    pub scratch: u32,
    /// Bytes; on Adreno instructions.
    pub code: u32,
}

impl Figures {
    /// Of what a driver says under names of its own.
    ///
    /// # Errors
    /// The name that it does not have.
    pub fn of(processor: Processor, subgroup: u32, statistics: &[(String, f64)]) -> Result<Self, String> {
        let get = |name: &str| {
            let found = statistics.iter().find(|(n, _)| n == name);
            found.map(|(_, value)| *value as u32).ok_or(format!("the driver has no statistic {name:?}"))
        };
        let code = get("Code size");
        Ok(match processor {
            Processor::Amd => Self {
                subgroup,
                registers: get("VGPRs")?,
                waves: get("Subgroups per SIMD")?,
                spills: get("Spilled SGPRs")? + get("Spilled VGPRs")?,
                scratch: get("Scratch size")?,
                code: code?,
            },
            Processor::Nvidia => Self {
                subgroup,
                registers: get("Number of GPRs")?,
                waves: get("Max warps/SM")?,
                spills: get("Spills to memory")?,
                scratch: get("SLM size")?,
                code: code?,
            },
            Processor::Apple => Self {
                subgroup,
                registers: get("GPRs")?,
                waves: get("Threads")? / subgroup.max(1),
                spills: get("Spills")?,
                scratch: get("Scratch")?,
                code: code?,
            },
            Processor::Adreno => Self {
                subgroup,
                registers: get("Registers used")?,
                waves: get("Max Waves Per Core")?,
                spills: get("STP Count")? + get("LDP Count")?,
                scratch: 0,
                code: code?,
            },
            Processor::Intel => Self {
                subgroup,
                registers: get("Max live registers")?,
                waves: 0,
                spills: get("Spills")?,
                scratch: get("Scratch Memory Size")?,
                code: code?,
            },
        })
    }

    /// Whether something has no register.
    pub fn spills(&self) -> bool {
        self.spills > 0 || self.scratch > 0
    }
}
