//! Shaders that are known to lose the wait for stores before a barrier on AMD, so that the lint is known to find them.

use polygate::kernels::variant::{Direction, Form as LevelForm, LEVEL_VARIANTS, LevelVariant, LevelWork};
use polygate::kernels::{Kernel, plain};

use crate::shaders::{Form, Variant};

/// Behind the stores, where `shaders/lib/level_group.wgsl` has its barrier.
const BARRIER: &str = "
        if op.barrier == 1u {
            storageBarrier();
            first = 0u;
        }";

/// The start of the loop's body.
const BODY: &str = "
        run(op, row, group_rows";

pub fn forms() -> Vec<Form> {
    let work = LevelWork { direction: Direction::Forward, drops: false, normalizes: false };
    let group = LEVEL_VARIANTS.into_iter().find(|variant| variant.form == LevelForm::Group).unwrap();
    let early = [64, 128, 256].map(|lanes| {
        let mut form = Form::of_level(LevelVariant { lanes, ..group }, work);
        let source = form.kernel.source;
        let without = source.with(BARRIER, "").expect("the level's barrier is where this file says");
        let with = without.with(BODY, &format!("{BARRIER}{BODY}")).expect("the level's loop starts as this file says");
        form.kernel = Kernel { source: with, ..form.kernel };
        form.name = format!("level_group with its barrier first, {lanes} lanes");
        form
    });
    early.into_iter().chain([smallest()]).collect()
}

/// The least shader that shows it.
fn smallest() -> Form {
    let gather = include_str!("../../shaders/gather.wgsl");
    let source =
        plain("gather").source.with(gather, include_str!("barrier.wgsl")).expect("a source holds its own text");
    let mut form = Form::new(Kernel { source, entry: "double" }, Variant::Plain, "", []);
    form.name = "barrier.wgsl".into();
    form
}
