//! `kontor keygen`: a key for `encrypt`.

use super::Done;
use aws_lc_rs::rand;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

pub(super) fn run() -> Result<Done, String> {
    key().map(Done::line)
}

/// 32 random bytes: AES-256.
pub(super) fn key() -> Result<String, String> {
    let mut key = [0; 32];
    rand::fill(&mut key).map_err(|_| "this system gives no random bytes".to_owned())?;
    Ok(STANDARD.encode(key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_32_bytes_and_no_two_are_the_same() {
        let (one, two) = (run().unwrap().out, run().unwrap().out);
        assert_eq!(STANDARD.decode(one.trim()).unwrap().len(), 32);
        assert_ne!(one, two);
    }
}
