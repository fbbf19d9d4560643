//! Naming the keys that stand in a flip's way: those that the secondary cannot hold, and those that
//! no copy can keep up with.

use super::direction::Direction;

/// Groups that are named; of the others only the number is said.
const NAMED: usize = 5;

impl Direction {
    /// What a flip would lose, a line a kind, the largest kinds first.
    pub(crate) fn left_out(&self) -> Vec<String> {
        let secondary = self.primary.other();
        let mut groups: Vec<_> = self.engine.look(|engine| {
            engine.left_out_groups().map(|(group, count)| (count, group.clone())).collect()
        });
        groups.sort_by(|(a, _), (b, _)| b.cmp(a));
        let rest: usize = groups.iter().skip(NAMED).map(|(count, _)| count).sum();
        let line = |(count, group): &(usize, crate::engine::Group)| {
            let crate::engine::Group { lack, pattern } = group;
            format!("{count} keys like '{pattern}' are left out: the {secondary} has no {lack}")
        };
        let mut lines: Vec<String> = groups.iter().take(NAMED).map(line).collect();
        if rest > 0 {
            lines.push(format!("{rest} keys more, of other names, are left out too"));
        }
        lines
    }

    /// What is written faster than it can be copied, a line a kind.
    pub(super) fn restless(&self) -> Vec<String> {
        let groups = self.engine.look(crate::engine::Engine::restless);
        let line = |(pattern, count): (String, usize)| {
            format!(
                "{count} keys like '{pattern}' are big, and written faster than they can be copied"
            )
        };
        groups.into_iter().take(NAMED).map(line).collect()
    }
}
