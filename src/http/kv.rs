//! `/v1/kv`: keys and values. Called from the table.
//!
//! A key is what follows in the path, byte by byte: nothing in it is cleaned away or refused but its length.

use super::HttpParts;
use super::ask::{self, Call, Pending, ready};
use super::body;
use super::error::ErrorResponse;
use super::options;
use super::parameters::{Parameters, parse_uint};
use super::respond::Reply;
use crate::model::command::Effect;
use crate::model::duration;
use crate::model::kv::{KvChange, KvKey, KvPut};
use crate::model::operation::{KvPage, KvRead, Read, Write};
use hyper::header::{CONTENT_SECURITY_POLICY, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use std::sync::Arc;

/// `GET kv/:key`: an entry, all below a prefix, or their keys.
pub(super) fn get(api: &Arc<HttpParts>, call: Call) -> Pending {
    let read = match wanted(&call.parameters, call.key.clone()) {
        Ok(read) => read,
        Err(refusal) => return ready(Err(refusal)),
    };
    let is_raw = matches!(read, KvRead::Get { raw: true, .. });
    let answer = ask::read(api, &call, Ok(Read::Kv(read)));
    if !is_raw {
        return answer;
    }
    Box::pin(async move { answer.await.map(raw) })
}

/// A value as it is: whatever it holds, no browser shall take it for a page of this origin.
fn raw(reply: Reply) -> Reply {
    if !reply.has_content() {
        return reply;
    }
    reply
        .into_bytes()
        .with_header(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"))
        .with_header(CONTENT_SECURITY_POLICY, HeaderValue::from_static("sandbox"))
}

fn wanted(parameters: &Parameters, key: KvKey) -> Result<KvRead, ErrorResponse> {
    let page = page(parameters)?;
    if parameters.has("keys") {
        // `seperator` is what old clients send.
        let separator = parameters.filled("separator").or_else(|| parameters.filled("seperator"));
        return Ok(KvRead::Keys { prefix: key, separator: separator.map(|text| Box::new(text.into())), page });
    }
    if parameters.has("recurse") {
        return Ok(KvRead::List { prefix: key, page });
    }
    if key.is_empty() {
        return Err(missing_key());
    }
    Ok(KvRead::Get { key, raw: parameters.has("raw") })
}

/// `limit` and `after`: which part of a list.
fn page(parameters: &Parameters) -> Result<Option<Box<KvPage>>, ErrorResponse> {
    let limit = parameters.filled("limit").map(str::parse).transpose();
    let limit = limit.map_err(|_| ErrorResponse::bad_request("Invalid limit, expected a number of keys such as 1000"))?;
    let after = parameters.filled("after").map(KvKey::from);
    if limit.is_none() && after.is_none() {
        return Ok(None);
    }
    Ok(Some(Box::new(KvPage { after: after.unwrap_or_default(), limit: limit.unwrap_or(0) })))
}

/// `PUT kv/:key`: writes the body; tells whether it has.
pub(super) fn put(api: &Arc<HttpParts>, call: Call) -> Pending {
    let api = Arc::clone(api);
    Box::pin(async move {
        let parameters = &call.parameters;
        if call.key.is_empty() {
            return Err(missing_key());
        }
        refuse_conflicts(parameters, &["cas", "acquire", "release"])?;
        let (flags, cas) = (number(parameters, "flags")?, number(parameters, "cas")?);
        let ttl_ms = ttl(parameters)?;
        let (dc, principal) = (options::datacenter(parameters), call.principal());
        let value = body::read_value(call.body, api.settings.kv_max_value, "kv_max_value_size").await?;
        let put = KvPut { key: call.key, value, flags: flags.unwrap_or(0), ttl_ms };
        let session = |name| parameters.first(name).map(str::to_owned);
        let change = match (cas, session("acquire"), session("release")) {
            (Some(index), ..) => KvChange::Cas(put, index),
            (None, Some(session), _) => KvChange::Lock(put, session),
            (None, None, Some(session)) => KvChange::Unlock(put, session),
            (None, None, None) => KvChange::Set(put),
        };
        done(ask::write(&api, dc, principal, Write::Kv(Box::new(change))).await?.effect)
    })
}

/// `DELETE kv/:key`
pub(super) fn delete(api: &Arc<HttpParts>, call: Call) -> Pending {
    let api = Arc::clone(api);
    Box::pin(async move {
        let parameters = &call.parameters;
        refuse_conflicts(parameters, &["cas", "recurse"])?;
        let is_tree = parameters.has("recurse");
        if call.key.is_empty() && !is_tree {
            return Err(missing_key());
        }
        let (dc, principal) = (options::datacenter(parameters), call.principal());
        let change = match number(parameters, "cas")? {
            _ if is_tree => KvChange::DeleteTree(call.key),
            Some(index) => KvChange::DeleteCas(call.key, index),
            None => KvChange::Delete(call.key),
        };
        done(ask::write(&api, dc, principal, Write::Kv(Box::new(change))).await?.effect)
    })
}

fn done(effect: Effect) -> Result<Reply, ErrorResponse> {
    Ok(Reply::json(if effect == Effect::Set(false) { "false" } else { "true" }))
}

fn missing_key() -> ErrorResponse {
    ErrorResponse::bad_request("Missing key name")
}

/// Refuses more than one of `names`.
fn refuse_conflicts(parameters: &Parameters, names: &[&str]) -> Result<(), ErrorResponse> {
    if names.iter().filter(|name| parameters.has(name)).count() > 1 {
        return Err(ErrorResponse::bad_request(format!("Conflicting flags: {}", parameters.encoded())));
    }
    Ok(())
}

/// A number, with the text of Go's parser for what is none.
fn number(parameters: &Parameters, name: &str) -> Result<Option<u64>, ErrorResponse> {
    parameters.first(name).map(parse_uint).transpose().map_err(ErrorResponse::failed)
}

/// `ttl`, in milliseconds; 0 where there is none.
fn ttl(parameters: &Parameters) -> Result<u64, ErrorResponse> {
    let Some(text) = parameters.first("ttl") else { return Ok(0) };
    let refused = |why: &dyn std::fmt::Display| ErrorResponse::bad_request(format!("Invalid ttl {text:?}: {why}"));
    let ttl = duration::parse(text).map_err(|error| refused(&error))?;
    let milliseconds = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX);
    if milliseconds == 0 { Err(refused(&"expected at least 1ms, such as 30s")) } else { Ok(milliseconds) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parameters(query: &str) -> Parameters {
        Parameters::parse(Some(query)).unwrap()
    }

    #[test]
    fn what_is_read_follows_the_parameters() {
        let read = |query, key: &str| wanted(&parameters(query), key.into());
        assert_eq!(read("raw", "a"), Ok(KvRead::Get { key: "a".into(), raw: true }));
        assert_eq!(read("raw&recurse", ""), Ok(KvRead::List { prefix: KvKey::default(), page: None }));
        let keys = |separator: &str| KvRead::Keys { prefix: "a".into(), separator: Some(Box::new(separator.into())), page: None };
        assert_eq!(read("keys&separator=/&recurse", "a"), Ok(keys("/")));
        assert_eq!(read("keys&seperator=-", "a"), Ok(keys("-")));
        assert_eq!(read("", ""), Err(missing_key()));
        let page = Some(Box::new(KvPage { after: "a/b".into(), limit: 5 }));
        assert_eq!(read("recurse&limit=5&after=a/b", "a"), Ok(KvRead::List { prefix: "a".into(), page }));
        assert!(read("recurse&limit=x", "a").is_err());
    }

    #[test]
    fn numbers_are_refused_with_go_s_texts() {
        let cas = |query| number(&parameters(query), "cas");
        assert_eq!((cas(""), cas("cas=18446744073709551615")), (Ok(None), Ok(Some(u64::MAX))));
        for (text, why) in [("", "invalid syntax"), ("-1", "invalid syntax"), ("18446744073709551616", "value out of range")] {
            let expected = ErrorResponse::failed(format!("strconv.ParseUint: parsing {text:?}: {why}"));
            assert_eq!(number(&parameters(&format!("cas={text}")), "cas"), Err(expected));
        }
        let text = "Conflicting flags: acquire=a+b&cas=0&flags=1";
        let refused = refuse_conflicts(&parameters("cas=0&flags=1&acquire=a%20b"), &["cas", "acquire"]);
        assert_eq!(refused, Err(ErrorResponse::bad_request(text)));
    }
}
