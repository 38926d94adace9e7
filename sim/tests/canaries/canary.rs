//! What a canary's file says.

use std::{fs, path::Path};

use serde::Deserialize;
use streamkeeper_sim::plan::Profile;

/// A planted defect.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Canary {
    /// The file's name.
    #[serde(skip)]
    pub(crate) name: String,
    /// What is broken, in a sentence.
    pub(crate) what: String,
    /// One of these is seen to be broken.
    pub(crate) promises: Vec<String>,
    /// In which profile it is looked for: the usual one, `messages`, `entries`, `sentinel` or `cluster`.
    #[serde(default)]
    pub(crate) profile: Half,
    /// Where it is looked for, if not in an ordinary swarm: a plan as text, of which only the seed varies. For what needs
    /// several rare things to meet.
    pub(crate) plan: Option<String>,
    /// It is found, besides, by the engine that has the machines alone.
    #[serde(default)]
    pub(crate) core: bool,
    /// It is found, besides, among all lives of a small cluster.
    pub(crate) explored: Option<Explored>,
    #[serde(rename = "change")]
    pub(crate) changes: Vec<Change>,
}

/// Two consumers and a stream, in which so much may happen.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Explored {
    #[serde(default)]
    pub(crate) faults: u8,
    #[serde(default)]
    pub(crate) wishes: u8,
}

/// Which half of the library it is about, or which servers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Half {
    /// Streams and their owners.
    #[default]
    Swarm,
    /// Messages and their workers.
    Messages,
    /// Work on owned streams.
    Entries,
    /// Servers behind sentinels.
    Sentinel,
    /// Nodes of a cluster.
    Cluster,
}

impl Half {
    /// As the simulation names the profile.
    pub(crate) fn profile(self) -> Profile {
        match self {
            Half::Swarm => Profile::Swarm,
            Half::Messages => Profile::Messages,
            Half::Entries => Profile::Entries,
            Half::Sentinel => Profile::Sentinel,
            Half::Cluster => Profile::Cluster,
        }
    }
}

/// One replacement in a source file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Change {
    /// From the workspace on.
    pub(crate) file: String,
    /// Stands there exactly once.
    pub(crate) find: String,
    pub(crate) replace: String,
}

impl Change {
    /// A script is changed when it is executed, since it cannot ask which canary is awake.
    pub(crate) fn is_script(&self) -> bool {
        self.file.ends_with(".lua")
    }
}

impl Canary {
    /// All of them, by name.
    pub(crate) fn all() -> Vec<Canary> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("canaries");
        let files = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        let mut canaries: Vec<Canary> = files.map(|file| Canary::read(&file.expect("a file").path())).collect();
        canaries.sort_by(|a, b| a.name.cmp(&b.name));
        canaries
    }

    fn read(path: &Path) -> Canary {
        let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let canary: Canary = toml::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
        Canary { name, ..canary }
    }
}
