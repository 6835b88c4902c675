//! `kontor validate`: judges configuration files as a start does.

use super::Done;
use crate::config::{self, Config, Format, Sources};
use clap::Args;
use std::path::PathBuf;

/// Check configuration files
///
/// Together they must make a whole configuration. Tells everything that is wrong at once, and exits
/// with 1 when an agent would not start with them.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  kontor validate /etc/kontor.d")]
pub(super) struct ValidateArgs {
    /// Say nothing but errors
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", hide_possible_values = true, value_name = "BOOL")]
    quiet: Option<bool>,
    /// hcl or json, for files whose name does not tell
    #[arg(long, value_name = "FORMAT")]
    config_format: Option<String>,
    /// Files, or folders of *.hcl and *.json
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
}

impl ValidateArgs {
    /// `examine` judges the files that the configuration names: warnings, or why a start would fail.
    pub(super) fn run(self, examine: fn(&Config) -> Result<Vec<String>, String>) -> Result<Done, String> {
        let format = self.config_format.as_deref().map(Format::named).transpose()?;
        let judged = match config::resolve(&Sources { paths: self.paths, format, elsewhere: true, ..Sources::default() }) {
            // Files that are only on another machine have a warning already.
            Ok(config) if !config.tls.is_here() => Ok(config.warnings),
            Ok(config) => examine(&config).map(|more| [config.warnings, more].concat()).map_err(|error| vec![error]),
            Err(errors) => Err(errors.iter().map(ToString::to_string).collect()),
        };
        match judged {
            Ok(_) if self.quiet.unwrap_or(false) => Ok(Done::default()),
            Ok(warnings) => {
                let err = warnings.iter().map(|warning| format!("Warning: {warning}\n")).collect();
                Ok(Done { err, ..Done::line("Configuration is valid!") })
            }
            Err(errors) => {
                let err = errors.iter().map(|error| format!("Config validation failed: {error}\n")).collect();
                Ok(Done { err, code: 1, ..Done::default() })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_files_are_valid_and_bad_ones_exit_with_one() {
        let folder = tempfile::TempDir::new().unwrap();
        let path = folder.path().join("a.hcl");
        let validate = |quiet| {
            ValidateArgs { quiet: Some(quiet), config_format: None, paths: vec![path.clone()] }.run(|_| Ok(Vec::new())).unwrap()
        };
        let data_dir = folder.path().join("data").display().to_string();
        std::fs::write(&path, format!("data_dir = {data_dir:?}\nbind_addr = \"127.0.0.1\"\n")).unwrap();
        assert_eq!(validate(false), Done::line("Configuration is valid!"));
        assert_eq!(validate(true), Done::default());
        std::fs::write(&path, format!("data_dir = {data_dir:?}\nnonsense = 1\nbind_addr = 5\n")).unwrap();
        let done = validate(true);
        assert_eq!(done.code, 1);
        assert!(
            done.err.contains("invalid config key nonsense") && done.err.contains("bind_addr: expected a string"),
            "{}",
            done.err
        );
    }
}
