//! gRPC checks: `SERVING` as the answer of `grpc.health.v1.Health/Check` is passing. Encoded here by hand.

use super::connect::{Address, Stream, Target, connect, within};
use super::finding::Finding;
use crate::defaults::{CHECK_GRPC_BYTES, CHECK_HEAD_LIST_BYTES};
use bytes::{BufMut, Bytes, BytesMut};
use h2::RecvStream;
use h2::client::{Builder, SendRequest};
use hyper::header::{CONTENT_TYPE, TE, USER_AGENT};
use hyper::{HeaderMap, Method, Request};

const METHOD: &str = "/grpc.health.v1.Health/Check";
/// `HealthCheckResponse.ServingStatus.SERVING`.
const SERVING: u64 = 1;
/// The field of the request that names the service, and of the answer that is its state.
const FIELD: u64 = 1;
/// Bytes in front of a message: whether it is compressed, and its length.
const PREFIX: usize = 5;
/// The names of the codes, from 0 on.
const CODES: &str = "OK Canceled Unknown InvalidArgument DeadlineExceeded NotFound AlreadyExists PermissionDenied \
                     ResourceExhausted FailedPrecondition Aborted OutOfRange Unimplemented Internal Unavailable DataLoss \
                     Unauthenticated";

pub(super) async fn probe(target: &Target) -> Finding {
    match within(target.timeout, || rpc_error("DeadlineExceeded", "context deadline exceeded"), ask(target)).await {
        Ok(SERVING) => Finding::passing(format!("gRPC check {}: success", target.address)),
        Ok(_other) => Finding::critical("gRPC application didn't report service healthy"),
        Err(why) => Finding::critical(why),
    }
}

/// The serving status that the target reports.
async fn ask(target: &Target) -> Result<u64, String> {
    let (server, service) = target.address.split_once('/').unwrap_or((&target.address, ""));
    let unavailable = |why: String| rpc_error("Unavailable", &format!("connection error: desc = \"transport: {why}\""));
    let address = Address::parse(server).map_err(unavailable)?;
    let stream = connect(&address, target.tls.as_ref()).await.map_err(unavailable)?;
    let mut builder = Builder::new();
    builder.max_header_list_size(CHECK_HEAD_LIST_BYTES).enable_push(false);
    let (sender, connection) =
        builder.handshake::<Stream, Bytes>(stream).await.map_err(|error| unavailable(error.to_string()))?;
    let scheme = if target.tls.is_some() { "https" } else { "http" };
    let call = call(sender, format!("{scheme}://{address}{METHOD}"), message(service));
    tokio::pin!(connection, call);
    let mut closed = false;
    loop {
        tokio::select! {
            biased;
            state = &mut call => return state,
            _end = &mut connection, if !closed => closed = true,
        }
    }
}

async fn call(sender: SendRequest<Bytes>, uri: String, message: Bytes) -> Result<u64, String> {
    let unavailable = |error: h2::Error| rpc_error("Unavailable", &error.to_string());
    let mut sender = sender.ready().await.map_err(unavailable)?;
    let request = Request::builder()
        .method(Method::POST)
        .uri(uri)
        .header(CONTENT_TYPE, "application/grpc")
        .header(TE, "trailers")
        .header(USER_AGENT, "Consul Health Check")
        .body(())
        .map_err(|error| rpc_error("Internal", &error.to_string()))?;
    let (response, mut body) = sender.send_request(request, false).map_err(unavailable)?;
    body.send_data(message, true).map_err(unavailable)?;
    let response = response.await.map_err(unavailable)?;
    let (head, mut body) = response.into_parts();
    // An answer without a message has its code among the headers.
    said(&head.headers)?;
    if !head.status.is_success() {
        return Err(rpc_error("Unknown", &format!("unexpected HTTP status code received from server: {}", head.status)));
    }
    let answer = whole(&mut body).await?;
    let trailers = body.trailers().await.map_err(unavailable)?;
    said(&trailers.ok_or_else(|| rpc_error("Internal", "the server closed the stream without sending trailers"))?)?;
    state(&answer).ok_or_else(|| rpc_error("Internal", "the answer is no HealthCheckResponse"))
}

/// The body of an answer; one that is longer than any answer is refused.
async fn whole(body: &mut RecvStream) -> Result<BytesMut, String> {
    let mut answer = BytesMut::new();
    while let Some(data) = body.data().await {
        let data = data.map_err(|error| rpc_error("Unavailable", &error.to_string()))?;
        answer.extend_from_slice(&data);
        if answer.len() > CHECK_GRPC_BYTES {
            metrics::counter!("kontor.checks.body_cut").increment(1);
            return Err(rpc_error("ResourceExhausted", &format!("expected a message of at most {CHECK_GRPC_BYTES} bytes")));
        }
        // A window that stays closed is an error of the connection, which speaks for itself.
        _ = body.flow_control().release_capacity(data.len());
    }
    Ok(answer)
}

/// The failure that headers or trailers carry, if any.
fn said(headers: &HeaderMap) -> Result<(), String> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let Some(code) = text("grpc-status") else { return Ok(()) };
    match code.parse::<usize>() {
        Ok(0) => Ok(()),
        Ok(code) => {
            let name = CODES.split(' ').nth(code).map_or_else(|| format!("Code({code})"), str::to_owned);
            Err(rpc_error(&name, text("grpc-message").unwrap_or_default()))
        }
        Err(_) => Err(rpc_error("Internal", &format!("expected a number in grpc-status, got {code:?}"))),
    }
}

fn rpc_error(code: &str, why: &str) -> String {
    format!("rpc error: code = {code} desc = {why}")
}

/// A `HealthCheckRequest` behind the prefix of a message.
fn message(service: &str) -> Bytes {
    let mut field = BytesMut::new();
    if !service.is_empty() {
        // Wire type 2: bytes with their length in front.
        put_varint(&mut field, FIELD << 3 | 2);
        put_varint(&mut field, service.len() as u64);
        field.put_slice(service.as_bytes());
    }
    let mut message = BytesMut::with_capacity(PREFIX + field.len());
    message.put_u8(0);
    message.put_u32(u32::try_from(field.len()).unwrap_or(u32::MAX));
    message.put_slice(&field);
    message.freeze()
}

/// The status in `answer`; `None` when the bytes are no `HealthCheckResponse`.
fn state(answer: &[u8]) -> Option<u64> {
    let (prefix, mut rest) = answer.split_at_checked(PREFIX)?;
    let length = usize::try_from(u32::from_be_bytes([prefix[1], prefix[2], prefix[3], prefix[4]])).ok()?;
    if prefix[0] != 0 || rest.len() != length {
        return None;
    }
    let mut state = 0;
    while !rest.is_empty() {
        let key = varint(&mut rest)?;
        // Fields of later versions are passed over, whatever their wire type.
        match key & 7 {
            0 => {
                let value = varint(&mut rest)?;
                if key >> 3 == FIELD {
                    state = value;
                }
            }
            1 => rest = rest.get(8..)?,
            2 => {
                let length = usize::try_from(varint(&mut rest)?).ok()?;
                rest = rest.get(length..)?;
            }
            5 => rest = rest.get(4..)?,
            _ => return None,
        }
    }
    Some(state)
}

fn put_varint(to: &mut BytesMut, mut value: u64) {
    while value >= 0x80 {
        to.put_u8((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    to.put_u8(value as u8);
}

fn varint(from: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let (first, rest) = from.split_first()?;
        *from = rest;
        value |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn messages_are_those_of_the_protocol() {
        assert_eq!(&message("")[..], [0, 0, 0, 0, 0]);
        assert_eq!(&message("ab")[..], [0, 0, 0, 0, 4, 0x0a, 2, b'a', b'b']);
        assert_eq!(message(&"x".repeat(300)).len(), PREFIX + 3 + 300);
        assert_eq!(state(&[0, 0, 0, 0, 2, 8, 1]), Some(SERVING));
        assert_eq!(state(&[0, 0, 0, 0, 2, 8, 2]), Some(2));
        assert_eq!(state(&[0, 0, 0, 0, 0]), Some(0), "UNKNOWN is left out on the wire");
        assert_eq!(state(&[0, 0, 0, 0, 5, 0x12, 1, 9, 8, 1]), Some(SERVING), "another field in front");
        for wrong in [&[][..], &[0, 0, 0, 0, 9, 8, 1], &[1, 0, 0, 0, 2, 8, 1], &[0, 0, 0, 0, 1, 8], &[0, 0, 0, 0, 2, 11, 1]] {
            assert_eq!(state(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn a_code_of_failure_is_told_with_its_name() {
        let headers = |code: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert("grpc-status", code.parse().expect("a value"));
            headers.insert("grpc-message", "unknown service".parse().expect("a value"));
            said(&headers)
        };
        assert_eq!(headers("0"), Ok(()));
        assert_eq!(headers("5"), Err("rpc error: code = NotFound desc = unknown service".to_owned()));
        assert_eq!(headers("99"), Err("rpc error: code = Code(99) desc = unknown service".to_owned()));
        assert!(headers("x").is_err());
        assert_eq!(said(&HeaderMap::new()), Ok(()));
    }

    proptest! {
        #[test]
        fn no_bytes_from_outside_stop_it(answer in proptest::collection::vec(any::<u8>(), 0..64)) {
            _ = state(&answer);
        }
    }
}
