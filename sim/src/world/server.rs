//! Redis's host.
use crate::{facts::What, plan::RedisFault, stage::HostId};
pub(crate) struct Server {}
impl Server {
    pub(crate) fn inject(&mut self, _f: &RedisFault, _id: Option<&str>, _struck: impl FnOnce()) -> bool {
        false
    }
    pub(crate) fn relieve(&mut self, _f: &RedisFault) {}
    pub(crate) fn heal(&mut self) {}
    pub(crate) fn lose_answer(&mut self, _h: HostId, _after: u32, _struck: What) {}
}
