//! The parts of Consul that are not offered, with a sentence for each.
//!
//! `http` answers with the sentence, `cli` ends with it: the user learns the missing part and its substitute, and never
//! takes it for an empty answer.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Tokens, policies, roles, login.
    Acl,
    Debug,
    Enterprise,
    Events,
    Exec,
    /// Gossip keys changed at run time.
    Keyring,
    /// The command that runs another one under a lock.
    Lock,
    Mesh,
    Monitor,
    Peering,
    Queries,
    Snapshots,
    Stream,
    Ui,
    Usage,
}

impl Part {
    /// One line for the user: the missing part and its substitute.
    pub fn sentence(self) -> &'static str {
        self.texts().1
    }

    /// One word for machines.
    pub fn word(self) -> &'static str {
        self.texts().0
    }

    fn texts(self) -> (&'static str, &'static str) {
        match self {
            Part::Acl => (
                "acl",
                "Access control (ACLs) is not offered yet: let only trusted networks reach port 8500, and see \
                 http_config.allow_write_http_from and verify_incoming_https",
            ),
            Part::Debug => {
                ("debug", "The debug archive is not offered yet: read /v1/agent/self, /v1/agent/host and /v1/agent/metrics")
            }
            Part::Enterprise => {
                ("enterprise", "Namespaces, partitions, network areas and licences are of Consul Enterprise and not offered")
            }
            Part::Events => {
                ("event", "User events are not offered yet: follow the catalog with kontor watch or with blocking queries")
            }
            Part::Exec => ("exec", "Running commands on other nodes is not offered: use ssh or a tool for it"),
            Part::Keyring => (
                "keyring",
                "Changing gossip keys at run time is not offered yet: set encrypt in the files of all agents and restart them",
            ),
            Part::Lock => {
                ("lock", "The command lock is not offered yet: make a session, and put a key with ?acquire= and its id")
            }
            Part::Mesh => (
                "mesh",
                "The service mesh (connect, config entries, intentions, gateways) is not offered: \
                 feed a proxy of your own from /v1/health/service",
            ),
            Part::Monitor => {
                ("monitor", "Streaming the log is not offered yet: read the agent's standard output or its log_file")
            }
            Part::Peering => (
                "peering",
                "Peering is not offered: join datacenters with kontor join -wan or federation { }, and ask them with ?dc=",
            ),
            Part::Queries => (
                "query",
                "Prepared queries are not offered yet: ask /v1/health/service with passing and near, \
                 and other datacenters with ?dc= or ?dc=*",
            ),
            Part::Snapshots => ("snapshot", "Snapshots are not offered yet: stop one server at a time and copy its data_dir"),
            Part::Stream => ("metrics-stream", "Streaming metrics is not offered yet: ask /v1/agent/metrics again and again"),
            Part::Ui => (
                "ui",
                "The web interface is not offered yet: look with kontor catalog, kontor members and kontor federation list",
            ),
            Part::Usage => {
                ("usage", "Usage counts are not offered yet: count the rows of /v1/catalog/services and /v1/catalog/nodes")
            }
        }
    }
}
