//! Sessions by their id.

pub(super) mod commands;
pub(super) mod reads;

use super::key::key_of;
use super::record::{Kind, Writer, parse};
use super::table::Table;
use crate::model::ids::SessionId;
use crate::model::session::Session;
use imbl::{OrdMap, OrdSet};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// All sessions.
#[derive(Clone, Debug, Default)]
pub(super) struct Sessions {
    rows: OrdMap<SessionId, Arc<Session>>,
    /// The same by the key of their node.
    by_node: OrdSet<(Arc<str>, SessionId)>,
    /// Index of the last change of one.
    index: u64,
}

#[derive(Debug, Serialize, Deserialize)]
struct SessionIndex {
    index: u64,
}

impl Sessions {
    /// The session of an id.
    pub(super) fn get(&self, id: SessionId) -> Option<&Arc<Session>> {
        self.rows.get(&id)
    }

    /// All of them, in the order of their ids.
    pub(super) fn all(&self) -> impl Iterator<Item = &Arc<Session>> {
        self.rows.values()
    }

    /// Those of a node, by its key.
    pub(super) fn of_node(&self, node: &Arc<str>) -> impl Iterator<Item = &Arc<Session>> {
        let from = (Arc::clone(node), SessionId::default());
        let of_node = self.by_node.range(from..).take_while(move |(name, _)| name == node);
        of_node.filter_map(|(_, id)| self.rows.get(id))
    }

    fn place(&mut self, session: Session) {
        self.by_node.insert((key_of(&session.node), session.id));
        self.rows.insert(session.id, Arc::new(session));
    }

    fn take(&mut self, id: SessionId) -> Option<Arc<Session>> {
        let session = self.rows.remove(&id)?;
        self.by_node.remove(&(key_of(&session.node), id));
        Some(session)
    }

    /// Takes in a record of a snapshot.
    pub(super) fn load(&mut self, kind: Kind, body: &[u8]) -> Result<(), String> {
        match kind {
            Kind::Session => self.place(parse(body)?),
            _ => self.index = parse::<SessionIndex>(body)?.index,
        }
        Ok(())
    }
}

impl Table for Sessions {
    fn save(&self, to: &mut Writer<'_>) -> std::io::Result<()> {
        if self.index == 0 {
            return Ok(());
        }
        to.value(Kind::SessionIndex, &SessionIndex { index: self.index })?;
        self.rows.values().try_for_each(|session| to.value(Kind::Session, &**session))
    }

    fn move_to(&mut self, _datacenter: &Arc<str>) {}

    #[cfg(test)]
    fn index(&self) -> u64 {
        self.index
    }

    #[cfg(test)]
    fn verify(&self, view: &super::View) {
        assert_eq!(self.rows.len(), self.by_node.len());
        for (id, session) in &self.rows {
            assert!(*id == session.id && session.create_index <= self.index, "{session:?}");
            assert!(self.by_node.contains(&(key_of(&session.node), *id)), "{session:?}");
            let node = view.catalog.node(&session.node).expect("a session has its node");
            assert!(session.all_checks().all(|check| node.check(check).is_some()), "{session:?}");
        }
    }
}
