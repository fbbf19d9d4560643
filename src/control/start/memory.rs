//! Whether the process may have as much memory as it was told to take.
//!
//! Past the limit of its control group the system kills it without a word, so the word comes at the
//! start.

use std::fs;
use std::path::Path;

use tracing::warn;

/// What is taken beside the buffer, in bytes: copies on their way, and the program itself. Requests
/// and replies in flight come on top, and 24 bytes a key during the first copy.
const BESIDE: u64 = 64 << 20;

/// Warns when buffer and limit do not fit.
pub(super) fn check(mirror_buffer: u64) {
    let needed = mirror_buffer.saturating_add(BESIDE);
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    if let Some(limit) = limit(Path::new("/sys/fs/cgroup"), &groups).filter(|limit| *limit < needed)
    {
        warn!(
            limit,
            needed,
            "the control group allows less memory than a target that is away may cost: lower \
             --mirror-buffer or raise the limit"
        );
    }
}

/// The lowest limit of the groups that the process is in, and of those around them. A line of
/// `groups` is `number:controllers:path`; the second version of control groups names none.
fn limit(root: &Path, groups: &str) -> Option<u64> {
    let limits = groups.lines().flat_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        let (directory, file) = match fields.next() {
            Some("") => (root.to_owned(), "memory.max"),
            Some("memory") => (root.join("memory"), "memory.limit_in_bytes"),
            _ => return Vec::new(),
        };
        let path = Path::new(fields.next().unwrap_or_default().trim_start_matches('/'));
        let around = path.ancestors().map(|group| directory.join(group).join(file));
        around.filter_map(|file| fs::read_to_string(file).ok()?.trim().parse().ok()).collect()
    });
    limits.min()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allow(group: &Path, file: &str, limit: &str) {
        fs::create_dir_all(group).unwrap();
        fs::write(group.join(file), format!("{limit}\n")).unwrap();
    }

    #[test]
    fn the_lowest_limit_around_the_process_counts() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        allow(&root.join("a/b"), "memory.max", "max");
        assert_eq!(limit(root, "0::/a/b\n"), None);
        allow(&root.join("a"), "memory.max", "7000");
        assert_eq!(limit(root, "0::/a/b\n"), Some(7000));
        assert_eq!(limit(root, "0::/elsewhere\n"), None);
        allow(root, "memory.max", "6000");
        assert_eq!(limit(root, "0::/elsewhere\n"), Some(6000), "as a container sees it");
    }

    #[test]
    fn the_first_version_of_control_groups_is_understood_too() {
        let root = tempfile::tempdir().unwrap();
        allow(&root.path().join("memory/a"), "memory.limit_in_bytes", "7000");
        assert_eq!(limit(root.path(), "5:cpu:/x\n4:memory:/a\n0::/\n"), Some(7000));
        assert_eq!(limit(root.path(), ""), None);
    }
}
