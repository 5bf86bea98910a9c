//! Which of Microsoft's compilers DX12's shaders go through. Windows has FXC of its own, which is slow and knows nothing
//! beyond shader model 5.1; DXC is a DLL that users add.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The compiler of a DX12 adapter's shaders.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ShaderCompiler {
    /// `dxcompiler.dll`: shader model 6, with subgroups.
    Dxc,
    /// `d3dcompiler_47.dll`: shader model 5.1. Large tiles take it minutes.
    Fxc,
}

impl fmt::Display for ShaderCompiler {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(match self {
            Self::Dxc => "DXC",
            Self::Fxc => "FXC",
        })
    }
}

/// Settles the compiler that DX12 is opened with, and returns it: the one that `WGPU_DX12_COMPILER` names, else DXC
/// where Windows finds its DLL, else FXC. `None` where there is no DX12.
#[cfg(windows)]
pub(super) fn settle(options: &mut wgpu::Dx12BackendOptions) -> Option<ShaderCompiler> {
    use wgpu::Dx12Compiler;

    let compiler = match options.shader_compiler {
        Dx12Compiler::Fxc => ShaderCompiler::Fxc,
        Dx12Compiler::DynamicDxc { .. } => ShaderCompiler::Dxc,
        // wgpu is built without static DXC, and panics where it is asked for.
        Dx12Compiler::Auto | Dx12Compiler::StaticDxc if has_dxc() => {
            options.shader_compiler = Dx12Compiler::default_dynamic_dxc();
            ShaderCompiler::Dxc
        }
        Dx12Compiler::Auto | Dx12Compiler::StaticDxc => {
            options.shader_compiler = Dx12Compiler::Fxc;
            ShaderCompiler::Fxc
        }
    };
    Some(compiler)
}

#[cfg(not(windows))]
pub(super) fn settle(_: &mut wgpu::Dx12BackendOptions) -> Option<ShaderCompiler> {
    None
}

/// Whether Windows finds a DXC: beside the program, in its own folders, in the working folder or on the PATH.
#[cfg(windows)]
fn has_dxc() -> bool {
    // SAFETY: wgpu loads the same library. Its initialisation has no requirements, and the symbol is only looked up.
    unsafe {
        let library = libloading::Library::new("dxcompiler.dll");
        library.is_ok_and(|library| library.get::<unsafe extern "system" fn()>(b"DxcCreateInstance").is_ok())
    }
}
