//! DXC's library and its interfaces in COM, as far as compiling and validating take them.

use std::ffi::c_void;
use std::path::Path;
use std::ptr::{NonNull, null_mut};

use crate::hlsl::Text;

type Address = *mut c_void;
type Status = i32;

#[repr(C)]
struct Guid(u32, u16, u16, [u8; 8]);

/// From the usual notation without its dashes.
const fn guid(digits: u128) -> Guid {
    Guid((digits >> 96) as u32, (digits >> 80) as u16, (digits >> 64) as u16, (digits as u64).to_be_bytes())
}

const COMPILER_CLASS: Guid = guid(0x73e22d93_e6ce_47f3_b5bf_f0664f39c1b0);
const COMPILER: Guid = guid(0x228b4687_5a6a_4730_900c_9702b2203f54);
const VALIDATOR_CLASS: Guid = guid(0x8ca3e215_f728_4cf3_8cdd_88af917587a1);
const VALIDATOR: Guid = guid(0xa6e82bd2_1fd7_4826_9811_2857e797f49a);
const RESULT: Guid = guid(0x58346cda_dde7_4497_9461_6f87af5e0659);
const BLOB: Guid = guid(0x8ba5fb08_5195_40e2_ac58_0d989c3a0102);

/// Numbers of methods in their interfaces' tables, `IUnknown`'s three first.
mod slot {
    pub const RELEASE: usize = 2;
    /// `IDxcCompiler3::Compile`, `IDxcValidator::Validate`.
    pub const RUN: usize = 3;
    /// Of `IDxcOperationResult`, which `IDxcResult` extends.
    pub const GET_STATUS: usize = 3;
    pub const GET_ERRORS: usize = 5;
    pub const GET_OUTPUT: usize = 7;
    /// Of `IDxcBlob`.
    pub const GET_POINTER: usize = 3;
    pub const GET_SIZE: usize = 4;
}

/// `DXC_OUT_OBJECT` and `DXC_OUT_ERRORS`.
const OBJECT_OUTPUT: u32 = 1;
const ERRORS_OUTPUT: u32 = 2;

/// How DXC begins its line on what it tells of each shader where Microsoft's signing library is not installed.
const UNSIGNED: &str = "warning: DXIL signing library";

/// `DXC_CP_UTF8`.
const UTF8: u32 = 65001;

/// `DxcBuffer`.
#[repr(C)]
struct Buffer {
    start: *const u8,
    bytes: usize,
    encoding: u32,
}

/// A pointer to an object, which lies behind the address of its table of methods.
struct Object(NonNull<c_void>);

impl Object {
    /// The object that `give` writes the address of.
    fn given(give: impl FnOnce(*mut Address) -> Status) -> Result<Self, String> {
        let mut address = null_mut();
        let status = give(&mut address);
        let object = NonNull::new(address).filter(|_| status >= 0);
        object.map(Self).ok_or_else(|| format!("DXC gives nothing; status {status:#x}"))
    }

    /// # Safety
    /// `Method` must be the type of the function in that slot.
    unsafe fn method<Method: Copy>(&self, slot: usize) -> Method {
        // SAFETY: an object starts with the address of its table; the caller vouches for the slot and the type.
        unsafe {
            let table: *const *const c_void = *self.0.as_ptr().cast();
            std::mem::transmute_copy(&*table.add(slot))
        }
    }

    fn address(&self) -> Address {
        self.0.as_ptr()
    }
}

impl Drop for Object {
    fn drop(&mut self) {
        // SAFETY: every interface has this method.
        unsafe {
            let release: unsafe extern "C" fn(Address) -> u32 = self.method(slot::RELEASE);
            release(self.address());
        }
    }
}

/// Bytes that DXC gives, an `IDxcBlob`.
pub struct Blob(Object);

impl Blob {
    fn bytes(&self) -> &[u8] {
        let object = &self.0;
        // SAFETY: the methods are an `IDxcBlob`'s, whose bytes live as long as it does.
        unsafe {
            let pointer: unsafe extern "C" fn(Address) -> *const u8 = object.method(slot::GET_POINTER);
            let size: unsafe extern "C" fn(Address) -> usize = object.method(slot::GET_SIZE);
            let (pointer, size) = (pointer(object.address()), size(object.address()));
            if pointer.is_null() { &[] } else { std::slice::from_raw_parts(pointer, size) }
        }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(self.bytes()).trim_end_matches('\0').trim_end().to_owned()
    }
}

/// What a compilation or a validation comes to, an `IDxcOperationResult`.
struct Outcome(Object);

impl Outcome {
    fn succeeded(&self) -> bool {
        let mut status = -1;
        // SAFETY: the method is an `IDxcOperationResult`'s.
        let call = unsafe {
            let get: unsafe extern "C" fn(Address, *mut Status) -> Status = self.0.method(slot::GET_STATUS);
            get(self.0.address(), &mut status)
        };
        call >= 0 && status >= 0
    }

    fn errors(&self) -> Result<Blob, String> {
        // SAFETY: the method is an `IDxcOperationResult`'s.
        Object::given(|errors| unsafe {
            let get: unsafe extern "C" fn(Address, *mut Address) -> Status = self.0.method(slot::GET_ERRORS);
            get(self.0.address(), errors)
        })
        .map(Blob)
    }

    /// One of an `IDxcResult`'s outputs.
    fn output(&self, kind: u32) -> Result<Blob, String> {
        type Get = unsafe extern "C" fn(Address, u32, *const Guid, *mut Address, *mut Address) -> Status;
        // SAFETY: the method is an `IDxcResult`'s, which the compiler gives. It may be given no place for a name.
        Object::given(|output| unsafe {
            let get: Get = self.0.method(slot::GET_OUTPUT);
            get(self.0.address(), kind, &BLOB, output, null_mut())
        })
        .map(Blob)
    }
}

pub struct Library(libloading::Library);

impl Library {
    /// # Panics
    /// If there is no such library.
    pub fn open(path: &Path) -> Self {
        // SAFETY: DXC's initialisers ask nothing of who loads it.
        Self(unsafe { libloading::Library::new(path) }.unwrap_or_else(|e| panic!("{}: {e}", path.display())))
    }

    /// A compiler and a validator for one thread.
    pub fn compiler(&self) -> Compiler<'_> {
        let create = |class, interface| self.create(class, interface).expect("DXC has the class");
        Compiler {
            compiler: create(&COMPILER_CLASS, &COMPILER),
            validator: create(&VALIDATOR_CLASS, &VALIDATOR),
            _library: self,
        }
    }

    fn create(&self, class: &Guid, interface: &Guid) -> Result<Object, String> {
        type Create = unsafe extern "C" fn(*const Guid, *const Guid, *mut Address) -> Status;
        // SAFETY: the function is of this type.
        Object::given(|object| unsafe {
            let create = self.0.get::<Create>(b"DxcCreateInstance\0").expect("DXC has this function");
            create(class, interface, object)
        })
    }
}

pub struct Compiler<'a> {
    compiler: Object,
    validator: Object,
    /// Holds the objects' code.
    _library: &'a Library,
}

impl Compiler<'_> {
    /// DXIL of a text, with wgpu's arguments and `more`. As with wgpu, a warning is an error.
    ///
    /// # Errors
    /// What DXC says of it.
    pub fn compile(&self, hlsl: &Text, more: &[&str]) -> Result<Blob, String> {
        let own = ["-E", &hlsl.entry, "-T", &hlsl.profile, "-HV", "2018", "-no-warnings", "-Ges"];
        let arguments: Vec<Vec<u32>> = own.iter().chain(more).map(|argument| wide(argument)).collect();
        let arguments: Vec<*const u32> = arguments.iter().map(|argument| argument.as_ptr()).collect();
        let text = Buffer { start: hlsl.text.as_ptr(), bytes: hlsl.text.len(), encoding: UTF8 };
        let outcome = self.run(&text, &arguments)?;
        let said = outcome.output(ERRORS_OUTPUT)?.text();
        let errors = said.lines().filter(|line| !line.starts_with(UNSIGNED)).collect::<Vec<_>>().join("\n");
        if errors.is_empty() && outcome.succeeded() { outcome.output(OBJECT_OUTPUT) } else { Err(errors) }
    }

    fn run(&self, text: &Buffer, arguments: &[*const u32]) -> Result<Outcome, String> {
        type Compile = unsafe extern "C" fn(
            Address,
            *const Buffer,
            *const *const u32,
            u32,
            Address,
            *const Guid,
            *mut Address,
        ) -> Status;
        let compiler = &self.compiler;
        let count = arguments.len() as u32;
        // SAFETY: the method is an `IDxcCompiler3`'s, which may be given no handler of includes. What it is given lives
        // through the call.
        Object::given(|outcome| unsafe {
            let compile: Compile = compiler.method(slot::RUN);
            compile(compiler.address(), text, arguments.as_ptr(), count, null_mut(), &RESULT, outcome)
        })
        .map(Outcome)
    }

    /// Has the validator read DXIL.
    ///
    /// # Errors
    /// What it says of it.
    pub fn validate(&self, dxil: &Blob) -> Result<(), String> {
        type Validate = unsafe extern "C" fn(Address, Address, u32, *mut Address) -> Status;
        let validator = &self.validator;
        // SAFETY: the method is an `IDxcValidator`'s; without flags it leaves the blob as it is.
        let outcome = Outcome(Object::given(|outcome| unsafe {
            let validate: Validate = validator.method(slot::RUN);
            validate(validator.address(), dxil.0.address(), 0, outcome)
        })?);
        if outcome.succeeded() { Ok(()) } else { Err(outcome.errors()?.text()) }
    }
}

/// As `wchar_t` on Linux, with a zero at its end.
fn wide(text: &str) -> Vec<u32> {
    text.chars().map(u32::from).chain([0]).collect()
}
