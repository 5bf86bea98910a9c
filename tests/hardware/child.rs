//! What runs under a stand-in: a child of the test compiles kernels one after another and prints a line of JSON
//! before and after each, so that the test knows which one a driver failed on.

use std::io::Write;

use polygate::gpu::{Checks, Choice, Gpu, Replay, Replayer, all, reflect};
use polygate::kernels::variant::Abilities;
use serde::{Deserialize, Serialize};

use crate::compile::{Compiler, Facts};
use crate::faults;
use crate::figures::Figures;
use crate::lint::{Barriers, Ordered, barriers};
use crate::shaders::{Form, Variant, forms, module_of};
use crate::stand_in::Processor;

/// What a child does with kernels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Task {
    /// Compiles every form and says what its machine code takes.
    Figures,
    /// The same of the forms that training may choose on the adapter.
    OfferedFigures,
    /// Looks for lost waits in every form that has barriers.
    Barriers,
    /// The same in shaders that are known to lose them.
    Faults,
    /// Creates the pipelines of the offered forms through wgpu.
    Pipelines,
}

/// A line of a child's output.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Line {
    Adapter(Facts),
    /// The child goes over to a form.
    Begun {
        form: String,
        is_offered: bool,
        /// Bytes of workgroup memory.
        shared: u32,
    },
    Ended(Result<Found, String>),
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Found {
    Figures(Figures),
    Barriers(Barriers),
    Pipeline,
}

/// Whether training may choose a form on an adapter.
fn is_offered(form: &Form, abilities: Abilities) -> bool {
    match form.variant {
        Variant::Plain => true,
        Variant::Level(variant, _) => abilities.offers_level(variant),
        Variant::WeightGrad(variant) => abilities.offers_weight_grad(variant),
        Variant::Product(product) => abilities.offers_product(product.tile),
    }
}

/// The task's forms whose names hold `filter`.
fn forms_of(task: Task, abilities: Abilities, filter: &str) -> Vec<Form> {
    let belongs = |form: &Form| match task {
        Task::Figures | Task::Faults => true,
        Task::OfferedFigures | Task::Pipelines => is_offered(form, abilities),
        Task::Barriers => Ordered::by(&form.kernel.source).any(),
    };
    let all = if task == Task::Faults { faults::forms() } else { forms() };
    all.into_iter().filter(|form| belongs(form) && form.name.contains(filter)).collect()
}

fn say(line: &Line) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{}", serde_json::to_string(line).unwrap()).unwrap();
    out.flush().unwrap();
}

/// Does a task on the only adapter, from the form of number `skip` on.
///
/// # Errors
/// If there is no adapter, or it opens no device.
pub fn run(task: Task, processor: Processor, filter: &str, skip: usize) -> Result<(), String> {
    let choice = all().into_iter().next().ok_or("no adapter")?;
    let forms = forms_of(task, choice.abilities(), filter);
    if task == Task::Pipelines {
        let create = pipelines(&choice)?;
        return each(&forms[skip..], &choice, create);
    }
    let compiler = Compiler::open()?;
    say(&Line::Adapter(compiler.facts.clone()));
    let with_texts = matches!(task, Task::Barriers | Task::Faults);
    each(&forms[skip..], &choice, |form| {
        let compiled = compiler.compile(form, with_texts)?;
        if !with_texts {
            let figures = Figures::of(processor, compiled.subgroup_size, &compiled.statistics)?;
            return Ok(Found::Figures(figures));
        }
        let assembly =
            compiled.texts.iter().find(|(name, _)| name == "Assembly").ok_or("the driver has no assembly")?;
        Ok(Found::Barriers(barriers(&assembly.1, Ordered::by(&form.kernel.source))?))
    })
}

fn each(forms: &[Form], choice: &Choice, mut job: impl FnMut(&Form) -> Result<Found, String>) -> Result<(), String> {
    for form in forms {
        let is_offered = is_offered(form, choice.abilities());
        say(&Line::Begun { form: form.name.clone(), is_offered, shared: workgroup_memory(form) });
        say(&Line::Ended(job(form)));
    }
    Ok(())
}

/// Creates a form's pipeline as training does, on a device that is open.
fn pipelines(choice: &Choice) -> Result<impl FnMut(&Form) -> Result<Found, String> + use<>, String> {
    let gpu = Gpu::open(choice, Checks::Off).map_err(|e| e.to_string())?;
    let mut replayer = Replayer::new(&gpu);
    Ok(move |form: &Form| {
        let reflection = reflect(&form.kernel.source, form.kernel.entry);
        let content = [0; 1024];
        let buffers: Vec<&[u32]> = reflection.bindings.iter().map(|_| &content[..]).collect();
        let overrides: Vec<(&'static str, f64)> =
            form.constants.iter().map(|(name, value)| (&*name.clone().leak(), *value)).collect();
        let buffer_of = |name: &str| reflection.bindings.iter().position(|binding| binding.name == name);
        let replay = Replay { kernel: form.kernel, overrides: &overrides, workgroups: [1, 1], buffer_of: &buffer_of };
        replayer.run(&buffers, &[replay]).map_err(|e| e.to_string())?;
        Ok(Found::Pipeline)
    })
}

/// Bytes that a workgroup of the form shares.
fn workgroup_memory(form: &Form) -> u32 {
    let (module, info) = module_of(form);
    let position = module.entry_points.iter().position(|entry| entry.name == form.kernel.entry).unwrap();
    let uses = info.get_entry_point(position);
    let shared = module
        .global_variables
        .iter()
        .filter(|(handle, global)| global.space == naga::AddressSpace::WorkGroup && !uses[*handle].is_empty());
    shared.map(|(_, global)| module.types[global.ty].inner.size(module.to_ctx())).sum()
}
