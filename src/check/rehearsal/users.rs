//! Users and their rights, by the lines of `ACL LIST`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::glob;

/// One line of `ACL LIST`.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct User {
    pub(crate) name: String,
    /// One word each; a selector is one.
    rules: Vec<String>,
}

/// Without the digests of passwords.
impl fmt::Debug for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("User").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Which commands are in which category, as a server says.
#[derive(Clone, Debug, Default)]
pub(crate) struct Categories(BTreeMap<String, BTreeSet<String>>);

impl Categories {
    /// The commands of one category, as `ACL CAT` lists them.
    pub(crate) fn add(&mut self, category: &str, commands: impl IntoIterator<Item = String>) {
        self.0.insert(category.to_ascii_lowercase(), commands.into_iter().collect());
    }

    /// Whether the server has told of this category, or of none.
    pub(crate) fn know(&self, category: &str) -> bool {
        self.0.is_empty() || self.0.contains_key(category)
    }

    /// Before 7.0 a container and its subcommands are in the same categories, and only it is listed.
    fn hold(&self, category: &str, name: &str) -> bool {
        let listed = |name: &str| self.0.get(category).is_some_and(|all| all.contains(name));
        let alone = || !self.0.values().any(|all| all.contains(name)) && listed(parent(name));
        listed(name) || alone()
    }
}

/// All users of a server.
pub(crate) fn users<'a>(lines: impl IntoIterator<Item = &'a str>) -> Vec<User> {
    lines.into_iter().filter_map(User::parse).collect()
}

impl User {
    fn parse(line: &str) -> Option<Self> {
        let mut words = line.split(' ');
        (words.next()? == "user").then_some(())?;
        Some(Self { name: words.next()?.to_owned(), rules: rules(words) })
    }

    pub(crate) fn is_default(&self) -> bool {
        self.name == "default"
    }

    pub(crate) fn is_on(&self) -> bool {
        self.has("on")
    }

    fn has(&self, rule: &str) -> bool {
        self.rules.iter().any(|own| own == rule)
    }

    /// Whether this user surely may do whatever `other` may, with the same passwords.
    pub(crate) fn may_all_that(&self, other: &Self) -> bool {
        let nothing_is_taken = !self.rules.iter().any(|rule| rule.starts_with('-'));
        let everything = self.has("~*") && self.has("&*") && self.has("+@all") && nothing_is_taken;
        let rights = |user: &Self| -> Vec<String> {
            user.rules.iter().filter(|rule| is_right(rule)).cloned().collect()
        };
        self.is_on()
            && self.knows_passwords_of(other)
            && (everything || rights(self) == rights(other))
    }

    /// Whether whoever logs in as `other` may log in as this one.
    fn knows_passwords_of(&self, other: &Self) -> bool {
        let mut passwords = other.rules.iter().filter(|rule| rule.starts_with('#'));
        self.has("nopass") || !other.has("nopass") && passwords.all(|password| self.has(password))
    }

    /// Whether this user may run a command, whatever its keys; its name as the table has it.
    pub(crate) fn may(&self, command: &str, categories: &Categories) -> bool {
        let name = command.to_ascii_lowercase().replace(' ', "|");
        self.sets().any(|rules| allows(rules.iter().map(String::as_str), &name, categories))
    }

    /// Whether this user may use a key at all.
    pub(crate) fn reaches(&self, key: &[u8]) -> bool {
        self.key_patterns().any(|pattern| glob::fits(pattern.as_bytes(), key))
    }

    /// The patterns of the keys that it may use.
    pub(crate) fn key_patterns(&self) -> impl Iterator<Item = String> {
        self.sets().flatten().filter_map(|rule| {
            let (kind, pattern) = rule.split_once('~')?;
            (kind.is_empty() || kind.starts_with('%')).then(|| pattern.to_owned())
        })
    }

    /// The rules of the user and of each selector.
    fn sets(&self) -> impl Iterator<Item = Vec<String>> {
        let selector = |rule: &String| {
            let inside = rule.strip_prefix('(')?.strip_suffix(')')?;
            Some(inside.split(' ').map(str::to_owned).collect())
        };
        let own = self.rules.iter().filter(|rule| !rule.starts_with('(')).cloned().collect();
        std::iter::once(own).chain(self.rules.iter().filter_map(selector))
    }

    /// Rights that can't be given where only some rules are `known`.
    pub(crate) fn ungiven(&self, known: impl Fn(&str) -> bool) -> Vec<&str> {
        let rights = self.rules.iter().filter(|rule| rule.starts_with(['(', '%']));
        rights.map(String::as_str).filter(|rule| !known(rule)).collect()
    }

    /// The line that makes the same user elsewhere, with the digests of its passwords; of the rules
    /// only those that are `known` there.
    pub(crate) fn creation(&self, known: impl Fn(&str) -> bool) -> String {
        let rules = self.rules.iter().filter(|rule| known(rule));
        let quoted = |rule: &String| {
            if rule.contains(' ') { format!("\"{rule}\"") } else { rule.clone() }
        };
        let rules: Vec<String> = rules.map(quoted).collect();
        format!("ACL SETUSER {} reset {}", self.name, rules.join(" "))
    }
}

/// Whether a rule says what a user may do. That payloads are looked at before they are restored is
/// said or not by servers that do it anyway.
fn is_right(rule: &str) -> bool {
    !rule.starts_with('#') && rule != "sanitize-payload"
}

/// Words, where what stands in parentheses is one.
fn rules<'a>(words: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut rules: Vec<String> = Vec::new();
    for word in words {
        match rules.last_mut().filter(|last| last.starts_with('(') && !last.ends_with(')')) {
            Some(open) => open.extend([" ", word]),
            None => rules.push(word.to_owned()),
        }
    }
    rules
}

/// What the rules come to for a command, from the first to the last.
fn allows<'a>(rules: impl Iterator<Item = &'a str>, name: &str, categories: &Categories) -> bool {
    rules.fold(false, |allowed, rule| {
        let (sign, what) = match rule.split_at_checked(1) {
            Some(("+", what)) => (true, what),
            Some(("-", what)) => (false, what),
            _ => return allowed || rule == "allcommands",
        };
        let meant = match what.strip_prefix('@') {
            Some("all") => true,
            Some(category) => categories.hold(category, name),
            None => what == name || what == parent(name),
        };
        if meant { sign } else { allowed }
    })
}

/// The container of a subcommand.
fn parent(name: &str) -> &str {
    name.split('|').next().unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(rules: &str) -> User {
        User::parse(&format!("user u {rules}")).unwrap()
    }

    fn categories() -> Categories {
        let mut categories = Categories::default();
        categories.add("dangerous", ["keys", "flushall", "config|set"].map(str::to_owned));
        categories.add("read", ["get", "keys"].map(str::to_owned));
        categories
    }

    #[test]
    fn a_user_that_may_do_less_is_told_from_one_that_may_do_more() {
        let app = user("on #aa ~app:* &* -@all +get");
        assert!(user("on #aa ~app:* &* -@all +get").may_all_that(&app));
        assert!(user("on #aa #bb ~* &* +@all").may_all_that(&app));
        assert!(user("on sanitize-payload #aa ~app:* &* -@all +get").may_all_that(&app));
        assert!(!user("on #bb ~* &* +@all").may_all_that(&app));
        assert!(!user("on #aa ~* &* +@all -keys").may_all_that(&app));
        assert!(!user("on #aa ~other:* &* -@all +get").may_all_that(&app));
        assert!(!user("off #aa ~app:* &* -@all +get").may_all_that(&app));
        assert!(!app.may_all_that(&user("on nopass ~app:* &* -@all +get")));
    }

    #[test]
    fn the_last_rule_that_means_a_command_decides() {
        let may = |rules: &str, command: &str| user(rules).may(command, &categories());
        assert!(may("on ~* +@all", "FLUSHALL"));
        assert!(!may("on ~* +@all -@dangerous", "FLUSHALL"));
        assert!(may("on ~* +@all -@dangerous +flushall", "FLUSHALL"));
        assert!(!may("on ~* +@all -@dangerous", "CONFIG SET"));
        assert!(may("on ~* +@all -@dangerous", "CONFIG GET"));
        assert!(may("on ~* -@all +config|get", "CONFIG GET"));
        assert!(!may("on ~* -@all +config|get", "CONFIG SET"));
        assert!(!may("on ~* -@all +@read", "SET"));
        assert!(may("on -@all (~a* -@all +set) (~b* +get)", "SET"));
    }

    #[test]
    fn subcommands_of_an_old_server_are_in_the_categories_of_their_container() {
        let mut old = Categories::default();
        old.add("admin", ["config".to_owned()]);
        assert!(!user("on ~* +@all -@admin").may("CONFIG SET", &old));
    }

    #[test]
    fn keys_are_within_reach_by_any_pattern_of_the_user_or_of_a_selector() {
        let limited = user("on ~app:* %R~shared:* +@all (~s* +get)");
        for (key, expected) in [("app:1", true), ("shared:1", true), ("s", true), ("b", false)] {
            assert_eq!(limited.reaches(key.as_bytes()), expected, "{key}");
        }
    }

    #[test]
    fn the_line_that_makes_a_user_has_digests_and_quotes_selectors() {
        let line = user("on sanitize-payload #aa ~* -@all +get (~s* +set)")
            .creation(|rule| rule != "sanitize-payload");
        assert_eq!(line, "ACL SETUSER u reset on #aa ~* -@all +get \"(~s* +set)\"");
    }

    #[test]
    fn what_is_no_line_of_a_user_is_none() {
        assert!(users(["", "user", "nobody on"]).is_empty());
        assert!(!format!("{:?}", user("on #secret")).contains("secret"));
    }
}
