//! Go's spelling of flags made clap's: one dash or two, the same.
//!
//! Called by `cli` before anything is parsed; knows no flag by name.

/// `-node=x` becomes `--node=x`. Left alone: values, numbers such as `-1`, `-h`, `-`, and all after `--`.
pub(super) fn normalise(args: impl IntoIterator<Item = String>) -> Vec<String> {
    let mut verbatim = false;
    let normal = |arg: String| {
        if verbatim || arg == "--" {
            verbatim = true;
            return arg;
        }
        match arg.strip_prefix('-') {
            Some(name) if is_long(name) => format!("-{arg}"),
            _ => arg,
        }
    };
    args.into_iter().map(normal).collect()
}

/// A name of more than one letter, perhaps with a value behind `=`.
fn is_long(name: &str) -> bool {
    let name = name.split_once('=').map_or(name, |(name, _)| name);
    name.len() > 1 && name.starts_with(|c: char| c.is_ascii_alphabetic())
}

#[cfg(test)]
mod tests {
    use super::normalise;

    #[test]
    fn one_dash_and_two_are_the_same() {
        for (given, expected) in [
            ("agent -server -node=x", "agent --server --node=x"),
            ("agent --server --node=x", "agent --server --node=x"),
            ("agent -node x -bind=170.200.7.30", "agent --node x --bind=170.200.7.30"),
            ("agent -server=false", "agent --server=false"),
            ("agent -check_output_max_size 5", "agent --check_output_max_size 5"),
            ("agent -dns-port -1 -http-port=-1", "agent --dns-port -1 --http-port=-1"),
            ("services register -", "services register -"),
            ("-h", "-h"),
            ("-help", "--help"),
            ("lock -- -x -long", "lock -- -x -long"),
            ("join 10.0.0.1", "join 10.0.0.1"),
        ] {
            let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
            assert_eq!(normalise(words(given)), words(expected));
        }
    }
}
