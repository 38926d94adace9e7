//! Patterns of keys and channels.

/// Whether a text matches a pattern with `*`, `?`, `[a-z]`, `[^a]` and `\`.
pub(crate) fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut pattern, mut text) = (pattern, text);
    // Where to go on if what follows the last star does not match here: one more byte for the star.
    let mut retry: Option<(&[u8], &[u8])> = None;
    loop {
        let step = match (pattern, text) {
            ([b'*', rest @ ..], _) => {
                retry = Some((rest, text));
                pattern = rest;
                continue;
            }
            ([], []) => return true,
            (_, []) => None,
            ([b'[', rest @ ..], [byte, ..]) => class(rest, *byte),
            ([b'?', rest @ ..], _) => Some(rest),
            ([b'\\', wanted, rest @ ..], [byte, ..]) | ([wanted, rest @ ..], [byte, ..]) => {
                (wanted == byte).then_some(rest)
            }
            ([], _) => None,
        };
        (pattern, text) = match (step, retry) {
            (Some(rest), _) => (rest, &text[1..]),
            (None, Some((rest, [_, behind @ ..]))) => {
                retry = Some((rest, behind));
                (rest, behind)
            }
            (None, _) => return false,
        };
    }
}

/// The pattern behind a class, if the byte is in it.
fn class(pattern: &[u8], byte: u8) -> Option<&[u8]> {
    let (negated, mut pattern) = match pattern {
        [b'^', rest @ ..] => (true, rest),
        rest => (false, rest),
    };
    let mut is_in = false;
    loop {
        pattern = match pattern {
            [b'\\', wanted, rest @ ..] => {
                is_in |= *wanted == byte;
                rest
            }
            [b']', rest @ ..] => return (is_in != negated).then_some(rest),
            // An unfinished one ends with the pattern.
            [] => return (is_in != negated).then_some(pattern),
            [low, b'-', high, rest @ ..] => {
                is_in |= (*low.min(high)..=*low.max(high)).contains(&byte);
                rest
            }
            [wanted, rest @ ..] => {
                is_in |= *wanted == byte;
                rest
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn patterns_match_as_in_redis() {
        for (pattern, text, does) in [
            ("*", "", true),
            ("a*c", "abbc", true),
            ("a*c", "abbd", false),
            ("a**c*", "ac", true),
            ("?", "", false),
            ("h?llo", "hello", true),
            ("h[ae]llo", "hallo", true),
            ("h[^e]llo", "hello", false),
            ("h[a-c]llo", "hbllo", true),
            ("h[c-a]llo", "hbllo", true),
            ("a\\*", "a*", true),
            ("a\\*", "ab", false),
            ("a[b", "ab", true),
            ("[\\]]", "]", true),
            ("*a*b", "xaxxab", true),
            ("\\", "\\", true),
        ] {
            assert_eq!(matches(pattern.as_bytes(), text.as_bytes()), does, "{pattern} {text}");
        }
    }
}
