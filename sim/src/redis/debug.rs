//! DEBUG: what tests have a server do.

use std::time::Duration;

use super::{Redis, commands::Call, reply::Reply};

pub(crate) fn debug(redis: &mut Redis, call: &Call<'_>) -> Option<Reply> {
    let argument = call.text(2);
    if call.args.len() == 3 && call.is(1, "SET-ACTIVE-EXPIRE") {
        redis.looks_for_lapsed = argument != "0";
    } else if call.args.len() == 3 && call.is(1, "SLEEP") {
        let seconds = argument.parse().unwrap_or_default();
        redis.stall_for(Duration::try_from_secs_f64(seconds).unwrap_or_default());
    } else {
        let sub = call.text(1);
        return Some(Reply::error(format!(
            "ERR unknown subcommand or wrong number of arguments for '{sub}'. Try DEBUG HELP."
        )));
    }
    Some(Reply::ok())
}
