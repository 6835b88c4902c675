//! A view written out and read back: magic, version, records, checksum.
//!
//! The raft room calls it, with metadata of its own that this room does not look into. Each table writes
//! its own records and takes them in again; here is the format around them. A snapshot is
//! read whole or refused whole: nothing of one byte that is wrong or missing ever becomes a view, and
//! no length is believed before the bytes have come.
//!
//! Each record is a kind (one byte), a length (four bytes, little-endian) and a body: the opaque
//! metadata, or MessagePack with field names, so that fields can be added. A record of kind `End`
//! without a body is last; the SHA-256 of everything before it follows.

use super::catalog::{self, Loading};
use super::removals;
use super::view::View;
use crate::defaults::SNAPSHOT_RECORD_BYTES;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::io::{BufReader, BufWriter, Error, ErrorKind, Read, Write};
use std::sync::Arc;

const MAGIC: &[u8; 8] = b"KONTORSS";
const VERSION: u32 = 1;
const CHECKSUM_BYTES: usize = 32;

/// What a record holds. The numbers are the format's and are never given anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    /// Raft's own metadata, opaque.
    Meta = 1,
    /// Whose catalog it is, and the indexes of its lists.
    Catalog = 2,
    Node = 3,
    /// Of the node before it.
    Service = 4,
    /// Of the node before it.
    Check = 5,
    Coordinate = 6,
    Group = 7,
    End = 8,
    /// A cluster of another datacenter that is removed.
    Removal = 9,
    /// Who votes on the check before it, and their votes.
    Votes = 10,
    /// How servers are treated.
    Autopilot = 11,
    /// The format level in force, where it has one, and the count of commands. Stands before what came with it.
    Format = 12,
    /// The indexes of keys.
    KvIndexes = 13,
    KvEntry = 14,
    /// A deleted key.
    Tombstone = 15,
    /// A lock that cannot be taken yet.
    LockDelay = 16,
    /// The index of sessions.
    SessionIndex = 17,
    Session = 18,
}

impl Kind {
    fn of(number: u8) -> Option<Kind> {
        const ALL: [Kind; 18] = [
            Kind::Meta,
            Kind::Catalog,
            Kind::Node,
            Kind::Service,
            Kind::Check,
            Kind::Coordinate,
            Kind::Group,
            Kind::End,
            Kind::Removal,
            Kind::Votes,
            Kind::Autopilot,
            Kind::Format,
            Kind::KvIndexes,
            Kind::KvEntry,
            Kind::Tombstone,
            Kind::LockDelay,
            Kind::SessionIndex,
            Kind::Session,
        ];
        ALL.into_iter().find(|kind| *kind as u8 == number)
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct CatalogRecord {
    datacenter: String,
    indexes: Indexes,
}

/// The indexes of the tables that the format has had from its beginning. Later tables have theirs in their own
/// records.
#[derive(Debug, Serialize, Deserialize)]
struct Indexes {
    #[serde(flatten)]
    catalog: catalog::Indexes,
    #[serde(default)]
    coordinates: u64,
}

/// Writes `view`, and `meta` with it. The same view and metadata give the same bytes.
pub fn encode(view: &View, meta: &[u8], out: &mut impl Write) -> std::io::Result<()> {
    let mut writer = Writer { out: BufWriter::new(out), sum: Sha256::new() };
    writer.bytes(MAGIC)?;
    writer.bytes(&VERSION.to_le_bytes())?;
    writer.record(Kind::Meta, meta)?;
    let indexes = Indexes { catalog: view.catalog.indexes, coordinates: view.coordinates.index };
    writer.value(Kind::Catalog, &CatalogRecord { datacenter: view.datacenter.to_string(), indexes })?;
    view.tables().into_iter().try_for_each(|table| table.save(&mut writer))?;
    writer.record(Kind::End, &[])?;
    let Writer { mut out, sum } = writer;
    out.write_all(&sum.finalize())?;
    out.flush()
}

/// Reads what [`encode`] wrote: the view and the metadata. The error says what is wrong with it.
pub fn decode(input: &mut impl Read) -> Result<(View, Vec<u8>), String> {
    let mut reader = Reader { input: BufReader::new(input), sum: Sha256::new() };
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

/// A snapshot on its way out.
pub(super) struct Writer<'a> {
    out: BufWriter<&'a mut dyn Write>,
    sum: Sha256,
}

impl Writer<'_> {
    fn bytes(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.sum.update(bytes);
        self.out.write_all(bytes)
    }

    fn record(&mut self, kind: Kind, body: &[u8]) -> std::io::Result<()> {
        let length = u32::try_from(body.len()).ok().filter(|length| *length <= SNAPSHOT_RECORD_BYTES).ok_or_else(|| {
            let text = format!("a record ({kind:?}) of {} bytes is over the bound of {SNAPSHOT_RECORD_BYTES}", body.len());
            Error::new(ErrorKind::InvalidData, text)
        })?;
        self.bytes(&[kind as u8])?;
        self.bytes(&length.to_le_bytes())?;
        self.bytes(body)
    }

    /// Writes a record that holds `value`.
    pub(super) fn value(&mut self, kind: Kind, value: &impl Serialize) -> std::io::Result<()> {
        let body = rmp_serde::to_vec_named(value).map_err(|error| Error::new(ErrorKind::InvalidData, error))?;
        self.record(kind, &body)
    }
}

#[derive(Debug)]
struct Reader<R> {
    input: R,
    sum: Sha256,
}

impl<R: Read> Reader<R> {
    /// Exactly `length` bytes; memory grows with what comes, not with what is announced.
    fn bytes(&mut self, length: u32) -> Result<Vec<u8>, String> {
        let mut bytes = Vec::new();
        (&mut self.input).take(u64::from(length)).read_to_end(&mut bytes).map_err(|error| format!("cannot read on: {error}"))?;
        if bytes.len() < length as usize {
            return Err(format!("cut off: expected {length} more bytes, got {}", bytes.len()));
        }
        self.sum.update(&bytes);
        Ok(bytes)
    }

    fn number(&mut self) -> Result<u32, String> {
        let bytes = self.bytes(4)?;
        Ok(bytes.iter().rev().fold(0, |number, byte| number << 8 | u32::from(*byte)))
    }

    /// The next record, or nothing at the end.
    fn record(&mut self) -> Result<Option<(Kind, Vec<u8>)>, String> {
        let number = self.bytes(1)?.first().copied().unwrap_or_default();
        let kind = Kind::of(number).ok_or_else(|| format!("no record is of kind {number}"))?;
        let length = self.number()?;
        if length > SNAPSHOT_RECORD_BYTES {
            return Err(format!("a record ({kind:?}) of {length} bytes is over the bound of {SNAPSHOT_RECORD_BYTES}"));
        }
        let body = self.bytes(length)?;
        match kind {
            Kind::End if body.is_empty() => Ok(None),
            Kind::End => Err("the last record has a body".to_owned()),
            _ => Ok(Some((kind, body))),
        }
    }

    fn finish(self) -> Result<(), String> {
        let expected = self.sum.finalize();
        let mut rest = Vec::new();
        // One byte more than there may be, to notice what does not belong.
        let limit = CHECKSUM_BYTES as u64 + 1;
        self.input.take(limit).read_to_end(&mut rest).map_err(|error| format!("cannot read the checksum: {error}"))?;
        if rest != expected.as_slice() {
            return Err("the checksum does not fit: the snapshot is damaged".to_owned());
        }
        Ok(())
    }
}

/// A view in the making, record by record.
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

/// The value that a record holds.
pub(super) fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, String> {
    rmp_serde::from_slice(body).map_err(|error| format!("a record does not parse: {error}"))
}
