//! Consul's commands that are not offered: each is there by its name, says what is missing and what to
//! use, and fails. Listed in the help, so that nobody looks for them in vain.

use super::Done;
use crate::model::part::Part;
use clap::{Arg, ArgAction, ArgMatches, Command};

/// Everything behind the name of such a command.
const REST: &str = "rest";
/// After the others in the help.
const LAST: usize = 1_000;

/// Their names, with those of the commands above them, and what is missing.
const ABSENT: &[(&[&str], Part)] = &[
    (&["acl"], Part::Acl),
    (&["config"], Part::Mesh),
    (&["connect"], Part::Mesh),
    (&["debug"], Part::Debug),
    (&["event"], Part::Events),
    (&["exec"], Part::Exec),
    (&["intention"], Part::Mesh),
    (&["keyring"], Part::Keyring),
    (&["kv"], Part::Kv),
    (&["lock"], Part::Sessions),
    (&["login"], Part::Acl),
    (&["logout"], Part::Acl),
    (&["monitor"], Part::Monitor),
    (&["peering"], Part::Peering),
    (&["resource"], Part::Mesh),
    (&["snapshot"], Part::Snapshots),
    (&["troubleshoot"], Part::Mesh),
    (&["operator", "area"], Part::Enterprise),
    (&["operator", "usage"], Part::Usage),
    (&["operator", "utilization"], Part::Enterprise),
    (&["services", "export"], Part::Peering),
    (&["services", "exported-services"], Part::Peering),
    (&["services", "imported-services"], Part::Peering),
];

/// `parser` with them.
pub(super) fn listed(parser: Command) -> Command {
    ABSENT.iter().fold(parser, |parser, (path, part)| with(parser, path, *part))
}

fn with(parent: Command, path: &'static [&'static str], part: Part) -> Command {
    match path {
        [] => parent,
        [name] => parent.subcommand(command(name, part)),
        [above, rest @ ..] => parent.mut_subcommand(above, |above| with(above, rest, part)),
    }
}

fn command(name: &'static str, part: Part) -> Command {
    // Its arguments are Consul's, whatever they are; also -h, which then does not end in a usage of ours.
    let rest = Arg::new(REST).num_args(0..).trailing_var_arg(true).allow_hyphen_values(true).hide(true);
    let help = Arg::new("help").short('h').long("help").action(ArgAction::SetTrue).hide(true);
    Command::new(name)
        .about(format!("(not there yet) {}", part.sentence()))
        .disable_help_flag(true)
        .display_order(LAST)
        .args([help, rest])
}

/// What such a command has to say; nothing for one that is offered.
pub(super) fn said(matches: &ArgMatches) -> Option<Done> {
    let (mut path, mut last) = (Vec::new(), matches);
    while let Some((name, matches)) = last.subcommand() {
        path.push(name);
        last = matches;
    }
    let (_, part) = ABSENT.iter().find(|(known, _)| *known == path)?;
    let sentence = format!("{}\n", part.sentence());
    let mut rest = last.get_many::<String>(REST).into_iter().flatten();
    if last.get_flag("help") || rest.any(|word| word == "-h" || word == "--help") {
        return Some(Done::text(sentence));
    }
    Some(Done { err: format!("Error: {sentence}"), code: 1, ..Done::default() })
}
