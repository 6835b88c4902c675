//! `unix_sockets {}`: names of users and groups become their ids, and the mode its bits.

use super::file::UnixSocketsStanza;
use super::problems::Problems;
use super::{Config, UnixSockets};

/// Fills in owner and mode of the sockets' files.
pub(super) fn resolve(stanza: UnixSocketsStanza, config: &mut Config, problems: &mut Problems) {
    let UnixSocketsStanza { user, group, mode } = stanza;
    let mut id = |key: &str, name: Option<String>, file: &str| {
        let name = name.filter(|name| !name.is_empty())?;
        let found = number(&name, &std::fs::read_to_string(file).unwrap_or_default());
        found.or_else(|| problems.missing(format!("unix_sockets.{key}: expected a number or a name in {file}, got {name:?}")))
    };
    let (user, group) = (id("user", user, "/etc/passwd"), id("group", group, "/etc/group"));
    let mode = mode.filter(|mode| !mode.is_empty()).and_then(|text| {
        let bits = u32::from_str_radix(&text, 8).ok().filter(|bits| *bits <= 0o777);
        bits.or_else(|| problems.refuse(format!("unix_sockets.mode: expected an octal number such as 0770, got {text:?}")))
    });
    config.unix_sockets = UnixSockets { user, group, mode };
}

/// The id `name` itself, or the id of that name in `table`, which has the form of `/etc/passwd`.
fn number(name: &str, table: &str) -> Option<u32> {
    name.parse().ok().or_else(|| {
        let rows = table.lines().map(|line| line.split(':').collect::<Vec<_>>());
        rows.into_iter().find_map(|row| if row.first() == Some(&name) { row.get(2)?.parse().ok() } else { None })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_and_groups_are_found_by_number_and_by_name() {
        let table = "root:x:0:0::/root:/bin/sh\nkontor:x:10001:7::/:\nodd:x\n";
        assert_eq!(number("12", table), Some(12));
        assert_eq!(number("kontor", table), Some(10001));
        assert_eq!(number("odd", table), None);
        assert_eq!(number("nobody", table), None);
    }
}
