//! The sources of a configuration: files and folders in the order given, then flags.
//!
//! A reload reads them again, files included. Unreadable files are errors like any other.

use super::file::{File, Format};
use super::merge::Setting;
use super::problems::{ConfigError, Problems};
use crate::defaults;
use crate::model::definition::ServiceDefinition;
use serde_json::Value;
use std::io::Read;
use std::path::{Path, PathBuf};

/// The configuration as the command line gives it.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// `-config-file` and `-config-dir` in the order given.
    pub paths: Vec<PathBuf>,
    /// `-config-format`, for files with another ending.
    pub format: Option<Format>,
    /// `-hcl`: pieces of configuration on the command line.
    pub inline: Vec<String>,
    /// Flags, as the document they stand for.
    pub flags: Value,
    pub dev: bool,
    /// The variable `CONSUL_LOCAL_CONFIG`: settings of a container from outside. Files and flags win.
    pub environment: Option<String>,
    /// The configuration is judged for another machine, which may have files that this one lacks.
    pub elsewhere: bool,
}

impl Sources {
    pub(super) fn read(&self, problems: &mut Problems) -> File {
        problems.elsewhere = self.elsewhere;
        problems.source = "flags".to_owned();
        problems.flags = Format::Json.parse(&self.flags.to_string()).ok();
        let mut flags = match &self.flags {
            Value::Null => File::default(),
            document => File::read(document.clone(), "", problems).unwrap_or_default(),
        };
        let mut merged = flags.take_lists().unwrap_or_default();
        if let Some(text) = self.environment.as_deref().filter(|text| !text.trim().is_empty()) {
            problems.source = defaults::CONFIG_VARIABLE.to_owned();
            merged.merge(read_text(text, Format::Hcl, problems));
        }
        for path in &self.paths {
            for (name, format) in self.files_of(path, problems) {
                problems.source = name.display().to_string();
                merged.merge(read_file(&name, format, problems));
            }
        }
        for text in &self.inline {
            problems.source = "-hcl".to_owned();
            merged.merge(read_text(text, Format::Hcl, problems));
        }
        merged.merge(flags);
        problems.source.clear();
        merged
    }

    /// The file itself, or the files of a folder by name, without its folders.
    fn files_of(&self, path: &Path, problems: &mut Problems) -> Vec<(PathBuf, Format)> {
        problems.source = path.display().to_string();
        if let Err(error) = path.metadata() {
            problems.error(format!("cannot be read: {error}"));
            return Vec::new();
        }
        if !path.is_dir() {
            let format = self.format.or_else(|| Format::of(path));
            if format.is_none() {
                problems.error("expected a name that ends in .hcl or .json; tell -config-format for another");
            }
            return format.map(|format| (path.to_owned(), format)).into_iter().collect();
        }
        let listed = std::fs::read_dir(path).and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect());
        let mut names: Vec<PathBuf> = listed.unwrap_or_else(|error: std::io::Error| {
            problems.error(format!("cannot list this folder: {error}"));
            Vec::new()
        });
        names.sort();
        names.retain(|name| name.is_file());
        let mut files = Vec::new();
        for name in names {
            match self.format.or_else(|| Format::of(&name)) {
                Some(format) => files.push((name, format)),
                None => problems.warn(format!(
                    "skipping file {}, extension must be .hcl or .json, or config format must be set",
                    name.display()
                )),
            }
        }
        files
    }
}

/// The services that one file defines (`services register` and `deregister`).
pub fn services_of(path: &Path) -> Result<Vec<ServiceDefinition>, Vec<ConfigError>> {
    let mut problems = Problems { source: path.display().to_string(), ..Problems::default() };
    let format = Format::of(path).unwrap_or(Format::Hcl);
    let file = read_file(path, format, &mut problems);
    if !problems.errors.is_empty() {
        return Err(problems.errors);
    }
    Ok([file.service, file.services].into_iter().flatten().flatten().collect())
}

/// The settings of a file, none of one that cannot be read.
fn read_file(path: &Path, format: Format, problems: &mut Problems) -> File {
    let mut text = String::new();
    let bounded = std::fs::File::open(path).and_then(|file| file.take(defaults::CONFIG_FILE_BYTES + 1).read_to_string(&mut text));
    if let Err(error) = bounded {
        problems.error(format!("cannot be read: {error}"));
        return File::default();
    }
    if text.len() as u64 > defaults::CONFIG_FILE_BYTES {
        problems.error(format!("larger than {} bytes, which is no configuration", defaults::CONFIG_FILE_BYTES));
        return File::default();
    }
    if text.trim().is_empty() {
        // As in Consul; a file that is being written, or was cut, looks the same.
        problems.warn(format!("{} is empty: no settings are taken from it", path.display()));
        return File::default();
    }
    read_text(&text, format, problems)
}

fn read_text(text: &str, format: Format, problems: &mut Problems) -> File {
    match format.parse(text) {
        Ok(document) => {
            let value = document.value();
            problems.documents.push((problems.source.clone(), document));
            File::read(value, "", problems).unwrap_or_default()
        }
        Err(fault) => {
            problems.errors.push(ConfigError { source: problems.source.clone(), at: Some(fault.at), message: fault.what });
            File::default()
        }
    }
}
