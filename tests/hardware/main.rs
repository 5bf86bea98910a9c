//! draft
#[path = "../support/shaders.rs"]
mod shaders;
mod compile;
use polygate::kernels::variant::{LEVEL_VARIANTS, LevelVariant, WEIGHT_GRAD_VARIANTS, WeightGradVariant};
use shaders::*;

fn experiments() -> Vec<Form> {
    let mut all = Vec::new();
    let base = LEVEL_VARIANTS[0];
    for lanes in [64, 128, 256] {
        for rows in [8u32, 4] {
            for work in LEVEL_WORKS {
                let v = LevelVariant { lanes, ..base };
                let mut f = Form::of_level(v, work);
                if rows == 4 { f.kernel.source = f.kernel.source.with("const ROW_BLOCKS = 2u;", "const ROW_BLOCKS = 1u;").unwrap(); f.name = f.name.replace("8x8", "4x8"); }
                f.name = format!("extra {}", f.name);
                all.push(f);
            }
        }
    }
    for (v, lanes) in [(6, 32), (6, 64)] {
        for rows in [8u32, 4] {
            for work in LEVEL_WORKS {
                let v = LevelVariant { lanes, ..LEVEL_VARIANTS[v] };
                let mut f = Form::of_level(v, work);
                if rows == 4 { f.kernel.source = f.kernel.source.with("const ROW_BLOCKS = 2u;", "const ROW_BLOCKS = 1u;").unwrap(); f.name = f.name.replace("8x8", "4x8"); }
                f.name = format!("extra {}", f.name);
                all.push(f);
            }
        }
    }
    for lanes in [64, 128, 256] {
        for rows in [8u32, 4] {
        let mut f = Form::of_weight_grad(WeightGradVariant { lanes, ..WEIGHT_GRAD_VARIANTS[0] });
                if rows == 4 { f.kernel.source = f.kernel.source.with("const ROW_BLOCKS = 2u;", "const ROW_BLOCKS = 1u;").unwrap(); f.name = f.name.replace("8x8", "4x8"); }
                f.name = format!("extra {}", f.name);
                all.push(f);
        }
    }
    all
}

fn main() {
    let compiler = compile::Compiler::open().unwrap();
    println!("{}", serde_json::to_string(&compiler.facts).unwrap());
    let filter = std::env::args().nth(1).unwrap_or_default();
    for form in experiments().into_iter().chain(forms()) {
        if !form.name.contains(&filter) { continue; }
        let compiled = compiler.compile(&form, polygate::gpu::Checks::Off, std::env::var("TEXTS").is_ok());
        match compiled {
            Ok(c) => {
                println!("{}|{}|{:?}|{:.2}", form.name, c.subgroup_size, c.statistics, c.seconds);
                for (name, text) in c.texts { println!("---- {name}\n{text}"); }
            }
            Err(e) => println!("{}|ERR {e}", form.name),
        }
    }
}
