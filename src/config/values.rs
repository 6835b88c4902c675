//! Single values: in place of a default, within bounds, as a name.

use super::problems::Problems;

/// Overwrites a default with a configured value.
pub(super) fn set<T>(target: &mut T, configured: Option<T>) {
    if let Some(value) = configured {
        *target = value;
    }
}

/// An integer within bounds, both included; `None` without a good value.
pub(super) fn within<T: TryFrom<i64>>(value: Option<i64>, key: &str, bounds: (i64, i64), problems: &mut Problems) -> Option<T> {
    let value = value?;
    let good = (bounds.0..=bounds.1).contains(&value).then(|| T::try_from(value).ok()).flatten();
    good.or_else(|| problems.refuse(format!("{key} cannot be {value}. Must be between {} and {}", bounds.0, bounds.1)))
}

/// The name in lower case. Characters that do not fit into a DNS label or a member's name are refused.
pub(super) fn datacenter(name: &str, key: &str, problems: &mut Problems) -> String {
    let name = name.to_lowercase();
    if name.is_empty() {
        problems.error(format!("{key} cannot be empty"));
    } else if !name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_') {
        problems.error(format!("{key} can only contain lowercase alphanumeric, - or _ characters, got {name:?}"));
    }
    name
}
