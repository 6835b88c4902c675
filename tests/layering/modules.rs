//! The modules of `src/` with the paths that they name, read as Rust reads them: by tokens, so that comments, texts
//! and braces in them count for nothing.

use proc_macro2::{Delimiter, TokenStream, TokenTree};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// What one module names, or what it names for its tests alone.
#[derive(Clone, Debug, Default)]
pub struct Module {
    /// `["gossip", "driver"]`
    pub path: Vec<String>,
    /// Below `src/`.
    pub file: PathBuf,
    /// It stands behind `#[cfg(test)]`.
    pub is_test: bool,
    /// Paths into this crate, from its root: `model::health::Status`.
    pub inside: BTreeSet<String>,
    /// All others, as they are written.
    pub outside: BTreeSet<String>,
}

impl Module {
    /// The room it is in.
    pub fn room(&self) -> &str {
        &self.path[0]
    }

    fn without_paths(&self) -> Module {
        Module { path: self.path.clone(), file: self.file.clone(), is_test: self.is_test, ..Module::default() }
    }

    /// Notes a path as it is written in this module.
    fn names(&mut self, path: &[String]) {
        let ups = path.iter().take_while(|part| *part == "super").count();
        let from = match path[0].as_str() {
            "crate" => Some((&[] as &[String], 1)),
            "self" => Some((self.path.as_slice(), 1)),
            "super" => Some((&self.path[..self.path.len() - ups], ups)),
            _ => None,
        };
        match from {
            Some((base, skip)) if base.len() + path.len() > skip => {
                self.inside.insert([base, &path[skip..]].concat().join("::"));
            }
            Some(_) => {}
            None => {
                self.outside.insert(path.join("::"));
            }
        }
    }
}

/// Every module of the library but its root. A source file that no module is made of fails the test.
pub fn modules() -> Vec<Module> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut reader = Reader { src: src.clone(), found: Vec::new() };
    reader.file(Module { file: "lib.rs".into(), ..Module::default() });
    let seen: BTreeSet<&PathBuf> = reader.found.iter().map(|module| &module.file).collect();
    let mut files = Vec::new();
    sources(&src, &mut files);
    for file in files.iter().map(|file| file.strip_prefix(&src).unwrap().to_owned()) {
        assert!(seen.contains(&file) || file == Path::new("main.rs"), "{} is in no module", file.display());
    }
    reader.found.into_iter().filter(|module| !module.path.is_empty()).collect()
}

/// The modules of `code`, which is that of `room::file`.
pub fn read(code: &str) -> Vec<Module> {
    let mut reader = Reader { src: PathBuf::new(), found: Vec::new() };
    let module = Module { path: ["room", "file"].map(str::to_owned).to_vec(), ..Module::default() };
    reader.module(module, code.parse().unwrap());
    reader.found
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            found.push(path);
        }
    }
}

struct Reader {
    src: PathBuf,
    found: Vec<Module>,
}

impl Reader {
    fn file(&mut self, module: Module) {
        let code = fs::read_to_string(self.src.join(&module.file)).unwrap();
        let tokens: TokenStream = code.parse().unwrap_or_else(|error| panic!("{}: {error}", module.file.display()));
        self.module(module, tokens);
    }

    fn module(&mut self, mut module: Module, tokens: TokenStream) {
        let mut tests = Module { is_test: true, ..module.clone() };
        self.tokens(&mut module, &mut tests, tokens);
        let is_used = |module: &Module| !(module.inside.is_empty() && module.outside.is_empty());
        let tests = Some(tests).filter(is_used);
        self.found.push(module);
        self.found.extend(tests);
    }

    /// Reads `tokens`, which are of `module`, and gives what stands behind `#[cfg(test)]` to `tests`.
    fn tokens(&mut self, module: &mut Module, tests: &mut Module, tokens: TokenStream) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        let mut rest = tokens.as_slice();
        while !rest.is_empty() {
            if let Some(after) = after_test_attribute(rest) {
                let (item, after) = after.split_at(item_len(after));
                self.tests(tests, item.iter().cloned().collect());
                rest = after;
                continue;
            }
            rest = match rest {
                [TokenTree::Ident(word), TokenTree::Ident(name), after @ ..] if word == "mod" => {
                    self.child(module, &name.to_string(), after.first());
                    after.get(1..).unwrap_or_default()
                }
                [TokenTree::Ident(_), ..] => {
                    let mut paths = Vec::new();
                    let read = read_path(rest, &[], &mut paths);
                    paths.iter().for_each(|path| module.names(path));
                    &rest[read..]
                }
                [TokenTree::Group(group), after @ ..] => {
                    self.tokens(module, tests, group.stream());
                    after
                }
                [_, after @ ..] => after,
                [] => rest,
            };
        }
    }

    /// Reads `tokens`, which are for tests alone.
    fn tests(&mut self, tests: &mut Module, tokens: TokenStream) {
        let mut nested = tests.without_paths();
        self.tokens(tests, &mut nested, tokens);
        tests.inside.extend(nested.inside);
        tests.outside.extend(nested.outside);
    }

    /// Reads the module `name` of `parent`, which stands in its braces or in a file of its own.
    fn child(&mut self, parent: &Module, name: &str, body: Option<&TokenTree>) {
        let mut child = parent.without_paths();
        child.path.push(name.to_owned());
        if let Some(TokenTree::Group(group)) = body {
            return self.module(child, group.stream());
        }
        let folder: PathBuf = child.path.iter().collect();
        let files = [folder.with_extension("rs"), folder.join("mod.rs")];
        child.file = files.into_iter().find(|file| self.src.join(file).exists()).unwrap_or_else(|| panic!("{folder:?}"));
        self.file(child);
    }
}

/// Reads the path, or the tree of them, that `tokens` begin with, below `prefix`; how many tokens that were.
fn read_path(tokens: &[TokenTree], prefix: &[String], paths: &mut Vec<Vec<String>>) -> usize {
    let mut path = prefix.to_vec();
    let mut at = 0;
    while let Some(TokenTree::Ident(part)) = tokens.get(at) {
        if part != "self" || path.is_empty() {
            path.push(part.to_string());
        }
        at += 1;
        if !is_punct(tokens.get(at), ':') || !is_punct(tokens.get(at + 1), ':') {
            break;
        }
        at += 2;
        if let Some(TokenTree::Group(group)) = tokens.get(at)
            && group.delimiter() == Delimiter::Brace
        {
            let tree: Vec<TokenTree> = group.stream().into_iter().collect();
            for branch in tree.split(|token| is_punct(Some(token), ',')).filter(|branch| !branch.is_empty()) {
                read_path(branch, &path, paths);
            }
            return at + 1;
        }
    }
    paths.push(path);
    at
}

fn is_punct(token: Option<&TokenTree>, sign: char) -> bool {
    matches!(token, Some(TokenTree::Punct(punct)) if punct.as_char() == sign)
}

/// The tokens after `#[cfg(test)]`, if `tokens` begin with it.
fn after_test_attribute(tokens: &[TokenTree]) -> Option<&[TokenTree]> {
    match tokens {
        [hash, TokenTree::Group(group), after @ ..] if is_punct(Some(hash), '#') => {
            let attribute: String = group.stream().to_string().split_whitespace().collect();
            (attribute == "cfg(test)").then_some(after)
        }
        _ => None,
    }
}

/// How many tokens are the item, field or statement that `tokens` begin with, further attributes included.
fn item_len(tokens: &[TokenTree]) -> usize {
    let words: Vec<String> =
        tokens.iter().filter(|token| matches!(token, TokenTree::Ident(_))).map(ToString::to_string).collect();
    let mut words = words.iter().map(String::as_str).filter(|word| *word != "pub");
    let (ends_with_brace, ends_with_comma) = match (words.next().unwrap_or_default(), words.next()) {
        ("const" | "async", Some("fn")) => (true, false),
        ("fn" | "mod" | "impl" | "struct" | "enum" | "trait" | "macro_rules", _) => (true, false),
        ("use" | "const" | "static" | "type" | "let", _) => (false, false),
        _ => (true, true),
    };
    let ends = |token: &TokenTree| match token {
        TokenTree::Punct(sign) => sign.as_char() == ';' || (sign.as_char() == ',' && ends_with_comma),
        TokenTree::Group(group) => group.delimiter() == Delimiter::Brace && ends_with_brace,
        _ => false,
    };
    tokens.iter().position(ends).map_or(tokens.len(), |at| at + 1)
}
