//! The URL of an HTTP check: parsed, and joined with the location of a redirect. Pure.

use super::connect::Address;
use base64::Engine;
use hyper::Uri;

/// An absolute `http` or `https` URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Url {
    pub(super) https: bool,
    pub(super) address: Address,
    /// The `Host` header, without the default port.
    pub(super) host: String,
    /// Path and query, never empty.
    pub(super) path: String,
    /// `user:password` in front of the host, as it stands.
    user: Option<String>,
}

impl Url {
    /// Parses `text`; errors are Go's.
    pub(super) fn parse(text: &str) -> Result<Url, String> {
        let (scheme, _rest) = text.split_once("://").ok_or("unsupported protocol scheme \"\"")?;
        let https = match scheme.to_ascii_lowercase().as_str() {
            "http" => false,
            "https" => true,
            _ => return Err(format!("unsupported protocol scheme {scheme:?}")),
        };
        let uri: Uri = sendable(text).parse().map_err(|error| format!("cannot be read as a URL: {error}"))?;
        let authority = uri.authority().ok_or("no Host in request URL")?;
        let named = authority.host().trim_start_matches('[').trim_end_matches(']');
        if named.is_empty() {
            return Err("no Host in request URL".to_owned());
        }
        let host = authority.as_str().rsplit_once('@').map_or(authority.as_str(), |(_user, host)| host);
        if let Some(port) = host[authority.host().len()..].strip_prefix(':').filter(|port| !port.is_empty())
            && authority.port_u16().is_none()
        {
            return Err(format!("invalid port {port:?} after host"));
        }
        let default = if https { 443 } else { 80 };
        let address = Address { host: named.to_owned(), port: authority.port_u16().unwrap_or(default) };
        let host = if address.port == default { authority.host().to_owned() } else { address.to_string() };
        let user = authority.as_str().rsplit_once('@').map(|(user, _host)| user.to_owned());
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        Ok(Url { https, address, host, path, user })
    }

    /// The URL that `location` points to from here, and whether `location` names a host itself.
    pub(super) fn join(&self, location: &str) -> Result<(Url, bool), String> {
        let scheme = if self.https { "https" } else { "http" };
        if location.split(['/', '?', '#']).next().is_some_and(|first| first.contains(':')) {
            return Ok((Url::parse(location)?, true));
        }
        if let Some(rest) = location.strip_prefix("//") {
            return Ok((Url::parse(&format!("{scheme}://{rest}"))?, true));
        }
        let here = self.path.split('?').next().unwrap_or("/");
        let path = match location.chars().next() {
            Some('/') => location.to_owned(),
            Some('?') => format!("{here}{location}"),
            None | Some('#') => self.path.clone(),
            Some(_) => format!("{}{location}", &here[..here.rfind('/').map_or(0, |at| at + 1)]),
        };
        let parsed = Url::parse(&format!("{scheme}://{}{path}", self.address))?;
        Ok((Url { user: self.user.clone(), ..parsed }, false))
    }

    /// The `Authorization` header for the user in front of the host.
    pub(super) fn authorization(&self) -> Option<String> {
        let user = decoded(self.user.as_ref()?);
        let pair = if user.contains(&b':') { user } else { [user.as_slice(), b":"].concat() };
        Some(format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair)))
    }
}

/// `text` with every byte that a request line cannot carry written as `%XX`.
fn sendable(text: &str) -> String {
    let fits = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'<' | b'>' | b'`');
    text.bytes().map(|byte| if fits(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

/// `text` with each `%XX` as its byte.
fn decoded(text: &str) -> Vec<u8> {
    let bytes = text.as_bytes();
    let mut read = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = bytes.get(at + 1..at + 3).filter(|_| bytes[at] == b'%').and_then(|hex| std::str::from_utf8(hex).ok());
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                read.push(byte);
                at += 3;
            }
            None => {
                read.push(bytes[at]);
                at += 1;
            }
        }
    }
    read
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> String {
        let url = Url::parse(text).expect("good");
        format!("{} {} {} {}", url.https, url.address, url.host, url.path)
    }

    #[test]
    fn urls_are_read_with_their_defaults() {
        assert_eq!(parsed("http://a"), "false a:80 a /");
        assert_eq!(parsed("HTTPS://a/x?y=1#z"), "true a:443 a /x?y=1");
        assert_eq!(parsed("http://a:8080?x"), "false a:8080 a:8080 /?x");
        assert_eq!(parsed("http://[::1]:80/a b/é"), "false [::1]:80 [::1] /a%20b/%C3%A9");
        assert_eq!(parsed("http://u:p@a/"), "false a:80 a /");
        for wrong in ["", "a", "/x", "ftp://a", "http://", "http:///x", "http://a:99999999/"] {
            assert!(Url::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_redirect_is_seen_from_where_it_came() {
        let at = Url::parse("http://a:81/x/y?z=1").expect("good");
        let to = |location: &str| at.join(location).map(|(url, host)| (format!("{}{}", url.address, url.path), url.https, host));
        assert_eq!(to("/b"), Ok(("a:81/b".to_owned(), false, false)));
        assert_eq!(to("b?c"), Ok(("a:81/x/b?c".to_owned(), false, false)));
        assert_eq!(to("?c"), Ok(("a:81/x/y?c".to_owned(), false, false)));
        assert_eq!(to("https://b/c"), Ok(("b:443/c".to_owned(), true, true)));
        assert_eq!(to("//b/c"), Ok(("b:80/c".to_owned(), false, true)));
        assert_eq!(to("/a:b"), Ok(("a:81/a:b".to_owned(), false, false)));
        assert!(to("file:///etc/passwd").is_err());
    }

    #[test]
    fn a_password_is_sent() {
        let url = Url::parse("http://us%40er:p%3Aw@a/x").expect("good");
        assert_eq!(url.authorization().as_deref(), Some("Basic dXNAZXI6cDp3"));
        assert_eq!(Url::parse("http://a/").expect("good").authorization(), None);
    }
}
