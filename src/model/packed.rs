//! MessagePack as agents send it to each other: with the names of fields, and read within bounds.
//!
//! `rpc`, `bridge` and `raft` encode and decode their messages here. One byte may stand for a struct of half a kilobyte,
//! so the depth and the values of a message are counted before any of it is decoded. A length counts when it is announced.

use crate::defaults::{COMMAND_DEPTH, COMMAND_VALUES, MESSAGE_DEPTH, MESSAGE_VALUES};
use serde::Serialize;
use serde::de::DeserializeOwned;

#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Maps and lists within each other.
    depth: usize,
    /// Values in all, keys included.
    values: usize,
}

/// Of one command of the log.
pub const COMMAND: Bounds = Bounds { depth: COMMAND_DEPTH, values: COMMAND_VALUES };
/// Of all messages between agents.
pub const MESSAGE: Bounds = Bounds { depth: MESSAGE_DEPTH, values: MESSAGE_VALUES };

/// The reason why a message cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    #[error("{0}")]
    Excess(#[from] Excess),
    #[error("{0}")]
    Decode(#[from] rmp_serde::decode::Error),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Excess {
    #[error("it nests deeper than {0} levels; send it with fewer")]
    Depth(usize),
    #[error("it holds more than {0} values; send it in parts")]
    Values(usize),
}

pub fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, rmp_serde::encode::Error> {
    rmp_serde::to_vec_named(value)
}

/// The value of a message from another agent, read within [`MESSAGE`].
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Unreadable> {
    check(bytes, MESSAGE)?;
    Ok(rmp_serde::from_slice(bytes)?)
}

/// Refuses `bytes` that hold more than `bounds`. Bytes that are cut off or are no MessagePack are left to the decoder,
/// which gets no further in them than this did.
pub fn check(bytes: &[u8], bounds: Bounds) -> Result<(), Excess> {
    let mut rest = bytes;
    let mut left = bounds.values;
    // For each open map and list: the number of its values that still follow.
    let mut open: Vec<usize> = Vec::new();
    loop {
        let Some(Head { children, after }) = head(rest) else { return Ok(()) };
        rest = after;
        if children > 0 {
            left = left.checked_sub(children).ok_or(Excess::Values(bounds.values))?;
            if open.len() == bounds.depth {
                return Err(Excess::Depth(bounds.depth));
            }
            open.push(children);
        }
        while open.last() == Some(&0) {
            open.pop();
        }
        let Some(to_come) = open.last_mut() else { return Ok(()) };
        *to_come -= 1;
    }
}

struct Head<'a> {
    children: usize,
    /// The bytes from the next value on: its first child, or the value after it.
    after: &'a [u8],
}

/// Unset at the end of `bytes`, and where they are no MessagePack.
fn head(bytes: &[u8]) -> Option<Head<'_>> {
    let (&marker, rest) = bytes.split_first()?;
    let plain = |length: usize| Some(Head { children: 0, after: rest.get(length..)? });
    let list = |(length, after): (usize, _)| Some(Head { children: length, after });
    let map = |(length, after): (usize, _)| Some(Head { children: 2 * length, after });
    // Bytes, texts and extensions: a length, and for extensions a type beside it.
    let run = |width: usize, beside: usize| {
        let (length, after) = number(rest, width)?;
        Some(Head { children: 0, after: after.get(length + beside..)? })
    };
    match marker {
        0x00..=0x7f | 0xc0 | 0xc2 | 0xc3 | 0xe0..=0xff => plain(0),
        0x80..=0x8f => map((usize::from(marker & 0x0f), rest)),
        0x90..=0x9f => list((usize::from(marker & 0x0f), rest)),
        0xa0..=0xbf => plain(usize::from(marker & 0x1f)),
        0xc1 => None,
        0xc4..=0xc6 => run(1 << (marker - 0xc4), 0),
        0xc7..=0xc9 => run(1 << (marker - 0xc7), 1),
        0xca => plain(4),
        0xcb => plain(8),
        0xcc..=0xcf => plain(1 << (marker - 0xcc)),
        0xd0..=0xd3 => plain(1 << (marker - 0xd0)),
        0xd4..=0xd8 => plain((1 << (marker - 0xd4)) + 1),
        0xd9..=0xdb => run(1 << (marker - 0xd9), 0),
        0xdc | 0xdd => list(number(rest, 2 << (marker - 0xdc))?),
        0xde | 0xdf => map(number(rest, 2 << (marker - 0xde))?),
    }
}

/// A big-endian number of `width` bytes, at most four, and the bytes after it.
fn number(bytes: &[u8], width: usize) -> Option<(usize, &[u8])> {
    let (digits, rest) = bytes.split_at_checked(width)?;
    Some((digits.iter().fold(0, |number, digit| number << 8 | usize::from(*digit)), rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    const SMALL: Bounds = Bounds { depth: 3, values: 10 };

    fn nested(depth: usize) -> Value {
        (0..depth).fold(json!(1), |inner, _| json!([inner]))
    }

    #[test]
    fn depth_and_values_are_counted_whatever_the_form_of_their_heads() {
        let checked = |value: &Value| check(&encode(value).unwrap(), SMALL);
        assert_eq!(checked(&nested(3)), Ok(()));
        assert_eq!(checked(&nested(4)), Err(Excess::Depth(3)));
        assert_eq!(checked(&json!([0; 10].as_slice())), Ok(()));
        assert_eq!(checked(&json!([0; 11].as_slice())), Err(Excess::Values(10)));
        assert_eq!(checked(&json!({"a": {"b": [1, 2, 3]}, "c": "d"})), Ok(()));
        assert_eq!(checked(&json!({"a": {"b": [1, 2, 3, 4, 5]}, "c": "d"})), Err(Excess::Values(10)));
        // Depth counts open lists: lists side by side are not within each other.
        assert_eq!(checked(&json!([[[1]], [[2]]])), Ok(()));
        // Maps and lists of 16 and 32 bits announce lengths, and no value follows.
        for announced in [&[0xdc, 0, 11][..], &[0xdd, 0xff, 0xff, 0xff, 0xff], &[0xde, 0, 6], &[0xdf, 0xff, 0xff, 0xff, 0xff]] {
            assert_eq!(check(announced, SMALL), Err(Excess::Values(10)), "{announced:?}");
        }
    }

    #[test]
    fn one_byte_maps_are_refused_before_they_become_structs() {
        let count = u32::try_from(2 * MESSAGE_VALUES).unwrap();
        let mut bytes = vec![0xdd];
        bytes.extend_from_slice(&count.to_be_bytes());
        bytes.resize(bytes.len() + count as usize, 0x80);
        let refused = decode::<Vec<crate::model::check::HealthCheck>>(&bytes).unwrap_err();
        assert!(matches!(refused, Unreadable::Excess(Excess::Values(_))), "{refused}");
    }

    #[test]
    fn what_nests_as_deep_as_it_may_is_decoded() {
        let deepest = encode(&nested(MESSAGE_DEPTH)).unwrap();
        assert_eq!(decode::<Value>(&deepest).unwrap(), nested(MESSAGE_DEPTH));
        assert!(matches!(decode::<Value>(&encode(&nested(MESSAGE_DEPTH + 1)).unwrap()), Err(Unreadable::Excess(_))));
    }

    /// Every kind of value there is, with lengths around those where the form of a head changes.
    #[test]
    fn every_form_of_a_value_is_stepped_over_whole() {
        let lengths = [0, 1, 15, 16, 31, 32, 255, 256, 65_535, 65_536];
        let mut bytes = vec![0xdd, 0, 0, 0, 0];
        let mut count: u32 = 0;
        let mut add = |value: &[u8]| {
            bytes.extend_from_slice(value);
            count += 1;
        };
        for length in lengths {
            add(&encode(&"x".repeat(length)).unwrap());
            add(&encode(&serde_bytes::ByteBuf::from(vec![0x91; length])).unwrap());
            add(&encode(&(length as u64)).unwrap());
            add(&encode(&-(length as i64)).unwrap());
        }
        for number in [u64::MAX, 1 << 40, 1 << 20] {
            add(&encode(&number).unwrap());
        }
        add(&encode(&i64::MIN).unwrap());
        add(&encode(&0.5f32).unwrap());
        add(&encode(&0.5f64).unwrap());
        add(&encode(&()).unwrap());
        add(&encode(&true).unwrap());
        for (marker, length) in [(0xd4, 1), (0xd5, 2), (0xd6, 4), (0xd7, 8), (0xd8, 16)] {
            add(&[&[marker, 7][..], &vec![0x91; length]].concat());
        }
        for head in [&[0xc7, 3, 7][..], &[0xc8, 0, 3, 7], &[0xc9, 0, 0, 0, 3, 7]] {
            add(&[head, &[0x91; 3]].concat());
        }
        bytes[1..5].copy_from_slice(&count.to_be_bytes());
        // One list too many is seen only after a step over all values before it.
        bytes.extend_from_slice(&[0x92, 1, 1]);
        bytes[1..5].copy_from_slice(&(count + 1).to_be_bytes());
        let total = count as usize + 1;
        assert_eq!(check(&bytes, Bounds { depth: 2, values: total + 2 }), Ok(()));
        assert_eq!(check(&bytes, Bounds { depth: 2, values: total + 1 }), Err(Excess::Values(total + 1)));
        assert_eq!(check(&bytes, Bounds { depth: 1, values: total + 2 }), Err(Excess::Depth(1)));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            let _ = check(&bytes, SMALL);
            let _ = decode::<crate::model::request::Request>(&bytes);
        }
    }
}
