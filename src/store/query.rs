//! A query on one view: the rows it finds, their index, and the keys that wake it. Nothing here takes a lock.

use super::Rendered;
use super::authorizer::Authorizer;
use super::catalog::{CatalogRows, interest, reads};
use super::coordinate::reads::{self as coordinates, CoordinateRows};
use super::key::Scope;
use super::kv;
use super::kv::reads::KvRows;
use super::select::Select;
use super::session;
use super::session::reads::SessionRows;
use super::txn;
use super::view::View;
use crate::model::answer::{self, Panic};
use crate::model::fault::Fault;
use crate::model::operation::ViewRead;
use crate::model::query::ViewQuery;
use crate::model::txn::TxnOutcome;

/// The result of a query: rows of the view, none of them copied.
#[derive(Debug)]
pub struct Found<'v> {
    /// The result's own index, at least 1.
    pub index: u64,
    pub rows: Rows<'v>,
    /// The service of which all instances are listed, because too few of them pass.
    pub panic: Option<Box<Panic>>,
    /// Addresses of the wide area are shown in place of local ones.
    translate: bool,
}

#[derive(Debug)]
pub enum Rows<'v> {
    Catalog(CatalogRows<'v>),
    Coordinate(CoordinateRows<'v>),
    /// Keys and values.
    Kv(KvRows<'v>),
    /// Sessions.
    Session(SessionRows<'v>),
    /// The results of several looks.
    Txn(TxnOutcome),
}

impl View {
    /// Answers `query`, with all instances where fewer than `panic_threshold` percent pass.
    pub fn find(&self, query: ViewQuery<'_>, panic_threshold: u8) -> Result<Found<'_>, Fault> {
        self.find_by(query, self.authorizer(query.principal), panic_threshold)
    }

    /// [`View::find`] by the rights of `by`.
    pub(super) fn find_by(&self, query: ViewQuery<'_>, by: Authorizer<'_>, panic_threshold: u8) -> Result<Found<'_>, Fault> {
        let mut select = Select::new(self, query, by)?;
        let mut panic = None;
        let rows = match query.read {
            ViewRead::Catalog(read) => Rows::Catalog(reads::of_catalog(self, read, &select)?),
            ViewRead::Health(read) => {
                let rows;
                (rows, panic) = reads::of_health(self, read, &mut select, panic_threshold)?;
                Rows::Catalog(rows)
            }
            ViewRead::Coordinate(read) => Rows::Coordinate(coordinates::rows(self, read, &select)),
            ViewRead::Kv(read) => Rows::Kv(kv::reads::rows(self, read, &select)),
            ViewRead::Session(read) => Rows::Session(session::reads::rows(self, read, &select)),
            ViewRead::Txn(gets) => Rows::Txn(txn::rows(self, gets, &select)),
        };
        Ok(Found { index: self.index_of(query), rows, panic, translate: select.translates() })
    }

    /// The index that the answer to `query` carries, at least 1.
    pub fn index_of(&self, query: ViewQuery<'_>) -> u64 {
        let by_meta = !query.selection.node_meta.is_empty();
        let index = match query.read {
            ViewRead::Catalog(read) => interest::catalog_index(self, read, by_meta),
            ViewRead::Health(read) => interest::health_index(self, read, by_meta),
            ViewRead::Coordinate(read) => coordinates::index(self, read),
            ViewRead::Kv(read) => kv::reads::index(self, read),
            ViewRead::Session(_) => session::reads::index(self),
            ViewRead::Txn(_) => txn::index(self),
        };
        index.max(1)
    }

    /// The scopes of a watch on `query`.
    pub(super) fn scopes_of(&self, query: ViewQuery<'_>) -> Vec<Scope> {
        let by_meta = !query.selection.node_meta.is_empty();
        match query.read {
            ViewRead::Catalog(read) => interest::catalog_scopes(self, read, by_meta),
            ViewRead::Health(read) => interest::health_scopes(self, read, by_meta),
            ViewRead::Coordinate(read) => coordinates::scopes(read),
            ViewRead::Kv(read) => kv::reads::scopes(read),
            ViewRead::Session(read) => session::reads::scopes(read),
            ViewRead::Txn(gets) => txn::scopes(gets),
        }
    }
}

impl Found<'_> {
    /// The answer as users get it: JSON, put together from the fragments that the rows keep.
    pub fn render(self) -> Rendered {
        let Found { index, rows, panic, translate } = self;
        let there = |is_there| if is_there { answer::Found::Yes } else { answer::Found::No };
        let (body, found) = match rows {
            Rows::Catalog(rows) => (rows.render(translate), there(rows.found())),
            Rows::Coordinate(rows) => (rows.render(), there(rows.found())),
            Rows::Kv(rows) => (rows.render(), there(rows.found())),
            Rows::Session(rows) => (rows.render(), answer::Found::Yes),
            Rows::Txn(outcome) if outcome.errors.is_empty() => (outcome.json().into(), answer::Found::Yes),
            Rows::Txn(outcome) => (outcome.json().into(), answer::Found::Conflict),
        };
        Rendered { index, body, found, panic }
    }
}
