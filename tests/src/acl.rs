//! The least-privilege user: the rule is read from `docs/operations.md`, so that what users copy is what is tested.

use crate::flavor::repository;
use crate::server::Server;

/// The password of the user that [`least_privilege`] makes.
pub const PASSWORD: &str = "streamkeeper-secret";

/// The service that the page's rule is written for.
pub const SERVICE: &str = "orders";

/// Creates the user of `docs/operations.md` on the server, and answers the user's name.
///
/// The page holds the rule for the service [`SERVICE`] in a fenced block that starts with `ACL SETUSER streamkeeper`.
///
/// # Panics
/// If the page has no such rule, or the server refuses it.
pub fn least_privilege(server: &Server) -> String {
    user(server, "ACL SETUSER streamkeeper ")
}

/// The same for messages: the rule for the stream `orders`, whose block starts with `ACL SETUSER messages`.
///
/// # Panics
/// If the page has no such rule, or the server refuses it.
pub fn least_privilege_for_messages(server: &Server) -> String {
    user(server, "ACL SETUSER messages ")
}

/// What the server refused to anybody, but for what may be missing: as it stands in its own log.
///
/// # Panics
/// If the server does not tell.
#[must_use]
pub fn refused(server: &Server) -> Vec<String> {
    const OPTIONAL: [&str; 3] = ["config", "client", "pubsub"];
    let log: Vec<Vec<redis::Value>> = server.run(&["ACL", "LOG"]);
    log.into_iter()
        .filter_map(|entry| redis::from_redis_value::<String>(entry.get(7)?.clone()).ok())
        .filter(|object| !OPTIONAL.iter().any(|optional| object.starts_with(optional)))
        .collect()
}

fn user(server: &Server, start: &str) -> String {
    let page = repository().join("docs/operations.md");
    let text = std::fs::read_to_string(&page).unwrap_or_else(|error| panic!("{}: {error}", page.display()));
    let rule = rule(&text, start).unwrap_or_else(|| panic!("{} has no fenced block with {start}", page.display()));
    let words = words(&rule);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    server.run::<()>(&words);
    words[2].to_owned()
}

/// Takes the first fenced block that starts so.
fn rule(page: &str, start: &str) -> Option<String> {
    let mut blocks = page.split("```").skip(1).step_by(2);
    let block = blocks.find_map(|block| {
        let body = block.split_once('\n')?.1.trim();
        body.starts_with(start).then(|| body.to_owned())
    })?;
    // The lines of one command: a backslash at a line's end is for a shell, not for the server.
    Some(block.lines().map(|line| line.trim_end_matches('\\').trim()).collect::<Vec<_>>().join(" "))
}

/// The words of the rule as they stand there, but for the password.
fn words(rule: &str) -> Vec<String> {
    let word = |word: &str| if word.starts_with('>') { format!(">{PASSWORD}") } else { word.to_owned() };
    rule.split_whitespace().map(|text| word(text.trim_matches('\''))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rule_is_found_and_filled_in() {
        let page =
            "text\n```sh\nls\n```\nmore\n```text\nACL SETUSER keeper on >CHANGE-ME \\\n  ~orders-input +get\n```\n";
        let words = words(&rule(page, "ACL SETUSER").unwrap());
        assert_eq!(words, ["ACL", "SETUSER", "keeper", "on", ">streamkeeper-secret", "~orders-input", "+get"]);
        assert_eq!(rule("nothing here", "ACL SETUSER"), None);
    }
}
