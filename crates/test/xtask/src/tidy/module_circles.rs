//! The modules of one crate have no circular imports, so that a folder reads top-down.
//!
//! Declaring a module and re-exporting from it (`pub use`) are not imports: a facade is no circle. To break a
//! circle through a `mod.rs`, move what it defines into a separate file and re-export it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use anyhow::Result;

use super::finding::{Finding, Outcome};
use super::module_tree::{self, Module, ModulePath};
use crate::workspace::Workspace;

/// Kinds of targets whose modules are checked.
const KINDS: [&str; 3] = ["lib", "bin", "proc-macro"];
/// Maximal number of followed re-exports; a longer chain ends at the last one.
const RE_EXPORTS: usize = 16;

pub fn check(workspace: &Workspace) -> Result<Outcome> {
    let mut findings = Vec::new();
    for package in &workspace.packages {
        let read = |target: &&crate::workspace::Target| {
            target.kind.iter().any(|kind| KINDS.contains(&kind.as_str()))
        };
        for target in package.targets.iter().filter(read) {
            let modules = module_tree::read(&target.src_path)?;
            for circle in circles(&modules) {
                let names: Vec<_> = circle.iter().map(display_path).collect();
                let location = workspace.relative(&target.src_path);
                findings.push(Finding::new(location, format!("{CIRCLE}{}", names.join(" -> "))));
            }
        }
    }
    Ok(Outcome::of(findings))
}

fn display_path(path: &ModulePath) -> String {
    if path.is_empty() { "crate".into() } else { path.join("::") }
}

const CIRCLE: &str = "a circle (give what both need a file of its own, and `pub use` it): ";

type Edges<'a> = BTreeMap<&'a ModulePath, BTreeSet<&'a ModulePath>>;

/// One circle for each strongly connected group of modules, starting and ending with the same module.
fn circles(modules: &[Module]) -> Vec<Vec<ModulePath>> {
    let by_path: BTreeMap<_, _> = modules.iter().map(|module| (&module.path, module)).collect();
    let mut edges = Edges::new();
    for module in modules {
        let targets = module.named.iter().filter_map(|path| target(module, path, &by_path));
        edges.insert(&module.path, targets.filter(|path| *path != &module.path).collect());
    }
    let mut reported = BTreeSet::new();
    let mut circles = Vec::new();
    for start in by_path.keys() {
        if reported.contains(start) {
            continue;
        }
        if let Some(circle) = shortest_circle(start, &edges) {
            reported.extend(circle.iter().copied());
            circles.push(circle.into_iter().cloned().collect());
        }
    }
    circles
}

/// Resolves `path`, as written in `module`, to a module of this crate; `None` for other crates and locals.
fn target<'a>(
    module: &Module,
    path: &[String],
    by_path: &BTreeMap<&'a ModulePath, &'a Module>,
) -> Option<&'a ModulePath> {
    let mut path = absolute(module, path, by_path)?;
    for _ in 0..RE_EXPORTS {
        let depth = (0..=path.len()).rev().find(|depth| by_path.contains_key(&path[..*depth].to_vec()))?;
        let (found, owner) = by_path.get_key_value(&path[..depth].to_vec())?;
        let Some(imported) = path.get(depth).and_then(|name| owner.imports.get(name)) else {
            return Some(found);
        };
        // Follows a facade's re-export to the definition; ends at a name of another crate.
        path = absolute(owner, imported, by_path)?;
    }
    None
}

/// `path` from the crate's root if it begins in this crate.
fn absolute(
    module: &Module,
    path: &[String],
    by_path: &BTreeMap<&ModulePath, &Module>,
) -> Option<ModulePath> {
    let mut base = module.path.clone();
    let mut rest = path;
    match path.first()?.as_str() {
        "crate" => {
            base.clear();
            rest = &rest[1..];
        }
        "self" => rest = &rest[1..],
        "super" => {}
        name => {
            base.push(name.to_owned());
            // A first segment is a child module, or no module of this crate.
            if !by_path.contains_key(&base) {
                return None;
            }
            rest = &rest[1..];
        }
    }
    while rest.first().is_some_and(|word| word == "super") {
        base.pop()?;
        rest = &rest[1..];
    }
    base.extend_from_slice(rest);
    Some(base)
}

/// The shortest path from `start` back to itself.
fn shortest_circle<'a>(start: &'a ModulePath, edges: &Edges<'a>) -> Option<Vec<&'a ModulePath>> {
    let mut came_from: BTreeMap<&ModulePath, &ModulePath> = BTreeMap::new();
    let mut queue = VecDeque::from([start]);
    while let Some(at) = queue.pop_front() {
        for next in edges.get(at).into_iter().flatten().copied() {
            if next == start {
                let mut way = vec![start, at];
                while let Some(before) = came_from.get(way[way.len() - 1]) {
                    way.push(before);
                }
                way.reverse();
                return Some(way);
            }
            if !came_from.contains_key(next) {
                came_from.insert(next, at);
                queue.push_back(next);
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::workspace::testing::with_crate;

    fn check_crate(files: &[(&str, &str)], expected: &[&str]) {
        let made = with_crate("c", json!(3), files);
        let Outcome::Checked { findings, .. } = check(&made.workspace).unwrap() else { panic!("skipped") };
        let messages: Vec<_> =
            findings.iter().map(|finding| finding.message.trim_start_matches(CIRCLE)).collect();
        assert_eq!(messages, expected);
    }

    #[test]
    fn two_modules_that_name_each_other() {
        check_crate(
            &[
                ("src/lib.rs", "mod a; mod b;"),
                ("src/a.rs", "use crate::b::B;"),
                ("src/b.rs", "fn f(a: super::a::A) {}"),
            ],
            &["a -> b -> a"],
        );
    }

    #[test]
    fn a_child_that_names_its_user() {
        check_crate(
            &[
                ("src/lib.rs", "mod a; pub struct Flags; fn f() { a::run() }"),
                ("src/a.rs", "use crate::Flags;"),
            ],
            &["crate -> a -> crate"],
        );
    }

    #[test]
    fn a_circle_over_three_through_a_facade() {
        check_crate(
            &[
                ("src/lib.rs", "mod a; mod b; mod c; pub use c::C;"),
                ("src/a.rs", "use crate::b;"),
                ("src/b.rs", "use crate::C;"),
                ("src/c.rs", "fn f() { println!(\"{}\", crate::a::A) }"),
            ],
            &["a -> b -> c -> a"],
        );
    }

    /// The fix that the finding suggests: the shared type in a separate file.
    #[test]
    fn a_child_that_names_what_its_user_re_exports_passes() {
        check_crate(
            &[
                ("src/lib.rs", "mod a; mod flags; pub use flags::Flags; fn f() { a::run() }"),
                ("src/a.rs", "use crate::Flags;"),
                ("src/flags.rs", "pub struct Flags;"),
            ],
            &[],
        );
    }

    #[test]
    fn downward_names_and_facades_pass() {
        check_crate(
            &[
                ("src/lib.rs", "mod a; mod b; pub use a::A; use std::fs;"),
                ("src/a.rs", "use crate::b::B; #[cfg(test)] mod tests { use super::*; }"),
                ("src/b.rs", "#[cfg(test)] mod tests { use crate::a::A; }"),
            ],
            &[],
        );
    }
}
