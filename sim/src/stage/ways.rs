//! The two directions between a host and the server.

use crate::plan::Way;

/// Something that is so or not in each direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Ways {
    /// From the host to the server.
    pub(super) out: bool,
    /// From the server to the host.
    pub(super) into: bool,
}

impl Ways {
    pub(super) fn set(&mut self, way: Way, on: bool) {
        if way != Way::In {
            self.out = on;
        }
        if way != Way::Out {
            self.into = on;
        }
    }

    pub(super) fn any(self) -> bool {
        self.out || self.into
    }
}
