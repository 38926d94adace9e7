//! The two directions between a host and the server.

use crate::plan::Way;

/// Something that is so or not in each direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ways {
    /// From the host to the server.
    pub(crate) out: bool,
    /// From the server to the host.
    pub(crate) into: bool,
}

impl Ways {
    pub(crate) fn set(&mut self, way: Way, on: bool) {
        if way != Way::In {
            self.out = on;
        }
        if way != Way::Out {
            self.into = on;
        }
    }

    pub(crate) fn any(self) -> bool {
        self.out || self.into
    }
}
