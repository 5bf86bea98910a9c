#[path = "../support/shaders.rs"]
mod shaders;
fn main() {
    for f in shaders::forms() { let m = shaders::module_of(&f); println!("{} {}", f.name, shaders::spirv(f.kernel.entry, (&m.0, &m.1), (1, 6), polygate::gpu::Checks::Off).unwrap().len()); }
}
