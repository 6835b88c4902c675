//! Transactions: several operations on keys and the catalog, of which all are done or none.

use super::check::HealthCheck;
use super::kv::{KvChange, KvEntry, KvKey, ShownEntry};
use super::node::Node;
use super::service::NodeService;
use serde::ser::SerializeMap;
use serde::{Deserialize, Serialize, Serializer};

/// One operation of a transaction.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum TxnOp {
    /// Only look.
    Get(TxnGet),
    /// Change keys.
    Kv(KvChange),
    /// Change a node.
    Node(CatalogVerb, Box<Node>),
    /// Change an instance of a node.
    Service(CatalogVerb, String, Box<NodeService>),
    /// Change a check.
    Check(CatalogVerb, Box<HealthCheck>),
    /// A change that cannot be made, with the reason.
    Refused(String),
}

/// An operation that only looks.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum TxnGet {
    /// The entry, which must be there.
    Key(KvKey),
    /// The entry, or one without a value.
    KeyOrEmpty(KvKey),
    /// All entries whose key begins so.
    Tree(KvKey),
    /// The entry must have been changed at that index last.
    CheckIndex(KvKey, u64),
    /// That session must hold the lock; nobody where it is empty.
    CheckSession(KvKey, String),
    /// There must be no entry.
    CheckNotExists(KvKey),
    /// The node, by its id or else by its name.
    Node { id: String, name: String },
    /// An instance of a node.
    Service { node: String, id: String },
    /// A check of a node.
    Check { node: String, id: String },
    /// Nothing: an operation that names none.
    Nothing,
    /// An operation that cannot be done, with the reason.
    Refused(String),
}

impl TxnGet {
    /// The key, or the beginning of keys, that it looks at.
    pub fn key(&self) -> Option<&KvKey> {
        match self {
            TxnGet::Key(key) | TxnGet::KeyOrEmpty(key) | TxnGet::Tree(key) => Some(key),
            TxnGet::CheckIndex(key, _) | TxnGet::CheckSession(key, _) | TxnGet::CheckNotExists(key) => Some(key),
            TxnGet::Node { .. } | TxnGet::Service { .. } | TxnGet::Check { .. } | TxnGet::Nothing | TxnGet::Refused(_) => None,
        }
    }

    /// Bytes of its texts.
    pub fn text_bytes(&self) -> usize {
        match self {
            TxnGet::Key(key) | TxnGet::KeyOrEmpty(key) | TxnGet::Tree(key) => key.as_bytes().len(),
            TxnGet::CheckIndex(key, _) | TxnGet::CheckNotExists(key) => key.as_bytes().len(),
            TxnGet::CheckSession(key, session) => key.as_bytes().len() + session.len(),
            TxnGet::Node { id, name } => id.len() + name.len(),
            TxnGet::Service { node, id } | TxnGet::Check { node, id } => node.len() + id.len(),
            TxnGet::Nothing => 0,
            TxnGet::Refused(why) => why.len(),
        }
    }
}

/// A change of a node, an instance or a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CatalogVerb {
    /// Register it.
    Set,
    /// Register it if it was changed last at the index that it names.
    Cas,
    /// Remove it.
    Delete,
    /// Remove it if it was changed last at the index that it names.
    DeleteCas,
}

/// The results of a transaction, or its failures.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TxnOutcome {
    /// One a result, in the order of the operations; empty where there are errors.
    pub results: Vec<TxnResult>,
    /// One a failed operation.
    pub errors: Vec<TxnError>,
}

/// One result of a transaction.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum TxnResult {
    /// An entry that was read.
    Read(KvEntry),
    /// An entry that was written or checked; its value is left out.
    Written(KvEntry),
    /// A node.
    Node(Node),
    /// An instance.
    Service(Box<NodeService>),
    /// A check.
    Check(Box<HealthCheck>),
}

/// Why an operation of a transaction failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct TxnError {
    /// The place of the operation, from 0.
    pub op_index: usize,
    /// The reason.
    pub what: String,
}

impl TxnOutcome {
    /// The JSON of an answer: the results, or the errors.
    pub fn json(&self) -> Vec<u8> {
        #[derive(Serialize)]
        #[serde(rename_all = "PascalCase")]
        struct Shown<'a> {
            results: Option<Vec<ShownResult<'a>>>,
            errors: Option<&'a [TxnError]>,
        }
        let (results, errors) = if self.errors.is_empty() {
            (Some(self.results.iter().map(ShownResult).collect()), None)
        } else {
            (None, Some(self.errors.as_slice()))
        };
        // Plain structs with text keys cannot fail to have JSON.
        serde_json::to_vec(&Shown { results, errors }).unwrap_or_default()
    }
}

/// A result as JSON shows it.
#[derive(Clone, Copy, Debug)]
struct ShownResult<'a>(&'a TxnResult);

impl Serialize for ShownResult<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut shown = serializer.serialize_map(Some(1))?;
        match self.0 {
            TxnResult::Read(entry) => shown.serialize_entry("KV", &ShownEntry { entry, with_value: true })?,
            TxnResult::Written(entry) => shown.serialize_entry("KV", &ShownEntry { entry, with_value: false })?,
            TxnResult::Node(node) => shown.serialize_entry("Node", node)?,
            TxnResult::Service(service) => shown.serialize_entry("Service", &**service)?,
            TxnResult::Check(check) => shown.serialize_entry("Check", &**check)?,
        }
        shown.end()
    }
}
