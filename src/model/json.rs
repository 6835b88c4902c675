//! Reads JSON bodies as Go's decoder does: names without regard to case, `null` as the zero value,
//! unknown fields refused by name.
//!
//! `http` calls [`decode`] for every body. It works over a parsed [`Value`], so that every error can name
//! the field. It must never accept a field that it then ignores.

mod elements;
mod parse;

pub use elements::elements;

use serde::de::{
    self, DeserializeOwned, DeserializeSeed, Deserializer, IntoDeserializer, MapAccess, SeqAccess, Unexpected, Visitor,
};
use serde_json::{Map, Value};
use std::fmt;

/// Fields of later releases that clients of today send with Go's zero value. With any other value
/// they are refused like every unknown field.
const LATER_FIELDS: [&str; 6] = ["Namespace", "Partition", "PeerName", "Locality", "ContentHash", "Datacenter"];

/// Structures whose unknown members are passed over, as in Consul: they belong to other releases and tools. Durations
/// may stand there under the names of Go's fields too.
const LENIENT: [&str; 1] = ["CheckDefinition"];
/// The same of the body that makes a session, of which a zero means something too.
const SESSION: &str = "SessionBody";
/// The end of those names: `IntervalDuration` is `Interval`.
const DURATION: &str = "Duration";

/// Reads `body` into a `T`. The error is the text that follows `Request decode failed: `.
pub fn decode<T: DeserializeOwned>(body: &[u8]) -> Result<T, String> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Err("EOF".to_owned());
    }
    let value = parse::parse(body).map_err(|error| error.to_string())?;
    T::deserialize(Go(value)).map_err(|error| error.to_string())
}

/// A value that does not fit, with the path of its field.
#[derive(Debug, Default)]
struct DecodeError {
    path: String,
    text: String,
}

impl DecodeError {
    /// Puts the name of the enclosing field in front.
    fn within(mut self, name: &str) -> DecodeError {
        self.path = match (self.path.is_empty(), self.path.starts_with('[')) {
            (true, _) => name.to_owned(),
            (false, true) => format!("{name}{}", self.path),
            (false, false) => format!("{name}.{}", self.path),
        };
        self
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.path.is_empty() { f.write_str(&self.text) } else { write!(f, "{} (field {})", self.text, self.path) }
    }
}

impl std::error::Error for DecodeError {}

impl de::Error for DecodeError {
    fn custom<M: fmt::Display>(message: M) -> DecodeError {
        DecodeError { path: String::new(), text: message.to_string() }
    }
}

fn from_json(error: serde_json::Error) -> DecodeError {
    de::Error::custom(error)
}

/// A value that is read by Go's rules.
struct Go(Value);

impl Go {
    fn unexpected(&self, expected: &str) -> DecodeError {
        let found = match &self.0 {
            Value::Null => Unexpected::Unit,
            Value::Bool(value) => Unexpected::Bool(*value),
            Value::Number(_) => Unexpected::Other("number"),
            Value::String(text) => Unexpected::Str(text),
            Value::Array(_) => Unexpected::Seq,
            Value::Object(_) => Unexpected::Map,
        };
        de::Error::invalid_type(found, &expected)
    }
}

/// Scalars: `null` is the zero value given; the parser reads all else.
macro_rules! scalar {
    ($($method:ident $visit:ident $zero:expr;)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
            match self.0 {
                Value::Null => visitor.$visit($zero),
                value => value.$method(visitor).map_err(from_json),
            }
        }
    )*};
}

impl<'de> Deserializer<'de> for Go {
    type Error = DecodeError;

    scalar! {
        deserialize_bool visit_bool false;
        deserialize_i8 visit_i8 0;
        deserialize_i16 visit_i16 0;
        deserialize_i32 visit_i32 0;
        deserialize_i64 visit_i64 0;
        deserialize_u8 visit_u8 0;
        deserialize_u16 visit_u16 0;
        deserialize_u32 visit_u32 0;
        deserialize_u64 visit_u64 0;
        deserialize_f32 visit_f32 0.0;
        deserialize_f64 visit_f64 0.0;
        deserialize_char visit_char '\0';
        deserialize_str visit_str "";
        deserialize_string visit_str "";
        deserialize_bytes visit_bytes b"";
        deserialize_byte_buf visit_bytes b"";
    }

    /// Free JSON: kept as it came.
    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        self.0.deserialize_any(visitor).map_err(from_json)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        if self.0.is_null() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    serde::forward_to_deserialize_any! { unit unit_struct ignored_any }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _name: &'static str, visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        let list = match self.0 {
            Value::Null => Vec::new(),
            Value::Array(list) => list,
            _ => return Err(self.unexpected("a list")),
        };
        visitor.visit_seq(Elements { rest: list.into_iter(), index: 0 })
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _len: usize, visitor: V) -> Result<V::Value, DecodeError> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _len: usize,
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match self.0 {
            Value::Null => visitor.visit_map(Members::default()),
            Value::Object(map) => visitor.visit_map(Members::of(map.into_iter().collect())),
            _ => Err(self.unexpected("an object")),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        match self.0 {
            Value::Null => visitor.visit_map(Members::default()),
            Value::Object(map) if name == SESSION => visitor.visit_map(Members::known(map, fields, Value::is_null)),
            Value::Object(map) if LENIENT.contains(&name) => visitor.visit_map(Members::known(map, fields, is_zero)),
            Value::Object(map) => visitor.visit_map(Members::named(map, fields)?),
            _ => Err(self.unexpected("an object")),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        let value = if self.0.is_null() { Value::String(String::new()) } else { self.0 };
        value.deserialize_enum(name, variants, visitor).map_err(from_json)
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        self.deserialize_str(visitor)
    }
}

struct Elements {
    rest: std::vec::IntoIter<Value>,
    index: usize,
}

impl<'de> SeqAccess<'de> for Elements {
    type Error = DecodeError;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, DecodeError> {
        let Some(value) = self.rest.next() else { return Ok(None) };
        let index = self.index;
        self.index += 1;
        seed.deserialize(Go(value)).map(Some).map_err(|error| error.within(&format!("[{index}]")))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.rest.len())
    }
}

/// The members of an object, under the names that the target type knows.
#[derive(Default)]
struct Members {
    rest: std::vec::IntoIter<(String, Value)>,
    current: Option<(String, Value)>,
}

impl Members {
    fn of(members: Vec<(String, Value)>) -> Members {
        Members { rest: members.into_iter(), current: None }
    }

    /// The members that are `fields`; others are passed over, and so is what `is_unset`.
    fn known(map: Map<String, Value>, fields: &'static [&'static str], is_unset: fn(&Value) -> bool) -> Members {
        let mut members: Vec<(String, Value)> = Vec::with_capacity(map.len());
        for (key, value) in map.into_iter().filter(|(_, value)| !is_unset(value)) {
            let of_duration = || key.strip_suffix(DURATION).and_then(|short| find(fields, short));
            let Some(field) = find(fields, &key).or_else(of_duration) else { continue };
            if !members.iter().any(|(name, _)| name == field) {
                members.push((field.to_owned(), value));
            }
        }
        Members::of(members)
    }

    /// The members that are `fields`, found without regard to case. `null` leaves a field as it is.
    fn named(map: Map<String, Value>, fields: &'static [&'static str]) -> Result<Members, DecodeError> {
        let mut members: Vec<(String, Value)> = Vec::with_capacity(map.len());
        for (key, value) in map {
            let Some(field) = find(fields, &key) else {
                if find(&LATER_FIELDS, &key).is_some() && is_zero(&value) {
                    continue;
                }
                return Err(de::Error::custom(format_args!("json: unknown field {key:?}")));
            };
            if value.is_null() {
                continue;
            }
            match members.iter_mut().find(|(name, _)| name == field) {
                Some(earlier) => earlier.1 = value,
                None => members.push((field.to_owned(), value)),
            }
        }
        Ok(Members::of(members))
    }
}

/// The exact name wins over one that differs in case.
fn find(fields: &'static [&'static str], key: &str) -> Option<&'static str> {
    let exact = fields.iter().find(|field| **field == key);
    exact.or_else(|| fields.iter().find(|field| field.eq_ignore_ascii_case(key))).copied()
}

/// True for a value that Go writes for an unset field.
fn is_zero(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(value) => !value,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
    }
}

impl<'de> MapAccess<'de> for Members {
    type Error = DecodeError;

    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, DecodeError> {
        self.current = self.rest.next();
        match &self.current {
            Some((name, _)) => seed.deserialize(name.as_str().into_deserializer()).map(Some),
            None => Ok(None),
        }
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, DecodeError> {
        let Some((name, value)) = self.current.take() else {
            return Err(de::Error::custom("a value was asked for before its name"));
        };
        seed.deserialize(Go(value)).map_err(|error| error.within(&name))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.rest.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::check::{CheckStatus, CheckType};
    use crate::model::command::Register;
    use crate::model::definition::ServiceDefinition;
    use std::time::Duration;

    #[test]
    fn names_are_matched_without_regard_to_case_and_by_alias() {
        let text = br#"{"name":"web","TAGS":["a"],"enable_tag_override":true,
            "check":{"ttl":"10s","Deregister_Critical_Service_After":"90m","args":["x"]}}"#;
        let definition: ServiceDefinition = decode(text).unwrap();
        assert_eq!(definition.name, "web");
        assert_eq!(definition.tags, ["a"]);
        assert!(definition.enable_tag_override);
        let check = definition.check.unwrap();
        assert_eq!(check.ttl, Duration::from_secs(10));
        assert_eq!(check.deregister_critical_service_after, Duration::from_secs(5400));
        assert_eq!(check.script_args, ["x"]);
    }

    #[test]
    fn null_is_the_zero_value_wherever_it_stands() {
        let text =
            br#"{"Name":"web","Tags":null,"Meta":null,"Check":null,"Checks":null,"Weights":null,"Port":null,"Proxy":null}"#;
        let definition: ServiceDefinition = decode(text).unwrap();
        assert_eq!(definition, ServiceDefinition { name: "web".to_owned(), ..ServiceDefinition::default() });
        let definition: ServiceDefinition = decode(br#"{"Tags":[null,"b"],"Meta":{"k":null},"Checks":[null]}"#).unwrap();
        assert_eq!(definition.tags, ["", "b"]);
        assert_eq!(definition.meta.get("k").map(String::as_str), Some(""));
        assert_eq!(definition.checks, [CheckType::default()]);
    }

    #[test]
    fn unknown_fields_are_refused_by_name_at_every_depth() {
        for (text, field) in [
            (&br#"{"Name":"web","Foo":1}"#[..], "Foo"),
            (br#"{"Name":"web","Foo":null}"#, "Foo"),
            (br#"{"Name":"web","Check":{"Bar":"x"}}"#, "Bar"),
            (br#"{"Name":"web","Namespace":"prod"}"#, "Namespace"),
        ] {
            let error = decode::<ServiceDefinition>(text).unwrap_err();
            assert!(error.starts_with(&format!("json: unknown field \"{field}\"")), "{error}");
        }
    }

    #[test]
    fn fields_of_later_releases_pass_when_they_say_nothing() {
        let text =
            br#"{"Node":"n","Partition":"","Check":{"Node":"n","Status":"","ExposedPort":0,"Definition":{"Interval":"0s"}}}"#;
        let register: Register = decode(text).unwrap();
        assert_eq!(register.check.unwrap().status, CheckStatus::Critical);
    }

    #[test]
    fn a_definition_that_other_tools_wrote_is_taken_with_what_is_known_of_it() {
        let text = br#"{"Node":"n","Check":{"Name":"c","Interval":"10s","Timeout":"2s","ExposedPort":21500,"Definition":{
            "tcp":"10.0.0.1:80","TCPUseTLS":true,"GRPCUseTLS":true,"OSService":"sshd","SessionName":"s","Colour":{"a":[1]},
            "Interval":"","IntervalDuration":3e10,"TimeoutDuration":2000000000,
            "DeregisterCriticalServiceAfter":"90m","DeregisterCriticalServiceAfterDuration":0}}}"#;
        let check = decode::<Register>(text).unwrap().check.unwrap();
        let definition = &check.definition;
        assert_eq!((check.interval.as_str(), check.timeout.as_str(), check.exposed_port), ("10s", "2s", 21_500));
        assert_eq!((definition.tcp.as_str(), definition.os_service.as_str()), ("10.0.0.1:80", "sshd"));
        assert!(definition.tcp_use_tls && definition.grpc_use_tls);
        let durations = [definition.interval, definition.timeout, definition.deregister_critical_service_after];
        assert_eq!(durations.map(|duration| duration.as_secs()), [30, 2, 5400]);
        let error = decode::<Register>(br#"{"Check":{"Definition":{"Interval":"soon"}}}"#).unwrap_err();
        assert!(error.starts_with("time: invalid duration \"soon\""), "{error}");
        let error = decode::<Register>(br#"{"Check":{"Colour":1}}"#).unwrap_err();
        assert!(error.contains("unknown field \"Colour\""), "only there: {error}");
    }

    #[test]
    fn the_keys_of_free_maps_keep_their_case_and_free_json_is_kept_whole() {
        let text = br#"{"Meta":{"Env":"a","env":"b"},"Proxy":{"upstreams":[{"x":null}]}}"#;
        let definition: ServiceDefinition = decode(text).unwrap();
        assert_eq!(definition.meta.len(), 2);
        assert_eq!(definition.proxy, Some(serde_json::json!({"upstreams":[{"x":null}]})));
    }

    #[test]
    fn durations_are_text_or_nanoseconds() {
        let check: CheckType = decode(br#"{"Interval":10000000000,"Timeout":"1m30s"}"#).unwrap();
        assert_eq!((check.interval.as_secs(), check.timeout.as_secs()), (10, 90));
        let error = decode::<CheckType>(br#"{"Interval":"10"}"#).unwrap_err();
        assert!(error.contains("Interval"), "{error}");
    }

    #[test]
    fn broken_json_is_told_with_its_position() {
        assert!(decode::<Register>(b"{\"Node\": \"n\",\n  x}").unwrap_err().contains("line 2 column 3"));
        assert_eq!(decode::<Register>(b"  ").unwrap_err(), "EOF");
        assert!(decode::<Register>(b"[1]").unwrap_err().contains("expected an object"));
        assert!(decode::<Register>(&b"[".repeat(100_000)).unwrap_err().contains("recursion limit"));
    }

    #[test]
    fn a_value_of_the_wrong_type_names_its_field() {
        let error = decode::<Register>(br#"{"Checks":[{},{"Name":5}]}"#).unwrap_err();
        assert!(error.ends_with("(field Checks[1].Name)"), "{error}");
        let error = decode::<ServiceDefinition>(br#"{"Port":70000}"#).unwrap_err();
        assert!(error.contains("70000") && error.ends_with("(field Port)"), "{error}");
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_it_panic(body: Vec<u8>) {
            let _ = decode::<Register>(&body);
            let _ = decode::<ServiceDefinition>(&body);
        }
    }
}
