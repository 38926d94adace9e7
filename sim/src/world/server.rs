//! Redis's host.
use crate::{facts::What, plan::RedisFault, stage::HostId};
pub(crate) struct Server {}
impl Server {
    pub(crate) fn new(_plan: &crate::plan::Plan, _scene: super::scene::Scene) -> Server {
        Server {}
    }
    pub(crate) fn accept(&self) -> crate::stage::Accept {
        std::rc::Rc::new(|_, _| Box::pin(async {}))
    }
    pub(crate) fn words(&self) -> Vec<(&'static str, u64)> {
        Vec::new()
    }
    pub(crate) fn inject(&mut self, _f: &RedisFault, _id: Option<&str>, _struck: impl FnOnce()) -> bool {
        false
    }
    pub(crate) fn relieve(&mut self, _f: &RedisFault) {}
    pub(crate) fn heal(&mut self) {}
    pub(crate) fn lose_answer(&mut self, _h: HostId, _after: u32, _struck: What) {}
}
