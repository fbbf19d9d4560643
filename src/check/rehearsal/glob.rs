//! Patterns of keys, as access rules write them.

/// Whether a name fits a pattern with `*`, `?`, `[a-z]` and `\`, by the rules of the servers.
pub(super) fn fits(pattern: &[u8], name: &[u8]) -> bool {
    let (mut at, mut pos) = (0, 0);
    // Where to go on after the last star has taken one letter more.
    let mut star: Option<(usize, usize)> = None;
    while pos < name.len() {
        let here = pattern.get(at..).unwrap_or_default();
        if here.first() == Some(&b'*') {
            star = Some((at + 1, pos));
            at += 1;
        } else if let Some(width) = one(here, name.get(pos).copied().unwrap_or_default()) {
            (at, pos) = (at + width, pos + 1);
        } else if let Some((behind, taken)) = star {
            (at, pos) = (behind, taken + 1);
            star = Some((behind, taken + 1));
        } else {
            return false;
        }
    }
    pattern.get(at..).unwrap_or_default().iter().all(|letter| *letter == b'*')
}

/// How much of the pattern a letter fits: a letter, or a class of them.
fn one(pattern: &[u8], letter: u8) -> Option<usize> {
    match pattern {
        [b'?', ..] => Some(1),
        [b'\\', escaped, ..] => (*escaped == letter).then_some(2),
        [b'[', rest @ ..] => class(rest, letter).map(|width| width + 1),
        [plain, ..] => (*plain == letter).then_some(1),
        [] => None,
    }
}

/// What stands behind `[`, up to `]`.
fn class(class: &[u8], letter: u8) -> Option<usize> {
    let (negated, start) = if class.first() == Some(&b'^') { (true, 1) } else { (false, 0) };
    let mut rest = class.get(start..).unwrap_or_default();
    let mut found = false;
    loop {
        rest = match rest {
            [b'\\', escaped, after @ ..] => {
                found |= *escaped == letter;
                after
            }
            [b']', ..] | [] => break,
            [from, b'-', to, after @ ..] => {
                found |= (*from.min(to)..=*from.max(to)).contains(&letter);
                after
            }
            [plain, after @ ..] => {
                found |= *plain == letter;
                after
            }
        }
    }
    let width = class.len() - rest.len() + usize::from(!rest.is_empty());
    (found != negated).then_some(width)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_fits_a_pattern_as_on_the_server() {
        for (pattern, name, expected) in [
            ("*", "", true),
            ("app:*", "app:1", true),
            ("app:*", "ap:1", false),
            ("a*b*c", "axxbyybzc", true),
            ("a*b*c", "axxbyybz", false),
            ("k?y", "key", true),
            ("k[a-e]y", "key", true),
            ("k[^a-e]y", "key", false),
            ("k\\*y", "k*y", true),
            ("k\\*y", "kxy", false),
            ("key", "keys", false),
        ] {
            assert_eq!(fits(pattern.as_bytes(), name.as_bytes()), expected, "{pattern} {name}");
        }
    }
}
