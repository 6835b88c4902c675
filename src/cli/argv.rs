//! Go's spelling of flags made clap's: one dash or two, the same.

use clap::{Arg, Command};

/// `-node=x` becomes `--node=x`. Values, numbers such as `-1`, `-h`, `-`, and all after `--` stay.
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

/// Puts `--` before the program of a command that runs one, as Go's flags end at the first other word.
pub(super) fn set_apart(mut args: Vec<String>, parser: &Command) -> Vec<String> {
    let Some(command) = args.first().and_then(|name| parser.find_subcommand(name)) else { return args };
    if !command.get_positionals().any(Arg::is_last_set) {
        return args;
    }
    let takes_next = |flag: &str| {
        let name = flag.trim_start_matches('-');
        let known = command.get_arguments().find(|arg| arg.get_long() == Some(name));
        known.is_some_and(|arg| arg.get_action().takes_values() && !arg.is_require_equals_set())
    };
    let mut at = 1;
    while let Some(arg) = args.get(at) {
        match arg.as_str() {
            "--" => return args,
            flag if flag.len() > 1 && flag.starts_with('-') => at += if takes_next(flag) { 2 } else { 1 },
            _program => {
                args.insert(at, "--".to_owned());
                return args;
            }
        }
    }
    args
}

/// A name of more than one letter, perhaps with a value behind `=`.
fn is_long(name: &str) -> bool {
    let name = name.split_once('=').map_or(name, |(name, _)| name);
    name.len() > 1 && name.starts_with(|c: char| c.is_ascii_alphabetic())
}

#[cfg(test)]
mod tests {
    use super::{normalise, set_apart};
    use clap::{Arg, ArgAction, Command};

    #[test]
    fn the_program_that_a_command_runs_keeps_its_own_flags() {
        let watch = Command::new("watch")
            .arg(Arg::new("type").long("type"))
            .arg(Arg::new("shell").long("shell").num_args(0..=1).require_equals(true))
            .arg(Arg::new("loud").long("loud").action(ArgAction::SetTrue))
            .arg(Arg::new("program").last(true).num_args(0..));
        let parser = Command::new("kontor").subcommand(watch).subcommand(Command::new("join").arg(Arg::new("address")));
        for (given, expected) in [
            ("watch -type=a /bin/x -type -y", "watch -type=a -- /bin/x -type -y"),
            ("watch -type a -shell -loud x --z", "watch -type a -shell -loud -- x --z"),
            ("watch --type a -- x -z", "watch --type a -- x -z"),
            ("watch -type a", "watch -type a"),
            ("watch -type", "watch -type"),
            ("watch", "watch"),
            ("join 10.0.0.1 -x", "join 10.0.0.1 -x"),
            ("unknown x", "unknown x"),
        ] {
            let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
            assert_eq!(set_apart(words(given), &parser), words(expected));
        }
        assert!(set_apart(Vec::new(), &parser).is_empty());
    }

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
