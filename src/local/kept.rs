//! One registration in a file: what is in it, how it is written, and how it is read again.
//!
//! A file that cannot be understood is reported and set aside under another name; it is never deleted and never
//! stops the agent. Files hold tokens, so only the owner may read them.

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

/// A service as it is kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct KeptService {
    /// The row.
    pub(super) service: NodeService,
    /// The token it was registered with.
    pub(super) token: Token,
}

/// A check as it is kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct KeptCheck {
    /// The row; its status is the initial one.
    pub(super) check: HealthCheck,
    /// How it is run.
    pub(super) definition: Option<CheckType>,
    /// The token it was registered with.
    pub(super) token: Token,
}

/// What a TTL check said last, and until when that holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct KeptTtl {
    /// Whose it is.
    #[serde(rename = "CheckID")]
    pub(super) check_id: String,
    /// What it said.
    pub(super) status: CheckStatus,
    /// What it said.
    pub(super) output: String,
    /// When it expires, since the Unix epoch.
    pub(super) expires: Duration,
}

/// What a file says it is about; its name is made of it.
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

/// Ids may hold any character and be of any length; their hash is a name for every file system.
pub(super) fn file_name(id: &str) -> String {
    let hex: String = Sha256::digest(id.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{hex}.json")
}

/// Writes beside the old file and swaps: after a crash there is the old one or the new one. What is
/// `durable` is on the disk then, but for its name in the folder.
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
        // On a full disk, the part that was written takes the room of others.
        let _ = fs::remove_file(&fresh);
    }
    written?;
    fs::rename(&fresh, &path)
}

/// All that a folder keeps and that can be understood.
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
            // Not its fault: it may be readable at the next start.
            error!(file = %path.display(), %error, "a kept registration cannot be read and is not used");
            None
        }
    }
}

/// The bytes of a file, one more than are [`bounded`] at most.
pub(super) fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(LOCAL_FILE_MAX + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Whether a file is no longer than a registration may be.
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

/// Gives a damaged file a name that is not read, and not taken yet.
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
