//! Where the program under test is: `STREAMKEEPER_BIN`, else built once by cargo into the folder this test runs from.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The path of the `streamkeeper` program.
///
/// # Panics
/// If it cannot be built.
pub fn streamkeeper() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| std::env::var_os("STREAMKEEPER_BIN").map_or_else(build, PathBuf::from))
}

fn build() -> PathBuf {
    // <target>/<profile>/deps/<this test>, or <target>/<profile>/figures
    let this = std::env::current_exe().expect("a test knows its own path");
    let folder = this.parent().expect("a test lies in a folder");
    let profile = if folder.ends_with("deps") { folder.parent().expect("deps lies in a profile") } else { folder };
    let target = profile.parent().expect("a profile's folder lies in the target folder");
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| env!("CARGO").into()));
    cargo.args(["build", "--quiet", "-p", "streamkeeper", "--features", "cli", "--bin", "streamkeeper"]);
    cargo.arg("--target-dir").arg(target).current_dir(crate::flavor::repository());
    if profile.file_name().is_some_and(|name| name == "release") {
        cargo.arg("--release");
    }
    let status = cargo.status().expect("cargo can be run");
    assert!(status.success(), "{cargo:?} failed");
    profile.join("streamkeeper")
}
