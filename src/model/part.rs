//! The parts of Consul that are not offered, and what is said of each.
//!
//! `http` answers with the sentence, `cli` ends with it: who asks learns what is missing and what to
//! use, and never takes it for an empty answer.

/// A part of Consul that is not offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Tokens, policies, roles, login.
    Acl,
    /// The archive for support.
    Debug,
    /// What only Consul Enterprise has.
    Enterprise,
    /// User events.
    Events,
    /// Commands run on other nodes.
    Exec,
    /// Gossip keys changed at run time.
    Keyring,
    /// The key/value store.
    Kv,
    /// The service mesh.
    Mesh,
    /// The log, streamed.
    Monitor,
    /// Datacenters joined by peering.
    Peering,
    /// Prepared queries.
    Queries,
    /// Sessions, and locks by them.
    Sessions,
    /// Snapshots, and restoring them.
    Snapshots,
    /// The metrics, streamed.
    Stream,
    /// Transactions.
    Transactions,
    /// The web interface.
    Ui,
    /// Counts of what a datacenter holds.
    Usage,
}

impl Part {
    /// One line for the user: what is missing, and what to use.
    pub fn sentence(self) -> &'static str {
        match self {
            Part::Acl => {
                "Access control (ACLs) is not offered yet: let only trusted networks reach port 8500, and see \
                 http_config.allow_write_http_from and verify_incoming_https"
            }
            Part::Debug => "The debug archive is not offered yet: read /v1/agent/self, /v1/agent/host and /v1/agent/metrics",
            Part::Enterprise => "Namespaces, partitions, network areas and licences are of Consul Enterprise and not offered",
            Part::Events => "User events are not offered yet: follow the catalog with kontor watch or with blocking queries",
            Part::Exec => "Running commands on other nodes is not offered: use ssh or a tool for it",
            Part::Keyring => {
                "Changing gossip keys at run time is not offered yet: set encrypt in the files of all agents and restart them"
            }
            Part::Kv => "The key/value store is not offered yet: keep keys in another store, for example in etcd",
            Part::Mesh => {
                "The service mesh (connect, config entries, intentions, gateways) is not offered: \
                 feed a proxy of your own from /v1/health/service"
            }
            Part::Monitor => "Streaming the log is not offered yet: read the agent's standard output or its log_file",
            Part::Peering => {
                "Peering is not offered: join datacenters with kontor join -wan or federation { }, and ask them with ?dc="
            }
            Part::Queries => {
                "Prepared queries are not offered yet: ask /v1/health/service with passing and near, \
                 and other datacenters with ?dc= or ?dc=*"
            }
            Part::Sessions => "Sessions and locks are not offered yet: take locks from another store, for example from etcd",
            Part::Snapshots => "Snapshots are not offered yet: stop one server at a time and copy its data_dir",
            Part::Stream => "Streaming metrics is not offered yet: ask /v1/agent/metrics again and again",
            Part::Transactions => {
                "Transactions are not offered yet: /v1/catalog/register takes a node, a service and checks at once"
            }
            Part::Ui => {
                "The web interface is not offered yet: look with kontor catalog, kontor members and kontor federation list"
            }
            Part::Usage => "Usage counts are not offered yet: count the rows of /v1/catalog/services and /v1/catalog/nodes",
        }
    }

    /// One word for machines.
    pub fn word(self) -> &'static str {
        match self {
            Part::Acl => "acl",
            Part::Debug => "debug",
            Part::Enterprise => "enterprise",
            Part::Events => "event",
            Part::Exec => "exec",
            Part::Keyring => "keyring",
            Part::Kv => "kv",
            Part::Mesh => "mesh",
            Part::Monitor => "monitor",
            Part::Peering => "peering",
            Part::Queries => "query",
            Part::Sessions => "session",
            Part::Snapshots => "snapshot",
            Part::Stream => "metrics-stream",
            Part::Transactions => "txn",
            Part::Ui => "ui",
            Part::Usage => "usage",
        }
    }
}
