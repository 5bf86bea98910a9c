//! The variants of kernels that were measured to be fastest, kept in the user's cache folder so that they are measured
//! once per adapter, driver, shaders and shape.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::checkpoint::write_atomically;
use crate::gpu::{AdapterSummary, ShaderCompiler};
use crate::kernels::kernels;
use crate::kernels::variant::Variants;
use crate::plan::Plan;

/// What a measurement holds for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Key {
    adapter: String,
    backend: String,
    driver: String,
    /// On DX12: the other one could take minutes over a variant that this one compiles at once.
    #[serde(default)]
    shader_compiler: Option<ShaderCompiler>,
    /// Hash of all shaders, so that a changed one is measured anew.
    shaders: String,
    /// Hash of the widths of all layers and of what gates see.
    shape: String,
    batch_size: usize,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Entry {
    #[serde(flatten)]
    key: Key,
    variants: Variants,
}

impl Key {
    pub fn new(adapter: &AdapterSummary, plan: &Plan, batch_size: usize) -> Self {
        let shaders: Vec<String> = kernels().map(|k| k.source.wgsl()).collect();
        Self {
            adapter: adapter.name.clone(),
            backend: adapter.backend.clone(),
            driver: adapter.driver.clone(),
            shader_compiler: adapter.shader_compiler,
            shaders: hash(&shaders),
            shape: hash(&shape(plan)),
            batch_size,
        }
    }
}

fn hash(content: &impl Hash) -> String {
    let mut hasher = DefaultHasher::new();
    content.hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}

/// Widths of each layer, level by level, and the experts that each gate sees.
fn shape(plan: &Plan) -> Vec<(usize, usize, usize)> {
    let mut shape = Vec::new();
    for (l, level) in plan.blocks().enumerate() {
        let layers = level.mlps().flat_map(|mlp| &mlp.layers);
        shape.extend(layers.map(|layer| (l, plan.tensor(layer.input).width, plan.tensor(layer.output).width)));
        shape.extend(level.gates.iter().map(|gate| (l, usize::MAX, gate.sees.len())));
    }
    shape
}

/// `polygate/tuning.json` in `$POLYGATE_CACHE`, else in the user's cache folder; `None` where there is neither.
fn path() -> Option<PathBuf> {
    let folder = std::env::var_os("POLYGATE_CACHE").map(PathBuf::from).or_else(dirs::cache_dir)?;
    Some(folder.join("polygate").join("tuning.json"))
}

fn read() -> Vec<Entry> {
    let Some(content) = path().and_then(|path| std::fs::read(path).ok()) else { return Vec::new() };
    // A file of another version, or a damaged one, is as good as none: it is measured again and replaced.
    serde_json::from_slice(&content).unwrap_or_default()
}

/// The variants measured for this key, if they were.
pub fn lookup(key: &Key) -> Option<Variants> {
    read().into_iter().find(|entry| entry.key == *key).map(|entry| entry.variants)
}

/// Keeps what was measured for a key. Where that fails the run goes on, and the next one measures again.
pub fn keep(key: Key, variants: Variants) -> Result<PathBuf, std::io::Error> {
    let path = path().ok_or_else(|| std::io::Error::other("there is no cache folder"))?;
    let mut entries = read();
    entries.retain(|entry| entry.key != key);
    entries.push(Entry { key, variants });
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    write_atomically(&path, |w| Ok(serde_json::to_writer_pretty(w, &entries)?)).map_err(std::io::Error::other)?;
    Ok(path)
}
