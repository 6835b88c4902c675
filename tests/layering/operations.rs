//! No code decides by the kind of an operation without naming each kind.

use crate::modules::modules;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Every source file of a room, below `src/`, with its code.
fn files() -> Vec<(PathBuf, String)> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let files: BTreeSet<PathBuf> = modules().into_iter().map(|module| module.file).collect();
    files.into_iter().map(|file| (file.clone(), fs::read_to_string(src.join(&file)).unwrap())).collect()
}

/// Code with comments, and what stands within texts and characters, left out: its brackets pair.
fn bare(code: &str) -> String {
    let (mut bare, mut rest) = (String::new(), code);
    while let Some(first) = rest.chars().next() {
        let word_before = bare.ends_with(|c: char| c.is_alphanumeric() || c == '_');
        let hashes = rest.strip_prefix('r').map_or(0, |raw| raw.chars().take_while(|c| *c == '#').count());
        let skipped = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").unwrap() + 2
        } else if !word_before && rest.starts_with('r') && rest[1 + hashes..].starts_with('"') {
            let begin = 2 + hashes;
            begin + rest[begin..].find(&format!("\"{}", "#".repeat(hashes))).unwrap() + 1 + hashes
        } else if first == '"' {
            1 + closing(&rest[1..], '"')
        } else if first == '\'' && (rest[1..].starts_with('\\') || rest.chars().nth(2) == Some('\'')) {
            1 + closing(&rest[1..], '\'')
        } else {
            bare.push(first);
            first.len_utf8()
        };
        rest = &rest[skipped..];
    }
    bare
}

/// Where the text that `rest` begins within is over.
fn closing(rest: &str, quote: char) -> usize {
    let mut escaped = false;
    let end = rest.char_indices().find(|(_, c)| {
        let ends = *c == quote && !escaped;
        escaped = *c == '\\' && !escaped;
        ends
    });
    end.unwrap().0 + quote.len_utf8()
}

/// The length of `code` up to where `is_end` holds outside all brackets.
fn up_to(code: &str, is_end: impl Fn(&str) -> bool) -> usize {
    let mut depth = 0_usize;
    for (at, c) in code.char_indices() {
        if depth == 0 && is_end(&code[at..]) {
            return at;
        }
        match c {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth -= 1,
            _ => {}
        }
    }
    code.len()
}

/// The code that is no test: modules of tests left out.
fn without_tests(bare: &str) -> String {
    let mut kept = String::new();
    let mut rest = bare;
    while let Some(at) = rest.find("#[cfg(test)]") {
        kept.push_str(&rest[..at]);
        let end = at + up_to(&rest[at..], |rest| rest.starts_with([';', '{']));
        rest = &rest[end..];
        rest = rest.strip_prefix('{').map_or(rest, |inside| &inside[up_to(inside, |rest| rest.starts_with('}'))..]);
    }
    kept + rest
}

/// The patterns of the arms of every `match`, guards left out.
fn arms(bare: &str) -> Vec<Vec<String>> {
    let begins = bare.match_indices("match ").filter(|(at, _)| !bare[..*at].ends_with(|c: char| c.is_alphanumeric() || c == '_'));
    let blocks = begins.map(|(at, _)| {
        let begin = at + up_to(&bare[at..], |rest| rest.starts_with('{')) + 1;
        &bare[begin..begin + up_to(&bare[begin..], |rest| rest.starts_with('}'))]
    });
    let mut found = Vec::new();
    for mut block in blocks {
        let mut patterns = Vec::new();
        while block.contains("=>") {
            let arrow = up_to(block, |rest| rest.starts_with("=>"));
            let pattern = &block[..arrow];
            patterns.push(pattern[..up_to(pattern, |rest| rest.starts_with(" if "))].trim().to_owned());
            block = block[arrow + 2..].trim_start();
            let body = match block.strip_prefix('{') {
                Some(inside) => up_to(inside, |rest| rest.starts_with('}')) + 2,
                None => up_to(block, |rest| rest.starts_with(',')),
            };
            block = block[body.min(block.len())..].trim_start().trim_start_matches(',').trim_start();
        }
        found.push(patterns);
    }
    found
}

/// The types of operations: whatever is decided by their kind is a column of the table in `model/operation`.
const OPERATIONS: [&str; 16] = [
    "Read",
    "CatalogRead",
    "HealthRead",
    "CoordinateRead",
    "StatusRead",
    "OperatorRead",
    "FederationRead",
    "ViewRead",
    "ServersRead",
    "Write",
    "CatalogWrite",
    "HealthWrite",
    "CoordinateWrite",
    "OperatorWrite",
    "FederationWrite",
    "Command",
];

fn names_an_operation(pattern: &str) -> bool {
    let is_word = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
    pattern.split(|c| !is_word(c)).any(|path| {
        let mut segments = path.rsplit("::").skip(1);
        segments.next().is_some_and(|owner| OPERATIONS.contains(&owner))
    })
}

/// Whether the pattern takes all that the others leave: `_`, a name, or several of them.
fn takes_the_rest(pattern: &str) -> bool {
    let plain = pattern.trim_matches(['(', ')']);
    let is_open = |part: &str| {
        let part = part.trim();
        part == "_"
            || part == ".."
            || part.starts_with(|c: char| c.is_lowercase()) && part.chars().all(|c| c.is_alphanumeric() || c == '_')
    };
    plain.split(',').all(is_open)
}

#[test]
fn nothing_decides_by_the_kind_of_an_operation_without_naming_each() {
    let mut wrong = Vec::new();
    for (file, code) in files() {
        let is_test = file.iter().any(|part| part.to_string_lossy().contains("test"));
        // The commands of the shell are not those of the log.
        if is_test || file.starts_with("cli") {
            continue;
        }
        let code = without_tests(&bare(&code));
        for patterns in arms(&code) {
            if patterns.iter().any(|pattern| names_an_operation(pattern))
                && patterns.iter().any(|pattern| takes_the_rest(pattern))
            {
                wrong.push(format!("{}: match with {}", file.display(), patterns.join(" ; ")));
            }
        }
        for (at, found) in code.match_indices("matches!(") {
            let inside = &code[at + found.len()..];
            let inside = &inside[..up_to(inside, |rest| rest.starts_with(')'))];
            if names_an_operation(inside) {
                wrong.push(format!("{}: matches!({inside})", file.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "decided without a row in the table of operations:\n{}", wrong.join("\n"));
}

#[test]
fn a_wildcard_over_operations_is_found() {
    let code = r#"
        fn of(read: &Read) -> u8 {
            // a match { with Read::Catalog(_) => 1, _ => 2 }
            match read { Read::Catalog(CatalogRead::Node { node }) if node == "{" => 1, other => match 'x' { _ => 2 } }
        }
        #[cfg(test)]
        mod tests { fn f() { match read { Read::Status(_) => 1, _ => 2 } } }
    "#;
    let found = arms(&without_tests(&bare(code)));
    assert_eq!(found, [vec!["Read::Catalog(CatalogRead::Node { node })", "other"], vec!["_"]]);
    assert!(names_an_operation(&found[0][0]) && takes_the_rest(&found[0][1]) && !takes_the_rest(&found[0][0]));
    assert!(!names_an_operation("Operation::Read(query)") && takes_the_rest("(_, _)") && !takes_the_rest("Need::Leader"));
}
