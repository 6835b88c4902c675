//! `bridge { stale_by_default }`: reads of other datacenters that may be stale.

use super::merge::Setting;
use super::problems::Problems;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fmt;

/// The families of endpoints that `bridge.stale_by_default` may name: the first word of a path below `/v1`.
const FAMILIES: [&str; 3] = ["catalog", "coordinate", "health"];

/// The reads of other datacenters that may be stale unless their user decides.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum StaleByDefault {
    #[default]
    Never,
    Always,
    /// Those below `/v1/<one of these>/`.
    Endpoints(BTreeSet<String>),
}

impl StaleByDefault {
    /// True when reads of a family of endpoints (`catalog`, `health`, …) may be stale.
    pub fn covers(&self, family: &str) -> bool {
        match self {
            StaleByDefault::Never => false,
            StaleByDefault::Always => true,
            StaleByDefault::Endpoints(families) => families.contains(family),
        }
    }
}

impl fmt::Display for StaleByDefault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StaleByDefault::Never => f.write_str("false"),
            StaleByDefault::Always => f.write_str("true"),
            StaleByDefault::Endpoints(families) => {
                f.write_str(&families.iter().map(String::as_str).collect::<Vec<_>>().join(","))
            }
        }
    }
}

impl Setting for StaleByDefault {
    fn read(value: Value, key: &str, problems: &mut Problems) -> Option<StaleByDefault> {
        match value {
            Value::Bool(true) => Some(StaleByDefault::Always),
            Value::Bool(false) => Some(StaleByDefault::Never),
            Value::Array(_) => {
                let families: BTreeSet<String> = Vec::<String>::read(value, key, problems)?.into_iter().collect();
                for unknown in families.iter().filter(|family| !FAMILIES.contains(&family.as_str())) {
                    problems.error(format!("{key}: expected some of {}, got {unknown:?}", FAMILIES.join(", ")));
                }
                Some(StaleByDefault::Endpoints(families))
            }
            other => problems.expected(key, "true, false or a list of endpoints such as [\"catalog\", \"health\"]", &other),
        }
    }
}
