//! The least-privilege user: the rule is read from `docs/operations.md`, so that what users copy is what is tested.

use crate::flavor::repository;
use crate::server::Server;

/// The password of the user that [`least_privilege`] makes.
pub const PASSWORD: &str = "streamkeeper-secret";

/// Creates the user of `docs/operations.md` on the server for this service, and answers the user's name.
///
/// The page holds the rule in a fenced block that starts with `ACL SETUSER`, written for the service `S` or
/// `<service>`, with a password in the place of `>…`.
///
/// # Panics
/// If the page has no such rule, or the server refuses it.
pub fn least_privilege(server: &Server, service: &str) -> String {
    let page = repository().join("docs/operations.md");
    let text = std::fs::read_to_string(&page).unwrap_or_else(|error| panic!("{}: {error}", page.display()));
    let rule = rule(&text).unwrap_or_else(|| panic!("{} has no fenced block with ACL SETUSER", page.display()));
    let words = words(&rule, service);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    server.run::<()>(&words);
    words[2].to_owned()
}

/// Takes the first fenced block that starts with `ACL SETUSER`.
fn rule(page: &str) -> Option<String> {
    let mut blocks = page.split("```").skip(1).step_by(2);
    let block = blocks.find_map(|block| {
        let body = block.split_once('\n')?.1.trim();
        body.starts_with("ACL SETUSER").then(|| body.to_owned())
    })?;
    // The lines of one command: a backslash at a line's end is for a shell, not for the server.
    Some(block.lines().map(|line| line.trim_end_matches('\\').trim()).collect::<Vec<_>>().join(" "))
}

/// The words of the rule, with the names of the service and the password put in.
fn words(rule: &str, service: &str) -> Vec<String> {
    let with_service = |word: &str| {
        let word = word.trim_matches(|c| c == '\'' || c == '"');
        if let Some(secret) = word.strip_prefix('>') {
            return format!(">{}", if secret.is_empty() { "" } else { PASSWORD });
        }
        let (sigil, name) = match word.find(|c| c != '~' && c != '&' && c != '%') {
            Some(at) if word.starts_with(['~', '&', '%']) => word.split_at(at),
            _ => return word.to_owned(),
        };
        let name = name.replace("<service>", service);
        match name.strip_prefix("S-") {
            Some(rest) => format!("{sigil}{service}-{rest}"),
            None => format!("{sigil}{name}"),
        }
    };
    rule.split_whitespace().map(with_service).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rule_is_found_and_filled_in() {
        let page = "text\n```sh\nls\n```\nmore\n```text\nACL SETUSER keeper reset on >secret \\\n  ~S-input '~*<MUTEX_KEY_SEP>*' \\\n \
                    &S-orphans ~<service>-dead +get\n```\n";
        let words = words(&rule(page).unwrap(), "svc");
        let expected = ["ACL", "SETUSER", "keeper", "reset", "on", ">streamkeeper-secret", "~svc-input"];
        assert_eq!(words[..7], expected);
        assert_eq!(words[7..], ["~*<MUTEX_KEY_SEP>*", "&svc-orphans", "~svc-dead", "+get"]);
        assert_eq!(rule("nothing here"), None);
    }
}
