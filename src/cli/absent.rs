//! Consul's commands that are not offered: each is listed in the help, names the missing part and a way out, and fails.

use super::Done;
use crate::model::part::Part;
use clap::{Arg, ArgAction, ArgMatches, Command};

/// The arguments of such a command.
const REST: &str = "rest";
/// The place in the help: after the others.
const LAST: usize = 1_000;

/// The missing parts, and their commands with the commands above them.
const ABSENT: &[(Part, &[&str])] = &[
    (Part::Acl, &["acl", "login", "logout"]),
    (Part::Debug, &["debug"]),
    (Part::Enterprise, &["operator area", "operator utilization"]),
    (Part::Events, &["event"]),
    (Part::Exec, &["exec"]),
    (Part::Keyring, &["keyring"]),
    (Part::Mesh, &["config", "connect", "intention", "resource", "troubleshoot"]),
    (Part::Monitor, &["monitor"]),
    (Part::Peering, &["peering", "services export", "services exported-services", "services imported-services"]),
    (Part::Lock, &["lock"]),
    (Part::Snapshots, &["snapshot"]),
    (Part::Usage, &["operator usage"]),
];

/// `parser` with these commands.
pub(super) fn listed(parser: Command) -> Command {
    let paths = ABSENT.iter().flat_map(|(part, paths)| paths.iter().map(move |path| (*path, *part)));
    paths.fold(parser, |parser, (path, part)| match path.split_once(' ') {
        Some((above, name)) => parser.mut_subcommand(above, |above| above.subcommand(command(name, part))),
        None => parser.subcommand(command(path, part)),
    })
}

fn command(name: &'static str, part: Part) -> Command {
    // The arguments are Consul's. A -h among them shows no usage of ours.
    let rest = Arg::new(REST).num_args(0..).trailing_var_arg(true).allow_hyphen_values(true).hide(true);
    let help = Arg::new("help").short('h').long("help").action(ArgAction::SetTrue).hide(true);
    Command::new(name)
        .about(format!("(not there yet) {}", part.sentence()))
        .disable_help_flag(true)
        .display_order(LAST)
        .args([help, rest])
}

/// The output of such a command; none for an offered one.
pub(super) fn said(matches: &ArgMatches) -> Option<Done> {
    let (mut path, mut last) = (Vec::new(), matches);
    while let Some((name, matches)) = last.subcommand() {
        path.push(name);
        last = matches;
    }
    let (part, _) = ABSENT.iter().find(|(_, paths)| paths.contains(&path.join(" ").as_str()))?;
    let sentence = format!("{}\n", part.sentence());
    let mut rest = last.get_many::<String>(REST).into_iter().flatten();
    if last.get_flag("help") || rest.any(|word| word == "-h" || word == "--help") {
        return Some(Done::text(sentence));
    }
    Some(Done { err: format!("Error: {sentence}"), code: 1, ..Done::default() })
}
