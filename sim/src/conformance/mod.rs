//! The simulated Redis held against real ones: sequences of commands with the replies of real servers, and how they are
//! run on any server. `tests/tests/conformance/` has the sequences and the real servers; [`mutate`](crate::mutate) asks
//! whether the sequences notice a script that was changed.

mod masks;
mod run;
mod sequence;
mod side;
mod simulated;
mod value;

pub use run::{differences, run};
pub use sequence::{Part, Sequence, Step};
pub use side::{Got, Side};
pub use simulated::Simulated;
pub use value::Value;

pub use crate::redis::Version;
