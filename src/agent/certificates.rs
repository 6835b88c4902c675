//! The certificates of a running agent: read anew after changes and reloads, and reported before their end.
//!
//! New ones count from the next handshake on; connections stay. Unusable ones are reported, and the old ones stay.

use super::trust;
use crate::bridge::Bridge;
use crate::clock;
use crate::config::{Config, Tls};
use crate::defaults::{CERTIFICATE_LOOK, CERTIFICATE_SOON_DAYS, CERTIFICATE_TOLD_EVERY};
use crate::gossip::Gossip;
use crate::http::Handshakes;
use crate::model::member::tag;
use crate::tls::{BridgeIdentity, Ending, RpcTls, TlsMaterial, days_between};
use rustls::ServerConfig;
use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::SystemTime;
use time::OffsetDateTime;
use tokio::sync::watch;
use tokio::time::sleep;
use tracing::{info, warn};

/// The parts that use the configured certificates.
pub(super) struct Certificates {
    /// The settings of the start: rules of verification do not change with the files.
    started: Config,
    rpc: Option<RpcTls>,
    https: Option<Handshakes>,
    bridge: Option<Bridge>,
    /// The pool that announces the fingerprint of the bridge's own key.
    wan: Option<Gossip>,
    /// That key, once it was shown: without a data directory it is nowhere else.
    own_key: OnceLock<BridgeIdentity>,
    shown: Mutex<Shown>,
}

struct Shown {
    files: Stamps,
    endings: Vec<Ending>,
}

/// Usable certificates, as read.
pub(super) struct Renewed {
    shown: Shown,
    rpc: Option<RpcTls>,
    https: Option<Arc<ServerConfig>>,
    bridge: Option<BridgeIdentity>,
    /// Faults that do not prevent their use.
    remarks: Vec<String>,
}

impl Certificates {
    /// The certificates of `tls`, loaded at the start from files with these `stamps`; `None` if not configured.
    pub(super) fn new(
        config: &Config,
        stamps: Stamps,
        tls: &trust::Tls,
        https: Option<Handshakes>,
        bridge: Option<Bridge>,
        wan: Option<Gossip>,
    ) -> Option<Certificates> {
        let endings = tls.material.as_ref()?.endings().to_vec();
        let own_key = tls.bridge.clone().filter(|identity| !identity.is_of_ca()).map_or_else(OnceLock::new, OnceLock::from);
        Some(Certificates {
            started: config.clone(),
            rpc: tls.rpc.clone(),
            https,
            bridge,
            wan,
            own_key,
            shown: Mutex::new(Shown { files: stamps, endings }),
        })
    }

    /// Reads the files that `tls` names and checks them as a start does; `None` for those in use, valid or not. Blocks.
    pub(super) fn read(&self, tls: &Tls) -> Result<Option<Renewed>, String> {
        let mut config = self.started.clone();
        config.tls.take_files(tls);
        // Taken before the files are read: later writes are read again.
        let files = Stamps::of(&config.tls);
        if self.are_those_of(&files) {
            return Ok(None);
        }
        let material = TlsMaterial::load(&trust::tls_files(&config))?;
        // The old ones are better than one that is not valid now.
        material.check_dates()?;
        let verifies = config.tls.verify_incoming_https;
        let mut remarks = material.remarks();
        Ok(Some(Renewed {
            rpc: self.rpc.as_ref().map(|_| trust::rpc_tls(&config, &material)).transpose()?,
            https: self.https.as_ref().map(|_| material.https(verifies)).transpose()?,
            bridge: if self.bridge.is_some() { self.bridge_identity(&config, &material, &mut remarks)? } else { None },
            shown: Shown { files, endings: material.endings().to_vec() },
            remarks,
        }))
    }

    /// The bridge's identity from the files, or its own key; `None` to keep the present one.
    fn bridge_identity(
        &self,
        config: &Config,
        material: &TlsMaterial,
        remarks: &mut Vec<String>,
    ) -> Result<Option<BridgeIdentity>, String> {
        let (dc, domain) = (&config.datacenter, &config.domain);
        match trust::bridge_of_ca(config, material, remarks) {
            Ok(Some(identity)) => return Ok(Some(identity)),
            // With its own key fingerprints would count, which is an operator's decision.
            Ok(None) if config.requires_ca() && self.own_key.get().is_none() => {
                remarks.push("the bridge goes on with the certificate from before: it cannot show the new one".to_owned());
                return Ok(None);
            }
            Ok(None) => {}
            // The bridge alone demands more of the certificate, which is fit for the other parts.
            Err(why) if config.bridge_require_ca == Some(true) && !material.is_of_elsewhere(dc, domain) => {
                remarks.push(format!("the bridge goes on with the certificate from before: {why}"));
                return Ok(None);
            }
            Err(why) => return Err(why),
        }
        let own_key = match self.own_key.get() {
            Some(own_key) => own_key.clone(),
            None => {
                let made = BridgeIdentity::self_made(config.data_dir.as_deref(), dc, domain)?;
                self.own_key.get_or_init(|| made).clone()
            }
        };
        Ok(Some(if material.has_cert() { own_key.judging_by_ca(material) } else { own_key }))
    }

    /// Puts certificates into use.
    pub(super) fn show(&self, renewed: Renewed) -> Result<(), String> {
        if let (Some(bridge), Some(identity)) = (&self.bridge, renewed.bridge) {
            let pin = identity.fingerprint();
            let require_ca = trust::requires_ca(&self.started, &identity);
            bridge.reload(identity, require_ca)?;
            if let Some(wan) = &self.wan {
                wan.set_tag(tag::BRIDGE_PIN, pin);
            }
        }
        if let (Some(rpc), Some(newer)) = (&self.rpc, &renewed.rpc) {
            rpc.renew(newer);
        }
        if let (Some(https), Some(newer)) = (&self.https, renewed.https) {
            https.store(newer);
        }
        *self.shown.lock().unwrap_or_else(PoisonError::into_inner) = renewed.shown;
        for remark in renewed.remarks {
            warn!("{remark}");
        }
        Ok(())
    }

    fn are_those_of(&self, stamps: &Stamps) -> bool {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner).files == *stamps
    }

    fn tell(&self, all: bool) {
        let endings = self.shown.lock().unwrap_or_else(PoisonError::into_inner).endings.clone();
        for ending in &endings {
            let days_left = days_between(SystemTime::now(), ending.until);
            let (file, until) = (&ending.source, OffsetDateTime::from(ending.until).date());
            if days_left < 0 {
                warn!(%file, %until, "certificate is over: put another in its place, which is taken up without a restart");
            } else if days_left < CERTIFICATE_SOON_DAYS {
                warn!(%file, %until, days_left, "certificate is over soon: put another in its place, which is taken up without a restart");
            } else if all {
                info!(%file, %until, days_left, "certificate in use");
            }
        }
    }
}

/// Logs the ends of the certificates in use: all at once, the near ones each day.
pub(super) async fn remind(certificates: Arc<Certificates>) {
    certificates.tell(true);
    loop {
        sleep(CERTIFICATE_TOLD_EVERY).await;
        certificates.tell(false);
    }
}

/// Reads the files that `config` names again after each change.
pub(super) async fn follow_files(certificates: Arc<Certificates>, config: watch::Receiver<Config>) {
    let mut last = None;
    let mut reported = None;
    loop {
        clock::sleep_shared(CERTIFICATE_LOOK).await;
        let tls = config.borrow().tls.clone();
        let (shared, before) = (Arc::clone(&certificates), last.take());
        let look = move || {
            let now = Stamps::of(&tls);
            if shared.are_those_of(&now) {
                return (None, None);
            }
            // The other files may still be written.
            let renewed =
                (before.as_ref() == Some(&now)).then(|| shared.read(&tls)?.map_or(Ok(()), |renewed| shared.show(renewed)));
            (Some(now), renewed)
        };
        let Ok((stamps, renewed)) = tokio::task::spawn_blocking(look).await else { continue };
        last = stamps;
        match renewed {
            None => {}
            Some(Ok(())) => {
                reported = None;
                info!("certificates have changed; the new ones are shown from now on");
                certificates.tell(true);
            }
            // The files are tried again, as a certificate may become valid, and reported once.
            Some(Err(cause)) => {
                metrics::counter!("kontor.agent.certificates_refused").increment(1);
                if reported.as_ref() != Some(&cause) {
                    warn!(%cause, "certificates have changed and cannot be used; those from before stay");
                    reported = Some(cause);
                }
            }
        }
    }
}

/// The mark of a file's version: inode, length, and the times of its last changes. `None` without a file.
type Stamp = Option<(u64, u64, i64, i64, i64, i64)>;

/// The versions of the certificates' files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Stamps(BTreeMap<PathBuf, Stamp>);

impl Stamps {
    /// The present versions. Blocks.
    pub(super) fn of(tls: &Tls) -> Stamps {
        let mut stamps = BTreeMap::new();
        for path in [&tls.ca_file, &tls.cert_file, &tls.key_file].into_iter().flatten() {
            stamps.insert(path.clone(), stamp(path));
        }
        if let Some(folder) = &tls.ca_path {
            // An unreadable folder counts as empty.
            for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
                stamps.insert(entry.path(), stamp(&entry.path()));
            }
        }
        Stamps(stamps)
    }
}

/// The version of the file at `path`, over links.
fn stamp(path: &Path) -> Stamp {
    let file = std::fs::metadata(path).ok()?;
    Some((file.ino(), file.len(), file.mtime(), file.mtime_nsec(), file.ctime(), file.ctime_nsec()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Sources, resolve};
    use crate::tls::create_ca;
    use crate::tls::testing::{dated_cert, server_cert};
    use serde_json::json;
    use std::time::Duration;
    use tracing_subscriber::fmt::MakeWriter;

    /// A CA and a certificate of it that is valid for so long, with its key: the files by name.
    fn made(days: u32) -> [(&'static str, String); 3] {
        let ca = create_ca("consul", 100, &[]).unwrap();
        let (cert, key) = server_cert(&ca, "dc1", days);
        [("ca.pem", ca.0), ("cert.pem", cert), ("key.pem", key)]
    }

    fn write(folder: &Path, files: &[(&str, String)]) {
        files.iter().for_each(|(name, text)| std::fs::write(folder.join(name), text).unwrap());
    }

    fn certificates(folder: &Path) -> (Arc<Certificates>, watch::Sender<Config>) {
        let path = |name: &str| folder.join(name).display().to_string();
        let flags = json!({
            "bind_addr": "127.0.0.1", "data_dir": path("data"), "datacenter": "dc1",
            "ca_file": path("ca.pem"), "cert_file": path("cert.pem"), "key_file": path("key.pem"),
        });
        let config = resolve(&Sources { flags, ..Sources::default() }).unwrap();
        let stamps = Stamps::of(&config.tls);
        let tls = trust::Tls::load(&config, None).unwrap();
        (Arc::new(Certificates::new(&config, stamps, &tls, None, None, None).unwrap()), watch::Sender::new(config))
    }

    /// The identity of the RPC port's present TLS settings.
    fn in_use(certificates: &Certificates) -> usize {
        Arc::as_ptr(&certificates.rpc.as_ref().unwrap().server.load_full()) as usize
    }

    /// Time for two looks and the reading after them.
    async fn looks_go_by() {
        sleep(CERTIFICATE_LOOK * 4).await;
    }

    #[tokio::test(start_paused = true)]
    async fn files_that_are_written_anew_are_taken_up_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        write(folder, &made(10));
        let (certificates, config) = certificates(folder);
        let first = in_use(&certificates);
        tokio::spawn(follow_files(Arc::clone(&certificates), config.subscribe()));
        looks_go_by().await;
        assert_eq!(in_use(&certificates), first, "nothing has changed");
        let new = made(20);
        write(folder, &new[..2]);
        looks_go_by().await;
        assert_eq!(in_use(&certificates), first, "the key is not the certificate's");
        write(folder, &new[2..]);
        looks_go_by().await;
        let second = in_use(&certificates);
        assert_ne!(second, first);
        looks_go_by().await;
        assert_eq!(in_use(&certificates), second, "and that once");
        assert!(certificates.read(&config.borrow().tls).unwrap().is_none(), "nor by a reload");
        std::fs::remove_file(folder.join("cert.pem")).unwrap();
        looks_go_by().await;
        assert_eq!(in_use(&certificates), second, "what is gone does not count");
        // Put there by a rename, as tools that renew certificates do.
        let newest = made(30);
        for (name, text) in &newest {
            std::fs::write(folder.join("beside"), text).unwrap();
            std::fs::rename(folder.join("beside"), folder.join(name)).unwrap();
        }
        looks_go_by().await;
        assert_ne!(in_use(&certificates), second);
    }

    #[test]
    fn one_that_is_over_or_of_tomorrow_is_not_taken_in_the_place_of_one_of_today() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        write(folder, &made(10));
        let (certificates, config) = certificates(folder);
        for (years, words) in [([2020, 2021], "expired"), ([2090, 2091], "not-yet-valid")] {
            let ca = create_ca("consul", 100, &[]).unwrap();
            let (cert, key) = dated_cert(&ca, &["server.dc1.consul"], years);
            write(folder, &[("ca.pem", ca.0), ("cert.pem", cert), ("key.pem", key)]);
            let why = certificates.read(&config.borrow().tls).map(|read| read.is_some()).unwrap_err();
            assert!(why.contains(words) && why.contains("cert.pem"), "{why}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_reload_that_names_other_files_has_those_followed() {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        write(one.path(), &made(10));
        write(two.path(), &made(10));
        let (certificates, config) = certificates(one.path());
        tokio::spawn(follow_files(Arc::clone(&certificates), config.subscribe()));
        let first = in_use(&certificates);
        let path = |name: &str| Some(two.path().join(name));
        let (ca_file, cert_file, key_file) = (path("ca.pem"), path("cert.pem"), path("key.pem"));
        config.send_modify(|config| config.tls.take_files(&Tls { ca_file, cert_file, key_file, ..Tls::default() }));
        looks_go_by().await;
        let second = in_use(&certificates);
        assert_ne!(second, first);
        write(one.path(), &made(10));
        looks_go_by().await;
        assert_eq!(in_use(&certificates), second, "the old ones count no more");
    }

    #[tokio::test(start_paused = true)]
    async fn the_days_left_are_told_at_the_start_and_each_day_once_they_are_few() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), &made(29));
        let (certificates, _config) = certificates(folder.path());
        let lines: &'static Mutex<Vec<u8>> = Box::leak(Box::default());
        let count = |text: &str| String::from_utf8_lossy(&lines.lock().unwrap()).matches(text).count();
        let log = tracing_subscriber::fmt().with_writer(|| lines.make_writer()).with_ansi(false).finish();
        crate::telemetry::hear_all();
        let _in_this_thread = tracing::subscriber::set_default(log);
        tokio::spawn(remind(certificates));
        sleep(Duration::from_secs(1)).await;
        assert_eq!((count("ca.pem"), count("cert.pem")), (1, 1));
        assert_eq!(count("WARN") + count("INFO"), 2);
        assert_eq!(count("is over soon"), 1);
        sleep(CERTIFICATE_TOLD_EVERY * 3).await;
        assert_eq!((count("ca.pem"), count("cert.pem")), (1, 4), "the CA has time");
    }
}
