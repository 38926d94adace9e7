//! The copy of the sources in which all canaries sleep.

use std::{collections::BTreeMap, fmt::Write, fs, io, path::Path};

use crate::canary::{Canary, Change};

/// Files by their path from the workspace on.
pub(crate) type Tree = BTreeMap<String, Vec<u8>>;

/// What is copied.
const PARTS: [&str; 10] = [
    "Cargo.lock",
    "README.md",
    "core/Cargo.toml",
    "core/src",
    "io/Cargo.toml",
    "io/README.md",
    "io/src",
    "sim/Cargo.toml",
    "sim/src",
    "sim/scenarios",
];

/// What is different in the copy's workspace. The version is, so that cargo does not take what it has compiled of the
/// real sources for the copy's: in one target folder, it tells packages by name and version.
const WORKSPACE: [(&str, &str); 2] = [
    (r#"members = ["core", "io", "sim", "tests"]"#, r#"members = ["core", "io", "sim"]"#),
    ("[workspace.package]\nversion = \"0.1.", "[workspace.package]\nversion = \"0.1.999"),
];

/// Where the simulated Redis compiles a script, which it and its clients know by the hash of the text as it was sent:
/// behind that, a canary in a script takes effect.
const COMPILED: (&str, &str, &str) =
    ("sim/src/redis/lua/mod.rs", "self.lua.load(body)", "self.lua.load(crate::canary::script(body))");

/// What decides which canary is awake.
const SWITCH: &str = r#"//! Which canary is awake.

use std::sync::OnceLock;

/// Whether this one is.
#[allow(dead_code)]
pub(crate) fn on(name: &str) -> bool {
    awake() == name
}

/// Its name; empty if all sleep.
#[allow(dead_code)]
pub(crate) fn awake() -> &'static str {
    static AWAKE: OnceLock<String> = OnceLock::new();
    AWAKE.get_or_init(|| std::env::var("STREAMKEEPER_CANARY").unwrap_or_default())
}
"#;

/// The machines assert what holds of them, and would stop where many a canary begins. It is the judges that are to see it:
/// so the assertions of the core sleep while a canary is awake.
const FIRST_MODULE: &str = "\npub mod announcement;\n";

/// These macros, in front of the core's first module, stand for the ones of the standard library in all of it; where a
/// constant is asserted, the core names those.
fn sleeping_assertions() -> String {
    let names = ["assert", "assert_eq", "assert_ne", "debug_assert", "debug_assert_eq", "debug_assert_ne"];
    let asleep = |name: &str| {
        format!(
            "#[allow(unused_macros)]\nmacro_rules! {name} {{\n    ($($what:tt)*) => {{ if crate::canary::awake().is_empty() \
             {{ ::std::{name}!($($what)*) }} }};\n}}\n"
        )
    };
    names.into_iter().map(asleep).collect()
}

/// The copy, with all changes made; or which change does not fit any more.
pub(crate) fn sources(canaries: &[Canary]) -> Result<Tree, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace");
    let mut tree = Tree::new();
    for part in PARTS {
        let path = root.join(part);
        if path.exists() {
            read(&path, part, &mut tree).map_err(|error| format!("{}: {error}", path.display()))?;
        }
    }
    let mut workspace = fs::read_to_string(root.join("Cargo.toml")).map_err(|error| error.to_string())?;
    for (find, replace) in WORKSPACE {
        if !workspace.contains(find) {
            return Err(format!("Cargo.toml does not contain any more: {find}"));
        }
        workspace = workspace.replacen(find, replace, 1);
    }
    tree.insert("Cargo.toml".to_owned(), workspace.into_bytes());
    let changes: Vec<(&str, &Change)> =
        canaries.iter().flat_map(|canary| canary.changes.iter().map(|change| (&*canary.name, change))).collect();
    let scripts = scripts(&tree, &changes)?;
    let (file, find, replace) = COMPILED;
    let compiled = Change { file: file.to_owned(), find: find.to_owned(), replace: replace.to_owned() };
    let plain = changes.into_iter().filter(|(_, change)| !change.is_script());
    make(&mut tree, plain.chain([("in a script", &compiled)]))?;
    for part in ["core", "io", "sim"] {
        let lib = tree.get_mut(&format!("{part}/src/lib.rs")).ok_or(format!("{part}/src/lib.rs is missing"))?;
        lib.extend_from_slice(b"\n#[allow(missing_docs)]\nmod canary;\n");
        if part == "core" {
            let text = String::from_utf8_lossy(lib);
            if !text.contains(FIRST_MODULE) {
                return Err(format!("core/src/lib.rs does not contain any more: {FIRST_MODULE}"));
            }
            *lib = text.replacen(FIRST_MODULE, &format!("\n{}{FIRST_MODULE}", sleeping_assertions()), 1).into_bytes();
        }
        let more = if part == "sim" { scripts.as_str() } else { "" };
        tree.insert(format!("{part}/src/canary.rs"), format!("{SWITCH}{more}").into_bytes());
    }
    Ok(tree)
}

/// Writes what has changed since the last time, so that no more is compiled than need be.
pub(crate) fn write(tree: &Tree, folder: &Path) -> io::Result<()> {
    let mut old = Tree::new();
    if folder.exists() {
        read(folder, "", &mut old)?;
    }
    for stale in old.keys().filter(|path| !tree.contains_key(*path)) {
        fs::remove_file(folder.join(stale))?;
    }
    for (path, bytes) in tree.iter().filter(|(path, bytes)| old.get(*path) != Some(*bytes)) {
        let path = folder.join(path);
        fs::create_dir_all(path.parent().expect("a folder"))?;
        fs::write(path, bytes)?;
    }
    Ok(())
}

fn read(path: &Path, name: &str, tree: &mut Tree) -> io::Result<()> {
    if path.is_file() {
        tree.insert(name.to_owned(), fs::read(path)?);
        return Ok(());
    }
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        let file = entry.file_name().to_string_lossy().into_owned();
        let name = if name.is_empty() { file } else { format!("{name}/{file}") };
        read(&entry.path(), &name, tree)?;
    }
    Ok(())
}

/// Makes changes to files, all of them to the text as it was: two that meet are an error.
fn make<'a>(tree: &mut Tree, changes: impl Iterator<Item = (&'a str, &'a Change)>) -> Result<(), String> {
    let mut by_file: BTreeMap<&str, Vec<(usize, &str, &Change)>> = BTreeMap::new();
    for (canary, change) in changes {
        let at = place(tree, canary, change)?;
        by_file.entry(&change.file).or_default().push((at, canary, change));
    }
    for (file, mut changes) in by_file {
        changes.sort_by_key(|(at, ..)| *at);
        let text = text(tree, file)?;
        let (mut changed, mut from, mut before) = (String::new(), 0, "");
        for (at, canary, change) in changes {
            if at < from {
                return Err(format!("canaries {before} and {canary} change the same lines of {file}"));
            }
            changed.push_str(&text[from..at]);
            changed.push_str(&change.replace);
            (from, before) = (at + change.find.len(), canary);
        }
        changed.push_str(&text[from..]);
        tree.insert(file.to_owned(), changed.into_bytes());
    }
    Ok(())
}

/// Where a change's text stands.
fn place(tree: &Tree, canary: &str, change: &Change) -> Result<usize, String> {
    let text = text(tree, &change.file)?;
    let mut places = text.match_indices(&change.find).map(|(at, _)| at);
    match (places.next(), places.next()) {
        (Some(at), None) => Ok(at),
        (None, _) => Err(format!("canary {canary}: {} does not contain any more:\n{}", change.file, change.find)),
        _ => Err(format!("canary {canary}: {} contains more than once:\n{}", change.file, change.find)),
    }
}

fn text<'a>(tree: &'a Tree, file: &str) -> Result<&'a str, String> {
    let bytes = tree.get(file).ok_or(format!("{file} is missing"))?;
    std::str::from_utf8(bytes).map_err(|error| format!("{file}: {error}"))
}

/// The changes to scripts, as a function of the simulation that makes them to a script's text.
fn scripts(tree: &Tree, changes: &[(&str, &Change)]) -> Result<String, String> {
    let mut list = String::new();
    for (canary, change) in changes.iter().filter(|(_, change)| change.is_script()) {
        place(tree, canary, change)?;
        let others = tree.keys().filter(|file| file.ends_with(".lua") && **file != change.file);
        for other in others {
            if text(tree, other)?.contains(&change.find) {
                return Err(format!("canary {canary}: {other} contains, too:\n{}", change.find));
            }
        }
        writeln!(list, "    ({canary:?}, {:?}, {:?}),", change.find, change.replace).expect("a string");
    }
    Ok(format!(
        "\n/// A script as it is executed.\npub(crate) fn script(text: &[u8]) -> Vec<u8> {{\n    \
         let Ok(text) = std::str::from_utf8(text) else {{ return text.to_vec() }};\n    \
         let awake = CHANGES.iter().filter(|(canary, ..)| on(canary));\n    \
         awake.fold(text.to_owned(), |text, (_, find, replace)| text.replace(find, replace)).into_bytes()\n}}\n\n\
         const CHANGES: &[(&str, &str, &str)] = &[\n{list}];\n"
    ))
}
