//! A view written out and read back: magic, version, records, and the SHA-256 of everything before it.
//!
//! The raft room adds metadata of its own. A snapshot is read whole or refused whole: one byte that is wrong or missing
//! keeps it from becoming a view.

use super::catalog::{self, Loading};
use super::record::{Kind, Reader, Writer, parse};
use super::removals;
use super::view::View;
use serde::{Deserialize, Serialize};
use std::io::{Read, Write};
use std::sync::Arc;

const MAGIC: &[u8; 8] = b"KONTORSS";
const VERSION: u32 = 1;

#[derive(Debug, Serialize, Deserialize)]
struct CatalogRecord {
    datacenter: String,
    indexes: Indexes,
}

/// The indexes of the tables that the format began with. Later tables have theirs in their own records.
#[derive(Debug, Serialize, Deserialize)]
struct Indexes {
    #[serde(flatten)]
    catalog: catalog::Indexes,
    #[serde(default)]
    coordinates: u64,
}

/// Writes `view` with `meta`. The same view and metadata give the same bytes.
pub fn encode(view: &View, meta: &[u8], out: &mut impl Write) -> std::io::Result<()> {
    let mut writer = Writer::new(out);
    writer.bytes(MAGIC)?;
    writer.bytes(&VERSION.to_le_bytes())?;
    writer.record(Kind::Meta, meta)?;
    let indexes = Indexes { catalog: view.catalog.indexes, coordinates: view.coordinates.index };
    writer.value(Kind::Catalog, &CatalogRecord { datacenter: view.datacenter.to_string(), indexes })?;
    view.tables().into_iter().try_for_each(|table| table.save(&mut writer))?;
    writer.record(Kind::End, &[])?;
    writer.finish()
}

/// Reads a view and its metadata as [`encode`] wrote them. The error says which part is wrong.
pub fn decode(input: &mut impl Read) -> Result<(View, Vec<u8>), String> {
    let mut reader = Reader::new(input);
    let magic = reader.bytes(MAGIC.len() as u32)?;
    if magic != MAGIC {
        return Err(format!("expected a snapshot of Kontor, which begins with {MAGIC:?}, got {magic:?}"));
    }
    let version = reader.number()?;
    if version != VERSION {
        return Err(format!("expected a snapshot of version {VERSION}, got version {version}"));
    }
    let mut build = Build::default();
    while let Some((kind, body)) = reader.record()? {
        build.take(kind, body)?;
    }
    reader.finish()?;
    build.finish()
}

#[derive(Debug, Default)]
struct Build {
    view: View,
    meta: Option<Vec<u8>>,
    catalog_seen: bool,
    loading: Loading,
}

impl Build {
    fn take(&mut self, kind: Kind, body: Vec<u8>) -> Result<(), String> {
        let View { datacenter, format, catalog, coordinates, removals, autopilot, keys, sessions } = &mut self.view;
        match kind {
            Kind::Meta => self.meta = Some(body),
            Kind::Catalog => {
                let CatalogRecord { datacenter: name, indexes } = parse(&body)?;
                (*datacenter, catalog.indexes, coordinates.index) = (name.into(), indexes.catalog, indexes.coordinates);
                self.catalog_seen = true;
            }
            Kind::Node | Kind::Service | Kind::Check | Kind::Votes | Kind::Group => self.loading.take(catalog, kind, &body)?,
            Kind::Coordinate => coordinates.load(&body)?,
            Kind::Removal => removals::load(removals, &body)?,
            Kind::Autopilot => {
                *autopilot = Some(Arc::new(parse(&body)?));
                format.raise_to_autopilot();
            }
            Kind::Format => format.load(parse(&body)?)?,
            Kind::KvIndexes | Kind::KvEntry | Kind::Tombstone | Kind::LockDelay => keys.load(kind, &body)?,
            Kind::SessionIndex | Kind::Session => sessions.load(kind, &body)?,
            Kind::End => {}
        }
        Ok(())
    }

    fn finish(mut self) -> Result<(View, Vec<u8>), String> {
        self.loading.finish(&mut self.view.catalog);
        let meta = self.meta.ok_or("the record of metadata is missing")?;
        if self.catalog_seen { Ok((self.view, meta)) } else { Err("the record of the catalog is missing".to_owned()) }
    }
}
