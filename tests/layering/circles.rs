//! Fails where modules beside each other need each other, however long the way around: neither could be understood,
//! tested or moved alone. A module and what stands inside it are one; children may name what their parent has.

use crate::modules::{Module, modules};
use std::collections::{BTreeMap, BTreeSet};

/// Which module of a file needs which.
type Needs = BTreeMap<String, BTreeSet<String>>;

/// The files' modules by their paths, and what each needs.
fn needs(modules: &[Module]) -> Needs {
    let of_file = |module: &Module| {
        let file = module.file.with_extension("");
        let parts = file.iter().map(|part| part.to_string_lossy().into_owned()).filter(|part| part != "mod");
        parts.collect::<Vec<String>>().join("::")
    };
    let known: BTreeSet<String> = modules.iter().map(of_file).collect();
    let file_of = |path: &str| {
        let mut around = std::iter::successors(Some(path), |path| path.rsplit_once("::").map(|(parent, _)| parent));
        around.find(|module| known.contains(*module)).map(str::to_owned)
    };
    let mut needs: Needs = known.iter().map(|module| (module.clone(), BTreeSet::new())).collect();
    for module in modules.iter().filter(|module| !module.is_test) {
        let from = of_file(module);
        // A path that begins with the name of a child leads into it.
        let below = module.outside.iter().map(|path| format!("{from}::{path}"));
        let named = module.inside.iter().cloned().chain(below).filter_map(|path| file_of(&path));
        let beside = named.filter(|to| *to != from && !from.starts_with(&format!("{to}::")));
        needs.entry(from.clone()).or_default().extend(beside.collect::<Vec<_>>());
    }
    needs
}

/// The modules that can be reached from each, over any number of steps.
fn reached(needs: &Needs, from: &str) -> BTreeSet<String> {
    let (mut found, mut next) = (BTreeSet::new(), vec![from.to_owned()]);
    while let Some(module) = next.pop() {
        for to in needs.get(&module).into_iter().flatten() {
            if found.insert(to.clone()) {
                next.push(to.clone());
            }
        }
    }
    found
}

#[test]
fn no_modules_beside_each_other_need_each_other() {
    let needs = needs(&modules());
    let reached: Needs = needs.keys().map(|module| (module.clone(), reached(&needs, module))).collect();
    let mut circles = BTreeSet::new();
    for (module, from_here) in &reached {
        let circle: BTreeSet<&String> = from_here.iter().filter(|other| reached[*other].contains(module)).collect();
        if circle.len() > 1 {
            circles.insert(circle);
        }
    }
    let told: Vec<String> = circles.iter().map(|circle| format!("{circle:?}")).collect();
    assert!(circles.is_empty(), "these need each other:\n{}", told.join("\n"));
}
