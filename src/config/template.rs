//! The templates that choose addresses: `{{ GetPrivateIP }}`, and pipelines of go-sockaddr such as
//! `{{ GetAllInterfaces | include "network" "10.0.0.0/8" | attr "address" }}`.
//!
//! `tokens` reads a template, `stages` carries its stages out on a [`Host`], without I/O.

mod stages;
#[cfg(test)]
mod tests;
mod tokens;

use self::stages::Value;
use self::tokens::Token;
use super::interfaces::Host;

/// A text with its templates replaced.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Expanded {
    /// The text; a template that matches no address leaves nothing.
    pub(super) text: String,
    /// A line for the user for each template that matched nothing.
    pub(super) unmatched: Vec<String>,
}

pub(super) fn is_template(text: &str) -> bool {
    text.contains("{{")
}

/// Replaces every `{{ … }}` of `text`.
pub(super) fn expand(text: &str, host: &Host) -> Result<Expanded, String> {
    let mut expanded = Expanded::default();
    let mut rest = text;
    while let Some((before, tail)) = rest.split_once("{{") {
        let (template, after) = tokens::split_template(tail).ok_or_else(|| {
            format!("the template in {text:?} is not closed: expected {{{{ … }}}}, with every quote inside in pairs")
        })?;
        let (trims_before, template) = template.strip_prefix("- ").map_or((false, template), |inner| (true, inner));
        let (trims_after, template) = template.strip_suffix(" -").map_or((false, template), |inner| (true, inner));
        expanded.text.push_str(if trims_before { before.trim_end() } else { before });
        rest = if trims_after { after.trim_start() } else { after };
        let shown = template.trim();
        let found = evaluate(template, host).map_err(|error| format!("template {{{{ {shown} }}}}: {error}"))?;
        if found.is_empty() {
            let there = host.described();
            expanded.unmatched.push(format!("template {{{{ {shown} }}}} matches no address of this host, which has: {there}"));
        }
        expanded.text.push_str(&found);
    }
    expanded.text.push_str(rest);
    Ok(expanded)
}

/// The result of one template: of a source and the stages behind it.
fn evaluate(template: &str, host: &Host) -> Result<String, String> {
    let stages = tokens::read(template)?;
    let mut stages = stages.split(|token| *token == Token::Pipe);
    let source = stages.next().unwrap_or_default();
    let mut value = stages::source(source, host)?;
    for stage in stages {
        value = match value {
            Value::Addresses(addresses) => stages::apply(stage, addresses, host)?,
            Value::Text(text) => {
                return Err(format!("the result is a text already ({text:?}), which {} cannot follow", tokens::shown(stage)));
            }
        };
    }
    Ok(match value {
        Value::Text(text) => text,
        // Go would print a structure here, which is of no use as an address.
        Value::Addresses(addresses) => stages::joined(&addresses),
    })
}
