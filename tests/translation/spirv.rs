//! SPIR-V, which Vulkan's drivers take, through spirv-val.

use std::process::Command;

use rayon::prelude::*;

use crate::{Input, all_pass, input, inputs, read_by, shaders};

/// The oldest version that wgpu writes, which has no subgroups, and the one after that, each with its Vulkan.
const TARGETS: [((u8, u8), &str); 2] = [((1, 0), "vulkan1.0"), ((1, 3), "vulkan1.1")];

fn spirv(input: &Input, version: (u8, u8)) -> Result<Vec<u32>, String> {
    let shader = input.shader;
    shaders::spirv(shader.form.kernel.entry, (&shader.module, &shader.info), version, input.checks)
}

fn validate(words: &[u32], environment: &str) -> Result<(), String> {
    let mut command = Command::new("spirv-val");
    command.args(["--target-env", environment]);
    read_by(&mut command, "spirv-tools", bytemuck::cast_slice(words))
}

#[test]
fn every_kernel_is_valid_spirv() {
    for (version, environment) in TARGETS {
        let inputs = inputs().filter(|input| version >= (1, 3) || !input.takes_subgroups());
        all_pass(&format!("spirv-val {environment}"), inputs, |input| validate(&spirv(input, version)?, environment));
    }
}

/// The fault: a header that allows fewer numbers than instructions use.
#[test]
fn spirv_that_is_not_valid_is_refused() {
    let mut words = spirv(&input("gather"), (1, 0)).unwrap();
    validate(&words, "vulkan1.0").unwrap();
    let bound = 3;
    words[bound] = 1;
    validate(&words, "vulkan1.0").unwrap_err();
}
