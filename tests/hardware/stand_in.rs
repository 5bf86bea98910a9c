//! Stand-ins for GPUs: a driver of Mesa's in front of a library that answers for the kernel. The driver finds its GPU,
//! opens devices and compiles to real machine code; nothing executes, and buffers stay as they are.

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

pub struct StandIn {
    pub name: &'static str,
    /// Mesa's driver, as its manifest is named.
    driver: &'static str,
    /// The library that answers for the kernel.
    kernel: &'static str,
    variables: &'static [(&'static str, &'static str)],
    pub processor: Processor,
}

/// What a driver's compiler makes code for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Processor {
    Amd,
    Nvidia,
    Apple,
    Adreno,
    Intel,
}

/// AMD's RDNA 3, with subgroups as its driver chooses them and always of 32, and RDNA 4; NVIDIA's Ampere or later by
/// Mesa's compiler, not NVIDIA's own; Apple's M1; Qualcomm's Adreno 730; Intel's Arc A770.
pub const STAND_INS: [StandIn; 7] = [
    stand_in("amd", "radeon", "amdgpu", &[("AMDGPU_GPU_ID", "navi31")], Processor::Amd),
    stand_in(
        "amd wave32",
        "radeon",
        "amdgpu",
        &[("AMDGPU_GPU_ID", "navi31"), ("RADV_PERFTEST", "cswave32")],
        Processor::Amd,
    ),
    stand_in("amd4", "radeon", "amdgpu", &[("AMDGPU_GPU_ID", "gfx1201")], Processor::Amd),
    stand_in("nvidia", "nouveau", "nouveau", &[("NOUVEAU_CHIPSET", "176")], Processor::Nvidia),
    stand_in("apple", "asahi", "asahi", &[], Processor::Apple),
    stand_in("adreno", "freedreno", "freedreno", &[("FD_GPU_ID", "730")], Processor::Adreno),
    stand_in("intel", "intel", "intel", &[("INTEL_STUB_GPU_PLATFORM", "dg2")], Processor::Intel),
];

const fn stand_in(
    name: &'static str,
    driver: &'static str,
    kernel: &'static str,
    variables: &'static [(&'static str, &'static str)],
    processor: Processor,
) -> StandIn {
    StandIn { name, driver, kernel, variables, processor }
}

/// The drivers and stand-ins that `setup.sh` unpacked.
pub struct Drivers {
    libraries: PathBuf,
    manifests: PathBuf,
    /// Mesa's.
    pub version: String,
    /// Folders that children may write to.
    scratch: TempDir,
}

impl Drivers {
    /// None where `setup.sh` has not unpacked any.
    pub fn find() -> Option<Self> {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).parent()?.join("hardware");
        let version = std::fs::read_to_string(folder.join("version")).ok()?.trim().to_owned();
        let libraries = folder.join("root/usr/lib/x86_64-linux-gnu");
        let manifests = folder.join("root/usr/share/vulkan/icd.d");
        Some(Self { libraries, manifests, version, scratch: tempfile::tempdir().unwrap() })
    }

    /// Whether a stand-in's library is there. Intel's is in no package.
    pub fn have(&self, stand_in: &StandIn) -> bool {
        self.kernel(stand_in).exists()
    }

    /// A program that sees the stand-in as its only GPU, with no caches but its own. It runs under the loader of the
    /// unpacked C library, which the drivers take.
    pub fn command(&self, stand_in: &StandIn, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new(self.libraries.join("ld-linux-x86-64.so.2"));
        command.arg("--preload").arg(self.kernel(stand_in)).arg("--library-path").arg(&self.libraries);
        command.arg(program.as_ref());
        let manifest = self.manifest(stand_in);
        command.env("VK_DRIVER_FILES", &manifest).env("VK_ICD_FILENAMES", manifest);
        command.env("MESA_SHADER_CACHE_DISABLE", "true").env("WGPU_BACKEND", "vulkan");
        command.env("XDG_RUNTIME_DIR", self.scratch.path()).env("POLYGATE_CACHE", self.fresh_folder("cache"));
        command.envs(stand_in.variables.iter().copied());
        command
    }

    /// An empty folder that lasts as long as the drivers are held.
    pub fn fresh_folder(&self, name: &str) -> PathBuf {
        tempfile::Builder::new().prefix(name).disable_cleanup(true).tempdir_in(self.scratch.path()).unwrap().keep()
    }

    fn kernel(&self, stand_in: &StandIn) -> PathBuf {
        self.libraries.join(format!("lib{}_noop_drm_shim.so", stand_in.kernel))
    }

    /// The driver's manifest, with the path that its library has here.
    fn manifest(&self, stand_in: &StandIn) -> PathBuf {
        let prefix = format!("{}_icd", stand_in.driver);
        let named = |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&prefix));
        let all = std::fs::read_dir(&self.manifests).unwrap().map(|entry| entry.unwrap().path());
        let path = all.into_iter().find(named).unwrap_or_else(|| panic!("no manifest {prefix}*.json"));
        let mut manifest: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        let library = manifest["ICD"]["library_path"].as_str().unwrap().rsplit('/').next().unwrap().to_owned();
        manifest["ICD"]["library_path"] = self.libraries.join(library).to_str().unwrap().into();
        let here = self.fresh_folder("manifest").join("icd.json");
        std::fs::write(&here, manifest.to_string()).unwrap();
        here
    }
}
