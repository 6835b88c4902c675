//! The records that a snapshot consists of: a kind (one byte), a length (four bytes, little-endian) and a body.
//!
//! A body is opaque metadata, or MessagePack with field names, so that fields can be added.

use crate::defaults::SNAPSHOT_RECORD_BYTES;
use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};
use std::io::{BufReader, BufWriter, Error, ErrorKind, Read, Write};

const CHECKSUM_BYTES: usize = 32;

/// The kind of a record. The numbers belong to the format and are never given anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    /// Raft's own metadata, opaque.
    Meta = 1,
    /// The datacenter of the catalog, and the indexes of its lists.
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
    /// The observers of the check before it, and their votes.
    Votes = 10,
    Autopilot = 11,
    /// The format level in force, where it has one, and the count of commands. Stands before the records of that level.
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
        use Kind::{Autopilot, Catalog, Check, Coordinate, End, Format, Group, Meta, Node, Removal, Service, Votes};
        use Kind::{KvEntry, KvIndexes, LockDelay, Session, SessionIndex, Tombstone};
        let former = [Meta, Catalog, Node, Service, Check, Coordinate, Group, End, Removal, Votes, Autopilot, Format];
        let of_keys = [KvIndexes, KvEntry, Tombstone, LockDelay, SessionIndex, Session];
        former.into_iter().chain(of_keys).find(|kind| *kind as u8 == number)
    }
}

pub(super) fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, String> {
    rmp_serde::from_slice(body).map_err(|error| format!("a record does not parse: {error}"))
}

/// A snapshot on its way out.
pub(super) struct Writer<'a> {
    out: BufWriter<&'a mut dyn Write>,
    sum: Sha256,
}

impl<'a> Writer<'a> {
    pub(super) fn new(out: &'a mut dyn Write) -> Writer<'a> {
        Writer { out: BufWriter::new(out), sum: Sha256::new() }
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.sum.update(bytes);
        self.out.write_all(bytes)
    }

    pub(super) fn record(&mut self, kind: Kind, body: &[u8]) -> std::io::Result<()> {
        let length = u32::try_from(body.len()).ok().filter(|length| *length <= SNAPSHOT_RECORD_BYTES);
        let length = length.ok_or_else(|| Error::new(ErrorKind::InvalidData, too_long(kind, body.len())))?;
        self.bytes(&[kind as u8])?;
        self.bytes(&length.to_le_bytes())?;
        self.bytes(body)
    }

    pub(super) fn value(&mut self, kind: Kind, value: &impl Serialize) -> std::io::Result<()> {
        let body = rmp_serde::to_vec_named(value).map_err(|error| Error::new(ErrorKind::InvalidData, error))?;
        self.record(kind, &body)
    }

    /// Writes the checksum of all bytes so far.
    pub(super) fn finish(mut self) -> std::io::Result<()> {
        self.out.write_all(&self.sum.finalize())?;
        self.out.flush()
    }
}

fn too_long(kind: Kind, bytes: usize) -> String {
    format!("a record ({kind:?}) of {bytes} bytes is over the bound of {SNAPSHOT_RECORD_BYTES}")
}

/// A snapshot on its way in.
#[derive(Debug)]
pub(super) struct Reader<R> {
    input: BufReader<R>,
    sum: Sha256,
}

impl<R: Read> Reader<R> {
    pub(super) fn new(input: R) -> Reader<R> {
        Reader { input: BufReader::new(input), sum: Sha256::new() }
    }

    /// Exactly `length` bytes. Memory grows with the bytes that arrive, not with the length that is announced.
    pub(super) fn bytes(&mut self, length: u32) -> Result<Vec<u8>, String> {
        let mut bytes = Vec::new();
        (&mut self.input).take(length.into()).read_to_end(&mut bytes).map_err(|error| format!("cannot read on: {error}"))?;
        if bytes.len() < length as usize {
            return Err(format!("cut off: expected {length} more bytes, got {}", bytes.len()));
        }
        self.sum.update(&bytes);
        Ok(bytes)
    }

    pub(super) fn number(&mut self) -> Result<u32, String> {
        let bytes = self.bytes(4)?;
        Ok(bytes.iter().rev().fold(0, |number, byte| number << 8 | u32::from(*byte)))
    }

    /// The next record, or nothing at the end.
    pub(super) fn record(&mut self) -> Result<Option<(Kind, Vec<u8>)>, String> {
        let number = self.bytes(1)?.first().copied().unwrap_or_default();
        let kind = Kind::of(number).ok_or_else(|| format!("no record is of kind {number}"))?;
        let length = self.number()?;
        if length > SNAPSHOT_RECORD_BYTES {
            return Err(too_long(kind, length as usize));
        }
        let body = self.bytes(length)?;
        match kind {
            Kind::End if body.is_empty() => Ok(None),
            Kind::End => Err("the last record has a body".to_owned()),
            _ => Ok(Some((kind, body))),
        }
    }

    /// Refuses a snapshot whose checksum is wrong, or that goes on after it.
    pub(super) fn finish(self) -> Result<(), String> {
        let mut rest = Vec::new();
        let limit = CHECKSUM_BYTES as u64 + 1;
        self.input.take(limit).read_to_end(&mut rest).map_err(|error| format!("cannot read the checksum: {error}"))?;
        let fits = rest == self.sum.finalize().as_slice();
        fits.then_some(()).ok_or_else(|| "the checksum does not fit: the snapshot is damaged".to_owned())
    }
}
