//! What a user brings along: a handler and settings of their own; and what the handler is told of where it runs.

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use futures::future::BoxFuture;
use streamkeeper::{Lease, Settings, Time};

use super::scene::Scene;
use crate::facts::{What, Who};

/// What a consumer does with a stream that it owns, in place of what the plan says.
pub type Handler = Arc<dyn Fn(Lease, Site) -> BoxFuture<'static, Result<(), String>> + Send + Sync>;

/// What a fleet has that its plan does not say.
#[derive(Clone, Default)]
pub struct Fleet {
    /// The handler of all consumers.
    pub handler: Option<Handler>,
    /// The settings of a consumer, where they are not the plan's.
    pub settings: BTreeMap<usize, Settings>,
}

/// Where a handler runs.
#[derive(Clone)]
pub struct Site {
    pub(crate) who: Who,
    pub(crate) name: Arc<str>,
    pub(crate) scene: Scene,
}

impl Site {
    /// The process: which consumer, and its how manieth start.
    pub fn who(&self) -> Who {
        self.who
    }

    /// The consumer's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// True simulated time since the beginning, which no consumer's clock shows.
    pub fn now(&self) -> Duration {
        self.scene.clock().now().since(Time::ZERO)
    }

    /// Writes something into the record of the run, to be read in its trace and its report.
    pub fn note(&self, text: impl fmt::Display) {
        self.scene.note(What::Note { text: format!("{}: {text}", self.who) });
    }
}

impl fmt::Debug for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Site({}, {:?})", self.who, self.now())
    }
}
