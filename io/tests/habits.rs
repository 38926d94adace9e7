//! What clippy cannot see: every `select!` of the library is biased, or the simulation is not repeatable.

use std::{fs, path::Path};

fn sources(folder: &Path, found: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push((path.display().to_string(), fs::read_to_string(&path).unwrap()));
        }
    }
}

#[test]
fn every_select_is_biased() {
    let mut found = Vec::new();
    sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut found);
    let mut selects = 0;
    for (file, text) in &found {
        let code = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
        for after in code.split("select! {").skip(1) {
            assert!(after.trim_start().starts_with("biased;"), "{file}: a `select!` without `biased;`");
            selects += 1;
        }
    }
    assert!(selects > 0, "the driver has one");
}
