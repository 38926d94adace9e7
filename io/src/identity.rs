//! Who this consumer is: the only place of the shell that asks the operating system for a name or for randomness.

use std::{env, io};

/// The consumer's name: as given, else as the environment says, else the host's and a random suffix.
pub(crate) fn name(given: Option<&str>) -> io::Result<String> {
    let from_environment = |variable| env::var(variable).ok().filter(|value| !value.is_empty());
    if let Some(name) = given {
        return Ok(name.to_owned());
    }
    match from_environment("POD_NAME").or_else(|| from_environment("POD_IP")) {
        Some(name) => Ok(name),
        None => Ok(format!("{}-{:08x}", host(), random()? >> 32)),
    }
}

/// A random number.
#[expect(clippy::disallowed_methods, reason = "this is where randomness comes from")]
pub(crate) fn random() -> io::Result<u64> {
    getrandom::u64().map_err(|e| io::Error::other(format!("no randomness: {e}")))
}

#[cfg(unix)]
fn host() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

#[cfg(not(unix))]
fn host() -> String {
    env::var("COMPUTERNAME").unwrap_or_else(|_| "host".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_always_found() {
        assert_eq!(name(Some("x")).unwrap(), "x");
        let (one, other) = (name(None).unwrap(), name(None).unwrap());
        let pod = env::var_os("POD_NAME").or_else(|| env::var_os("POD_IP"));
        assert!(!one.is_empty() && (pod.is_some() || one != other), "{one} {other}");
    }
}
