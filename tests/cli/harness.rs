//! A folder with data and a config in it, and polygate run there.

#![allow(dead_code, reason = "each test file uses its part")]

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

/// `polygate`, to run in `folder`, whose stderr and stdout are no terminals.
pub fn polygate(folder: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_polygate"));
    command.args(args);
    set_up(&mut command, folder);
    command
}

/// Has a command, which may start polygate, run in `folder` with nothing of the tests' surroundings.
pub fn set_up(command: &mut Command, folder: &Path) {
    command.current_dir(folder).stdin(Stdio::null());
    // With it Mesa orders devices as it does for the tests themselves, which name them by number.
    command.env("XDG_RUNTIME_DIR", folder);
    // Measuring kernels takes longer than the runs here; a test of its own does it.
    command.env("POLYGATE_NO_TUNE", "1").env("POLYGATE_CACHE", folder);
    ["POLYGATE_DATA", "RUST_LOG", "RAYON_NUM_THREADS"].iter().for_each(|name| _ = command.env_remove(name));
}

/// What became of a command.
#[derive(Debug)]
pub struct Done {
    pub status: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Done {
    pub fn of(mut command: Command) -> Self {
        let output = command.output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        let done = Self { status: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) };
        assert!(!done.stderr.contains("panicked"), "{done:#?}");
        done
    }

    #[track_caller]
    pub fn succeeds(self) -> Self {
        assert_eq!(self.status, Some(0), "{self:#?}");
        self
    }

    /// The warnings among the log lines.
    pub fn warnings(&self) -> Vec<&str> {
        self.stderr.lines().filter(|line| line.starts_with("[WARN")).collect()
    }
}

/// A folder of its own with `train.csv`, `test.csv` and `run.toml`.
pub struct Place(TempDir);

impl Place {
    pub fn new() -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        place.write("train.csv", rows(1, 240));
        place.write("test.csv", rows(2, 120));
        place.write("run.toml", CONFIG);
        place
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        fs::write(self.path(name), bytes).unwrap();
    }

    pub fn read(&self, name: &str) -> String {
        String::from_utf8(self.bytes(name)).unwrap()
    }

    pub fn bytes(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    pub fn json(&self, name: &str) -> Value {
        serde_json::from_str(&self.read(name)).unwrap()
    }

    /// Replaces a text that stands once in a file.
    pub fn edit(&self, name: &str, from: &str, to: &str) {
        let text = self.read(name);
        assert_eq!(text.matches(from).count(), 1, "{from:?} in {name}");
        self.write(name, text.replace(from, to));
    }

    pub fn command(&self, args: &[&str]) -> Command {
        polygate(self.0.path(), args)
    }

    pub fn run(&self, args: &[&str]) -> Done {
        Done::of(self.command(args))
    }

    /// `polygate train run.toml` on the CPU, with further arguments.
    pub fn train(&self, args: &[&str]) -> Done {
        self.run(&[&["train", "run.toml", "--device", "cpu"], args].concat())
    }

    /// A trained run in the folder `run`.
    pub fn trained(args: &[&str]) -> Self {
        let place = Self::new();
        place.train(&[&["--out", "run"], args].concat()).succeeds();
        place
    }

    /// Asserts that a command ends with one message that holds `texts`, and leaves every file as it was.
    #[track_caller]
    pub fn refuses(&self, args: &[&str], texts: &[&str]) {
        let before = self.files();
        let done = self.run(args);
        assert_eq!(done.status, Some(1), "{done:#?}");
        assert_eq!(done.stdout, "", "{done:#?}");
        assert_eq!(done.stderr.lines().filter(|line| line.starts_with("error: ")).count(), 1, "{done:#?}");
        let (_, message) = done.stderr.split_once("error: ").unwrap();
        assert!(message.len() < 2000, "{message}");
        for text in texts {
            assert!(message.contains(text), "{text:?} is not in {message:?}");
        }
        let now = self.files();
        assert!(before == now, "files were {:?}, now {:?}", names(&before), names(&now));
    }

    /// [`Place::refuses`] for [`Place::train`], whose `--out` is a folder that is not there.
    #[track_caller]
    pub fn refuses_to_train(&self, args: &[&str], texts: &[&str]) {
        self.refuses(&[&["train", "run.toml", "--device", "cpu", "--out", "refused"], args].concat(), texts);
    }

    /// Every file with its bytes and every folder without, sorted.
    fn files(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let (mut found, mut folders) = (Vec::new(), vec![self.0.path().to_path_buf()]);
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path.clone());
                    found.push((path, Vec::new()));
                } else {
                    let bytes = fs::read(&path).unwrap();
                    found.push((path, bytes));
                }
            }
        }
        found.sort();
        found
    }
}

fn names(files: &[(PathBuf, Vec<u8>)]) -> Vec<&Path> {
    files.iter().map(|(path, _)| path.as_path()).collect()
}

/// A click on what suits the user, then perhaps a purchase, and how long it was watched.
const CONFIG: &str = r#"
seed = 3

[data]
train = ["train.csv"]
test = ["test.csv"]
group = "user"
split = { valid_ratio = 0.2 }

[[feature]]
name = "age"
kind = "numeric"

[[feature]]
names = ["user", "item"]
kind = "category"
embedding_dim = 3

[[task]]
name = "click"

[[task]]
name = "buy"
mask = { task = "click", equals = 1 }

[[task]]
name = "watch"
kind = "regression"
weight = 0.5

[model]
family = "mmoe"
experts = 3
expert_units = [7, 5]
tower_units = [3]

[train]
epochs = 3
batch_size = 50
optimizer = { kind = "adam", learning_rate = 1e-2 }
"#;

pub const COLUMNS: &str = "user,item,age,click,buy,watch";

/// A header, and rows that a seed decides.
pub fn rows(seed: u64, count: usize) -> String {
    let mut state = seed;
    let mut below = |n: u64| {
        // Knuth's MMIX generator; its high bits are the good ones.
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 33) % n
    };
    let mut text = format!("{COLUMNS}\n");
    for _ in 0..count {
        let (user, item, age) = (below(15), below(9), 18 + below(50));
        let click = u64::from(below(9) < user % 5 + item % 4);
        let buy = u64::from(click == 1 && below(9) < item);
        let watch = click * (3 + item) + below(2);
        writeln!(text, "u{user},i{item},{age},{click},{buy},{watch}").unwrap();
    }
    text
}
