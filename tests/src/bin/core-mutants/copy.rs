//! A copy of the repository, in which the core is changed.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// The root of the repository that this was built in.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."))
}

/// The switch that the woven core asks.
const SWITCH: &str = r#"//! Which mutant this process is.

/// Whether it is this one.
pub fn is(mutant: u32) -> bool {
    static CHOSEN: std::sync::LazyLock<Option<u32>> =
        std::sync::LazyLock::new(|| std::env::var("CORE_MUTANT").ok()?.parse().ok());
    *CHOSEN == Some(mutant)
}
"#;

/// What git knows of the repository, as it lies there now, in a folder of its own.
pub(crate) struct Copy {
    pub(crate) folder: PathBuf,
    /// Held for as long as what was built here is run: another one would build it anew meanwhile.
    _lock: fs::File,
}

impl Copy {
    /// Makes it, or what has changed of it.
    pub(crate) fn made() -> Result<Copy, String> {
        let folder = root().join("target/core-mutants");
        let lock = locked(&folder)?;
        let listed = Command::new("git").args(["ls-files", "-z"]).current_dir(root()).output();
        let listed = listed.map_err(|error| format!("git ls-files: {error}"))?.stdout;
        for name in String::from_utf8_lossy(&listed).split('\0').filter(|name| !name.is_empty()) {
            let from = root().join(name);
            if from.is_file() {
                let text = fs::read(&from).map_err(|error| format!("{}: {error}", from.display()))?;
                write(&folder.join(name), &text)?;
            }
        }
        let copy = Copy { folder, _lock: lock };
        copy.write("core/src/mutant.rs", SWITCH)?;
        let library = copy.original("core/src/lib.rs")?;
        copy.write("core/src/lib.rs", &with_switch(&library))?;
        Ok(copy)
    }

    /// A file as it is in the repository.
    pub(crate) fn original(&self, name: &str) -> Result<String, String> {
        fs::read_to_string(root().join(name)).map_err(|error| format!("{name}: {error}"))
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> Result<(), String> {
        let text = if name == "core/src/lib.rs" { with_switch(text) } else { text.to_owned() };
        write(&self.folder.join(name), text.as_bytes())
    }
}

fn locked(folder: &Path) -> Result<fs::File, String> {
    let failed = |error: std::io::Error| format!("{}: {error}", folder.display());
    fs::create_dir_all(folder).map_err(failed)?;
    let lock = fs::File::create(folder.join("lock")).map_err(failed)?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(_) => Err(format!("{} is in use: another core-mutants runs", folder.display())),
    }
}

fn with_switch(library: &str) -> String {
    if library.contains("pub mod mutant;") { library.to_owned() } else { format!("{library}\npub mod mutant;\n") }
}

/// Only what differs: cargo builds anew what is newer.
fn write(file: &Path, text: &[u8]) -> Result<(), String> {
    if fs::read(file).is_ok_and(|there| there == text) {
        return Ok(());
    }
    let failed = |error: std::io::Error| format!("{}: {error}", file.display());
    fs::create_dir_all(file.parent().unwrap_or(file)).map_err(failed)?;
    fs::write(file, text).map_err(failed)
}
