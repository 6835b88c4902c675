//! The file of one registration, which its owner alone may read. A damaged file is set aside; it never stops the agent.

use crate::defaults::LOCAL_FILE_MAX;
use crate::model::check::{CheckStatus, CheckType, HealthCheck};
use crate::model::ids::Token;
use crate::model::service::NodeService;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;
use tracing::{error, warn};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct KeptService {
    pub(super) service: NodeService,
    pub(super) token: Token,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct KeptCheck {
    /// The row; its status is the initial one.
    pub(super) check: HealthCheck,
    /// Its definition; `None` for a maintenance check.
    pub(super) definition: Option<CheckType>,
    pub(super) token: Token,
}

/// The last state of a TTL check, with its end.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct KeptTtl {
    #[serde(rename = "CheckID")]
    pub(super) check_id: String,
    pub(super) status: CheckStatus,
    pub(super) output: String,
    /// The time at which it expires, since the Unix epoch.
    pub(super) expires: Duration,
}

/// The content of a file; its id makes the file's name.
pub(super) trait Kept: Serialize + DeserializeOwned {
    fn id(&self) -> &str;
}

impl Kept for KeptService {
    fn id(&self) -> &str {
        &self.service.id
    }
}

impl Kept for KeptCheck {
    fn id(&self) -> &str {
        &self.check.check_id
    }
}

impl Kept for KeptTtl {
    fn id(&self) -> &str {
        &self.check_id
    }
}

/// The file name for an id: a hash, since ids may hold any character and be of any length.
pub(super) fn file_name(id: &str) -> String {
    let hex: String = Sha256::digest(id.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{hex}.json")
}

/// Writes beside the old file and swaps; the content is flushed with `durable`.
pub(super) fn write<T: Kept>(folder: &Path, kept: &T, durable: bool) -> io::Result<()> {
    let path = folder.join(file_name(kept.id()));
    let fresh = path.with_extension("tmp");
    let content = serde_json::to_vec(kept)?;
    let opened = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&fresh);
    let written = opened.and_then(|mut file| {
        file.write_all(&content)?;
        if durable { file.sync_all() } else { Ok(()) }
    });
    if written.is_err() {
        // On a full disk, the part that was written takes the room of other files.
        let _ = fs::remove_file(&fresh);
    }
    written?;
    fs::rename(&fresh, &path)
}

/// The content of all files in a folder that can be understood.
pub(super) fn load_all<T: Kept>(directory: &Path) -> Result<Vec<T>, String> {
    let failed = |error: io::Error| format!("cannot read the registrations kept in {}: {error}", directory.display());
    let mut kept = Vec::new();
    for entry in fs::read_dir(directory).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.extension().is_some_and(|extension| extension == "json") {
            kept.extend(load(&path));
        }
    }
    Ok(kept)
}

fn load<T: Kept>(path: &Path) -> Option<T> {
    match read(path) {
        Ok(bytes) => parse(path, &bytes).map_err(|why| set_aside(path, &why)).ok(),
        Err(error) => {
            // It may be readable at the next start.
            error!(file = %path.display(), %error, "a kept registration cannot be read and is not used");
            None
        }
    }
}

/// The bytes of a file, at most one more than [`bounded`] accepts.
pub(super) fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(LOCAL_FILE_MAX + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Refuses a file that is longer than [`LOCAL_FILE_MAX`].
pub(super) fn bounded(bytes: &[u8]) -> Result<(), String> {
    if bytes.len() as u64 > LOCAL_FILE_MAX { Err(format!("expected at most {LOCAL_FILE_MAX} bytes")) } else { Ok(()) }
}

fn parse<T: Kept>(path: &Path, bytes: &[u8]) -> Result<T, String> {
    bounded(bytes)?;
    let kept: T = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    let name = file_name(kept.id());
    if path.file_name().is_some_and(|found| found == name.as_str()) {
        Ok(kept)
    } else {
        Err(format!("it holds {:?}, which belongs into {name}", kept.id()))
    }
}

/// Gives a damaged file a free name that is not read.
pub(super) fn set_aside(path: &Path, why: &str) {
    metrics::counter!("kontor.local.damaged").increment(1);
    let free = |number: &u32| {
        let extension = if *number == 0 { "damaged".to_owned() } else { format!("damaged.{number}") };
        let aside = path.with_extension(extension);
        (!aside.exists()).then_some(aside)
    };
    let Some(aside) = (0..1_000).find_map(|number| free(&number)) else {
        warn!(file = %path.display(), why, "a kept registration is damaged; it stays where it is and is not used");
        return;
    };
    match fs::rename(path, &aside) {
        Ok(()) => error!(file = %path.display(), aside = %aside.display(), why, "a kept registration is damaged and set aside"),
        Err(error) => error!(file = %path.display(), why, %error, "a kept registration is damaged and cannot be set aside"),
    }
}
