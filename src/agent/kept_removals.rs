//! The removed datacenters as this server last knew them, in a file of the data directory.
//!
//! After a start they count beside the catalog, which may lack some until a leader says how much of the log counts.

use super::data_dir::{unusable, write_durably};
use crate::model::removals::Removals;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tracing::warn;

/// The name of the file: JSON, the removed clusters by datacenter; `null` stands for all of a name.
const FILE: &str = "removed-datacenters.json";

#[derive(Debug, Default)]
pub(super) struct KeptRemovals {
    /// Unset without a data directory, where the log does not outlive the process either.
    path: Option<PathBuf>,
    kept: Arc<Removals>,
}

impl KeptRemovals {
    /// Reads the file in `data_dir`, if any. The error is one line for the user.
    pub(super) fn open(data_dir: Option<&Path>) -> Result<KeptRemovals, String> {
        let Some(path) = data_dir.map(|dir| dir.join(FILE)) else { return Ok(KeptRemovals::default()) };
        let kept = match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| {
                let path = path.display();
                format!(
                    "{path}: expected JSON like {{\"dc2\": [\"<cluster id>\"]}}, got what does not parse: {error}; remove the file, and \
                     removed datacenters are refused from this server's first contact with a leader on"
                )
            })?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Arc::default(),
            Err(error) => return Err(unusable(&path, &error)),
        };
        Ok(KeptRemovals { path: Some(path), kept })
    }

    /// The removals of `catalog`, and the kept ones.
    pub(super) fn beside(&self, catalog: &Arc<Removals>) -> Arc<Removals> {
        if self.kept.is_empty() {
            return Arc::clone(catalog);
        }
        let mut all = catalog.as_ref().clone();
        all.add(&self.kept);
        Arc::new(all)
    }

    /// Keeps `removals` from now on, whole or not at all; whether that worked.
    pub(super) async fn keep(&mut self, removals: &Arc<Removals>) -> bool {
        if self.kept == *removals {
            return true;
        }
        if let Some(path) = self.path.clone() {
            let content = Arc::clone(removals);
            let write = move || write_durably(&path, &serde_json::to_vec_pretty(&*content)?);
            let written = tokio::task::spawn_blocking(write).await.map_err(io::Error::other);
            if let Err(error) = written.and_then(|written| written) {
                metrics::counter!("kontor.agent.removals_not_kept").increment(1);
                warn!(file = FILE, %error, "the removed datacenters cannot be written down; the write is tried again");
                return false;
            }
        }
        self.kept = Arc::clone(removals);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ids::ClusterId;

    fn removed(dc: &str, cluster: Option<ClusterId>) -> Arc<Removals> {
        let mut removals = Removals::default();
        removals.remove(dc, cluster);
        Arc::new(removals)
    }

    #[tokio::test]
    async fn what_was_kept_is_there_after_a_start_and_counts_beside_the_catalog() {
        let folder = tempfile::tempdir().unwrap();
        let mut kept = KeptRemovals::open(Some(folder.path())).unwrap();
        let (one, all) = (removed("dc2", Some(ClusterId::default())), removed("dc3", None));
        assert_eq!(kept.beside(&all), all);
        assert!(kept.keep(&one).await);
        let mut kept = KeptRemovals::open(Some(folder.path())).unwrap();
        let both = kept.beside(&all);
        assert!(both.refuses("dc2", Some(ClusterId::default())) && both.refuses("dc3", None), "{both:?}");
        assert!(kept.keep(&all).await);
        assert_eq!(KeptRemovals::open(Some(folder.path())).unwrap().kept, all, "as the catalog has it");
    }

    #[tokio::test]
    async fn a_damaged_file_is_named_and_one_that_cannot_be_written_is_told() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(FILE), "{\"dc2\": [").unwrap();
        let error = KeptRemovals::open(Some(folder.path())).unwrap_err();
        assert!(error.contains(FILE) && error.contains("remove the file"), "{error}");
        let mut kept = KeptRemovals::open(Some(&folder.path().join("none"))).unwrap();
        assert!(!kept.keep(&removed("dc2", None)).await);
        assert!(KeptRemovals::open(None).unwrap().keep(&removed("dc2", None)).await);
    }
}
